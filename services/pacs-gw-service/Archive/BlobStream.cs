using System.Buffers;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Archive;

/// <summary>
/// A blob read forward, for what wants a stream. Storage reads, verifies and opens whole chunks: who asks for whole ones at their borders gets them
/// straight into his buffer, who asks for less gets it out of the one that was read last, so that none is opened twice. Does not own the reader.
/// </summary>
internal sealed class BlobStream(BlobReader blob) : Stream
{
    private byte[]? _chunk;
    private long _chunkAt;
    private int _chunkBytes;
    private long _position;

    public override bool CanRead => true;

    /// <summary>True so that a reader can ask how much is left; there is no going back.</summary>
    public override bool CanSeek => true;

    public override bool CanWrite => false;

    public override long Length => blob.Length;

    public override long Position
    {
        get => _position;
        set => throw new NotSupportedException("Blobs are read forward.");
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var left = blob.Length - _position;
        if (buffer.IsEmpty || left == 0)
        {
            return 0;
        }

        var within = (int)(_position % IBlobStore.ChunkBytes);
        var whole = (int)Math.Min(buffer.Length, left);
        whole -= whole < left ? whole % IBlobStore.ChunkBytes : 0;
        if (within == 0 && whole > 0)
        {
            var read = await blob.ReadAsync(_position, buffer[..whole], cancellationToken);
            _position += read;
            return read;
        }

        if (_chunk is null || _chunkAt != _position - within)
        {
            _chunk ??= ArrayPool<byte>.Shared.Rent(IBlobStore.ChunkBytes);
            _chunkAt = -1;
            _chunkBytes = await blob.ReadAsync(_position - within, _chunk.AsMemory(0, IBlobStore.ChunkBytes), cancellationToken);
            _chunkAt = _position - within;
        }

        var part = Math.Min(buffer.Length, _chunkBytes - within);
        _chunk.AsMemory(within, part).CopyTo(buffer);
        _position += part;
        return part;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) =>
        throw new NotSupportedException("Blobs are read asynchronously.");

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException("Blobs are read forward.");

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (_chunk is { } chunk)
        {
            _chunk = null;
            ArrayPool<byte>.Shared.Return(chunk);
        }

        base.Dispose(disposing);
    }
}
