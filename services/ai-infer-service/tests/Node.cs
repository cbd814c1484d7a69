using System.Buffers;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Grpc.Core.Interceptors;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.AiInfer.Protocol;
using Yizhan.OpenInference;
using Yizhan.OpenInference.Grpc;
using Yizhan.Platform;

namespace Yizhan.AiInfer.Tests;

/// <summary>A node with only this module, on free ports, with a folder of its own.</summary>
internal sealed class Node : IAsyncDisposable
{
    private readonly string _folder;
    private readonly WebApplication _app;
    private readonly GrpcChannel _channel;

    private Node(string folder, WebApplication app)
    {
        (_folder, _app) = (folder, app);
        Http = Operator.Client(app);
        _channel = GrpcChannel.ForAddress(GrpcAddress, new GrpcChannelOptions { MaxReceiveMessageSize = null, MaxSendMessageSize = null });
        Grpc = GrpcAs(Token);
    }

    public static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public HttpClient Http { get; }

    public Uri GrpcAddress => new($"http://{_app.Services.GetRequiredService<GrpcListener>().EndPoint}");

    public string Token => _app.Services.GetRequiredService<Platform.Identity.LocalOperator>().Token();

    public GRPCInferenceService.GRPCInferenceServiceClient Grpc { get; }

    /// <summary>A client with a token; null for one without.</summary>
    public GRPCInferenceService.GRPCInferenceServiceClient GrpcAs(string? token) => new(_channel.Intercept(metadata =>
    {
        if (token is not null)
        {
            metadata.Add("authorization", $"Bearer {token}");
        }

        return metadata;
    }));

    public IServiceProvider Services => _app.Services;

    public string Folder => _folder;

    /// <summary>Starts a node on the bundles that <paramref name="prepare"/> writes into its models folder.</summary>
    public static async Task<Node> StartAsync(Action<string> prepare, params string[] settings)
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-ai-").FullName;
        var models = Path.Combine(folder, "ai-infer", "models");
        Directory.CreateDirectory(models);
        prepare(models);
        var app = new ServiceHost(
            [
                $"--node:dataFolder={folder}", "--node:siteId=site-a", "--web:url=http://127.0.0.1:0", "--log:level=error", "--storage:freeFloorBytes=0",
                "--ai-infer:grpcEndPoint=127.0.0.1:0", "--ai-infer:allowUnsigned=true", .. settings,
            ]).Add<AiInferModule>().Build();
        await app.StartAsync(Cancel);
        return new Node(folder, app);
    }

    public async Task<JsonElement> GetAsync(string path) => await Http.GetFromJsonAsync<JsonElement>(path, Cancel);

    public async Task<(int Status, JsonElement Body)> PostAsync(string path, string json = "{}")
    {
        using var answer = await Http.PostAsync(path, new StringContent(json), Cancel);
        var text = await answer.Content.ReadAsStringAsync(Cancel);
        return ((int)answer.StatusCode, text.Length == 0 ? default : JsonDocument.Parse(text).RootElement);
    }

    /// <summary>Infers over REST with the binary extension in both directions.</summary>
    public async Task<IReadOnlyList<InferenceTensor>> InferBinaryAsync(string model, params InferenceTensor[] inputs)
    {
        var json = JsonSerializer.SerializeToUtf8Bytes(new
        {
            id = "7",
            parameters = new { binary_data_output = true },
            inputs = inputs.Select(i => new { name = i.Name, shape = i.Shape, datatype = i.Datatype, parameters = new { binary_data_size = i.Data.Length } }),
        });
        var body = new ArrayBufferWriter<byte>();
        body.Write(json);
        foreach (var input in inputs)
        {
            body.Write(input.Data.Span);
        }

        using var request = new HttpRequestMessage(HttpMethod.Post, $"/v2/models/{model}/infer") { Content = new ReadOnlyMemoryContent(body.WrittenMemory) };
        request.Headers.Add("Inference-Header-Content-Length", $"{json.Length}");
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        using var answer = await Http.SendAsync(request, Cancel);
        var bytes = await answer.Content.ReadAsByteArrayAsync(Cancel);
        Assert.True(answer.IsSuccessStatusCode, System.Text.Encoding.UTF8.GetString(bytes));
        var length = int.Parse(answer.Headers.GetValues("Inference-Header-Content-Length").Single(), System.Globalization.CultureInfo.InvariantCulture);
        using var head = JsonDocument.Parse(bytes.AsMemory(0, length));
        var at = length;
        return [.. head.RootElement.GetProperty("outputs").EnumerateArray().Select(o =>
        {
            var size = o.GetProperty("parameters").GetProperty("binary_data_size").GetInt32();
            at += size;
            return new InferenceTensor(
                o.GetProperty("name").GetString()!, o.GetProperty("datatype").GetString()!, [.. o.GetProperty("shape").EnumerateArray().Select(d => d.GetInt64())],
                bytes.AsMemory(at - size, size));
        })];
    }

    /// <summary>Infers over gRPC with raw contents.</summary>
    public async Task<IReadOnlyList<InferenceTensor>> InferGrpcAsync(string model, params InferenceTensor[] inputs)
    {
        var request = new ModelInferRequest { ModelName = model };
        foreach (var input in inputs)
        {
            request.Inputs.Add(new ModelInferRequest.Types.InferInputTensor { Name = input.Name, Datatype = input.Datatype, Shape = { input.Shape } });
            request.RawInputContents.Add(Google.Protobuf.UnsafeByteOperations.UnsafeWrap(input.Data));
        }

        var answer = await Grpc.ModelInferAsync(request, cancellationToken: Cancel);
        return [.. answer.Outputs.Select((o, i) => new InferenceTensor(o.Name, o.Datatype, [.. o.Shape], answer.RawOutputContents[i].Memory))];
    }

    /// <summary>As a client that asks again after an error.</summary>
    public async Task<IReadOnlyList<InferenceTensor>> InferAgainAsync(string model, params InferenceTensor[] inputs)
    {
        IReadOnlyList<InferenceTensor>? outputs = null;
        await Wait.UntilAsync(async () =>
        {
            try
            {
                outputs = await InferGrpcAsync(model, inputs);
                return true;
            }
            catch (global::Grpc.Core.RpcException e) when (e.StatusCode == global::Grpc.Core.StatusCode.Internal)
            {
                return false;
            }
        });
        return outputs!;
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        _channel.Dispose();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }
}
