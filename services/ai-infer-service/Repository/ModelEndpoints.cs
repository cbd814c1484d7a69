using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using Yizhan.AiInfer.Engine;
using Yizhan.AiInfer.Protocol;
using Yizhan.Contracts;
using Yizhan.Platform.Bundles;
using Yizhan.Platform.Identity;

namespace Yizhan.AiInfer.Repository;

/// <summary>Bundles for people: what there is, and a way in for new ones.</summary>
internal static class ModelEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/models", (ModelRepository repository) => TypedResults.Ok(Views(repository))).Needs(Permission.UseModels);
        routes.MapPost("/models", AddAsync).Needs(Permission.ManageModels);
        routes.MapGet("/metrics", (ModelRepository repository) =>
            TypedResults.Text(MetricsText.Write([.. repository.Index().Select(h => h.Runner).OfType<ModelRunner>()]), "text/plain; version=0.0.4")).OpenToAll("Figures, never of a patient; Prometheus has no token of a person.");
    }

    private static async Task<Results<Created<string>, ProblemHttpResult>> AddAsync(
        HttpContext context, ModelRepository repository, IOptions<AiInferOptions> options, CancellationToken cancellationToken)
    {
        var limit = options.Value.MaxBundleMiB * 1024L * 1024;
        if (context.Request.ContentLength > limit)
        {
            return TypedResults.Problem($"The bundle has {context.Request.ContentLength} bytes; accepted: up to {limit} (ai-infer:maxBundleMiB).", statusCode: 413);
        }

        context.Features.Get<IHttpMaxRequestBodySizeFeature>()?.MaxRequestBodySize = limit;
        var path = Path.GetTempFileName();
        try
        {
            await using var file = new FileStream(path, FileMode.Create, FileAccess.ReadWrite, FileShare.None, 128 * 1024, FileOptions.DeleteOnClose);
            await context.Request.Body.CopyToAsync(file, cancellationToken);
            file.Position = 0;
            var bundle = await repository.AddAsync(file, cancellationToken);
            return TypedResults.Created($"/ai-infer/models/{bundle.Manifest.Name}/{bundle.Manifest.Version}", $"{bundle.Manifest.Name} {bundle.Manifest.Version}");
        }
        catch (BundleRefusedException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 422);
        }
    }

    private static IReadOnlyList<ModelView> Views(ModelRepository repository) => [.. repository.Index().Select(held =>
    {
        ModelBundle? bundle = null;
        var problem = held.Reason;
        try
        {
            bundle = repository.Bundle(held.Name, held.Version);
        }
        catch (BundleRefusedException e)
        {
            problem = e.Message;
        }

        return new ModelView(
            held.Name, held.Version, held.State, problem, held.Ships, bundle?.Digest, bundle?.SignedBy ?? [], bundle?.Metadata["description"]?.ToString(),
            bundle?.Settings.ClinicalUse ?? false, held.Runner?.Engine.RunsOn, held.Runner?.Statistics.View().Success.Count ?? 0, bundle?.Settings.Figures?.Values);
    })];
}
