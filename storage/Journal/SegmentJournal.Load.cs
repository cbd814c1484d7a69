using System.Security.Cryptography;
using Microsoft.Extensions.Logging;

namespace Yizhan.Storage;

internal sealed partial class SegmentJournal
{
    /// <summary>So many digests are fetched from the disk while one is applied: some 6 MB each when they are full.</summary>
    private const int DigestsAhead = 8;

    private LogState Load(string? site, bool newEpoch)
    {
        var replay = new Replay([.. _segments.List().Select(s => s.Number)]);
        var files = _disk.List(_folder).ToHashSet(StringComparer.Ordinal);
        _entries.Expect((int)Math.Min(int.MaxValue / 2, files.Where(SegmentDigest.IsName).Sum(name => SegmentDigest.Length(_disk, Path.Combine(_folder, name))) / GroupFormat.EntryDigestBytes));
        var all = _segments.List();
        for (var i = 0; i < Math.Min(all.Count, DigestsAhead); i++)
        {
            _disk.WillRead(DigestPath(all[i].Number));
        }

        for (var i = 0; i < all.Count; i++)
        {
            if (i + DigestsAhead < all.Count)
            {
                _disk.WillRead(DigestPath(all[i + DigestsAhead].Number));
            }

            var (number, size) = all[i];
            var path = DigestPath(number);
            if (files.Contains(Path.GetFileName(path)) && SegmentDigest.TryLoad(_disk, path, _segments.EpochOf(number)) is var (digest, operations))
            {
                ApplyDigest(digest, operations, number, replay);
            }
            else
            {
                foreach (var part in Scan(number, size))
                {
                    Take(part, replay);
                }
            }
        }

        FinishLast(replay);
        _serial = replay.Serial;
        site ??= replay.Identity?.Site ?? throw new InvalidDataException($"{_folder} does not say whose log it is: nothing was ever committed to it.");
        if (replay.Identity is { } identity && identity.Site != site)
        {
            throw new InvalidOperationException($"{_folder} is the log of site '{identity.Site}', not of '{site}'.");
        }

        _bases = replay.Identity?.Bases ?? new long[4];
        _state = new LogState { Site = site, Epoch = replay.Identity?.Epoch ?? NewEpoch(), Position = replay.Position, Lanes = replay.Lanes };
        foreach (var (origin, sequence) in replay.Marks)
        {
            _state.Marks[origin] = sequence;
        }

        ForgetReleased(replay);
        Adopt();
        if (newEpoch && replay.Identity is not null)
        {
            BeginEpoch();
        }

        // A file of its own for this run, with the state in it: what a crash left in older ones is never written over.
        Commit(new Group(_state));
        _state.Lanes = [.. _state.Lanes.Select((lane, i) => lane with
        {
            OldestMs = lane.Delivered < lane.Sequence ? FindOwn((Lane)i, lane.Delivered + 1)?.TimeMs : null,
        })];
        return _state;
    }

    private void ApplyDigest(SegmentDigest digest, ReadOnlyMemory<byte> operations, long number, Replay replay)
    {
        _digests.Add(number, digest);
        if (digest.FirstSerial == 0)
        {
            return;
        }

        // A digest is written after the flush of all that it tells of, so what came before is whole, and may end in this file.
        ApplyLast(replay, mayGoOn: digest.FirstSerial);
        replay.Follow(digest.FirstSerial, number);
        _groupBytes.Add(number, digest.GroupBytes);
        Apply(operations.Span, number, payloadOffset: 0, replay, []);
        (replay.Serial, replay.SerialSegment, replay.DurableSerial) = (digest.LastSerial, number, digest.LastSerial);
    }

    private void Take(FoundPart part, Replay replay)
    {
        if (part.Serial <= replay.DurableSerial)
        {
            ApplyPart(part, replay);
            return;
        }

        if (replay.Last is [var first, ..] && first.Serial == part.Serial)
        {
            if (part.Number == 0)
            {
                // The same number again: the first attempt found the disk full and was refused.
                replay.Last.Clear();
            }
            else if (part.Number != first.Number + replay.Last.Count)
            {
                throw Damaged(part.Segment, part.Serial);
            }

            replay.Last.Add(part);
            return;
        }

        ApplyLast(replay, mayGoOn: 0);
        replay.Follow(part.Serial, part.Segment);
        if (part.Number != 0 && !replay.IsAfterGap(part.Segment))
        {
            throw Damaged(part.Segment, part.Serial);
        }

        replay.Last.Add(part);
    }

    /// <summary>Applies the last group read: another follows, so it was flushed, and must be whole.</summary>
    private void ApplyLast(Replay replay, long mayGoOn)
    {
        if (replay.Last.Count == 0)
        {
            return;
        }

        if (!replay.Last[^1].IsLast && replay.Last[^1].Serial != mayGoOn)
        {
            throw Damaged(replay.Last[^1].Segment, replay.Last[^1].Serial);
        }

        foreach (var part in replay.Last)
        {
            ApplyPart(part, replay);
        }

        (replay.Serial, replay.SerialSegment) = (replay.Last[^1].Serial, replay.Last[^1].Segment);
        replay.Last.Clear();
    }

