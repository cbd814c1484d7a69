using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;
using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.Fleet.Accounts;
using Yizhan.Fleet.Drills;
using Yizhan.Fleet.Enrolment;
using Yizhan.Fleet.Logs;
using Yizhan.Fleet.Models;
using Yizhan.Fleet.Releases;
using Yizhan.Platform.Identity;

namespace Yizhan.Fleet;

/// <summary>What people and the console ask about sites.</summary>
internal static class FleetEndpoints
{
    /// <summary>A stream repeats itself this often even when nothing was reported: going offline is a change that nobody reports.</summary>
    private static readonly TimeSpan Refresh = TimeSpan.FromSeconds(2);

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/sites", (SiteRegistry sites) => TypedResults.Ok(sites.Sites())).Needs(Permission.ReadFleet);
        routes.MapGet("/sites/{site}/history", History).WithSummary("What waited at a site, of the last hours").Needs(Permission.ReadFleet);
        routes.MapGet("/sites/{site}/log", Log).WithSummary("Warnings and errors of a site, the newest first").Needs(Permission.ReadFleet);
        routes.MapGet("/sites/stream", Stream).Needs(Permission.ReadFleet);
        EventsEndpoint.Map(routes);
        ReleaseEndpoints.Map(routes);
        EnrolmentEndpoints.Map(routes);
        EmergencyEndpoints.Map(routes);
        ModelEndpoints.Map(routes);
        DrillEndpoints.Map(routes);
    }

    private static Results<Ok<SiteLogView>, ProblemHttpResult> Log(string site, SiteLogBook book, string? level, int limit = 200) =>
        limit is < 1 or > SiteLogBook.KeptLines ? TypedResults.Problem($"limit is {limit}; accepted is 1 to {SiteLogBook.KeptLines}.", statusCode: 400)
        : level is not (null or "warning" or "error" or "critical") ? TypedResults.Problem($"level is '{level}'; accepted are warning, error and critical.", statusCode: 400)
        : TypedResults.Ok(book.Of(site, level, limit));

    private static Results<Ok<IReadOnlyList<SiteFigures>>, ProblemHttpResult> History(string site, SiteRegistry sites, int hours = 24) =>
        hours is < 1 or > SiteRegistry.HistoryHours
            ? TypedResults.Problem($"hours is {hours}; accepted is 1 to {SiteRegistry.HistoryHours}.", statusCode: 400)
            : TypedResults.Ok(sites.History(site, hours));

    /// <summary>Server-sent events of type <c>sites</c>: all sites, at once and then after each change, at most twice a second.</summary>
    private static ServerSentEventsResult<IReadOnlyList<SiteView>> Stream(
        SiteRegistry sites, TimeProvider clock, CancellationToken cancellationToken) =>
        TypedResults.ServerSentEvents(Views(sites, clock, cancellationToken));

    private static async IAsyncEnumerable<SseItem<IReadOnlyList<SiteView>>> Views(
        SiteRegistry sites, TimeProvider clock, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            var changed = sites.Changed;
            yield return new SseItem<IReadOnlyList<SiteView>>(sites.Sites(), "sites");
            await Task.Delay(TimeSpan.FromMilliseconds(500), clock, cancellationToken);
            await changed.WaitAsync(Refresh, clock, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
