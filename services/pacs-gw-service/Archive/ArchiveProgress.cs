using Yizhan.Storage;

namespace Yizhan.PacsGw.Archive;

/// <summary>
/// How far the index is behind the log. A peer that was told "stored" and asks at once must find it, so reads wait for the position that the log
/// had when they came; the indexer is milliseconds behind, and when it is stalled the wait ends and what is indexed answers.
/// </summary>
internal sealed class ArchiveProgress(IEventLog log, TimeProvider clock)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly Lock _gate = new();
    private TaskCompletionSource _next = New();
    private long _position;

    /// <summary>The index has everything up to a position of the log.</summary>
    public void Reach(long position)
    {
        TaskCompletionSource reached;
        lock (_gate)
        {
            _position = position;
            (reached, _next) = (_next, New());
        }

        reached.SetResult();
    }

    /// <summary>Returns once the index has what the log has now, or after five seconds.</summary>
    public async Task ReachedNowAsync(CancellationToken cancellationToken)
    {
        var wanted = log.LastPosition;
        using var limit = new CancellationTokenSource(Patience, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            while (true)
            {
                Task next;
                lock (_gate)
                {
                    if (_position >= wanted)
                    {
                        return;
                    }

                    next = _next.Task;
                }

                await next.WaitAsync(either.Token);
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // The indexer says itself that it is stalled (3047).
        }
    }

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
