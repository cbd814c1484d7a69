using System.Globalization;
using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.PacsGw.Archive;
using Yizhan.Platform.Identity;

namespace Yizhan.PacsGw;

/// <summary>The archive for the console: a list, and the list as it changes.</summary>
internal static class StudyEndpoints
{
    private const int MaxStudies = 1000;
    private const int MaxProgress = 100;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/studies", List).WithSummary("Studies, newest first").Needs(Permission.ReadStudies);
        routes.MapGet("/studies/progress", Progress).WithSummary("How far some studies have come; nothing of a patient").Needs(Permission.ReadStudies);
        routes.MapGet("/studies/stream", StreamAsync).WithSummary("Studies as they change, as server-sent events").Needs(Permission.ReadStudies);
    }

    private static Results<Ok<IReadOnlyList<StudyView>>, ProblemHttpResult> List(StudyList studies, int limit = 100, long since = 0) =>
        limit is < 1 or > MaxStudies
            ? TypedResults.Problem($"limit is {limit}; accepted is 1 to {MaxStudies}.", statusCode: 400)
            : TypedResults.Ok(studies.Newest(since, limit));

    private static Results<Ok<IReadOnlyList<StudyProgress>>, ProblemHttpResult> Progress(StudyList studies, string[] uid) =>
        uid.Length is < 1 or > MaxProgress ? TypedResults.Problem($"uid is given {uid.Length} times; accepted is 1 to {MaxProgress} times.", statusCode: 400)
        : Array.Find(uid, u => !Uid.IsValid(u)) is not null ? TypedResults.Problem("A uid is not one: digits and dots, at most 64 characters.", statusCode: 400)
        : TypedResults.Ok(studies.Progress(uid));

    /// <summary>Goes on after <c>Last-Event-ID</c>; without it, starts with what changes from now on. Ends when the node stops.</summary>
    private static async Task StreamAsync(StudyList studies, HttpContext context, IHostApplicationLifetime lifetime)
    {
        var after = long.TryParse(context.Request.Headers["Last-Event-ID"], NumberStyles.None, CultureInfo.InvariantCulture, out var last)
            ? last
            : studies.LastChange();
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, lifetime.ApplicationStopping);
        context.Response.ContentType = "text/event-stream";
        context.Response.Headers.CacheControl = "no-cache, no-store";
        try
        {
            // A client that asks for the list once the stream is open would otherwise wait for the first change.
            await context.Response.Body.FlushAsync(ending.Token);
            await SseFormatter.WriteAsync(
                Items(studies, after, ending.Token),
                context.Response.Body,
                static (item, json) =>
                {
                    using var writer = new Utf8JsonWriter(json);
                    JsonSerializer.Serialize(writer, item.Data, ContractsJson.Default.StudyView);
                },
                ending.Token);
        }
        catch (OperationCanceledException) when (ending.IsCancellationRequested)
        {
            // The client left or the node stops: that is how this ends.
        }
    }

    private static async IAsyncEnumerable<SseItem<StudyView>> Items(
        StudyList studies, long after, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await foreach (var (change, view) in studies.FollowAsync(after, cancellationToken))
        {
            yield return new SseItem<StudyView>(view, "study") { EventId = change.ToString(CultureInfo.InvariantCulture) };
        }
    }
}
