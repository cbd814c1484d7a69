using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.Fleet.Drills;

/// <summary>Which drills were run, with what result, and which are due.</summary>
internal static class DrillEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/drills", (DrillBook book) => TypedResults.Ok(book.Kinds())).Needs(Permission.ReadFleet);
        routes.MapGet("/drills/current", (DrillRunner runner) => TypedResults.Ok(runner.View())).WithSummary("The drill that runs, or ran last, with its newest lines").Needs(Permission.ReadFleet);
        routes.MapPost("/drills/current", StartAsync).WithSummary("Starts a drill on processes of its own; one at a time").Needs(Permission.MaintainLog);
        routes.MapDelete("/drills/current", CancelAsync).WithSummary("Ends the drill that runs").Needs(Permission.MaintainLog);
        routes.MapGet("/drills/{id}", Report).Needs(Permission.ReadFleet);
    }

    private static async Task<Results<Accepted<DrillDeskView>, ProblemHttpResult>> StartAsync(
        DrillStart start, HttpContext context, DrillRunner runner, CancellationToken cancellationToken)
    {
        if (!DrillKinds.All.Contains(start.Kind))
        {
            return TypedResults.Problem($"kind is '{(start.Kind.Length > 40 ? start.Kind[..40] : start.Kind)}'; accepted: {string.Join(", ", DrillKinds.All)}.", statusCode: 400);
        }

        try
        {
            return await runner.StartAsync(start.Kind, start.Quick, Caller.AgentOf(context), cancellationToken) is { } problem
                ? TypedResults.Problem(problem, statusCode: 409)
                : TypedResults.Accepted("/fleet/drills/current", runner.View());
        }
        catch (SpoolFullException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 507);
        }
    }

    private static async Task<Results<Accepted<DrillDeskView>, ProblemHttpResult>> CancelAsync(HttpContext context, DrillRunner runner, CancellationToken cancellationToken) =>
        await runner.CancelAsync(Caller.AgentOf(context), cancellationToken)
            ? TypedResults.Accepted("/fleet/drills/current", runner.View())
            : TypedResults.Problem("No drill is running.", statusCode: 409);

    private static Results<Ok<DrillFinished>, ProblemHttpResult> Report(string id, DrillBook book) => book.Report(id) is { } report
        ? TypedResults.Ok(report)
        : TypedResults.Problem("There is no run of that id, or it was of long ago; the audit log still has it.", statusCode: 404);
}
