using System.Buffers;
using System.Globalization;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http.Features;
using Yizhan.AiInfer.Engine;
using Yizhan.AiInfer.Repository;
using Yizhan.OpenInference;
using Yizhan.Platform.Bundles;
using Yizhan.Platform.Identity;

namespace Yizhan.AiInfer.Protocol;

/// <summary>The REST half of the Open Inference Protocol, below <c>/v2</c> of the node: every client of Triton or KServe finds it there.</summary>
internal static class RestEndpoints
{
    private const string LengthHeader = "Inference-Header-Content-Length";

    public static void Map(IEndpointRouteBuilder routes)
    {
        var v2 = routes.MapGroup("/v2").Needs(Permission.UseModels).WithTags("open-inference").AddEndpointFilter(AnswerErrors);
        v2.MapGet("", () => Json(new JsonObject
        {
            ["name"] = InferenceServer.Name,
            ["version"] = InferenceServer.Version,
            ["extensions"] = new JsonArray([.. InferenceServer.Extensions.Select(e => JsonValue.Create(e))]),
        }));
        v2.MapGet("/health/live", () => Json(new JsonObject { ["live"] = true })).OpenToAll("Says whether the server lives; probes have no token.");
        v2.MapGet("/health/ready", () => Json(new JsonObject { ["ready"] = true })).OpenToAll("The same.");
        foreach (var prefix in (string[])["/models/{model}", "/models/{model}/versions/{version}"])
        {
            v2.MapGet(prefix, (InferenceServer server, string model, string? version) => Json(Metadata(server, server.Find(model, version))));
            v2.MapGet(prefix + "/ready", (InferenceServer server, string model, string? version) =>
                Json(new JsonObject { ["name"] = model, ["ready"] = server.Find(model, version) is not null }));
            v2.MapGet(prefix + "/config", (InferenceServer server, string model, string? version) => Json(Config(server.Find(model, version))));
            v2.MapGet(prefix + "/stats", (InferenceServer server, string model, string? version) => Json(Statistics([server.Find(model, version)])));
            v2.MapPost(prefix + "/infer", InferAsync);
        }

        v2.MapGet("/models/stats", (InferenceServer server) => Json(Statistics(server.Repository.Index().Select(h => h.Runner).OfType<ModelRunner>())));
        v2.MapPost("/repository/index", IndexAsync);
        v2.MapPost("/repository/models/{model}/load", LoadAsync).Needs(Permission.ManageModels);
        v2.MapPost("/repository/models/{model}/unload", async (InferenceServer server, string model, CancellationToken cancellationToken) =>
        {
            await server.Repository.UnloadAsync(model, null, cancellationToken);
            return Results.Ok();
        }).Needs(Permission.ManageModels);
    }

    private static async Task<IResult> InferAsync(HttpContext context, InferenceServer server, string model, string? version)
    {
        var runner = server.FindLicensed(model, version);
        var limit = server.MaxRequestBytes;
        if (context.Request.ContentLength > limit)
        {
            // Not a byte of it is read: the connection is closed with the answer.
            context.Response.Headers.Connection = "close";
            return Error(413, $"The request has {context.Request.ContentLength} bytes; accepted: up to {limit} (ai-infer:maxRequestMiB).");
        }

        context.Features.Get<IHttpMaxRequestBodySizeFeature>()?.MaxRequestBodySize = limit;
        int? jsonLength = null;
        if (context.Request.Headers[LengthHeader] is [{ } header])
        {
            jsonLength = int.TryParse(header, NumberStyles.None, CultureInfo.InvariantCulture, out var parsed) ? parsed
                : throw new InferenceFormatException($"{LengthHeader} is '{header}'; accepted: a number of bytes.");
        }

        using var room = server.Reserve(context.Request.ContentLength ?? limit);
        var request = InferenceRequestReader.Read(await BodyAsync(context.Request, context.RequestAborted), jsonLength);
        var response = await runner.InferAsync(request, context.RequestAborted);
        await WriteAsync(context.Response, response, request, context.RequestAborted);
        return Results.Empty;
    }

    private static async Task WriteAsync(HttpResponse answer, InferenceResponse response, InferenceRequest request, CancellationToken cancellationToken)
    {
        var json = new ArrayBufferWriter<byte>(512);
        var tensors = InferenceResponseWriter.Write(json, response, request);
        answer.ContentType = "application/json";
        if (tensors.Count > 0)
        {
            answer.Headers[LengthHeader] = json.WrittenCount.ToString(CultureInfo.InvariantCulture);
            answer.ContentType = "application/octet-stream";
        }

        answer.ContentLength = json.WrittenCount + tensors.Sum(t => (long)t.Length);
        answer.BodyWriter.Write(json.WrittenSpan);
        if (tensors.Count == 0)
        {
            await answer.BodyWriter.FlushAsync(cancellationToken);
        }

        // Each is flushed with what stands before it.
        foreach (var tensor in tensors)
        {
            await answer.BodyWriter.WriteAsync(tensor, cancellationToken);
        }
    }

    private static async Task<ReadOnlyMemory<byte>> BodyAsync(HttpRequest request, CancellationToken cancellationToken)
    {
        if (request.ContentLength is { } length)
        {
            var body = GC.AllocateUninitializedArray<byte>((int)length);
            await request.Body.ReadExactlyAsync(body, cancellationToken);
            return body;
        }

        var stream = new MemoryStream();
        await request.Body.CopyToAsync(stream, cancellationToken);
        return stream.GetBuffer().AsMemory(0, (int)stream.Length);
    }

