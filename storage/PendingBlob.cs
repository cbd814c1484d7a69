namespace Yizhan.Storage;

/// <summary>
/// A blob that a writer has completed and no entry has named yet. Its space belongs to the writer until a group claims it,
/// and to the journal once that group is durable.
/// </summary>
internal sealed class PendingBlob(long length, IReadOnlyList<Extent> extents)
{
    private readonly Lock _gate = new();
    private bool _claimed, _abandoned;

    public long Length { get; } = length;

    public IReadOnlyList<Extent> Extents { get; } = extents;

    /// <summary>True when the writer still had it: from now on the journal has.</summary>
    public bool TryClaim()
    {
        lock (_gate)
        {
            return !_abandoned && !_claimed && (_claimed = true);
        }
    }

    /// <summary>The group that claimed it did not happen.</summary>
    public void GiveBack()
    {
        lock (_gate)
        {
            _claimed = false;
        }
    }

    /// <summary>True when no group has it: its space may be freed.</summary>
    public bool TryAbandon()
    {
        lock (_gate)
        {
            return !_claimed && !_abandoned && (_abandoned = true);
        }
    }
}
