using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Platform.Identity;

namespace Yizhan.PacsGw.Rules;

/// <summary>What is owed to whom, and what waits for a person.</summary>
internal static class RouteEndpoints
{
    private const int MaxFailed = 200;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/routes", (RouteSender sender) => TypedResults.Ok(sender.View())).WithSummary("Destinations of the rules, with what they are owed").Needs(Permission.UsePeers);
        routes.MapGet("/routes/failed", (RouteQueue queue) => TypedResults.Ok(queue.Failed(MaxFailed))).WithSummary("Copies that wait for a person").Needs(Permission.UsePeers);
        routes.MapPost("/routes/failed/{pk:long}/retry", Retry).WithSummary("Try a failed copy again").Needs(Permission.UsePeers);
        routes.MapDelete("/routes/failed/{pk:long}", DropAsync).WithSummary("Give a failed copy up").Needs(Permission.UsePeers);
    }

    private static Results<NoContent, ProblemHttpResult> Retry(long pk, RouteQueue queue) =>
        queue.Retry(pk) ? TypedResults.NoContent() : NotFailed(pk);

    private static async Task<Results<NoContent, ProblemHttpResult>> DropAsync(long pk, RouteQueue queue, CancellationToken cancellationToken) =>
        await queue.DropAsync(pk, cancellationToken) ? TypedResults.NoContent() : NotFailed(pk);

    private static ProblemHttpResult NotFailed(long pk) => TypedResults.Problem($"There is no failed copy {pk}.", statusCode: 404);
}