    private static async Task<IResult> IndexAsync(HttpContext context, InferenceServer server)
    {
        var ready = (await ParametersAsync(context.Request))?["ready"]?.GetValue<bool>() ?? false;
        return Json(new JsonArray([.. server.Repository.Index().Where(h => !ready || h.State == ModelState.Ready).Select(h => new JsonObject
        {
            ["name"] = h.Name, ["version"] = h.Version, ["state"] = h.State, ["reason"] = h.Reason,
        })]));
    }

    private static async Task<IResult> LoadAsync(HttpContext context, InferenceServer server, string model)
    {
        var parameters = (await ParametersAsync(context.Request))?["parameters"] as JsonObject;
        if (parameters?.FirstOrDefault(p => p.Key != "version") is { Key: { } key })
        {
            return Error(400, $"The parameter '{key}' is not taken: models come as signed bundles (POST /ai-infer/models); accepted: version.");
        }

        await server.Repository.LoadAsync(model, parameters?["version"]?.ToString(), context.RequestAborted);
        return Results.Ok();
    }

    private static async Task<JsonNode?> ParametersAsync(HttpRequest request)
    {
        if (request.ContentLength is null or 0 or > 64 * 1024)
        {
            return request.ContentLength > 64 * 1024 ? throw new InferenceFormatException("The request has more than 65536 bytes.") : null;
        }

        return await JsonNode.ParseAsync(request.Body, cancellationToken: request.HttpContext.RequestAborted);
    }

    private static JsonObject Metadata(InferenceServer server, ModelRunner runner) => new()
    {
        ["name"] = runner.Name,
        ["versions"] = new JsonArray([.. server.Repository.Versions(runner.Name).Select(v => JsonValue.Create(v))]),
        ["platform"] = runner.Engine.Platform,
        ["inputs"] = Specs(runner.Engine.Inputs, "datatype", "shape", ""),
        ["outputs"] = Specs(runner.Engine.Outputs, "datatype", "shape", ""),
    };

    private static JsonObject Config(ModelRunner runner) => new()
    {
        ["name"] = runner.Name,
        ["platform"] = runner.Engine.Platform,
        ["backend"] = runner.Engine.Platform.Split('_')[0],
        ["max_batch_size"] = 0,
        ["input"] = Specs(runner.Engine.Inputs, "data_type", "dims", "TYPE_"),
        ["output"] = Specs(runner.Engine.Outputs, "data_type", "dims", "TYPE_"),
    };

    private static JsonArray Specs(IEnumerable<TensorSpec> specs, string type, string shape, string prefix) => new([.. specs.Select(s => new JsonObject
    {
        ["name"] = s.Name,
        [type] = prefix.Length > 0 && s.Datatype == TensorDatatype.Bytes ? "TYPE_STRING" : prefix + s.Datatype,
        [shape] = new JsonArray([.. s.Shape.Select(d => JsonValue.Create(d))]),
    })]);

    private static JsonObject Statistics(IEnumerable<ModelRunner> runners) => new()
    {
        ["model_stats"] = new JsonArray([.. runners.Select(r =>
        {
            var s = r.Statistics.View();
            return new JsonObject
            {
                ["name"] = r.Name,
                ["version"] = r.Version,
                ["last_inference"] = s.LastInferenceMs,
                ["inference_count"] = s.InferenceCount,
                ["execution_count"] = s.ExecutionCount,
                ["inference_stats"] = new JsonObject
                {
                    ["success"] = Duration(s.Success), ["fail"] = Duration(s.Fail), ["queue"] = Duration(s.Queue), ["compute_input"] = Duration(s.ComputeInput),
                    ["compute_infer"] = Duration(s.ComputeInfer), ["compute_output"] = Duration(s.ComputeOutput), ["cache_hit"] = Duration(default), ["cache_miss"] = Duration(default),
                },
                ["batch_stats"] = new JsonArray([.. s.Batches.Select(b => new JsonObject
                {
                    ["batch_size"] = b.Key, ["compute_input"] = Duration(b.Value.Input), ["compute_infer"] = Duration(b.Value.Infer), ["compute_output"] = Duration(b.Value.Output),
                })]),
            };
        })]),
    };

    private static JsonObject Duration(Duration d) => new() { ["count"] = d.Count, ["ns"] = d.Ns };

    private static IResult Json(JsonNode node) => Results.Text(node.ToJsonString(), "application/json");

    private static IResult Error(int status, string message) =>
        Results.Text(new JsonObject { ["error"] = message }.ToJsonString(), "application/json", statusCode: status);

    /// <summary>The protocol's own error object.</summary>
    private static async ValueTask<object?> AnswerErrors(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        try
        {
            return await next(context);
        }
        catch (Exception e) when (e is InferenceFormatException or BundleRefusedException or System.Text.Json.JsonException)
        {
            return Error(400, e.Message);
        }
        catch (BadHttpRequestException e)
        {
            return Error(e.StatusCode, e.Message);
        }
        catch (ModelNotReadyException e)
        {
            return Error(404, e.Message);
        }
        catch (NotLicensedException e)
        {
            return Error(403, e.Message);
        }
        catch (OverloadedException e)
        {
            return Error(503, e.Message);
        }
        catch (ModelFailedException e)
        {
            return Error(500, e.Message);
        }
    }
}
