using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Yizhan.Storage;

/// <summary>
/// The shape of everything in a segment file: a header that covers itself and carries one CRC-32C and one tag of AES-GCM for each 64 KiB
/// of the payload, so that a chunk can be read and verified alone. All numbers are little-endian.
/// </summary>
/// <remarks>
/// <code>
///  0 magic u32   4 header crc u32   8 kind u8   9 sealed u8, 2 zero   12 payload length u32
/// 16 epoch of the segment u64   24 offset in the file u64   32 serial u64   40 crc of each payload chunk as stored u32[17], 4 zero
/// 112 tag of each payload chunk u8[16][16], 16 zero
/// </code>
/// Files of format 1 have headers of 112 bytes without tags and their own magic; they are read, never written.
/// The nonce of a chunk is the epoch and its place in the file, and what is before the checksums is bound to it.
/// The epoch is drawn anew whenever a file is recycled, and the offset says where the record belongs: a stale record of the
/// file's last life, or one that the disk put in the wrong place, never validates.
/// </remarks>
internal static class Record
{
    public const int HeaderBytes = 384;

    /// <summary>Of records in files of format 1.</summary>
    public const int OldHeaderBytes = 112;
    public const int MaxPayload = 1024 * 1024;

    /// <summary>Most bytes of a <see cref="RecordKind.Group"/>: more than the largest entry with all its names takes.</summary>
    public const int MaxGroupPayload = 2 * 1024 * 1024;
    public const int ChunkBytes = 64 * 1024;

    /// <summary>Records begin on page boundaries, so that two writers never share a page and none has to be read before it is written.</summary>
    public const int Alignment = 4096;

    public const int MaxDiskBytes = (HeaderBytes + MaxPayload + Alignment - 1) / Alignment * Alignment;

    private const int StripeBytes = 512;
    private const uint Magic = 0x32475359; // "YSG2"
    private const uint OldMagic = 0x31475359; // "YSG1"
    private const int LabelAt = 8;
    private const int CrcsAt = 40;
    private const int TagsAt = 112;

    /// <summary>What <see cref="StripeBytes"/> of zeros make of a checksum, for each value of each of its four bytes.</summary>
    private static readonly uint[] AfterStripe = [.. Enumerable.Range(0, 4 * 256).Select(i => OneByOne((uint)(i & 255) << (8 * (i >> 8)), new ulong[StripeBytes / 8]))];

    public static int DiskBytes(int payload, int headerBytes = HeaderBytes) => (headerBytes + payload + Alignment - 1) & -Alignment;

    /// <summary>
    /// Fills the header in front of a payload that begins at <see cref="HeaderBytes"/>, and zeroes the padding. With a key the payload is encrypted in place.
    /// Returns the bytes to write.
    /// </summary>
    public static int Seal(Span<byte> record, RecordKind kind, int payload, ulong epoch, long offset, long serial, DataKey? key)
    {
        var total = DiskBytes(payload);
        record[(HeaderBytes + payload)..total].Clear();
        var header = record[..HeaderBytes];
        header.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(header, Magic);
        header[8] = (byte)kind;
        header[9] = key is null ? (byte)0 : (byte)1;
        BinaryPrimitives.WriteInt32LittleEndian(header[12..], payload);
        BinaryPrimitives.WriteUInt64LittleEndian(header[16..], epoch);
        BinaryPrimitives.WriteInt64LittleEndian(header[24..], offset);
        BinaryPrimitives.WriteInt64LittleEndian(header[32..], serial);
        var step = StepOf(kind);
        Span<byte> nonce = stackalloc byte[DataKey.NonceBytes];
        for (var i = 0; i * step < payload; i++)
        {
            var chunk = record.Slice(HeaderBytes + (i * step), Math.Min(step, payload - (i * step)));
            if (key is not null)
            {
                Nonce(nonce, epoch, offset, i);
                key.Seal(nonce, chunk, chunk, header.Slice(TagsAt + (DataKey.TagBytes * i), DataKey.TagBytes), header[LabelAt..CrcsAt]);
            }

            BinaryPrimitives.WriteUInt32LittleEndian(header[(CrcsAt + (4 * i))..], Crc32C(chunk));
        }

        BinaryPrimitives.WriteUInt32LittleEndian(header[4..], HeaderCrc(header));
        return total;
    }

    /// <summary>True when the header is whole, of this life of this file and at its own place.</summary>
    /// <param name="header">At least <paramref name="headerBytes"/>.</param>
    /// <param name="headerBytes">What the format of the file says.</param>
    /// <param name="epoch">Life of the file.</param>
    /// <param name="offset">Where it was read.</param>
    /// <param name="parsed">What it says.</param>
    public static bool TryParse(ReadOnlySpan<byte> header, int headerBytes, ulong epoch, long offset, out RecordHeader parsed)
    {
        parsed = default;
        if (header.Length < headerBytes
            || BinaryPrimitives.ReadUInt32LittleEndian(header) != (headerBytes == HeaderBytes ? Magic : OldMagic)
            || BinaryPrimitives.ReadUInt64LittleEndian(header[16..]) != epoch
            || BinaryPrimitives.ReadInt64LittleEndian(header[24..]) != offset
            || BinaryPrimitives.ReadUInt32LittleEndian(header[4..]) != HeaderCrc(header[..headerBytes]))
        {
            return false;
        }

        parsed = new RecordHeader(
            (RecordKind)header[8],
            BinaryPrimitives.ReadInt32LittleEndian(header[12..]),
            BinaryPrimitives.ReadInt64LittleEndian(header[32..]),
            header[9] == 1);
        return parsed.Payload >= 0 && parsed.Payload <= (parsed.Kind == RecordKind.Extent ? MaxPayload : MaxGroupPayload);
    }

