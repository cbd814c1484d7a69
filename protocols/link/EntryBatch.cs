using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Yizhan.Link;

/// <summary>Some entries of one lane, in sequence without gap, as one body.</summary>
/// <remarks>
/// Binary and length-prefixed instead of a CloudEvents JSON batch: an entry's data must reach the centre bit for bit (the
/// audit tree hashes it), also when it is not the JSON that it should be, because only then can the centre refuse that one
/// entry by name. Integers are big-endian. <c>docs/protocols/link.md</c> has the layout.
/// </remarks>
/// <param name="Site">Site of the log. The receiver compares it with the client certificate.</param>
/// <param name="Epoch">Epoch of the log.</param>
/// <param name="Lane">0 urgent … 3 telemetry.</param>
/// <param name="FirstSequence">Sequence of the first entry; the others follow it.</param>
/// <param name="Entries">The entries.</param>
public sealed record EntryBatch(string Site, Guid Epoch, byte Lane, long FirstSequence, IReadOnlyList<BatchEntry> Entries)
{
    private const uint Magic = 0x595A4C31; // "YZL1"

    /// <summary>Sequence of the last entry.</summary>
    public long LastSequence => FirstSequence + Entries.Count - 1;

    /// <summary>Writes the batch.</summary>
    public byte[] ToBytes()
    {
        // Large enough for all, so that nothing is copied on the way.
        var body = new ArrayBufferWriter<byte>(64 + Site.Length + Entries.Sum(static e =>
            64 + (3 * (e.Type.Length + e.Id.Length + e.Key.Length + (e.TraceParent?.Length ?? 0))) + (40 * e.Blobs.Count) + e.Data.Length));
        Write(body, Magic);
        Write(body, Site);
        Epoch.TryWriteBytes(body.GetSpan(16), bigEndian: true, out _);
        body.Advance(16);
        body.Write([Lane]);
        Write(body, FirstSequence);
        Write(body, (uint)Entries.Count);
        foreach (var entry in Entries)
        {
            Write(body, entry.TimeMs);
            Write(body, entry.Type);
            Write(body, entry.Id);
            Write(body, entry.Key);
            Write(body, entry.TraceParent ?? "");
            Write(body, (uint)entry.Blobs.Count);
            foreach (var blob in entry.Blobs)
            {
                body.Write(blob.Sha256.Span);
                Write(body, blob.Length);
            }

            Write(body, (uint)entry.Data.Length);
            body.Write(entry.Data.Span);
        }

        return body.WrittenSpan.ToArray();
    }

    /// <summary>Reads a batch. Its parts are views of <paramref name="body"/>.</summary>
    /// <exception cref="InvalidDataException">The body is not a batch; the message says where it stops being one.</exception>
    public static EntryBatch Parse(ReadOnlyMemory<byte> body)
    {
        var reader = new Reader(body);
        if (reader.UInt32() != Magic)
        {
            throw new InvalidDataException("The body does not begin with 'YZL1'.");
        }

        var site = reader.Text();
        var epoch = new Guid(reader.Take(16).Span, bigEndian: true);
        var lane = reader.Take(1).Span[0];
        var first = reader.Int64();
        var count = reader.UInt32();
        if (count is 0 or > LinkRoutes.MaxBatchEntries || lane > 3 || first < 1 || first > long.MaxValue - count)
        {
            throw new InvalidDataException($"A batch of {count} entries of lane {lane} from sequence {first} is out of range.");
        }

        var entries = new BatchEntry[count];
        for (var i = 0; i < entries.Length; i++)
        {
            entries[i] = new BatchEntry(
                reader.Int64(), reader.Text(), reader.Text(), reader.Text(),
                reader.Text() is { Length: > 0 } trace ? trace : null,
                reader.Blobs(), reader.Take(reader.UInt32()));
        }

        return reader.AtEnd
            ? new EntryBatch(site, epoch, lane, first, entries)
            : throw new InvalidDataException($"Bytes follow the last of {count} entries.");
    }

    private static void Write(ArrayBufferWriter<byte> body, uint value)
    {
        BinaryPrimitives.WriteUInt32BigEndian(body.GetSpan(4), value);
        body.Advance(4);
    }

    private static void Write(ArrayBufferWriter<byte> body, long value)
    {
        BinaryPrimitives.WriteInt64BigEndian(body.GetSpan(8), value);
        body.Advance(8);
    }

    private static void Write(ArrayBufferWriter<byte> body, string text)
    {
        Write(body, (uint)Encoding.UTF8.GetByteCount(text));
        Encoding.UTF8.GetBytes(text, body);
    }

    /// <summary>Every length is compared with what is left before anything is allocated for it.</summary>
    private ref struct Reader(ReadOnlyMemory<byte> body)
    {
        private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

        private readonly ReadOnlyMemory<byte> _body = body;
        private int _at;

        public readonly bool AtEnd => _at == _body.Length;

        public ReadOnlyMemory<byte> Take(uint length)
        {
            if (length > _body.Length - _at)
            {
                throw new InvalidDataException($"At byte {_at} a length of {length} exceeds the {_body.Length - _at} bytes that are left.");
            }

            var part = _body.Slice(_at, (int)length);
            _at += (int)length;
            return part;
        }

        public uint UInt32() => BinaryPrimitives.ReadUInt32BigEndian(Take(4).Span);

        public long Int64() => BinaryPrimitives.ReadInt64BigEndian(Take(8).Span);

        public string Text()
        {
            var at = _at;
            try
            {
                return StrictUtf8.GetString(Take(UInt32()).Span);
            }
            catch (DecoderFallbackException)
            {
                throw new InvalidDataException($"At byte {at} a text is not UTF-8.");
            }
        }

        public BatchBlob[] Blobs()
        {
            const int Size = 32 + 8;
            var count = UInt32();
            if (count > (_body.Length - _at) / Size)
            {
                throw new InvalidDataException($"At byte {_at} {count} blobs are announced, more than the body has room for.");
            }

            var blobs = new BatchBlob[count];
            for (var i = 0; i < blobs.Length; i++)
            {
                blobs[i] = new BatchBlob(Take(32), Int64());
            }

            return blobs;
        }
    }
}

/// <summary>One entry of a batch; the members are those of the log's entry.</summary>
/// <param name="TimeMs">When it happened, Unix milliseconds UTC, by the producer's clock.</param>
/// <param name="Type">CloudEvents type.</param>
/// <param name="Id">Deterministic identity of the fact.</param>
/// <param name="Key">What the fact is about; may be empty.</param>
/// <param name="TraceParent">W3C trace context; null when there is none.</param>
/// <param name="Blobs">Blobs that must be complete at the receiver before the entry is taken.</param>
/// <param name="Data">UTF-8 JSON.</param>
public sealed record BatchEntry(
    long TimeMs,
    string Type,
    string Id,
    string Key,
    string? TraceParent,
    IReadOnlyList<BatchBlob> Blobs,
    ReadOnlyMemory<byte> Data);

/// <summary>A blob by content.</summary>
/// <param name="Sha256">32 bytes.</param>
/// <param name="Length">Bytes.</param>
public readonly record struct BatchBlob(ReadOnlyMemory<byte> Sha256, long Length);
