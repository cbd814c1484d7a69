namespace Yizhan.Storage;

internal sealed partial class SegmentJournal
{
    /// <summary>A record of a group. The packer begins with the space for the record's header.</summary>
    private sealed class Part(Packer packer)
    {
        public Packer Packer { get; } = packer;

        /// <summary>0 until it is written.</summary>
        public long Segment { get; set; }

        public int Offset { get; set; }

        public int Bytes => Record.DiskBytes(Packer.Length - Record.HeaderBytes);

        public int PayloadOffset => Offset + Record.HeaderBytes;

        public ReadOnlyMemory<byte> Payload => Packer.Written[Record.HeaderBytes..];
    }

    /// <summary>True when the newest file has no copy of the small state. Each file gets one, so that the files before it may go.</summary>
    private bool NeedsState => _groupSegment != _stateSegment || _groupSegment == 0;

    /// <summary>Turns a group into records. Operations are not divided.</summary>
    private List<Part> Encode(Group group, List<ContentHash> unnamed)
    {
        var parts = new List<Part> { Begin(0, _firstPart) };

        if (NeedsState)
        {
            Put(p => Identity(p, _state, _bases));
            Put(p => GroupFormat.Lanes(p, _state.Lanes));
            Put(p => Position(p, _state.Position));
            foreach (var (origin, sequence) in _state.Marks)
            {
                Put(p => GroupFormat.Mark(p, origin, sequence));
            }
        }

        foreach (var (hash, change) in group.Blobs)
        {
            Put(p => GroupFormat.Blob(p, hash, change, group.NowMs));
        }

        foreach (var entry in group.Entries)
        {
            var identity = entry.Logged.Identity;
            Put(p => GroupFormat.Entry(p, entry, entry.Own ? identity.Sequence + _bases[(int)identity.Lane] : identity.Sequence, _segments.Keys));
        }

        foreach (var (origin, sequence) in group.Marks)
        {
            Put(p => GroupFormat.Mark(p, origin, sequence));
        }

        foreach (var (hash, holder, set) in group.Pins)
        {
            Put(p => Pin(p, hash, holder, set));
        }

        foreach (var hash in unnamed)
        {
            Put(p => Forget(p, hash));
        }

        Put(p => GroupFormat.Lanes(p, group.Lanes));
        Put(p => Position(p, group.Position));
        parts[^1].Packer.Buffer[Record.HeaderBytes + 2] = 1;
        return parts;

        void Put(Action<Packer> operation)
        {
            var packer = parts[^1].Packer;
            var start = packer.Length;
            operation(packer);
            if (packer.Length > Record.MaxGroupPayload && start > Record.HeaderBytes + GroupFormat.PartHeaderBytes)
            {
                parts.Add(Begin(parts.Count, new Packer()));
                parts[^1].Packer.Bytes(packer.Written.Span[start..]);
                packer.Truncate(start);
            }
        }
    }

    private static Part Begin(int number, Packer packer)
    {
        packer.Clear();
        packer.Reserve(Record.HeaderBytes);
        packer.UInt16(number);
        packer.Byte(0);
        return new Part(packer);
    }

    private void Write(List<Part> parts)
    {
        foreach (var part in parts)
        {
            part.Packer.Grow(part.Bytes);
            (part.Segment, part.Offset) = _segments.Write(
                RecordKind.Group, part.Packer.Buffer, part.Packer.Length - Record.HeaderBytes, _serial + 1);
        }
    }

    /// <summary>The group is durable: note where it is.</summary>
    private void Written(List<Part> parts)
    {
        _serial++;
        var hasState = NeedsState;
        foreach (var part in parts)
        {
            Note(part.Segment, _serial, part.Offset, part.Bytes);
        }

        _groupSegment = parts[^1].Segment;
        if (hasState)
        {
            _stateSegment = parts[0].Segment;
            foreach (var segment in _groupBytes.Keys.ToArray())
            {
                LetGo(segment);
            }
        }
    }

    private void Note(long segment, long serial, int offset, int bytes)
    {
        if (!_digests.TryGetValue(segment, out var digest))
        {
            _digests.Add(segment, digest = new SegmentDigest(_segments.EpochOf(segment)));
        }

        digest.Add(serial, offset, bytes);
        _groupBytes[segment] = _groupBytes.GetValueOrDefault(segment) + bytes;
    }

    private List<StoredEntry> ReadReleased(Lane lane, long after, long through)
    {
        var entries = new List<StoredEntry>();
        lock (_gate)
        {
            for (var sequence = after + 1; sequence <= through; sequence++)
            {
                if (Own(lane, sequence) is { } entry)
                {
                    entries.Add(entry);
                }
            }
        }

        return entries;
    }

    /// <summary>Blobs that nothing names or holds after this group.</summary>
    private List<ContentHash> Unnamed(Group group, StoredEntry[] released)
    {
        if (released.Length == 0 && group.Pins.Count == 0 && group.ForgetOrphansBeforeMs is null)
        {
            return [];
        }

        var names = new Dictionary<ContentHash, int>();
        var candidates = new HashSet<ContentHash>();
        foreach (var blob in released.SelectMany(e => e.Index.Blobs))
        {
            names[blob.Hash] = names.GetValueOrDefault(blob.Hash) - 1;
            candidates.Add(blob.Hash);
        }

        foreach (var blob in group.Entries.SelectMany(e => e.Logged.Entry.Blobs))
        {
            names[blob.Hash] = names.GetValueOrDefault(blob.Hash) + 1;
        }

        var pins = new Dictionary<ContentHash, HashSet<string>>();
        foreach (var (hash, holder, set) in group.Pins)
        {
            if (!pins.TryGetValue(hash, out var holders))
            {
                pins.Add(hash, holders = [.. _blobs.Find(hash)?.Pins.Keys ?? Enumerable.Empty<string>()]);
            }

            if (set)
            {
                holders.Add(holder);
            }
            else if (holders.Remove(holder))
            {
                candidates.Add(hash);
            }
        }

        if (group.ForgetOrphansBeforeMs is { } before)
        {
            candidates.UnionWith(_blobs.All.Where(b => b.Value.Names == 0 && b.Value.TouchedMs < before).Select(b => b.Key));
        }

        return [.. candidates.Where(hash => !group.Blobs.ContainsKey(hash)
            && _blobs.Find(hash) is { } blob
            && blob.Names + names.GetValueOrDefault(hash) == 0
            && (pins.TryGetValue(hash, out var holders) ? holders.Count : blob.Pins.Count) == 0)];
    }

