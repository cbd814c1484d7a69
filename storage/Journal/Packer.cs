using System.Buffers.Binary;
using System.Text;

namespace Yizhan.Storage;

/// <summary>Writes numbers and texts into a growing buffer, little-endian.</summary>
internal sealed class Packer(int capacity = 4096)
{
    private byte[] _buffer = new byte[capacity];

    public int Length { get; private set; }

    public Memory<byte> Written => _buffer.AsMemory(0, Length);

    /// <summary>The buffer itself, of at least <see cref="Length"/> bytes.</summary>
    public byte[] Buffer => _buffer;

    public void Clear() => Length = 0;

    /// <summary>Clears it and gives its memory back.</summary>
    public void Release() => (_buffer, Length) = (new byte[16], 0);

    public void Byte(int value) => Take(1)[0] = (byte)value;

    public void UInt16(int value) => BinaryPrimitives.WriteUInt16LittleEndian(Take(2), checked((ushort)value));

    public void Int32(int value) => BinaryPrimitives.WriteInt32LittleEndian(Take(4), value);

    public void UInt32(uint value) => BinaryPrimitives.WriteUInt32LittleEndian(Take(4), value);

    public void Int64(long value) => BinaryPrimitives.WriteInt64LittleEndian(Take(8), value);

    public void UInt64(ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(Take(8), value);

    public void Guid(Guid value) => value.TryWriteBytes(Take(16));

    public void Hash(ContentHash value) => value.CopyTo(Take(ContentHash.Size));

    public void Text(string value)
    {
        UInt16(Encoding.UTF8.GetByteCount(value));
        Encoding.UTF8.GetBytes(value, Take(Encoding.UTF8.GetByteCount(value)));
    }

    public void Bytes(ReadOnlySpan<byte> value) => value.CopyTo(Take(value.Length));

    /// <summary>Makes sure that the buffer has so many bytes.</summary>
    public void Grow(int length)
    {
        if (_buffer.Length < length)
        {
            Array.Resize(ref _buffer, length);
        }
    }

    /// <summary>Takes back everything after a length.</summary>
    public void Truncate(int length) => Length = length;

    /// <summary>Space that the caller fills before anything else is written.</summary>
    public Span<byte> Take(int length)
    {
        if (Length + length > _buffer.Length)
        {
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, Length + length));
        }

        Length += length;
        return _buffer.AsSpan(Length - length, length);
    }

    /// <summary>Space for a number that is known later.</summary>
    public int Reserve(int length)
    {
        Take(length).Clear();
        return Length - length;
    }
}

/// <summary>Reads what a <see cref="Packer"/> wrote. Everything it reads has passed a checksum.</summary>
internal ref struct Unpacker(ReadOnlySpan<byte> bytes)
{
    private readonly ReadOnlySpan<byte> _bytes = bytes;

    public int At { get; private set; }

    public readonly bool AtEnd => At >= _bytes.Length;

    public byte Byte() => Take(1)[0];

    public int UInt16() => BinaryPrimitives.ReadUInt16LittleEndian(Take(2));

    public int Int32() => BinaryPrimitives.ReadInt32LittleEndian(Take(4));

    public uint UInt32() => BinaryPrimitives.ReadUInt32LittleEndian(Take(4));

    public long Int64() => BinaryPrimitives.ReadInt64LittleEndian(Take(8));

    public ulong UInt64() => BinaryPrimitives.ReadUInt64LittleEndian(Take(8));

    public Guid Guid() => new(Take(16));

    public ContentHash Hash() => new(Take(ContentHash.Size));

    public string Text() => Encoding.UTF8.GetString(Take(UInt16()));

    public ReadOnlySpan<byte> Take(int length)
    {
        At += length;
        return _bytes.Slice(At - length, length);
    }
}
