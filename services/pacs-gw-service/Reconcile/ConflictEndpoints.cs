using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.PacsGw.Reconcile;

/// <summary>Patient conflicts, for a person to decide.</summary>
internal static class ConflictEndpoints
{
    private const int MaxConflicts = 200;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/conflicts", (ConflictDesk desk) => TypedResults.Ok(desk.Open(MaxConflicts))).WithSummary("Instances whose patient is not their study's").Needs(Permission.ReadStudies);
        routes.MapPost("/conflicts/{key:long}", DecideAsync).WithSummary("Decide a conflict").Needs(Permission.WriteStudies);
    }

    private static async Task<Results<NoContent, ProblemHttpResult>> DecideAsync(
        long key, ConflictDecision decision, ConflictDesk desk, HttpContext context, CancellationToken cancellationToken) =>
        decision.Decision is not (ConflictDecision.SamePatient or ConflictDecision.KeepApart)
            ? TypedResults.Problem(
                $"decision is '{decision.Decision}'; accepted are {ConflictDecision.SamePatient} and {ConflictDecision.KeepApart}.", statusCode: 400)
            : await desk.DecideAsync(key, decision.Decision, Caller.AgentOf(context), cancellationToken)
                ? TypedResults.NoContent()
                : TypedResults.Problem($"There is no open conflict {key}.", statusCode: 404);
}
