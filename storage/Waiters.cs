namespace Yizhan.Storage;

/// <summary>Those who wait until a log has more. Each has a source of its own, so that it goes on where its caller awaits: never on the thread of who wakes it.</summary>
internal sealed class Waiters
{
    private readonly Lock _lock = new();
    private readonly HashSet<TaskCompletionSource> _waiting = [];
    private Exception? _end;

    /// <summary>Returns when it is woken; at once when there is no need to wait, which is asked under the lock that those who wake take, too.</summary>
    /// <exception cref="ObjectDisposedException">The log is closed.</exception>
    public async Task WaitAsync(Func<bool> isThere, CancellationToken cancellationToken)
    {
        var more = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock)
        {
            if (isThere())
            {
                return;
            }

            if (_end is not null)
            {
                throw _end;
            }

            _waiting.Add(more);
        }

        try
        {
            await using var registration = cancellationToken.UnsafeRegister(static (m, token) => ((TaskCompletionSource)m!).TrySetCanceled(token), more);
            await more.Task;
        }
        finally
        {
            lock (_lock)
            {
                _waiting.Remove(more);
            }
        }
    }

    /// <summary>There is more.</summary>
    public void Wake()
    {
        lock (_lock)
        {
            foreach (var more in _waiting)
            {
                more.TrySetResult();
            }
        }
    }

    /// <summary>There will be no more: who waits, and whoever comes to wait for what is not there, is told why.</summary>
    public void End(Exception why)
    {
        lock (_lock)
        {
            _end = why;
            foreach (var more in _waiting)
            {
                more.TrySetException(why);
            }
        }
    }
}
