namespace Yizhan.Storage;

/// <summary>
/// How a group is written into segment files: as one or more parts, each a record of kind <see cref="RecordKind.Group"/> whose serial is the
/// number of the group, each a sequence of operations. A digest is the same without the data of entries: enough to rebuild the index.
/// </summary>
internal static class GroupFormat
{
    /// <summary>Number of the part u16, 1 when it is the last u8.</summary>
    public const int PartHeaderBytes = 3;

    /// <summary>Length and CRC-32C in front of an entry, so that it can be read and verified alone.</summary>
    public const int EntryHeaderBytes = 8;

    public static void Entry(Packer packer, NewEntry entry, long rawSequence, KeyRing keys)
    {
        var (position, identity, _) = entry.Logged;
        var (fact, key) = (entry.Logged.Entry, keys.Current());
        packer.Byte((int)Operation.Entry);
        var start = packer.Reserve(EntryHeaderBytes);
        packer.Int64(position);
        packer.Byte((entry.Own ? 1 : 0) | (fact.TraceParent is null ? 0 : 2) | (key == 0 ? 0 : 4));
        packer.Byte((int)identity.Lane);
        packer.Int64(rawSequence);
        packer.UInt64(entry.Fact.High);
        packer.UInt64(entry.Fact.Low);
        packer.UInt16(fact.Blobs.Count);
        foreach (var blob in fact.Blobs)
        {
            packer.Hash(blob.Hash);
            packer.Int64(blob.Length);
        }

        packer.Int64(entry.LaneBytes);
        packer.Int64(fact.TimeMs);
        if (!entry.Own)
        {
            packer.Text(identity.Site);
            packer.Guid(identity.Epoch);
        }

        packer.Text(fact.Type);
        packer.Text(key == 0 ? fact.Id : "");
        packer.Text(key == 0 ? fact.Key : "");
        if (fact.TraceParent is not null)
        {
            packer.Text(fact.TraceParent);
        }

        if (key == 0)
        {
            packer.Int32(fact.Data.Length);
            packer.Bytes(fact.Data.Span);
        }
        else
        {
            var bytes = EntrySeal.BytesOf(fact);
            packer.Int32(bytes);
            EntrySeal.Seal(packer.Take(bytes), keys, key, fact, entry.Fact, position);
        }

        var all = packer.Written.Span[start..];
        System.Buffers.Binary.BinaryPrimitives.WriteInt32LittleEndian(all, all.Length - EntryHeaderBytes);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(all[4..], Record.Crc32C(all[EntryHeaderBytes..]));
    }

    /// <summary>The part of an entry that the index needs; the same in front of both forms.</summary>
    public static IndexedEntry Index(ref Unpacker unpacker)
    {
        var position = unpacker.Int64();
        var flags = unpacker.Byte();
        var lane = (Lane)unpacker.Byte();
        var rawSequence = unpacker.Int64();
        var fact = new FactKey(unpacker.UInt64(), unpacker.UInt64());
        BlobRef[] blobs = unpacker.UInt16() is > 0 and var count ? new BlobRef[count] : [];
        for (var i = 0; i < blobs.Length; i++)
        {
            blobs[i] = new BlobRef(unpacker.Hash(), unpacker.Int64());
        }

        return new IndexedEntry(position, (flags & 1) == 1, (flags & 2) == 2, (flags & 4) == 4, lane, rawSequence, fact, blobs);
    }

    /// <summary>All of an entry, still sealed; <paramref name="own"/> makes the identity of one that this log accepted.</summary>
    public static StoredEntry Entry(ReadOnlySpan<byte> body, Func<IndexedEntry, EntryIdentity> own)
    {
        var unpacker = new Unpacker(body);
        var index = Index(ref unpacker);
        var laneBytes = unpacker.Int64();
        var time = unpacker.Int64();
        var identity = index.Own ? own(index) : new EntryIdentity(unpacker.Text(), unpacker.Guid(), index.Lane, index.RawSequence);
        var (type, id, key) = (unpacker.Text(), unpacker.Text(), unpacker.Text());
        var trace = index.HasTrace ? unpacker.Text() : null;
        var data = unpacker.Take(unpacker.Int32()).ToArray();
        var entry = new Entry(index.Lane, type, id, key, time, data) { TraceParent = trace, Blobs = index.Blobs };
        return new StoredEntry(index, laneBytes, new LoggedEntry(index.Position, identity, entry));
    }

    /// <summary>Bytes of an entry without blobs in a digest.</summary>
    public const int EntryDigestBytes = 41;

