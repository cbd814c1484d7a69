using System.Buffers.Binary;

namespace Yizhan.Storage;

/// <summary>What the databases keep beside the columns of an entry: its checksum, and the blobs it names in one value.</summary>
internal static class EntryRow
{
    /// <summary>CRC-32C of all that an entry says.</summary>
    public static uint Checksum(Entry entry, ReadOnlySpan<byte> packedBlobs)
    {
        var text = System.Text.Encoding.UTF8.GetBytes(string.Join('\0', entry.Type, entry.Id, entry.Key, entry.TraceParent));
        Span<byte> time = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(time, entry.TimeMs);
        Span<byte> parts = stackalloc byte[4 * sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(parts, Record.Crc32C(text));
        BinaryPrimitives.WriteUInt32LittleEndian(parts[4..], Record.Crc32C(time));
        BinaryPrimitives.WriteUInt32LittleEndian(parts[8..], Record.Crc32C(packedBlobs));
        BinaryPrimitives.WriteUInt32LittleEndian(parts[12..], Record.Crc32C(entry.Data.Span));
        return Record.Crc32C(parts);
    }

    public static byte[] Pack(IReadOnlyList<BlobRef> blobs)
    {
        var packed = new byte[blobs.Count * (ContentHash.Size + sizeof(long))];
        for (var i = 0; i < blobs.Count; i++)
        {
            var at = packed.AsSpan(i * (ContentHash.Size + sizeof(long)));
            blobs[i].Hash.CopyTo(at);
            BinaryPrimitives.WriteInt64LittleEndian(at[ContentHash.Size..], blobs[i].Length);
        }

        return packed;
    }

    public static BlobRef[] Unpack(ReadOnlySpan<byte> packed)
    {
        var blobs = new BlobRef[packed.Length / (ContentHash.Size + sizeof(long))];
        for (var i = 0; i < blobs.Length; i++)
        {
            var at = packed[(i * (ContentHash.Size + sizeof(long)))..];
            blobs[i] = new BlobRef(new ContentHash(at[..ContentHash.Size]), BinaryPrimitives.ReadInt64LittleEndian(at[ContentHash.Size..]));
        }

        return blobs;
    }
}
