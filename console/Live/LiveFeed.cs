using System.Net;
using System.Net.Http.Headers;
using System.Net.ServerSentEvents;
using System.Text.Json;

namespace Yizhan.Console.Live;

/// <summary>
/// Keeps one list of one service up to date for all open pages: the service's event stream where it has one, its list every
/// <see cref="PollPeriod"/> where not. Any failure is shown, and answered with another attempt after a growing delay.
/// </summary>
internal sealed partial class LiveFeed<T>(FeedSource<T> source, HttpClient http, TimeProvider clock, ILogger logger)
{
    /// <summary>Between two lists while there is no stream.</summary>
    internal static readonly TimeSpan PollPeriod = TimeSpan.FromSeconds(2);

    /// <summary>Between two lists beside a stream: what changes without an event (a site that falls silent) shows within it.</summary>
    internal static readonly TimeSpan RefreshPeriod = TimeSpan.FromSeconds(5);

    /// <summary>Longest delay before another attempt.</summary>
    internal static readonly TimeSpan LongestBackOff = TimeSpan.FromSeconds(15);

    private static readonly TimeSpan AnswerTimeout = TimeSpan.FromSeconds(10);

    /// <summary>Polls before the stream is asked for again; the service may have been upgraded.</summary>
    private const int PollsPerStreamAttempt = 30;

    /// <summary>Bytes between two events above which the stream is not one of ours.</summary>
    private const int LongestEvent = 1024 * 1024;

    private FeedView<T> _view = new();

    /// <summary>The newest state; a page that draws compares it by reference with the one that it drew.</summary>
    public FeedView<T> View => Volatile.Read(ref _view);

