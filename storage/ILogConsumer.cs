namespace Yizhan.Storage;

/// <summary>
/// Something on this node that makes its own of the event log: an archive's index, an audit tree. Registered as a singleton of this type; nothing that a
/// registered consumer has still to read is released.
/// </summary>
public interface ILogConsumer
{
    /// <summary>Who it is, such as <c>pacs-gw</c>.</summary>
    string Name { get; }

    /// <summary>
    /// The position through which it never has to read again, not even after a power cut; 0 when it has not begun. What it needs of blobs beyond that
    /// is pinned.
    /// </summary>
    ValueTask<long> ReadThroughAsync(CancellationToken cancellationToken);
}
