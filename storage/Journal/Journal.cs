using System.Collections.Concurrent;

namespace Yizhan.Storage;

/// <summary>
/// Where the log's state is made durable. <see cref="EventLog"/> decides what happens (sequences, duplicates, marks); a
/// journal only writes it down, all of a group or nothing, and finds it again.
/// </summary>
/// <remarks>"Committer" methods are called by the one committer thread; the others by any thread, at any time, and see what is committed.</remarks>
internal abstract class Journal : IDisposable
{
    /// <summary>The state at start. It is changed by <see cref="EventLog"/> alone, after each commit.</summary>
    public abstract LogState State { get; }

    /// <summary>Bytes that entries take on disk, blobs not included.</summary>
    public abstract long EntryBytes { get; }

    /// <summary>Most entries that a group has when they come from several calls.</summary>
    public virtual int MaxEntries => 256;

    /// <summary>Most bytes of their data.</summary>
    public virtual long MaxBytes => 4 * 1024 * 1024;

    /// <summary>Committer: what is decided next. A journal that a question costs a round trip asks all of them at once.</summary>
    public virtual void Foresee(IReadOnlyList<Work> taken)
    {
    }

    /// <summary>How many entries must wait before <see cref="LookAhead"/> is worth its while; 0: never.</summary>
    public virtual int LookAheadEntries => 0;

    /// <summary>Committer: what waits while the next group is made durable; most of it will be in the group after that. A journal may begin to ask for it.</summary>
    public virtual void LookAhead(IReadOnlyList<Work> waiting)
    {
    }

    /// <summary>
    /// Committer: makes a group durable, after the blobs that it names. Sets <see cref="Group.Freed"/> to the extents that
    /// nothing names any more.
    /// </summary>
    /// <exception cref="DiskFullException">There is no space; nothing of the group happened and the next one may work.</exception>
    public abstract void Commit(Group group);

    /// <summary>Committer: the entry with this fact key; null when there is none.</summary>
    public abstract (EntryIdentity Identity, long Position)? FindFact(FactKey fact);

    /// <summary>Committer: of an own entry, the lane's bytes up to and including it, and its time; null when it is not kept.</summary>
    public abstract (long LaneBytes, long TimeMs)? FindOwn(Lane lane, long sequence);

    /// <summary>A blob, complete or partly received; null when it is unknown.</summary>
    public abstract StoredBlob? FindBlob(ContentHash hash);

    /// <summary>Complete blobs after a hash, in the order of their hashes; null begins. Empty at the end.</summary>
    public abstract IReadOnlyList<BlobRef> Blobs(ContentHash? after, int max);

    /// <summary>What is sealed with some keys.</summary>
    public abstract KeyUse UseOf(IReadOnlyCollection<ulong> keys);

    /// <summary>As <see cref="IEventLog.ReadAsync"/>.</summary>
    public abstract IReadOnlyList<LoggedEntry> Read(long afterPosition, int maxEntries);

    /// <summary>As <see cref="IEventLog.ReadLaneAsync"/>.</summary>
    public abstract IReadOnlyList<LoggedEntry> ReadLane(Lane lane, long afterSequence, int maxEntries, long maxDataBytes);

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>What is sealed with some keys.</summary>
/// <param name="Entries">Entries.</param>
/// <param name="Undelivered">Own entries that the centre has not confirmed, and that are sealed with them or name such a blob.</param>
/// <param name="Blobs">Blobs of which a piece is.</param>
internal sealed record KeyUse(long Entries, long Undelivered, long Blobs);

/// <summary>What the log keeps in memory: small, whatever the number of entries.</summary>
internal sealed class LogState
{
    private long _position;
    private LaneState[] _lanes = new LaneState[4];

    public required string Site { get; init; }

    public required Guid Epoch { get; init; }

    /// <summary>Highest position given. Read by any thread.</summary>
    public long Position
    {
        get => Volatile.Read(ref _position);
        set => Volatile.Write(ref _position, value);
    }

    /// <summary>By <see cref="Lane"/>. Replaced as a whole, so that any thread reads a consistent one.</summary>
    public LaneState[] Lanes
    {
        get => Volatile.Read(ref _lanes);
        set => Volatile.Write(ref _lanes, value);
    }

    /// <summary>Highest sequence taken of each other log's lane.</summary>
    public ConcurrentDictionary<Origin, long> Marks { get; } = new();
}

/// <summary>A lane of a log.</summary>
internal readonly record struct Origin(string Site, Guid Epoch, Lane Lane);

/// <summary>One own lane. Bytes are running totals since the epoch began, so that what waits is a subtraction.</summary>
/// <param name="Sequence">Last sequence given.</param>
/// <param name="Bytes">Data and blobs of all entries up to it.</param>
/// <param name="Delivered">Highest sequence that the centre confirmed.</param>
/// <param name="DeliveredBytes">The running total there.</param>
/// <param name="Released">Highest sequence whose entry is no longer kept.</param>
/// <param name="OldestMs">Time of the first undelivered entry; null when all are delivered.</param>
internal readonly record struct LaneState(
    long Sequence, long Bytes, long Delivered, long DeliveredBytes, long Released, long? OldestMs);

/// <summary>A blob as the journal knows it.</summary>
/// <param name="Length">Bytes of the blob.</param>
/// <param name="Complete">True when all is here and the hash was right.</param>
/// <param name="Extents">Its pieces by <see cref="Extent.At"/>. Of a blob under transfer they may leave gaps and overlap.</param>
internal sealed record StoredBlob(long Length, bool Complete, IReadOnlyList<Extent> Extents)
{
    /// <summary>True when pieces of it are sealed with a key that was destroyed; none is listed then.</summary>
    public bool Shredded { get; init; }

    /// <summary>What of a range no piece covers, in order.</summary>
    public IEnumerable<ByteRange> Missing(long from, long to)
    {
        if (from >= to)
        {
            yield break;
        }

        foreach (var extent in Extents)
        {
            if (from < extent.At)
            {
                yield return new ByteRange(from, Math.Min(extent.At, to) - from);
            }

            from = Math.Max(from, extent.End);
            if (from >= to)
            {
                yield break;
            }
        }

        yield return new ByteRange(from, to - from);
    }
}
