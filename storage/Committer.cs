using Microsoft.Extensions.Logging;

namespace Yizhan.Storage;

/// <summary>
/// The one thread that changes the log. It takes all calls that queued up while the previous commit ran, decides them one
/// after the other, makes the outcome durable with one commit, and only then answers: groups form by themselves under load,
/// and a lonely call waits for nothing but its own flush.
/// </summary>
internal sealed partial class Committer : IAsyncDisposable
{
    private const int MaxQueued = 4096;

    private readonly Journal _journal;
    private readonly TimeProvider _clock;
    private readonly Action<Group> _committed;
    private readonly ILogger _logger;
    private readonly SemaphoreSlim _slots = new(MaxQueued);
    private readonly Queue<Work> _queue = [];
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Action<Action>? _post;
    private bool _posted;
    private bool _stopping;
    private volatile IOException? _fault;

    /// <param name="journal">What makes groups durable.</param>
    /// <param name="clock">For the age of orphans.</param>
    /// <param name="committed">Called on the committer thread after a commit, before the callers are answered.</param>
    /// <param name="logger">Told when the disk fails.</param>
    /// <param name="post">Runs an action later. Null: commits run on a thread of their own; a simulation has only the one.</param>
    public Committer(Journal journal, TimeProvider clock, Action<Group> committed, ILogger logger, Action<Action>? post = null)
    {
        _journal = journal;
        _clock = clock;
        _committed = committed;
        _logger = logger;
        _post = post;
        if (post is null)
        {
            new Thread(Run) { IsBackground = true, Name = "event log" }.Start();
        }
    }

    /// <summary>Told how long each commit took and how many entries it had; on the committer thread.</summary>
    public Action<TimeSpan, int>? Measured { get; set; }

    /// <summary>Makes room for deletions on a full disk; false when there is no more to be made.</summary>
    public Func<bool> MakeRoom { get; set; } = () => false;

    /// <summary>Why the log accepts no more; null while all is well.</summary>
    public IOException? Fault => _fault;

    /// <summary>Queues work and returns its result once it is durable. Cancellation withdraws work that no commit has taken yet.</summary>
    public async Task<T> RunAsync<T>(Work<T> work, CancellationToken cancellationToken)
    {
        await _slots.WaitAsync(cancellationToken);
        try
        {
            lock (_queue)
            {
                ObjectDisposedException.ThrowIf(_stopping, this);
                ThrowIfFaulted();
                _queue.Enqueue(work);
                Wake_NeedsLock();
            }

            await using var registration = cancellationToken.UnsafeRegister(static (w, token) => ((Work)w!).Withdraw(token), work);
            return await work.Task;
        }
        finally
        {
            _slots.Release();
        }
    }

    /// <summary>Throws once the disk has failed.</summary>
    public void ThrowIfFaulted()
    {
        if (_fault is { } fault)
        {
            throw new IOException(fault.Message, fault);
        }
    }

    /// <summary>Commits what is queued and ends.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (_queue)
        {
            _stopping = true;
            Wake_NeedsLock();
        }

        await _ended.Task;
    }

    private void Wake_NeedsLock()
    {
        if (_post is null)
        {
            Monitor.Pulse(_queue);
        }
        else if (!_posted)
        {
            _posted = true;
            _post(Run);
        }
    }

    /// <summary>Commits until there is no more: on the thread until the end, posted until the queue is empty.</summary>
    private void Run()
    {
        var taken = new List<Work>();
        while (Take(taken))
        {
            Commit(taken);
            taken.Clear();
        }

        if (_stopping)
        {
            _ended.TrySetResult();
        }
    }

    /// <summary>Waits for work and takes as much as one group may hold; false when there will be none, or none now if posted.</summary>
    private bool Take(List<Work> taken)
    {
        lock (_queue)
        {
            while (_queue.Count == 0)
            {
                _posted = false;
                if (_stopping || _post is not null)
                {
                    return false;
                }

                Monitor.Wait(_queue);
            }

            var entries = 0;
            var bytes = 0L;
            while (_queue.TryPeek(out var next)
                && (taken.Count == 0 || (entries + next.Entries <= _journal.MaxEntries && bytes + next.Bytes <= _journal.MaxBytes)))
            {
                _queue.Dequeue();
                if (next.TryTake())
                {
                    taken.Add(next);
                    entries += next.Entries;
                    bytes += next.Bytes;
                }
            }

            return true;
        }
    }

    /// <summary>Lets the journal ask for what waits while it writes. The works stay in the queue: who comes meanwhile is still of the next group.</summary>
    private void LookAhead()
    {
        if (_journal.LookAheadEntries == 0)
        {
            return;
        }

        var (waiting, entries) = (new List<Work>(), 0);
        lock (_queue)
        {
            foreach (var work in _queue)
            {
                if (entries >= _journal.MaxEntries)
                {
                    break;
                }

                waiting.Add(work);
                entries += work.Entries;
            }
        }

        if (entries >= _journal.LookAheadEntries)
        {
            _journal.LookAhead(waiting);
        }
    }

    private void Commit(List<Work> taken)
    {
        var group = new Group(_journal.State) { NowMs = _clock.GetUtcNow().ToUnixTimeMilliseconds() };
        try
        {
            ThrowIfFaulted();
            _journal.Foresee(taken);
            Resolve(taken, group);
            if (!group.IsEmpty)
            {
                var started = _clock.GetTimestamp();
                LookAhead();
                Write(group);
                group.Publish();
                Measured?.Invoke(_clock.GetElapsedTime(started), group.Entries.Count);
            }
        }
        catch (DiskFullException e)
        {
            Refuse(taken, group, e);
            return;
        }
        catch (Exception e)
        {
            Refuse(taken, group, Stop(e));
            return;
        }

        try
        {
            _committed(group);
        }
        catch (Exception e)
        {
            // The group is durable and is answered so; giving space back failed, and nothing more is accepted.
            Stop(e);
        }

        foreach (var work in taken)
        {
            work.Complete();
        }
    }

    /// <summary>What gives space back must not fail for want of it; what takes space may.</summary>
    private void Write(Group group)
    {
        try
        {
            _journal.Commit(group);
        }
        catch (DiskFullException) when ((group.Releases.Count > 0 || group.Entries.Count == 0) && MakeRoom())
        {
            _journal.Commit(group);
        }
    }

    /// <summary>Whatever it was, it is not known what the disk holds now: a second attempt could acknowledge bytes that are gone.</summary>
    private IOException Stop(Exception cause)
    {
        if (_fault is null)
        {
            _fault = new IOException($"The event log stopped after a failure and accepts no more; restart the process. {cause.Message}", cause);
            Stopped(cause);
        }

        return _fault;
    }

    private static void Resolve(List<Work> taken, Group group)
    {
        var kept = 0;
        for (var i = 0; i < taken.Count; i++)
        {
            try
            {
                taken[i].Resolve(group);
                taken[kept++] = taken[i];
            }
            catch (RefusedException refused)
            {
                taken[i].Fail(refused.InnerException!);
            }
        }

        taken.RemoveRange(kept, taken.Count - kept);
    }

    private static void Refuse(List<Work> taken, Group group, IOException reason)
    {
        foreach (var claim in group.Claims)
        {
            claim.GiveBack();
        }

        foreach (var work in taken)
        {
            work.Fail(reason);
        }
    }

    [LoggerMessage(100, LogLevel.Critical, "The event log stopped: it accepts no more until the process is restarted.")]
    private partial void Stopped(Exception exception);
}
