using System.Globalization;
using Microsoft.Extensions.Logging;

namespace Yizhan.Storage;

/// <summary>
/// Entries, blob changes and marks as records in the same segment files as the blobs: a group and the blobs that it names become durable with one
/// fdatasync. The index is in memory and is rebuilt at start, from a digest beside each full file and by reading the others.
/// </summary>
/// <remarks>
/// Only the last group can be torn, because the next is written after its flush. So a start verifies the last group together with the pieces of blobs
/// that it names, strikes it out when anything of it is missing, and refuses to go on when an earlier one is damaged.
/// </remarks>
internal sealed partial class SegmentJournal : Journal
{
    private const int MaxReadBytes = 8 * 1024 * 1024;

    private readonly Lock _gate = new();
    private readonly IDisk _disk;
    private readonly string _folder;
    private readonly SegmentFiles _segments;
    private readonly ILogger _logger;
    private readonly EntryTable _entries = new();
    private readonly BlobTable _blobs = new();
    private readonly SortedDictionary<long, SegmentDigest> _digests = [];
    private readonly Dictionary<long, long> _groupBytes = [];
    private readonly Queue<long> _gone = [];
    private readonly Packer _firstPart = new();

    /// <summary>What raw sequences of an own lane are more than the sequences of this epoch.</summary>
    private long[] _bases = new long[4];
    private long _serial;
    private LogState _state;

    /// <summary>The newest file that a group was written to.</summary>
    private long _groupSegment;

    /// <summary>The newest file that has all of the small state; older ones may go.</summary>
    private long _stateSegment;

    /// <summary>Files before this one have their digest.</summary>
    private long _settledBefore;

    /// <summary>A commit failed: nothing more may be written.</summary>
    private bool _failed;

    /// <param name="disk">Where the digests are.</param>
    /// <param name="folder">The folder of the segment files.</param>
    /// <param name="site">Site of the log; null: the one that it says, of a log that exists.</param>
    /// <param name="newEpoch">The log was restored: begin a new epoch.</param>
    /// <param name="segments">The segment files.</param>
    /// <param name="logger">Told what a start had to strike out.</param>
    public SegmentJournal(IDisk disk, string folder, string? site, bool newEpoch, SegmentFiles segments, ILogger logger)
    {
        _disk = disk;
        _folder = folder;
        _segments = segments;
        _logger = logger;
        _segments.Retired = _gone.Enqueue;
        _state = Load(site, newEpoch);
    }

    public override LogState State => _state;

    /// <summary>Groups are records in the segment files and counted there.</summary>
    public override long EntryBytes => 0;

    public override void Commit(Group group)
    {
        var released = group.Releases.SelectMany(r => ReadReleased(r.Lane, r.After, r.Through)).ToArray();
        var parts = Encode(group, Unnamed(group, released));
        _failed = true;
        try
        {
            Write(parts);
        }
        catch (DiskFullException)
        {
            _failed = false;
            foreach (var part in parts.Where(p => p.Segment > 0))
            {
                _segments.Forget(part.Segment, part.Bytes);
            }

            throw;
        }

        _segments.FlushDirty();
        lock (_gate)
        {
            Written(parts);
            foreach (var part in parts)
            {
                Apply(part.Payload.Span, part.Segment, part.PayloadOffset, replay: null, group.Freed);
            }

            Forget(released);
        }

        Settle();
        _failed = false;
    }

    public override (EntryIdentity Identity, long Position)? FindFact(FactKey fact)
    {
        lock (_gate)
        {
            return _entries.Find(fact) is { } position && ReadAt(_entries.After(position - 1)!.Value) is { } entry
                ? (entry.Logged.Identity, entry.Logged.Position)
                : null;
        }
    }

    public override (long LaneBytes, long TimeMs)? FindOwn(Lane lane, long sequence)
    {
        lock (_gate)
        {
            return Own(lane, sequence) is { } entry ? (entry.LaneBytes, entry.Logged.Entry.TimeMs) : null;
        }
    }

    public override StoredBlob? FindBlob(ContentHash hash)
    {
        lock (_gate)
        {
            return _blobs.Find(hash) is { } blob ? new StoredBlob(blob.Length, blob.Complete, blob.Extents) : null;
        }
    }

    public override IReadOnlyList<BlobRef> Blobs(ContentHash? after, int max)
    {
        var from = after?.ToArray();
        lock (_gate)
        {
            return [.. _blobs.All.Where(b => b.Value.Complete)
                .Select(b => (Key: b.Key.ToArray(), Blob: new BlobRef(b.Key, b.Value.Length)))
                .Where(b => from is null || b.Key.AsSpan().SequenceCompareTo(from) > 0)
                .OrderBy(b => b.Key, Comparer<byte[]>.Create(static (x, y) => x.AsSpan().SequenceCompareTo(y))).Take(max).Select(b => b.Blob)];
        }
    }

    public override KeyUse UseOf(IReadOnlyCollection<ulong> keys)
    {
        var segments = _segments.Under(keys);
        var (entries, undelivered) = (0L, 0L);
        for (var position = 0L; ;)
        {
            lock (_gate)
            {
                if (_entries.After(position) is not { } place || place.Position > _state.Position)
                {
                    return new KeyUse(entries, undelivered, _blobs.All.LongCount(b => Holds(b.Value)));
                }

                position = place.Position;
                var entry = ReadAt(place);
                if (IsKept(entry.Index))
                {
                    var isSealed = entry.Index.Sealed && keys.Contains(EntrySeal.KeyOf(entry.Logged.Entry.Data.Span));
                    var waits = entry.Index.Own && entry.Logged.Identity.Sequence > _state.Lanes[(int)entry.Index.Lane].Delivered;
                    entries += isSealed ? 1 : 0;
                    undelivered += waits && (isSealed || entry.Index.Blobs.Any(b => _blobs.Find(b.Hash) is { } blob && Holds(blob))) ? 1 : 0;
                }
            }
        }

        bool Holds(KnownBlob blob) => Array.Exists(blob.Extents, e => segments.Contains(e.Segment));
    }

