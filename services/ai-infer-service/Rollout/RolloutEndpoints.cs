using System.Text.Json;
using Dapper;
using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.AiInfer.Clinical;
using Yizhan.Contracts;
using Yizhan.Platform.Bundles;
using Yizhan.Platform.Identity;

namespace Yizhan.AiInfer.Rollout;

/// <summary>Rollouts for people: promote, hold, roll back; and the results.</summary>
internal static class RolloutEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/rollouts/{model}", (RolloutDesk desk, string model) => Answer(() => Task.FromResult(desk.View(model)))).Needs(Permission.UseModels);
        routes.MapPost("/rollouts/{model}/promote", (RolloutDesk desk, HttpContext context, string model, RolloutRequest request, CancellationToken cancellationToken) =>
            Answer(() => desk.PromoteAsync(model, request.Version ?? throw new BundleRefusedException("A version is needed."), request.Percent ?? 100, Caller.AgentOf(context), request.Reason, cancellationToken))).Needs(Permission.ManageModels);
        routes.MapPost("/rollouts/{model}/hold", (RolloutDesk desk, HttpContext context, string model, RolloutRequest request, CancellationToken cancellationToken) =>
            Answer(() => desk.HoldAsync(model, request.All, Caller.AgentOf(context), request.Reason, cancellationToken))).Needs(Permission.ManageModels);
        routes.MapPost("/rollouts/{model}/rollback", (RolloutDesk desk, HttpContext context, string model, RolloutRequest request, CancellationToken cancellationToken) =>
            Answer(() => desk.RollbackAsync(model, Caller.AgentOf(context), request.Reason, cancellationToken))).Needs(Permission.ManageModels);
        routes.MapGet("/report", (ModelReporter reporter) => TypedResults.Ok(reporter.Report())).WithSummary("What this node would tell the centre of its models now").Needs(Permission.UseModels);
        routes.MapGet("/results", (AnalysisDatabase database, string? study) => TypedResults.Ok<IReadOnlyList<AnalysisFinished>>(
            [.. database.Do(c => c.Query<byte[]>("SELECT data FROM result ORDER BY id DESC LIMIT 1000").ToList())
                .Select(data => JsonSerializer.Deserialize(data, ContractsJson.Default.AnalysisFinished)!)
                .Where(r => study is null || r.StudyInstanceUid == study)
                .Take(200)])).Needs(Permission.UseModels);
    }

    private static async Task<Results<Ok<RolloutView>, ProblemHttpResult>> Answer(Func<Task<RolloutView>> work)
    {
        try
        {
            return TypedResults.Ok(await work());
        }
        catch (BundleRefusedException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 422);
        }
        catch (TurnLostException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 503);
        }
    }
}
