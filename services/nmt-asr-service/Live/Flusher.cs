using System.Collections.Concurrent;

namespace Yizhan.NmtAsr.Live;

/// <summary>
/// Puts files on disk, one after the other, on a thread of its own: a disk that takes its time holds no thread of the pool, so others are heard meanwhile. Each of its callers asks once at
/// a time and then again for all that came since, so the slower the disk, the fewer the flushes.
/// </summary>
internal sealed class Flusher : IDisposable
{
    private readonly BlockingCollection<(Action Flush, TaskCompletionSource Done)> _asked = [];
    private readonly Thread _thread;
    private int _disposed;

    public Flusher(string name)
    {
        _thread = new Thread(Run) { IsBackground = true, Name = name };
        _thread.Start();
    }

    /// <summary>Returns when it was done.</summary>
    /// <exception cref="IOException">The disk did not take it, or the node stops.</exception>
    public Task RunAsync(Action flush)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        try
        {
            _asked.Add((flush, done));
        }
        catch (InvalidOperationException)
        {
            throw new IOException("The node stops.");
        }

        return done.Task;
    }

    /// <summary>Does what was asked, then ends. A container disposes of who is registered under two types twice.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            _asked.CompleteAdding();
            _thread.Join();
            _asked.Dispose();
        }
    }

    private void Run()
    {
        foreach (var (flush, done) in _asked.GetConsumingEnumerable())
        {
            try
            {
                flush();
                done.SetResult();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or ObjectDisposedException)
            {
                done.SetException(e as IOException ?? new IOException(e.Message, e));
            }
        }
    }
}
