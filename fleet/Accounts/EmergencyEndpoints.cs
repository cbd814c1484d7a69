using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Fleet.Accounts;

/// <summary>The queue of emergency access for those who look at it.</summary>
internal static class EmergencyEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/emergencies", (EmergencyBook queue) => TypedResults.Ok(queue.ToReview())).WithSummary("Emergency access of all sites that nobody has looked at")
            .Needs(Permission.ReviewEmergencies);
        routes.MapPost("/emergencies/{site}/{id}/review", ReviewAsync).WithSummary("Closes an emergency access of somebody else").Needs(Permission.ReviewEmergencies, "site");
    }

    private static async Task<Results<NoContent, ProblemHttpResult>> ReviewAsync(
        string site, string id, EmergencyVerdict verdict, HttpContext context, EmergencyBook queue, CancellationToken cancellationToken)
    {
        try
        {
            return await queue.ReviewAsync(site, id, Caller.AgentOf(context), verdict.Verdict, cancellationToken)
                ? TypedResults.NoContent()
                : TypedResults.Problem($"No emergency access '{id}' of {site} waits for review.", statusCode: 404);
        }
        catch (ArgumentException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 400);
        }
    }
}
