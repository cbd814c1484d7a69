using System.Text.Json;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Storage;

namespace Yizhan.AiInfer.Clinical;

/// <summary>
/// Of several processes of ai-infer on one log, the one whose turn it is follows the log, analyses, and decides about rollouts; the others answer inferences and wait. What the next one needs is left with the owner
/// of the log while the turn is kept, and before anything is begun or answered that it must not forget. Whoever takes the turn takes that instead of what it had.
/// </summary>
internal sealed partial class AnalysisTurn(
    AnalysisDatabase database, ILogTurns turns, IEventLog log, IOptions<AiInferOptions> options, TimeProvider clock, ILogger<AnalysisTurn> logger) : BackgroundService
{
    private const string Name = "ai-infer";

    private readonly ILogger _logger = logger;
    private readonly Guid _process = Guid.CreateVersion7(clock.GetUtcNow());
    private readonly SemaphoreSlim _asking = new(1, 1);
    private volatile TaskCompletionSource _taken = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private byte[] _left = [];
    private long _until;
    private int _number;

    /// <summary>Whether this process may act now.</summary>
    public bool IsMine => !turns.IsShared || options.Value.Rules.Count == 0 || clock.GetTimestamp() < Interlocked.Read(ref _until);

    /// <summary>Which turn of this process it is; what was begun in another is not ended in this one.</summary>
    public int Number => Volatile.Read(ref _number);

    /// <summary>Returns when it is this process's turn.</summary>
    public async Task WaitAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var taken = _taken.Task;
            if (IsMine)
            {
                return;
            }

            await taken.WaitAsync(cancellationToken);
        }
    }

    /// <summary>Before something is done that others see.</summary>
    /// <param name="number">The turn in which it was begun.</param>
    /// <exception cref="TurnLostException">It is another's by now.</exception>
    public void Require(int number)
    {
        if (!IsMine || number != Number)
        {
            throw new TurnLostException();
        }
    }

    /// <summary>Leaves what has changed for the next one, now and not at the next beat.</summary>
    /// <exception cref="TurnLostException">It is another's by now.</exception>
    /// <exception cref="IOException">The owner of the log does not answer.</exception>
    public async Task LeaveWordAsync(CancellationToken cancellationToken)
    {
        if (turns.IsShared && options.Value.Rules.Count > 0 && !(await AskAsync(cancellationToken)))
        {
            throw new TurnLostException();
        }
    }

    /// <inheritdoc/>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        if (turns.IsShared && IsMine && options.Value.Rules.Count > 0)
        {
            try
            {
                // What is under way was given up before: this stops after those who use it.
                await AskAsync(cancellationToken);
                Interlocked.Exchange(ref _until, 0);
                await turns.LeaveAsync(Name, _process, cancellationToken);
            }
            catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException or SqliteException)
            {
                // It ends by itself.
            }
        }
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _asking.Dispose();
        base.Dispose();
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (!turns.IsShared || options.Value.Rules.Count == 0)
        {
            return;
        }

        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                var before = Number;
                await AskAsync(stoppingToken);
                if (before != Number)
                {
                    // Where this one began is left at once: one that ends in its first moments is followed from there.
                    await AskAsync(stoppingToken);
                }
            }
            catch (Exception e) when (e is IOException or SqliteException or JsonException)
            {
                NotAsked(e.Message);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }

            await Task.Delay(LogTurn.Beat, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task<bool> AskAsync(CancellationToken cancellationToken)
    {
        await _asking.WaitAsync(cancellationToken);
        try
        {
            var keeps = IsMine;
            var state = keeps ? JsonSerializer.SerializeToUtf8Bytes(database.Leave(log.Epoch), AnalysisStateJson.Default.AnalysisState) : null;
            var asked = clock.GetTimestamp();
            var turn = await turns.TakeAsync(Name, _process, keeps, state is null || state.AsSpan().SequenceEqual(_left) ? null : state, cancellationToken);
            if (!turn.IsMine)
            {
                Interlocked.Exchange(ref _until, 0);
                if (keeps)
                {
                    Lost();
                }

                if (turn.State is { } theirs && !theirs.AsSpan().SequenceEqual(_left))
                {
                    // Views of rollouts are the same in each process.
                    database.Take(JsonSerializer.Deserialize(theirs, AnalysisStateJson.Default.AnalysisState)!, null);
                    _left = theirs;
                }

                return false;
            }

            if (keeps)
            {
                _left = state!;
            }
            else
            {
                var before = turn.State is null ? null : JsonSerializer.Deserialize(turn.State, AnalysisStateJson.Default.AnalysisState);

                // First: what an earlier turn has under way notes nothing from here on.
                Interlocked.Increment(ref _number);
                if (before is not null)
                {
                    database.Take(before, log.Epoch);
                }

                _left = [];
                Mine(before?.Position ?? log.LastPosition);
            }

            Interlocked.Exchange(ref _until, asked + (long)(LogTurn.Trusted.TotalSeconds * clock.TimestampFrequency));
            if (!keeps)
            {
                Interlocked.Exchange(ref _taken, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
            }

            return true;
        }
        finally
        {
            _asking.Release();
        }
    }

    [LoggerMessage(4034, LogLevel.Information, "This process analyses studies and decides about models from here on; it reads on at {Position}.")]
    private partial void Mine(long position);

    [LoggerMessage(4035, LogLevel.Warning, "Another process of ai-infer has taken the turn to analyse studies.")]
    private partial void Lost();

    [LoggerMessage(4036, LogLevel.Warning, "Whose turn it is to analyse studies cannot be asked; trying again: {Reason}")]
    private partial void NotAsked(string reason);
}

/// <summary>Another process has the turn.</summary>
internal sealed class TurnLostException() : Exception("Another process of ai-infer has the turn to analyse studies and to decide about models; ask again, and it may be that one.");
