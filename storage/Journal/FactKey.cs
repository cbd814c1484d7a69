using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Yizhan.Storage;

/// <summary>
/// What makes an entry the same fact: the site and the id that its producer gave it. The epoch is not part of it, so that a site
/// which was restored and sends a fact again under a new epoch does not double it. First 128 bits of a SHA-256.
/// </summary>
internal readonly record struct FactKey(ulong High, ulong Low)
{
    public const int Size = 16;

    public static FactKey Of(string site, string id)
    {
        // A site is a DNS label, so the zero byte cannot be part of it: "a"+"bc" and "ab"+"c" differ.
        Span<byte> text = stackalloc byte[2048];
        var length = Encoding.UTF8.GetBytes(site, text);
        text[length++] = 0;
        length += Encoding.UTF8.GetBytes(id, text[length..]);
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(text[..length], hash);
        return new FactKey(BinaryPrimitives.ReadUInt64BigEndian(hash), BinaryPrimitives.ReadUInt64BigEndian(hash[8..]));
    }

    /// <summary>Reads what <see cref="ToArray"/> gave.</summary>
    public static FactKey Of(ReadOnlySpan<byte> bytes) => new(BinaryPrimitives.ReadUInt64BigEndian(bytes), BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]));

    /// <summary>Its bits are random already.</summary>
    public override int GetHashCode() => (int)Low;

    public byte[] ToArray()
    {
        var bytes = new byte[Size];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, High);
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(8), Low);
        return bytes;
    }
}
