namespace Yizhan.Storage;

/// <summary>A call that waits for its commit.</summary>
internal abstract class Work
{
    private const int Queued = 0, Taken = 1, Withdrawn = 2;
    private int _state;

    /// <summary>Entries that it would add, for the size of groups.</summary>
    public virtual int Entries => 0;

    /// <summary>The facts of these entries: what the journal will be asked for.</summary>
    public virtual IReadOnlyList<FactKey> Facts => [];

    /// <summary>Bytes that it would add, for the size of groups.</summary>
    public virtual long Bytes => 0;

    /// <summary>
    /// Decides the outcome against the journal and the group so far, and adds it to the group. All checks come before the
    /// first change of the group.
    /// </summary>
    /// <exception cref="RefusedException">Only this call is wrong; the group goes on without it.</exception>
    public abstract void Resolve(Group group);

    /// <summary>The group is durable: answer.</summary>
    public abstract void Complete();

    /// <summary>It did not happen: say why.</summary>
    public abstract void Fail(Exception reason);

    /// <summary>False when the caller has withdrawn it.</summary>
    public bool TryTake() => Interlocked.CompareExchange(ref _state, Taken, Queued) == Queued;

    /// <summary>Takes it back if no commit has it yet; from then on its memory belongs to the caller again.</summary>
    public void Withdraw(CancellationToken cancellationToken)
    {
        if (Interlocked.CompareExchange(ref _state, Withdrawn, Queued) == Queued)
        {
            Fail(new OperationCanceledException(cancellationToken));
        }
    }
}

/// <summary>Work with a result.</summary>
internal abstract class Work<T> : Work
{
    private readonly TaskCompletionSource<T> _done = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<T> Task => _done.Task;

    protected T Result { get; set; } = default!;

    public override void Complete() => _done.SetResult(Result);

    public override void Fail(Exception reason) => _done.SetException(reason);
}

/// <summary>Work that is a few lines.</summary>
internal sealed class Work<TState, T>(TState state, Func<TState, Group, T> resolve) : Work<T>
{
    public override void Resolve(Group group) => Result = resolve(state, group);
}

/// <summary>One call cannot be done; its inner exception goes to the caller.</summary>
internal sealed class RefusedException(Exception reason) : Exception(reason.Message, reason);