    /// <summary>What the index keeps of an entry, for a digest.</summary>
    public static void Digest(Packer packer, IndexedEntry entry, int offset)
    {
        packer.Byte((int)Operation.EntryDigest);
        packer.Int32(offset);
        packer.Int64(entry.Position);
        packer.Byte((entry.Own ? 1 : 0) | (entry.HasTrace ? 2 : 0) | (entry.Sealed ? 4 : 0));
        packer.Byte((int)entry.Lane);
        packer.Int64(entry.RawSequence);
        packer.UInt64(entry.Fact.High);
        packer.UInt64(entry.Fact.Low);
        packer.UInt16(entry.Blobs.Length);
        foreach (var blob in entry.Blobs)
        {
            packer.Hash(blob.Hash);
            packer.Int64(blob.Length);
        }
    }

    public static void Blob(Packer packer, ContentHash hash, BlobChange change, long nowMs)
    {
        packer.Byte((int)Operation.Blob);
        packer.Hash(hash);
        packer.Int64(change.Length);
        packer.Byte((change.Complete ? 1 : 0) | (change.Dropped ? 2 : 0));
        packer.Int64(nowMs);
        packer.Int32(change.Added.Count);
        foreach (var extent in change.Added)
        {
            packer.Int64(extent.At);
            packer.Int64(extent.Segment);
            packer.Int32(extent.Offset);
            packer.Int32(extent.Length);
        }
    }

    public static (ContentHash Hash, BlobChange Change, long NowMs) Blob(ref Unpacker unpacker)
    {
        var hash = unpacker.Hash();
        var length = unpacker.Int64();
        var flags = unpacker.Byte();
        var now = unpacker.Int64();
        var change = new BlobChange { Length = length, Complete = (flags & 1) == 1, Dropped = (flags & 2) == 2 };
        for (var left = unpacker.Int32(); left > 0; left--)
        {
            change.Added.Add(new Extent(unpacker.Int64(), unpacker.Int64(), unpacker.Int32(), unpacker.Int32()));
        }

        return (hash, change, now);
    }

    public static void Lanes(Packer packer, LaneState[] lanes)
    {
        packer.Byte((int)Operation.Lanes);
        foreach (var lane in lanes)
        {
            packer.Int64(lane.Sequence);
            packer.Int64(lane.Bytes);
            packer.Int64(lane.Delivered);
            packer.Int64(lane.DeliveredBytes);
            packer.Int64(lane.Released);
        }
    }

    public static LaneState[] Lanes(ref Unpacker unpacker)
    {
        var lanes = new LaneState[4];
        for (var i = 0; i < lanes.Length; i++)
        {
            lanes[i] = new LaneState(unpacker.Int64(), unpacker.Int64(), unpacker.Int64(), unpacker.Int64(), unpacker.Int64(), null);
        }

        return lanes;
    }

    public static void Mark(Packer packer, Origin origin, long sequence)
    {
        packer.Byte((int)Operation.Mark);
        packer.Text(origin.Site);
        packer.Guid(origin.Epoch);
        packer.Byte((int)origin.Lane);
        packer.Int64(sequence);
    }

    public static (Origin Origin, long Sequence) Mark(ref Unpacker unpacker) =>
        (new Origin(unpacker.Text(), unpacker.Guid(), (Lane)unpacker.Byte()), unpacker.Int64());
}

/// <summary>The first byte of an operation.</summary>
internal enum Operation : byte
{
    /// <summary>Site, epoch and where its sequences begin.</summary>
    Identity = 1,
    Entry = 2,
    EntryDigest = 3,
    Blob = 4,
    Mark = 5,
    Lanes = 6,
    Pin = 7,
    Unpin = 8,

    /// <summary>A blob that nothing named.</summary>
    Forget = 9,

    /// <summary>Highest position given.</summary>
    Position = 10,
}

/// <summary>What the index needs of an entry. The raw sequence of an own lane goes on through all epochs.</summary>
internal readonly record struct IndexedEntry(
    long Position, bool Own, bool HasTrace, bool Sealed, Lane Lane, long RawSequence, FactKey Fact, BlobRef[] Blobs);

/// <summary>An entry as read from a segment, still sealed when it is.</summary>
internal sealed record StoredEntry(IndexedEntry Index, long LaneBytes, LoggedEntry Logged)
{
    /// <summary>Bytes of its data as it was given.</summary>
    public int DataBytes => Index.Sealed ? EntrySeal.DataBytes(Logged.Entry.Data.Span) : Logged.Entry.Data.Length;

    /// <summary>The entry as it was given.</summary>
    public LoggedEntry Open(KeyRing keys) => Index.Sealed ? EntrySeal.Open(keys, Logged, Index.Fact) : Logged;
}
