using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.Fleet;

/// <summary>The centre's event log, page by page, without the facts themselves: what arrived, from where, in which place.</summary>
internal static class EventsEndpoint
{
    private const int MaxEvents = 1000;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/events", ReadAsync).WithSummary("Entries of the event log after a position").Needs(Permission.ReadEvents);

    private static async Task<Results<Ok<IReadOnlyList<LogEvent>>, ProblemHttpResult>> ReadAsync(
        IEventLog log, CancellationToken cancellationToken, long after = 0, int limit = 100)
    {
        if (limit is < 1 or > MaxEvents)
        {
            return TypedResults.Problem($"limit is {limit}; accepted is 1 to {MaxEvents}.", statusCode: 400);
        }

        var page = await log.ReadAsync(after, limit, cancellationToken);
        return TypedResults.Ok<IReadOnlyList<LogEvent>>([.. page.Select(View)]);
    }

    private static LogEvent View(LoggedEntry e) => new(
        e.Position, e.Identity.Site, e.Identity.Epoch, e.Identity.Lane.ToString().ToLowerInvariant(), e.Identity.Sequence,
        e.Entry.Type, e.Entry.TimeMs, [.. e.Entry.Blobs.Select(blob => blob.Hash.ToString())]);
}
