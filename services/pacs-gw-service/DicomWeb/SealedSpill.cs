using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>
/// Bytes that wait on disk for a moment: written once from beginning to end, then read anywhere. The file has no name, and its chunks are sealed
/// (AES-256-GCM) with a key that is only in memory, so that what is left of it after a crash, or in a block of the disk, is nothing. Not for concurrent use.
/// </summary>
internal sealed class SealedSpill : IDisposable
{
    private const int ChunkBytes = 64 * 1024, TagBytes = 16, NonceBytes = 12;

    private readonly FileStream _file;
    private readonly AesGcm _cipher;
    private readonly byte[] _chunk = new byte[ChunkBytes];
    private readonly byte[] _sealed = new byte[ChunkBytes + TagBytes];
    private long _inChunk = -1;

    /// <param name="folder">Where the file is made; made if it is not there.</param>
    public SealedSpill(string folder)
    {
        var key = RandomNumberGenerator.GetBytes(32);
        _cipher = new AesGcm(key, TagBytes);
        CryptographicOperations.ZeroMemory(key);
        Directory.CreateDirectory(folder);
        var path = Path.Combine(folder, Path.GetRandomFileName());
        _file = new FileStream(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.Delete, bufferSize: 0, FileOptions.Asynchronous);
        File.Delete(path);
    }

    /// <summary>Bytes written.</summary>
    public long Length { get; private set; }

    /// <summary>Adds bytes at the end.</summary>
    public async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        if (_inChunk >= 0)
        {
            throw new InvalidOperationException("It is read already.");
        }

        while (bytes.Length > 0)
        {
            var at = (int)(Length % ChunkBytes);
            var count = Math.Min(bytes.Length, ChunkBytes - at);
            bytes[..count].CopyTo(_chunk.AsMemory(at));
            Length += count;
            bytes = bytes[count..];
            if (at + count == ChunkBytes)
            {
                await RandomAccess.WriteAsync(_file.SafeFileHandle, Seal((Length / ChunkBytes) - 1, ChunkBytes), ((Length / ChunkBytes) - 1) * _sealed.Length, cancellationToken);
            }
        }
    }

    /// <summary>Reads bytes from a place on; nothing is written after that.</summary>
    /// <exception cref="IOException">The file is not what was written.</exception>
    public void Read(long offset, Span<byte> bytes)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + bytes.Length, Length);
        if (_inChunk < 0)
        {
            // The last chunk is still here.
            var last = Length / ChunkBytes;
            if (Length % ChunkBytes > 0)
            {
                RandomAccess.Write(_file.SafeFileHandle, Seal(last, (int)(Length % ChunkBytes)).Span, last * _sealed.Length);
            }

            _inChunk = last;
        }

        while (bytes.Length > 0)
        {
            Load(offset / ChunkBytes);
            var at = (int)(offset % ChunkBytes);
            var count = Math.Min(bytes.Length, ChunkBytes - at);
            _chunk.AsSpan(at, count).CopyTo(bytes);
            bytes = bytes[count..];
            offset += count;
        }
    }

    public void Dispose()
    {
        _file.Dispose();
        _cipher.Dispose();
        CryptographicOperations.ZeroMemory(_chunk);
    }

    private ReadOnlyMemory<byte> Seal(long number, int count)
    {
        Span<byte> nonce = stackalloc byte[NonceBytes];
        BinaryPrimitives.WriteInt64LittleEndian(nonce, number);
        _cipher.Encrypt(nonce, _chunk.AsSpan(0, count), _sealed.AsSpan(0, count), _sealed.AsSpan(count, TagBytes));
        return _sealed.AsMemory(0, count + TagBytes);
    }

    private void Load(long number)
    {
        if (number == _inChunk)
        {
            return;
        }

        var count = (int)Math.Min(ChunkBytes, Length - (number * ChunkBytes));
        Span<byte> nonce = stackalloc byte[NonceBytes];
        BinaryPrimitives.WriteInt64LittleEndian(nonce, number);
        if (RandomAccess.Read(_file.SafeFileHandle, _sealed.AsSpan(0, count + TagBytes), number * _sealed.Length) != count + TagBytes)
        {
            throw new IOException("A file of bulk values ends early.");
        }

        try
        {
            _cipher.Decrypt(nonce, _sealed.AsSpan(0, count), _sealed.AsSpan(count, TagBytes), _chunk.AsSpan(0, count));
        }
        catch (AuthenticationTagMismatchException e)
        {
            throw new IOException("A file of bulk values was changed.", e);
        }

        _inChunk = number;
    }
}