    /// <summary>Runs until cancelled.</summary>
    public async Task RunAsync(Uri address, CancellationToken cancellationToken)
    {
        var failures = 0;
        while (!cancellationToken.IsCancellationRequested)
        {
            FeedProblem problem;
            try
            {
                Show(View with { RetryAt = null });
                await FollowAsync(address, cancellationToken);
                failures = 0;
                continue;
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is HttpRequestException or IOException or OperationCanceledException or JsonException or InvalidDataException)
            {
                problem = new FeedProblem(address, e is HttpRequestException { StatusCode: { } status } ? (int)status : null,
                    e is JsonException or InvalidDataException);
                failures = View.State == FeedState.Live ? 1 : failures + 1;
                if (failures == 1)
                {
                    Interrupted(source.Name, address, e.Message);
                }
            }

            var delay = BackOff(failures);
            Show(View with { State = FeedState.Interrupted, Problem = problem, RetryAt = clock.GetUtcNow() + delay });
            try
            {
                await Task.Delay(delay, clock, cancellationToken);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    /// <summary>1, 2, 4, 8, 15, 15 … seconds. One console asks one service, so that jitter would spread nothing.</summary>
    internal static TimeSpan BackOff(int failures) =>
        TimeSpan.FromSeconds(Math.Min(LongestBackOff.TotalSeconds, Math.Pow(2, Math.Min(failures - 1, 10))));

    /// <summary>Returns when another attempt should be made at once; throws when after a delay.</summary>
    private async Task FollowAsync(Uri address, CancellationToken cancellationToken)
    {
        using var response = await OpenStreamAsync(address, cancellationToken);
        if (response is null)
        {
            await PollAsync(address, cancellationToken);
            return;
        }

        // The stream is open before the list is asked for, so that no change falls between them.
        Replace(await ListAsync(address, cancellationToken));
        await using var body = new BudgetedStream(await response.Content.ReadAsStreamAsync(cancellationToken), LongestEvent);
        await using var events = SseParser.Create(body, (_, data) => source.Parse(data)).EnumerateAsync(cancellationToken)
            .GetAsyncEnumerator(cancellationToken);
        var next = events.MoveNextAsync().AsTask();
        try
        {
            var listedAt = clock.GetTimestamp();
            while (true)
            {
                var left = RefreshPeriod - clock.GetElapsedTime(listedAt);
                if (left <= TimeSpan.Zero || !await EndsWithinAsync(next, left, cancellationToken))
                {
                    Replace(await ListAsync(address, cancellationToken));
                    listedAt = clock.GetTimestamp();
                    continue;
                }

                if (!await next)
                {
                    throw new IOException("The event stream ended.");
                }

                Merge(events.Current.Data);
                body.Renew();
                next = events.MoveNextAsync().AsTask();
            }
        }
        finally
        {
            // The enumerator may not be disposed while it reads; without its body it stops reading.
            response.Dispose();
            await next.ContinueWith(static t => t.Exception, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }
    }

    private async Task<bool> EndsWithinAsync(Task task, TimeSpan time, CancellationToken cancellationToken)
    {
        try
        {
            await task.WaitAsync(time, clock, cancellationToken);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    private async Task PollAsync(Uri address, CancellationToken cancellationToken)
    {
        for (var i = 0; i < PollsPerStreamAttempt; i++)
        {
            Replace(await ListAsync(address, cancellationToken));
            await Task.Delay(PollPeriod, clock, cancellationToken);
        }
    }

    /// <summary>Null when the service has no stream.</summary>
    private async Task<HttpResponseMessage?> OpenStreamAsync(Uri address, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(address, source.StreamPath));
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("text/event-stream"));
        using var deadline = Deadline(cancellationToken);
        var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, deadline.Token);
        if (response.IsSuccessStatusCode && response.Content.Headers.ContentType?.MediaType == "text/event-stream")
        {
            return response;
        }

        using (response)
        {
            if (response.StatusCode is not (HttpStatusCode.NotFound or HttpStatusCode.MethodNotAllowed or HttpStatusCode.NotAcceptable or HttpStatusCode.NotImplemented))
            {
                response.EnsureSuccessStatusCode();
            }

            return null;
        }
    }

    private async Task<IReadOnlyList<T>> ListAsync(Uri address, CancellationToken cancellationToken)
    {
        using var deadline = Deadline(cancellationToken);
        using var response = await http.GetAsync(new Uri(address, source.ListPath), deadline.Token);
        response.EnsureSuccessStatusCode();
        return JsonSerializer.Deserialize(await response.Content.ReadAsByteArrayAsync(cancellationToken), source.ListType)
            ?? throw new JsonException("The list is null.");
    }

    private static CancellationTokenSource Deadline(CancellationToken cancellationToken)
    {
        var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(AnswerTimeout);
        return deadline;
    }

    /// <summary>Shows the list as the service has it now.</summary>
    private void Replace(IReadOnlyList<T> list)
    {
        var known = View.Items.ToDictionary(i => source.Key(i.Value));
        ShowItems(list.DistinctBy(source.Key).Select(value => new FeedItem<T>(value, ArrivedAt(known, value))));
    }

    /// <summary>Adds or replaces single records.</summary>
    private void Merge(IReadOnlyList<T> changes)
    {
        var items = View.Items.ToDictionary(i => source.Key(i.Value));
        foreach (var value in changes)
        {
            if (items.TryGetValue(source.Key(value), out var old) && source.ChangedMs(old.Value) > source.ChangedMs(value))
            {
                continue;
            }

            items[source.Key(value)] = new FeedItem<T>(value, ArrivedAt(items, value));
        }

        ShowItems(items.Values);
    }

    private DateTimeOffset? ArrivedAt(Dictionary<string, FeedItem<T>> known, T value) =>
        known.TryGetValue(source.Key(value), out var old) ? old.ArrivedAt
        : View.UpdatedAt is null ? null
        : clock.GetUtcNow();

    private void ShowItems(IEnumerable<FeedItem<T>> items)
    {
        var sorted = items.ToArray();
        Array.Sort(sorted, (a, b) => source.Order(a.Value, b.Value));
        if (View.State == FeedState.Interrupted)
        {
            Resumed(source.Name);
        }

        Show(new FeedView<T>(FeedState.Live, [.. sorted.Take(source.Limit)], clock.GetUtcNow(), Problem: null, RetryAt: null));
    }

    private void Show(FeedView<T> view) => Volatile.Write(ref _view, view);

    // The messages of the exceptions name addresses and positions, never the content of a record.
    [LoggerMessage(10001, LogLevel.Warning, "The feed of {Feed} from {Address} is interrupted and will be tried again: {Reason}")]
    private partial void Interrupted(string feed, Uri address, string reason);

    [LoggerMessage(10002, LogLevel.Information, "The feed of {Feed} is live again.")]
    private partial void Resumed(string feed);
}