    private void ApplyPart(FoundPart part, Replay replay)
    {
        Note(part.Segment, part.Serial, part.Offset, DiskBytes(part));
        Apply(part.Payload, part.Segment, part.Offset + _segments.HeaderBytesOf(part.Segment), replay, []);
    }

    /// <summary>The very last group may have been cut off by a crash. Then it was not acknowledged, and is struck out.</summary>
    private void FinishLast(Replay replay)
    {
        if (replay.Last.Count == 0)
        {
            return;
        }

        if (replay.Last[^1].IsLast && replay.Last.TrueForAll(HasItsBlobs))
        {
            // It is read here, which does not mean that it is on the disk; before anything follows it, it must be.
            foreach (var part in replay.Last)
            {
                _segments.Rewrite(part.Segment, part.Offset, DiskBytes(part));
            }

            _segments.FlushDirty();
            ApplyLast(replay, mayGoOn: 0);
            return;
        }

        foreach (var part in replay.Last)
        {
            _segments.Strike(part.Segment, part.Offset);
        }

        StruckOut(replay.Last[0].Serial, replay.Last[0].Segment, replay.Last[0].Offset);
        replay.Last.Clear();
    }

    private int DiskBytes(FoundPart part) => Record.DiskBytes(part.Payload.Length, _segments.HeaderBytesOf(part.Segment));

    private bool HasItsBlobs(FoundPart part)
    {
        var unpacker = new Unpacker(part.Payload);
        unpacker.Take(GroupFormat.PartHeaderBytes);
        while (!unpacker.AtEnd)
        {
            switch ((Operation)unpacker.Byte())
            {
                case Operation.Blob:
                    if (!GroupFormat.Blob(ref unpacker).Change.Added.TrueForAll(IsWhole))
                    {
                        return false;
                    }

                    break;
                case Operation.Entry:
                    var length = unpacker.Int32();
                    unpacker.Take(sizeof(uint) + length);
                    break;
                case Operation.Mark:
                    GroupFormat.Mark(ref unpacker);
                    break;
                case Operation.Pin or Operation.Unpin:
                    unpacker.Hash();
                    unpacker.Text();
                    break;
                case Operation.Forget:
                    unpacker.Hash();
                    break;
                case Operation.Lanes:
                    GroupFormat.Lanes(ref unpacker);
                    break;
                case Operation.Position:
                    unpacker.Int64();
                    break;
                case Operation.Identity:
                    Identity(ref unpacker);
                    break;
                default:
                    throw new InvalidDataException($"Segment {part.Segment} was written by a newer version.");
            }
        }

        return true;
    }

    private bool IsWhole(Extent extent)
    {
        if (!_segments.Has(extent.Segment))
        {
            return false;
        }

        var record = _segments.Buffers.Rent();
        try
        {
            var headerBytes = _segments.HeaderBytesOf(extent.Segment);
            var bytes = record.AsSpan(0, headerBytes + extent.Length);
            var whole = _segments.Read(extent.Segment, extent.Offset, bytes) == bytes.Length
                && Record.TryParse(bytes, headerBytes, _segments.EpochOf(extent.Segment), extent.Offset, out var header)
                && header.Kind == RecordKind.Extent
                && header.Payload == extent.Length
                && Record.Verify(bytes, RecordKind.Extent, bytes[headerBytes..]);
            if (whole)
            {
                _segments.Rewrite(extent.Segment, extent.Offset, bytes.Length);
            }

            return whole;
        }
        finally
        {
            _segments.Buffers.Return(record);
        }
    }

    /// <summary>
    /// Finds the groups in a file. Records follow each other, but what a writer began and did not finish lies between them: there the search goes on
    /// page by page.
    /// </summary>
    private IEnumerable<FoundPart> Scan(long segment, int size)
    {
        _digests.TryAdd(segment, new SegmentDigest(_segments.EpochOf(segment)));
        var (epoch, headerBytes) = (_segments.EpochOf(segment), _segments.HeaderBytesOf(segment));
        var window = new byte[1024 * 1024];
        var (windowAt, windowLength) = (0, 0);
        for (var at = SegmentFiles.FileHeaderBytes; at + headerBytes <= size;)
        {
            if (at < windowAt || at + headerBytes > windowAt + windowLength)
            {
                (windowAt, windowLength) = (at, _segments.Read(segment, at, window));
                if (windowLength < headerBytes)
                {
                    yield break;
                }
            }

            if (!Record.TryParse(window.AsSpan(at - windowAt), headerBytes, epoch, at, out var header))
            {
                at += Record.Alignment;
                continue;
            }

            if (header.Kind == RecordKind.Group)
            {
                var record = new byte[headerBytes + header.Payload];
                if (header.Payload < GroupFormat.PartHeaderBytes
                    || _segments.Read(segment, at, record) < record.Length
                    || !Record.Verify(record, RecordKind.Group, record.AsSpan(headerBytes)))
                {
                    at += Record.Alignment;
                    continue;
                }

                yield return new FoundPart(segment, at, header.Serial, record[headerBytes..]);
            }

            at += Record.DiskBytes(header.Payload, headerBytes);
        }
    }

