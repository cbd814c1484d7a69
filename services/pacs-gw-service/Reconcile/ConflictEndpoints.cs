using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.PacsGw.DicomWeb;

namespace Yizhan.PacsGw.Reconcile;

/// <summary>Patient conflicts, for a person to decide.</summary>
internal static class ConflictEndpoints
{
    private const int MaxConflicts = 200;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/conflicts", (ConflictDesk desk) => TypedResults.Ok(desk.Open(MaxConflicts))).WithSummary("Instances whose patient is not their study's");
        routes.MapPost("/conflicts/{key:long}", DecideAsync).WithSummary("Decide a conflict");
    }

    private static async Task<Results<NoContent, ProblemHttpResult>> DecideAsync(
        long key, ConflictDecision decision, ConflictDesk desk, HttpContext context, CancellationToken cancellationToken) =>
        decision.Decision is not (ConflictDecision.SamePatient or ConflictDecision.KeepApart)
            ? TypedResults.Problem(
                $"decision is '{decision.Decision}'; accepted are {ConflictDecision.SamePatient} and {ConflictDecision.KeepApart}.", statusCode: 400)
            : await desk.DecideAsync(key, decision.Decision, DicomWebEndpoints.Agent(context), cancellationToken)
                ? TypedResults.NoContent()
                : TypedResults.Problem($"There is no open conflict {key}.", statusCode: 404);
}