    public override IReadOnlyList<LoggedEntry> Read(long afterPosition, int maxEntries)
    {
        var found = new List<LoggedEntry>();
        var bytes = 0L;
        while (found.Count < maxEntries && bytes < MaxReadBytes)
        {
            // The lock is held for one entry at a time, so that a long read does not stop the committer; nothing is retired while it is held.
            lock (_gate)
            {
                if (_entries.After(afterPosition) is not { } place || place.Position > _state.Position)
                {
                    break;
                }

                afterPosition = place.Position;
                if (ReadAt(place) is { } entry && IsKept(entry.Index))
                {
                    found.Add(entry.Open(_segments.Keys));
                    bytes += entry.Logged.Entry.Data.Length;
                }
            }
        }

        return found;
    }

    public override IReadOnlyList<LoggedEntry> ReadLane(Lane lane, long afterSequence, int maxEntries, long maxDataBytes)
    {
        var found = new List<LoggedEntry>();
        var bytes = 0L;
        for (var sequence = Math.Max(afterSequence, _state.Lanes[(int)lane].Released) + 1; found.Count < maxEntries; sequence++)
        {
            lock (_gate)
            {
                if (sequence > _state.Lanes[(int)lane].Sequence || Own(lane, sequence) is not { } entry)
                {
                    break;
                }

                bytes += entry.DataBytes;
                if (found.Count > 0 && bytes > maxDataBytes)
                {
                    break;
                }

                found.Add(entry.Open(_segments.Keys));
            }
        }

        return found;
    }

    /// <summary>
    /// Ends with an empty group, so that the next start has no last group to doubt: a damaged blob of a group that was acknowledged long ago
    /// must not look like one that a crash cut off.
    /// </summary>
    public override void Dispose()
    {
        if (!_failed)
        {
            try
            {
                Commit(new Group(_state));
            }
            catch (DiskFullException)
            {
                // The next start checks one group more.
            }

            _failed = true;
        }
    }

    private bool IsKept(IndexedEntry entry) =>
        !entry.Own || entry.RawSequence > _bases[(int)entry.Lane] + _state.Lanes[(int)entry.Lane].Released;

    private StoredEntry? Own(Lane lane, long sequence) =>
        _entries.Find(lane, _bases[(int)lane] + sequence) is { } position ? ReadAt(_entries.After(position - 1)!.Value) : null;

    private EntryIdentity OwnIdentity(IndexedEntry entry) =>
        new(_state.Site, _state.Epoch, entry.Lane, entry.RawSequence - _bases[(int)entry.Lane]);

    /// <summary>Reads one entry and verifies it.</summary>
    /// <exception cref="InvalidDataException">It is damaged.</exception>
    private StoredEntry ReadAt(EntryTable.Place place)
    {
        // Most entries are small: the first read has all of them.
        Span<byte> first = stackalloc byte[2048];
        var read = _segments.Read(place.Segment, place.Offset, first);
        var unpacker = new Unpacker(first[..read]);
        if (read > GroupFormat.EntryHeaderBytes)
        {
            var length = unpacker.Int32();
            var crc = unpacker.UInt32();
            if (length is > 0 and <= Record.MaxGroupPayload)
            {
                var body = length <= read - GroupFormat.EntryHeaderBytes ? first.Slice(GroupFormat.EntryHeaderBytes, length) : new byte[length];
                if (length > read - GroupFormat.EntryHeaderBytes)
                {
                    _segments.Read(place.Segment, place.Offset + GroupFormat.EntryHeaderBytes, body);
                }

                if (Record.Crc32C(body) == crc && GroupFormat.Entry(body, OwnIdentity) is var entry && entry.Index.Position == place.Position)
                {
                    return entry;
                }
            }
        }

        throw new InvalidDataException($"Entry {place.Position} is damaged: segment {place.Segment}, offset {place.Offset}, fails its checksum.");
    }

    /// <summary>After a commit: digests of files that are full, and files that nothing needs any more.</summary>
    private void Settle()
    {
        if (_settledBefore < _groupSegment)
        {
            foreach (var (number, _) in _segments.List().Where(s => s.Number < _groupSegment))
            {
                if (!_digests.TryGetValue(number, out var digest))
                {
                    _digests.Add(number, digest = new SegmentDigest(_segments.EpochOf(number)));
                }

                if (!digest.Saved)
                {
                    digest.Save(_disk, DigestPath(number));
                }
            }

            _settledBefore = _groupSegment;
        }

        while (_gone.TryDequeue(out var gone))
        {
            lock (_gate)
            {
                foreach (var other in _blobs.Gone(gone))
                {
                    LetGo(other);
                }
            }

            _digests.Remove(gone);
            _disk.Delete(DigestPath(gone));
        }
    }

    /// <summary>Gives up a file's groups when nothing that they say is needed. The newest file has the state and always stays.</summary>
    private void LetGo(long segment)
    {
        if (segment < _stateSegment && _blobs.Needs(segment) == 0 && _groupBytes.Remove(segment, out var bytes))
        {
            _entries.Gone(segment);
            _segments.Forget(segment, bytes);
        }
    }

    private string DigestPath(long segment) =>
        Path.Combine(_folder, string.Create(CultureInfo.InvariantCulture, $"{segment:D10}.digest"));
}
