namespace Yizhan.Storage;

/// <summary>
/// The append-only log of facts of one node. At an edge it is also the queue to the centre; at the centre it holds what all
/// edges sent. One process owns a log; callers are many and concurrent, and may be in other processes (<c>Remote/</c>).
/// </summary>
public interface IEventLog : IAsyncDisposable
{
    /// <summary>Site that this log belongs to.</summary>
    string Site { get; }

    /// <summary>Random identity of this log since it was created or restored.</summary>
    Guid Epoch { get; }

    /// <summary>
    /// Appends entries, all or none, and returns once they and every blob they name would survive a power cut. Concurrent calls
    /// share one flush (group commit); a lonely one waits for one flush. Cancellation withdraws a call that no commit has taken yet;
    /// otherwise the outcome is waited for, so the caller always knows it.
    /// </summary>
    /// <exception cref="SpoolFullException">The lane's room is used up; nothing was appended.</exception>
    /// <exception cref="BlobMissingException">An entry names a blob that was neither written here nor received.</exception>
    /// <exception cref="IOException">The disk failed; nothing is promised about the entries, and the log accepts no more.</exception>
    ValueTask<IReadOnlyList<Receipt>> AppendAsync(IReadOnlyList<Entry> entries, CancellationToken cancellationToken);

    /// <summary>Reads forward over all lanes in the order of <see cref="LoggedEntry.Position"/>, after a position (0 = from the start).</summary>
    /// <returns>At most <paramref name="maxEntries"/>, and fewer when they are large; empty when there is nothing yet.</returns>
    ValueTask<IReadOnlyList<LoggedEntry>> ReadAsync(long afterPosition, int maxEntries, CancellationToken cancellationToken);

    /// <summary>Reads what this log itself accepted on one lane, in sequence, after a sequence (0 = from the start).</summary>
    /// <returns>Entries until either bound is met, and at least one if there is any.</returns>
    ValueTask<IReadOnlyList<LoggedEntry>> ReadLaneAsync(
        Lane lane, long afterSequence, int maxEntries, long maxDataBytes, CancellationToken cancellationToken);

    /// <summary>Position of the newest entry; 0 when there never was one. What <see cref="WaitForMoreAsync"/> compares with.</summary>
    long LastPosition { get; }

    /// <summary>Returns when the log has an entry after <paramref name="position"/>; at once if it has one already.</summary>
    Task WaitForMoreAsync(long position, CancellationToken cancellationToken);

    /// <summary>Highest sequence of this log's own lane that the centre has confirmed.</summary>
    long Delivered(Lane lane);

    /// <summary>Records the centre's cumulative acknowledgement, durably. Lower than known: ignored.</summary>
    ValueTask MarkDeliveredAsync(Lane lane, long throughSequence, CancellationToken cancellationToken);

    /// <summary>
    /// Forgets own entries up to a sequence, and gives back the space of each blob that then neither an entry names nor a pin
    /// holds. Their ids are forgotten too. Call it when the entries need not be sent again, even to a restored centre.
    /// </summary>
    /// <exception cref="InvalidOperationException">The centre has not confirmed the entries; nothing was released.</exception>
    ValueTask ReleaseAsync(Lane lane, long throughSequence, CancellationToken cancellationToken);

    /// <summary>Highest sequence of this log's own lane that was released.</summary>
    long Released(Lane lane);

    /// <summary>
    /// Takes entries that another site's log accepted. They are appended and the site's high-water mark is moved in one
    /// transaction, so a retransmission, a replay or a lost answer changes nothing. An entry whose (site, id) is here already, because
    /// the site was restored and sends it again under a new epoch, moves the mark and is not kept twice.
    /// </summary>
    /// <param name="entries">Of one site, epoch and lane, in sequence without gap. Those at or below the mark are skipped.</param>
    /// <param name="cancellationToken">Stops the wait, not a commit under way.</param>
    /// <returns>The high-water mark after the call. Lower than the last sequence given when the batch starts after a gap: nothing was taken then.</returns>
    /// <exception cref="BlobMissingException">A blob of an entry is not complete here; nothing was taken.</exception>
    /// <exception cref="SpoolFullException">There is no room; nothing was taken.</exception>
    ValueTask<long> ReceiveAsync(IReadOnlyList<LoggedEntry> entries, CancellationToken cancellationToken);

    /// <summary>Highest sequence of (site, epoch, lane) that <see cref="ReceiveAsync"/> has taken; 0 when none.</summary>
    ValueTask<long> HighWaterMarkAsync(string site, Guid epoch, Lane lane, CancellationToken cancellationToken);

    /// <summary>What waits on a lane and how much room it has left. Cheap: kept in memory.</summary>
    LaneUsage Usage(Lane lane);

    /// <summary>What entries and blobs take of the room that there is. Cheap.</summary>
    SpaceUsage Space { get; }
}

/// <summary>Room of one log.</summary>
/// <param name="UsedBytes">What entries and blobs take, kept ones included.</param>
/// <param name="CapacityBytes">What they could take: the quota, or less when the file system has less.</param>
public readonly record struct SpaceUsage(long UsedBytes, long CapacityBytes);

/// <summary>What waits for the centre on one lane of this log.</summary>
/// <param name="Entries">Entries not yet confirmed.</param>
/// <param name="Bytes">Their data and blobs, in bytes.</param>
/// <param name="OldestMs">Time of the oldest of them, Unix milliseconds; null when none waits.</param>
/// <param name="RoomBytes">Bytes that the lane would still accept.</param>
public readonly record struct LaneUsage(long Entries, long Bytes, long? OldestMs, long RoomBytes)
{
    /// <summary>Entries accepted since the epoch began.</summary>
    public long AcceptedEntries { get; init; }

    /// <summary>Their data and blobs, in bytes.</summary>
    public long AcceptedBytes { get; init; }
}

/// <summary>A lane has no room. Answer the peer with its protocol's own status (DICOM 0xA700, HTTP 507).</summary>
public sealed class SpoolFullException(Lane lane, long roomBytes)
    : IOException($"Lane {lane} is full: {roomBytes} bytes are left. Nothing was accepted; restore the link or add disk.")
{
    /// <summary>The lane that is full.</summary>
    public Lane Lane { get; } = lane;

    /// <summary>Bytes that were left.</summary>
    public long RoomBytes { get; } = roomBytes;
}

/// <summary>An entry names a blob that this node does not hold completely.</summary>
public sealed class BlobMissingException(BlobRef blob)
    : InvalidOperationException($"Blob {blob.Hash} of {blob.Length} bytes is not complete here.")
{
    /// <summary>The blob.</summary>
    public BlobRef Blob { get; } = blob;
}