    /// <summary>Forgets released entries; the sequence up to which they are gone is part of the lanes.</summary>
    private void Forget(StoredEntry[] released)
    {
        foreach (var entry in released)
        {
            var segment = _entries.After(entry.Index.Position - 1)!.Value.Segment;
            _entries.Forget(entry.Index);
            _blobs.Need(segment, -1);
            foreach (var blob in entry.Index.Blobs)
            {
                if (_blobs.Find(blob.Hash) is { } known)
                {
                    known.Names--;
                }
            }

            LetGo(segment);
        }
    }

    /// <summary>
    /// Applies the operations of a part, after its commit or at start: one code, so that a start finds what was left. At start the small
    /// state goes to <paramref name="replay"/>; after a commit <see cref="Group.Publish"/> sets it.
    /// </summary>
    private void Apply(ReadOnlySpan<byte> payload, long segment, int payloadOffset, Replay? replay, List<(ContentHash, Extent)> freed)
    {
        var digest = _digests[segment].Saved ? null : _digests[segment].Operations;
        var unpacker = new Unpacker(payload);
        var added = 0;
        if (payloadOffset > 0)
        {
            unpacker.Take(GroupFormat.PartHeaderBytes);
        }

        while (!unpacker.AtEnd)
        {
            var start = unpacker.At;
            var operation = (Operation)unpacker.Byte();
            switch (operation)
            {
                case Operation.Entry:
                    var at = unpacker.At;
                    var length = unpacker.Int32();
                    unpacker.UInt32();
                    var body = new Unpacker(unpacker.Take(length));
                    var entry = GroupFormat.Index(ref body);
                    Add(entry, segment, payloadOffset + at, replay);
                    added++;
                    if (digest is not null)
                    {
                        GroupFormat.Digest(digest, entry, payloadOffset + at);
                    }

                    continue;
                case Operation.EntryDigest:
                    var offset = unpacker.Int32();
                    Add(GroupFormat.Index(ref unpacker), segment, offset, replay);
                    added++;
                    break;
                case Operation.Blob:
                    var (hash, change, now) = GroupFormat.Blob(ref unpacker);
                    freed.AddRange(_blobs.Change(hash, change, now, segment).Select(e => (hash, e)));
                    break;
                case Operation.Forget:
                    var unnamed = unpacker.Hash();
                    freed.AddRange(_blobs.Forget(unnamed, segment).Select(e => (unnamed, e)));
                    break;
                case Operation.Pin:
                    _blobs.Pin(unpacker.Hash(), unpacker.Text(), segment);
                    break;
                case Operation.Unpin:
                    _blobs.Unpin(unpacker.Hash(), unpacker.Text(), segment);
                    break;
                case Operation.Lanes:
                    var lanes = GroupFormat.Lanes(ref unpacker);
                    replay?.Lanes = lanes;
                    break;
                case Operation.Mark:
                    var (origin, sequence) = GroupFormat.Mark(ref unpacker);
                    replay?.Marks[origin] = sequence;
                    break;
                case Operation.Position:
                    var position = unpacker.Int64();
                    replay?.Position = position;
                    break;
                case Operation.Identity:
                    var identity = Identity(ref unpacker);
                    replay?.Identity = identity;
                    break;
                default:
                    throw new InvalidDataException($"Segment {segment} was written by a newer version: operation {operation} is not known.");
            }

            digest?.Bytes(payload[start..unpacker.At]);
        }

        _blobs.Need(segment, added);
    }

    private void Add(IndexedEntry entry, long segment, int offset, Replay? replay)
    {
        _entries.Add(entry, segment, offset, replay?.Passed);
        foreach (var blob in entry.Blobs)
        {
            if (_blobs.Find(blob.Hash) is { } known)
            {
                known.Names++;
                if (entry.Own)
                {
                    replay?.Named.Add((entry.Lane, entry.RawSequence, known));
                }
            }
        }

    }

    private static void Identity(Packer packer, LogState state, long[] bases)
    {
        packer.Byte((int)Operation.Identity);
        packer.Text(state.Site);
        packer.Guid(state.Epoch);
        foreach (var start in bases)
        {
            packer.Int64(start);
        }
    }

    private static (string Site, Guid Epoch, long[] Bases) Identity(ref Unpacker unpacker) =>
        (unpacker.Text(), unpacker.Guid(), [unpacker.Int64(), unpacker.Int64(), unpacker.Int64(), unpacker.Int64()]);

    private static void Position(Packer packer, long position)
    {
        packer.Byte((int)Operation.Position);
        packer.Int64(position);
    }

    private static void Pin(Packer packer, ContentHash hash, string holder, bool set)
    {
        packer.Byte((int)(set ? Operation.Pin : Operation.Unpin));
        packer.Hash(hash);
        packer.Text(holder);
    }

    private static void Forget(Packer packer, ContentHash hash)
    {
        packer.Byte((int)Operation.Forget);
        packer.Hash(hash);
    }
}
