namespace Yizhan.PacsGw.Archive;

/// <summary>Wakes those who wait for something new in the archive.</summary>
internal sealed class ArchiveChanges
{
    private volatile TaskCompletionSource _next = New();

    /// <summary>Ends with the next change. Take it before looking, so that no change falls between looking and waiting.</summary>
    public Task Next => _next.Task;

    /// <summary>Something changed.</summary>
    public void Signal() => Interlocked.Exchange(ref _next, New()).SetResult();

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
