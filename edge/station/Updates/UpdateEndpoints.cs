using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Station.Updates;

/// <summary>The gate for scripts, and for the person who opens it.</summary>
internal static class UpdateEndpoints
{
    private const int MaxMinutes = 240;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/updates/gate", Ask).WithSummary("200: the site may be restarted now; 409: not now, with the reasons, one in a line")
            .OpenToAll("Counts of what is under way, for the update scripts of the box, which have no token.");
        routes.MapGet("/updates", (IdleGate gate) => TypedResults.Ok(gate.View())).WithSummary("The same for people; nothing waits because of it").Needs(Permission.ReadFleet);
        routes.MapPost("/updates/allow", AllowAsync).WithSummary("Lets the site be restarted for some minutes, whatever is under way").Needs(Permission.ManageMachines);
    }

    private static ContentHttpResult Ask(IdleGate gate)
    {
        var view = gate.Ask();
        return TypedResults.Text(
            view.AllowedBy is { } by && view.Reasons.Count > 0 ? $"Allowed by {by}." : view.Open ? "The site is idle." : string.Join('\n', view.Reasons),
            statusCode: view.Open ? StatusCodes.Status200OK : StatusCodes.Status409Conflict);
    }

    private static async Task<Results<Ok<UpdateGateView>, ProblemHttpResult>> AllowAsync(UpdateAllowance allowance, IdleGate gate, CancellationToken cancellationToken)
    {
        if (allowance.By is not { Length: > 0 and <= 200 } || allowance.Reason is not { Length: > 0 and <= 1000 } || allowance.Minutes is < 1 or > MaxMinutes)
        {
            return TypedResults.Problem(
                $"Leave to restart a site names who gives it (by, 1 to 200 characters), why (reason, 1 to 1000) and for how long (minutes, 1 to {MaxMinutes}).", statusCode: 400);
        }

        await gate.AllowAsync(allowance, cancellationToken);
        return TypedResults.Ok(gate.View());
    }
}