    /// <summary>The checksum that a header holds for one chunk of its payload.</summary>
    public static uint ChunkCrc(ReadOnlySpan<byte> header, int chunk) => BinaryPrimitives.ReadUInt32LittleEndian(header[(CrcsAt + (4 * chunk))..]);

    /// <summary>Decrypts one chunk of a sealed piece of a blob in place; false when it is not what was sealed.</summary>
    public static bool TryOpen(ReadOnlySpan<byte> header, int chunk, Span<byte> bytes, DataKey key)
    {
        Span<byte> nonce = stackalloc byte[DataKey.NonceBytes];
        Nonce(nonce, BinaryPrimitives.ReadUInt64LittleEndian(header[16..]), BinaryPrimitives.ReadInt64LittleEndian(header[24..]), chunk);
        return key.TryOpen(nonce, bytes, header.Slice(TagsAt + (DataKey.TagBytes * chunk), DataKey.TagBytes), bytes, header[LabelAt..CrcsAt]);
    }

    /// <summary>True when all of a payload has the checksums of its header.</summary>
    public static bool Verify(ReadOnlySpan<byte> header, RecordKind kind, ReadOnlySpan<byte> payload)
    {
        var step = StepOf(kind);
        for (var i = 0; i * step < payload.Length; i++)
        {
            if (Crc32C(payload.Slice(i * step, Math.Min(step, payload.Length - (i * step)))) != ChunkCrc(header, i))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>CRC-32C (RFC 3720 B.4), by the processor's own instruction where it has one.</summary>
    public static uint Crc32C(ReadOnlySpan<byte> bytes, uint crc = 0xFFFF_FFFF)
    {
        // The instruction waits for its own last result, and could begin three in that time: so three stripes go at once. A checksum is linear, so what
        // a stripe began with is put in afterwards.
        const int Words = StripeBytes / 8;
        var words = MemoryMarshal.Cast<byte, ulong>(bytes);
        for (; words.Length >= 3 * Words; words = words[(3 * Words)..])
        {
            var first = words[..Words];
            var second = words[Words..(2 * Words)];
            var third = words[(2 * Words)..(3 * Words)];
            var (fromSecond, fromThird) = (0u, 0u);
            for (var i = 0; i < Words; i++)
            {
                crc = BitOperations.Crc32C(crc, first[i]);
                fromSecond = BitOperations.Crc32C(fromSecond, second[i]);
                fromThird = BitOperations.Crc32C(fromThird, third[i]);
            }

            crc = PastStripe(PastStripe(crc) ^ fromSecond) ^ fromThird;
        }

        crc = OneByOne(crc, words);
        foreach (var rest in bytes[(bytes.Length & ~7)..])
        {
            crc = BitOperations.Crc32C(crc, rest);
        }

        return ~crc;
    }

    private static uint OneByOne(uint crc, ReadOnlySpan<ulong> words)
    {
        foreach (var word in words)
        {
            crc = BitOperations.Crc32C(crc, word);
        }

        return crc;
    }

    private static uint PastStripe(uint crc) =>
        AfterStripe[crc & 255] ^ AfterStripe[256 + ((crc >> 8) & 255)] ^ AfterStripe[512 + ((crc >> 16) & 255)] ^ AfterStripe[768 + (crc >> 24)];

    /// <summary>A piece of a blob is read chunk by chunk; a group always whole.</summary>
    private static int StepOf(RecordKind kind) => kind == RecordKind.Extent ? ChunkBytes : MaxGroupPayload;

    /// <summary>No place in a life of a file is written twice, so no nonce is: records begin on pages, and have at most 32 chunks.</summary>
    private static void Nonce(Span<byte> nonce, ulong epoch, long offset, int chunk)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(nonce, epoch);
        BinaryPrimitives.WriteUInt32LittleEndian(nonce[8..], (uint)((offset / Alignment * 32) + chunk));
    }

    private static uint HeaderCrc(ReadOnlySpan<byte> header) => Crc32C(header[8..], Crc32C(header[..4]));
}

/// <summary>What a record holds.</summary>
internal enum RecordKind : byte
{
    /// <summary>A piece of a blob.</summary>
    Extent = 1,

    /// <summary>A committed group of the segments journal, or a part of one.</summary>
    Group = 2,
}

/// <summary>The header of a valid record.</summary>
internal readonly record struct RecordHeader(RecordKind Kind, int Payload, long Serial, bool Sealed);
