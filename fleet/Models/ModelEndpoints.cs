using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Fleet.Models;

/// <summary>Models of all sites for people: what they report, what they found, and orders to a site.</summary>
internal static class ModelEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/models", (ModelBook book, HttpContext context) =>
            TypedResults.Ok<IReadOnlyList<ModelsReported>>([.. book.Reports().Where(r => Sees(context, r.Site))])).WithSummary("What each site last said of its models").Needs(Permission.UseModels);
        routes.MapGet("/findings", (ModelBook book, HttpContext context, string? study) =>
            TypedResults.Ok<IReadOnlyList<SiteAnalysis>>([.. book.Findings(study).Where(f => Sees(context, f.Site))])).WithSummary("The newest results of models, at most 200").Needs(Permission.UseModels);
        routes.MapPost("/models/{site}/{model}/{action}", OrderAsync).WithSummary("Orders a change of a rollout at a site: promote, hold or rollback").Needs(Permission.ManageModels, "site");
    }

    private static bool Sees(HttpContext context, string site) => Caller.Of(context)?.May(Permission.UseModels, site) == true;

    private static async Task<Results<Accepted<RolloutOrder>, ProblemHttpResult>> OrderAsync(
        string site, string model, string action, RolloutRequest request, HttpContext context, ModelBook book, CancellationToken cancellationToken)
    {
        try
        {
            // Accepted, not done: the site does it when it hears of it, and says so in its next report.
            return TypedResults.Accepted((string?)null, await book.OrderAsync(site, model, action, request, Caller.AgentOf(context), cancellationToken));
        }
        catch (ArgumentException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 422);
        }
    }
}
