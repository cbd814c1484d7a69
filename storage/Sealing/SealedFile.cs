using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Yizhan.Storage;

/// <summary>A file that only who has the site key can read: sealed with a key of its own (AES-256-GCM), which is in it, wrapped by the site key.</summary>
/// <remarks>
/// A line <c>yizhan-sealed-1 ID</c> with the id of the site key, the length of the wrapped key (u16) and it, then chunks of 64 KiB, each with its tag. A chunk's nonce is its number, and
/// the last one is sealed as the last: none can be left out, moved or cut off.
/// </remarks>
internal static class SealedFile
{
    private const int ChunkBytes = 64 * 1024;
    private const string Begin = "yizhan-sealed-1 ";

    private static readonly byte[] Label = "yizhan sealed file"u8.ToArray();

    /// <summary>Seals a file; durable on return.</summary>
    public static void Seal(ISiteKey siteKey, string from, string to)
    {
        var key = RandomNumberGenerator.GetBytes(DataKey.KeyBytes);
        var wrapped = siteKey.Wrap(key, Label);
        using var cipher = new DataKey(key);
        using var source = new FileStream(from, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        using var target = new FileStream(to, FileMode.Create, FileAccess.Write, FileShare.None);
        target.Write(Encoding.ASCII.GetBytes($"{Begin}{siteKey.Id}\n"));
        var length = new byte[sizeof(ushort)];
        BinaryPrimitives.WriteUInt16LittleEndian(length, (ushort)wrapped.Length);
        target.Write(length);
        target.Write(wrapped);
        var (chunk, tag) = (new byte[ChunkBytes], new byte[DataKey.TagBytes]);
        for (var number = 0L; ; number++)
        {
            var some = chunk.AsSpan(0, source.ReadAtLeast(chunk, ChunkBytes, throwOnEndOfStream: false));
            var last = source.Position == source.Length;
            cipher.Seal(Nonce(number), some, some, tag, [(byte)(last ? 1 : 0)]);
            target.Write(some);
            target.Write(tag);
            if (last)
            {
                break;
            }
        }

        target.Flush(flushToDisk: true);
    }

    /// <summary>Opens a file that <see cref="Seal"/> wrote.</summary>
    /// <exception cref="InvalidDataException">It is none, was sealed for another site key, or was changed.</exception>
    public static void Open(ISiteKey siteKey, string from, string to)
    {
        using var source = new FileStream(from, FileMode.Open, FileAccess.Read, FileShare.Read);
        var id = IdOf(source) ?? throw new InvalidDataException($"{from} is no sealed file: it begins with '{Begin.Trim()}'.");
        if (id != siteKey.Id)
        {
            throw new InvalidDataException($"{from} can be opened with the site key {id} only; this one is {siteKey.Id}.");
        }

        var length = new byte[sizeof(ushort)];
        source.ReadExactly(length);
        var wrapped = new byte[BinaryPrimitives.ReadUInt16LittleEndian(length)];
        source.ReadExactly(wrapped);
        using var cipher = new DataKey(Unwrap(siteKey, wrapped, from));
        using var target = new FileStream(to, FileMode.Create, FileAccess.Write, FileShare.None);
        var chunk = new byte[ChunkBytes + DataKey.TagBytes];
        for (var number = 0L; ; number++)
        {
            var read = source.ReadAtLeast(chunk, chunk.Length, throwOnEndOfStream: false);
            var last = source.Position == source.Length;
            if (read < DataKey.TagBytes || !cipher.TryOpen(
                Nonce(number), chunk.AsSpan(0, read - DataKey.TagBytes), chunk.AsSpan(read - DataKey.TagBytes, DataKey.TagBytes), chunk.AsSpan(0, read - DataKey.TagBytes), [(byte)(last ? 1 : 0)]))
            {
                throw new InvalidDataException($"{from} was changed or cut off: its part {number} is not what was sealed.");
            }

            target.Write(chunk, 0, read - DataKey.TagBytes);
            if (last)
            {
                return;
            }
        }
    }

    private static string? IdOf(FileStream source)
    {
        var line = new byte[Begin.Length + 17];
        return source.ReadAtLeast(line, line.Length, throwOnEndOfStream: false) == line.Length && Encoding.ASCII.GetString(line) is var text && text.StartsWith(Begin, StringComparison.Ordinal) && text[^1] == '\n'
            ? text[Begin.Length..^1] : null;
    }

    private static byte[] Unwrap(ISiteKey siteKey, byte[] wrapped, string from)
    {
        try
        {
            return siteKey.Unwrap(wrapped, Label);
        }
        catch (CryptographicException e)
        {
            throw new InvalidDataException($"{from} was changed: its key cannot be unwrapped.", e);
        }
    }

    private static byte[] Nonce(long number)
    {
        var nonce = new byte[DataKey.NonceBytes];
        BinaryPrimitives.WriteInt64LittleEndian(nonce, number);
        return nonce;
    }
}