    /// <summary>Takes away what the groups said and the released sequences make void.</summary>
    private void ForgetReleased(Replay replay)
    {
        var through = _bases.Select((start, lane) => start + _state.Lanes[lane].Released).ToArray();
        _entries.ForgetReleased(through, replay.Passed, segment => _blobs.Need(segment, -1));
        foreach (var (lane, rawSequence, blob) in replay.Named)
        {
            if (rawSequence <= through[(int)lane])
            {
                blob.Names--;
            }
        }
    }

    private void Adopt()
    {
        foreach (var (_, blob) in _blobs.All)
        {
            foreach (var extent in blob.Extents)
            {
                _segments.Adopt(extent);
            }
        }

        foreach (var (segment, bytes) in _groupBytes)
        {
            _segments.Adopt(segment, (int)(_digests[segment].Tail - bytes), (int)bytes);
        }

        _segments.Adopted(goOn: false);
    }

    /// <summary>As in the other journal: what is kept is sent again under the new epoch, with new sequences from 1.</summary>
    private void BeginEpoch()
    {
        var lanes = _state.Lanes.Select((lane, i) => lane with
        {
            Sequence = lane.Sequence - lane.Released,
            Delivered = 0,
            Released = 0,
            DeliveredBytes = Own((Lane)i, lane.Released + 1) is { } first
                ? first.LaneBytes - first.DataBytes - first.Index.Blobs.Sum(b => b.Length)
                : lane.Bytes,
        }).ToArray();
        _bases = [.. _bases.Select((start, i) => start + _state.Lanes[i].Released)];
        var state = new LogState { Site = _state.Site, Epoch = NewEpoch(), Position = _state.Position, Lanes = lanes };
        foreach (var (origin, sequence) in _state.Marks)
        {
            state.Marks[origin] = sequence;
        }

        _state = state;
    }

    /// <summary>Random: nothing about this machine or its clock may make two logs share one.</summary>
    private static Guid NewEpoch() => new(RandomNumberGenerator.GetBytes(16));

    private static InvalidDataException Damaged(long segment, long serial) => new(
        $"The log is damaged near group {serial} in segment {segment}: a group that was acknowledged is missing. Put back a backup, or move the folder away and start an empty log.");

    [LoggerMessage(101, LogLevel.Warning,
        "Group {Serial} in segment {Segment} at offset {Offset} was cut off by a crash before it was acknowledged; it was struck out.")]
    private partial void StruckOut(long serial, long segment, int offset);

    /// <summary>What a start gathers.</summary>
    private sealed class Replay(HashSet<long> segments)
    {
        public (string Site, Guid Epoch, long[] Bases)? Identity { get; set; }

        public LaneState[] Lanes { get; set; } = new LaneState[4];

        public long Position { get; set; }

        public Dictionary<Origin, long> Marks { get; } = [];

        /// <summary>Positions of own entries that later ones show to be released.</summary>
        public List<long> Passed { get; } = [];

        /// <summary>The blobs that own entries name: the blob of that time, which may have been forgotten since and come back as another.</summary>
        public List<(Lane Lane, long RawSequence, KnownBlob Blob)> Named { get; } = [];

        /// <summary>Parts of the last group read, which is applied when another follows.</summary>
        public List<FoundPart> Last { get; } = [];

        /// <summary>Serial of the last group applied, and the last file with a part of it.</summary>
        public long Serial { get; set; }

        public long SerialSegment { get; set; }

        /// <summary>Groups up to here are known to be flushed.</summary>
        public long DurableSerial { get; set; }

        /// <summary>Checks that no group is missing: serials have no gaps, but where a whole file is gone because nothing needed it.</summary>
        public void Follow(long serial, long segment)
        {
            if (serial != Serial && serial != Serial + 1 && !IsAfterGap(segment))
            {
                throw Damaged(segment, Serial + 1);
            }
        }

        /// <summary>True when a file between the last group and this one is gone.</summary>
        public bool IsAfterGap(long segment)
        {
            for (var number = SerialSegment + 1; number < segment; number++)
            {
                if (!segments.Contains(number))
                {
                    return true;
                }
            }

            return false;
        }
    }

    /// <summary>A group's record found in a file.</summary>
    private sealed record FoundPart(long Segment, int Offset, long Serial, byte[] Payload)
    {
        public int Number => Payload[0] | (Payload[1] << 8);

        public bool IsLast => Payload[2] == 1;
    }
}
