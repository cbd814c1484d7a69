using System.Buffers.Binary;

namespace Yizhan.Storage;

/// <summary>
/// What the groups in one segment file say, without the data of entries. It is kept beside a full file so that a start needs not read the file, and may be
/// lost or torn: then the file is read.
/// </summary>
internal sealed class SegmentDigest(ulong epoch)
{
    private const uint Magic = 0x49475359; // "YSGI"
    private const int HeaderBytes = 48;

    /// <summary>Operations, entries as <see cref="Operation.EntryDigest"/>.</summary>
    public Packer Operations { get; } = new();

    /// <summary>Serial of the first group of which a part is in the file; 0 when there is none.</summary>
    public long FirstSerial { get; private set; }

    /// <summary>Serial of the last.</summary>
    public long LastSerial { get; private set; }

    /// <summary>Bytes of the file's group records.</summary>
    public long GroupBytes { get; private set; }

    /// <summary>End of the last group record.</summary>
    public int Tail { get; private set; }

    /// <summary>True when it is on disk.</summary>
    public bool Saved { get; private set; }

    /// <summary>Notes a group's record.</summary>
    public void Add(long serial, int offset, int bytes)
    {
        FirstSerial = FirstSerial == 0 ? serial : FirstSerial;
        LastSerial = serial;
        GroupBytes += bytes;
        Tail = Math.Max(Tail, offset + bytes);
    }

    /// <summary>Writes it, without a flush. A full disk is no reason to stop: the next start reads the file instead.</summary>
    public void Save(IDisk disk, string path)
    {
        Saved = true;
        var bytes = new byte[HeaderBytes + Operations.Length];
        Operations.Written.Span.CopyTo(bytes.AsSpan(HeaderBytes));
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(8), Operations.Length);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(12), Tail);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(16), epoch);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(24), FirstSerial);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(32), LastSerial);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(40), GroupBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), Record.Crc32C(bytes.AsSpan(8)));
        Operations.Release();
        try
        {
            using var file = disk.Open(path, create: true);
            file.Write(bytes, 0);
        }
        catch (DiskFullException)
        {
        }
    }

    /// <summary>True when a file is a digest by its name.</summary>
    public static bool IsName(string name) => name.EndsWith(".digest", StringComparison.Ordinal);

    /// <summary>Length of one, in bytes.</summary>
    public static long Length(IDisk disk, string path)
    {
        using var file = disk.Open(path, create: false);
        return file.Length;
    }

    /// <summary>Reads one; null when there is none for this life of the file, or it is damaged.</summary>
    public static (SegmentDigest Digest, ReadOnlyMemory<byte> Operations)? TryLoad(IDisk disk, string path, ulong epoch)
    {
        byte[] bytes;
        using (var file = disk.Open(path, create: false))
        {
            bytes = new byte[(int)Math.Min(file.Length, int.MaxValue)];
            if (file.Read(bytes, 0) < bytes.Length || bytes.Length < HeaderBytes)
            {
                return null;
            }
        }

        var length = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(8));
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Magic
            || length < 0 || length > bytes.Length - HeaderBytes
            || BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(16)) != epoch
            || BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(4)) != Record.Crc32C(bytes.AsSpan(8, HeaderBytes - 8 + length)))
        {
            return null;
        }

        var digest = new SegmentDigest(epoch)
        {
            Saved = true,
            Tail = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(12)),
            FirstSerial = BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(24)),
            LastSerial = BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(32)),
            GroupBytes = BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(40)),
        };
        return (digest, bytes.AsMemory(HeaderBytes, length));
    }
}
