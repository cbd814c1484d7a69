using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using Yizhan.Platform.Bundles;
using Yizhan.Platform.Identity;

namespace Yizhan.NmtAsr.Packs;

/// <summary>A pack as a person sees it; an element of <c>GET /nmt-asr/packs</c>.</summary>
internal sealed record PackView(
    string Name, string Version, string Task, string Engine, string Licence, string Description, IReadOnlyList<string> Dialects, bool Ships, IReadOnlyList<string> SignedBy, bool ClinicalUse,
    string? Problem, IReadOnlyDictionary<string, string> Figures);

/// <summary>Packs: what there is, and a way in for new ones.</summary>
internal static class PackEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/packs", (PackStore packs) => TypedResults.Ok(Views(packs))).Needs(Permission.UseModels);
        routes.MapPost("/packs", AddAsync).Needs(Permission.ManageModels);
    }

    private static IReadOnlyList<PackView> Views(PackStore packs) =>
    [
        .. packs.All.Select(p => new PackView(
            p.Name, p.Version, p.Settings.Task, p.Settings.Engine, p.Settings.Licence, p.Settings.Description, p.Settings.Dialects ?? [], p.Ships, p.SignedBy, p.Settings.ClinicalUse,
            packs.Problem(p), p.Settings.Figures ?? new Dictionary<string, string>())),
        .. packs.Refused.Select(r => new PackView(r.Key, "", "", "", "", "", [], false, [], false, r.Value, new Dictionary<string, string>())),
    ];

    private static async Task<Results<Created<string>, ProblemHttpResult>> AddAsync(HttpContext context, PackStore packs, IOptions<NmtAsrOptions> options, CancellationToken cancellationToken)
    {
        var limit = options.Value.MaxPackMiB * 1024L * 1024;
        if (context.Request.ContentLength > limit)
        {
            return TypedResults.Problem($"The pack has {context.Request.ContentLength} bytes; accepted: up to {limit} (nmt-asr:maxPackMiB).", statusCode: 413);
        }

        context.Features.Get<IHttpMaxRequestBodySizeFeature>()?.MaxRequestBodySize = limit;
        try
        {
            await using var file = new FileStream(Path.GetTempFileName(), FileMode.Create, FileAccess.ReadWrite, FileShare.None, 128 * 1024, FileOptions.DeleteOnClose);
            await context.Request.Body.CopyToAsync(file, cancellationToken);
            file.Position = 0;
            var pack = await packs.AddAsync(file, cancellationToken);
            return TypedResults.Created($"/nmt-asr/packs/{pack.Name}", pack.Id);
        }
        catch (BundleRefusedException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 422);
        }
    }
}
