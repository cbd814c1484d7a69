using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.Extensions.Logging;

namespace Yizhan.Storage;

/// <summary>
/// Calls to the process that owns the log. A call whose connection broke, or that found the owner busy or away, is made again until its patience ends:
/// every call may be made twice (an append is known by the ids of its entries). What the owner refuses is thrown as the log itself would throw it.
/// </summary>
internal sealed partial class LogLine : IAsyncDisposable
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(2);
    /// <summary>An owner whose machine is gone says nothing at all: another connection is tried after this.</summary>
    private static readonly TimeSpan LongestAttempt = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan Watch = TimeSpan.FromSeconds(10);

    private readonly HttpClient _http;
    private readonly Uri _base;
    private readonly TimeSpan _patience;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _closing = new();
    private readonly Lock _gate = new();
    private readonly Waiters _waiting = new();
    private Action<string> _otherLog = _ => { };
    private Task _watching = Task.CompletedTask;
    private LogStand? _state;
    private IOException? _fault;
    private string? _away;
    private long _awaySince;
    private bool _disposed;

    private LogLine(HttpMessageHandler handler, Uri address, TimeSpan patience, TimeProvider clock, ILogger logger)
    {
        _http = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
        (_base, _patience, _clock, _logger) = (address, patience, clock, logger);
    }

    /// <summary>Where the log stands.</summary>
    /// <exception cref="IOException">It is another log by now.</exception>
    public LogStand State => _fault is { } fault ? throw new IOException(fault.Message, fault) : _state!;

    /// <summary>Why it cannot be used; null while it can.</summary>
    public string? Problem => _fault?.Message ?? _away;

    /// <summary>True once it is another log: only a new start helps.</summary>
    public bool IsOtherLog => _fault is not null;

    /// <summary>For those who would accept something that the log has to take: not after it has been away for as long as a call waits.</summary>
    /// <exception cref="IOException">It has.</exception>
    public void ThrowIfAwayForLong()
    {
        if (Problem is { } problem && (IsOtherLog || _clock.GetElapsedTime(_awaySince) > _patience))
        {
            throw new IOException(problem);
        }
    }

    /// <summary>Connects, and waits for an owner that is not there yet.</summary>
    /// <param name="handler">What sends; disposed with the line.</param>
    /// <param name="address">Of the routes, with a slash at the end.</param>
    /// <param name="patience">How long a call waits for an owner that is away.</param>
    /// <param name="otherLog">Told once, when the owner has another log than it had: this process has to begin again.</param>
    /// <param name="clock">The clock.</param>
    /// <param name="logger">Told when the owner goes away and comes back.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="IOException">The owner does not answer, or does not let this service in.</exception>
    public static async Task<LogLine> ConnectAsync(
        HttpMessageHandler handler, Uri address, TimeSpan patience, Action<string> otherLog, TimeProvider clock, ILogger logger, CancellationToken cancellationToken)
    {
        var line = new LogLine(handler, address, patience, clock, logger) { _otherLog = otherLog };
        try
        {
            await line.AskAsync(HttpMethod.Get, "state", null, Nothing, cancellationToken);
            line._watching = Task.Run(line.WatchAsync, CancellationToken.None);
            return line;
        }
        catch
        {
            await line.DisposeAsync();
            throw;
        }
    }

    /// <summary>Asks until there is an answer or its patience ends.</summary>
    /// <param name="method">GET, PUT, POST or DELETE.</param>
    /// <param name="path">Below the routes.</param>
    /// <param name="body">Makes the body anew for each attempt; null: none.</param>
    /// <param name="read">Reads the answer.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <param name="atMost">How long it asks; null: as long as the setting says.</param>
    /// <exception cref="IOException">There was none; nothing is known of what was asked.</exception>
    public async Task<T> AskAsync<T>(
        HttpMethod method, string path, Func<HttpContent>? body, Func<HttpResponseMessage, CancellationToken, Task<T>> read, CancellationToken cancellationToken,
        TimeSpan? atMost = null)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        var patience = atMost ?? _patience;
        var began = _clock.GetTimestamp();
        var pause = FirstPause;
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _closing.Token);
        while (true)
        {
            var left = patience - _clock.GetElapsedTime(began);
            Exception problem;
            using (var attempt = new CancellationTokenSource(left > LongestAttempt ? LongestAttempt : left > LongestPause ? left : LongestPause, _clock))
            using (var all = CancellationTokenSource.CreateLinkedTokenSource(either.Token, attempt.Token))
            {
                try
                {
                    var (answer, refusal) = await OnceAsync(method, path, body?.Invoke(), read, all.Token);
                    if (refusal is null)
                    {
                        return answer!;
                    }

                    problem = refusal.ToException();
                    if (refusal.Kind != RefusalKind.Busy)
                    {
                        throw new RefusedByOwnerException(problem);
                    }
                }
                catch (Exception e) when (e is HttpRequestException or IOException || (e is OperationCanceledException && !either.IsCancellationRequested))
                {
                    problem = e;
                }
                catch (RefusedByOwnerException e)
                {
                    // As the log itself would throw it.
                    throw e.InnerException!;
                }
            }

            cancellationToken.ThrowIfCancellationRequested();
            ObjectDisposedException.ThrowIf(_closing.IsCancellationRequested, this);
            if (_clock.GetElapsedTime(began) + pause >= patience)
            {
                throw new IOException($"The event log at {_base} did not answer for {patience.TotalSeconds:0} s: {Deepest(problem)} Nothing is known of what was asked.", problem);
            }

            await Task.Delay(pause, _clock, either.Token);
            pause = Longer(pause);
        }
    }

    /// <summary>An answer without content.</summary>
    public static Task<bool> Nothing(HttpResponseMessage answer, CancellationToken cancellationToken) => Task.FromResult(true);

    /// <summary>An answer of JSON.</summary>
    public static Func<HttpResponseMessage, CancellationToken, Task<T>> Json<T>(JsonTypeInfo<T> type) => async (answer, cancellationToken) =>
        await answer.Content.ReadFromJsonAsync(type, cancellationToken) ?? throw new JsonException("The answer is null.");

    /// <summary>Returns when the log has more than a position.</summary>
    public Task WaitForMoreAsync(long position, CancellationToken cancellationToken) => _waiting.WaitAsync(() => State.Position > position, cancellationToken);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        lock (_gate)
        {
            if (_disposed)
            {
                return;
            }

            _disposed = true;
        }

        _waiting.End(new ObjectDisposedException(nameof(LogLine)));
        await _closing.CancelAsync();
        await _watching;
        _http.Dispose();
        _closing.Dispose();
    }

    private async Task<(T? Answer, WireRefusal? Refusal)> OnceAsync<T>(
        HttpMethod method, string path, HttpContent? body, Func<HttpResponseMessage, CancellationToken, Task<T>> read, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(method, new Uri(_base, path)) { Content = body };
        using var answer = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        if (!answer.Headers.TryGetValues(LogStand.Header, out var states))
        {
            // Not the log: who stands before it refuses this service, or it is not where the setting says.
            return (default, new WireRefusal(
                answer.StatusCode is HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout ? RefusalKind.Busy : RefusalKind.Failed,
                $"{_base} answered {(int)answer.StatusCode}: {(answer.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden
                    ? "the flow list there gives the service of this certificate no 'as: log'." : "no event log is shared there.")}"));
        }

        if (answer.IsSuccessStatusCode)
        {
            var result = await read(answer, cancellationToken);
            Note(states.First());
            return (result, null);
        }

        var refusal = await answer.Content.ReadFromJsonAsync(LogWireJson.Default.WireRefusal, cancellationToken);
        Note(states.First());
        return (default, refusal);
    }

    private void Note(string header)
    {
        var state = JsonSerializer.Deserialize(header, LogWireJson.Default.LogStand)!;
        lock (_gate)
        {
            if (_state is { } known && known.Epoch != state.Epoch)
            {
                if (_fault is null)
                {
                    _fault = new IOException($"The log at {_base} has the epoch {state.Epoch}; this process read {known.Epoch} and has to be started again.");
                    _waiting.End(_fault);
                    _otherLog(_fault.Message);
                }

                return;
            }

            // Answers may overtake each other; a process that was started again counts from one.
            if (_state is null || _state.Boot != state.Boot || state.Version > _state.Version)
            {
                var advanced = _state is null || state.Position > _state.Position;
                _state = state;
                if (advanced)
                {
                    _waiting.Wake();
                }
            }
        }
    }

    /// <summary>Keeps the state fresh, and wakes who waits for more, until the line is closed.</summary>
    private async Task WatchAsync()
    {
        var pause = FirstPause;
        while (!_closing.IsCancellationRequested)
        {
            try
            {
                // One that breaks without a word is not waited for longer than this.
                using var enough = new CancellationTokenSource(Watch * 3, _clock);
                using var either = CancellationTokenSource.CreateLinkedTokenSource(enough.Token, _closing.Token);
                var (_, refusal) = await OnceAsync(HttpMethod.Get, $"state?after={_state!.Position}&seconds={Watch.TotalSeconds:0}", null, Nothing, either.Token);
                if (refusal is null)
                {
                    if (_away is not null)
                    {
                        _away = null;
                        CameBack(_base);
                    }

                    pause = FirstPause;
                    continue;
                }

                Away(refusal.Message);
            }
            catch (Exception) when (_closing.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is HttpRequestException or IOException or OperationCanceledException or JsonException)
            {
                Away(Deepest(e));
            }

            await Task.WhenAny(Task.Delay(pause, _clock, _closing.Token));
            pause = Longer(pause);
        }
    }

    private void Away(string why)
    {
        if (_away is null)
        {
            _awaySince = _clock.GetTimestamp();
            WentAway(_base, why);
        }

        _away = $"The event log at {_base} does not answer: {why}";
    }

    private static TimeSpan Longer(TimeSpan pause) => pause * 2 < LongestPause ? pause * 2 : LongestPause;

    private static string Deepest(Exception e)
    {
        while (e.InnerException is { } inner)
        {
            e = inner;
        }

        return e.Message;
    }

    /// <summary>Carries a refusal out of the attempt: an exception of the contract is an <see cref="IOException"/> too, and is not one of the connection.</summary>
    private sealed class RefusedByOwnerException(Exception inner) : Exception(inner.Message, inner);

    [LoggerMessage(110, LogLevel.Warning, "The event log at {Address} does not answer: {Problem}")]
    private partial void WentAway(Uri address, string problem);

    [LoggerMessage(111, LogLevel.Information, "The event log at {Address} answers again.")]
    private partial void CameBack(Uri address);
}
