using System.Buffers.Binary;

namespace Yizhan.Transparency;

/// <summary>A tile of entries: each with its length before it, two bytes, big endian (C2SP tlog-tiles).</summary>
internal static class EntryBundle
{
    public const int MaxEntryBytes = ushort.MaxValue;

    public static void Append(MemoryStream bundle, ReadOnlySpan<byte> entry)
    {
        Span<byte> length = stackalloc byte[sizeof(ushort)];
        BinaryPrimitives.WriteUInt16BigEndian(length, (ushort)entry.Length);
        bundle.Write(length);
        bundle.Write(entry);
    }

    /// <summary>The first entries of a bundle, at most <paramref name="count"/>; fewer when it ends or is cut off.</summary>
    /// <param name="bundle">The tile.</param>
    /// <param name="count">Entries wanted.</param>
    /// <param name="length">Bytes that they take with their lengths.</param>
    public static List<ReadOnlyMemory<byte>> Split(ReadOnlyMemory<byte> bundle, int count, out int length)
    {
        var entries = new List<ReadOnlyMemory<byte>>(count);
        length = 0;
        while (entries.Count < count && bundle.Length - length >= sizeof(ushort))
        {
            var entryLength = BinaryPrimitives.ReadUInt16BigEndian(bundle.Span[length..]);
            if (bundle.Length - length - sizeof(ushort) < entryLength)
            {
                break;
            }

            entries.Add(bundle.Slice(length + sizeof(ushort), entryLength));
            length += sizeof(ushort) + entryLength;
        }

        return entries;
    }
}
