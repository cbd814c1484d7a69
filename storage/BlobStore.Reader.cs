using System.Buffers;

namespace Yizhan.Storage;

internal sealed partial class BlobStore
{
    /// <summary>Reads a blob chunk by chunk, each against the checksum in its record's header.</summary>
    private sealed class SegmentBlobReader(SegmentFiles segments, ContentHash hash, StoredBlob blob, Action dispose) : BlobReader
    {
        // Headers are read once. Two threads may read one twice; the result is the same.
        private readonly byte[]?[] _headers = new byte[blob.Extents.Count][];
        private int _disposed;

        public override long Length => blob.Length;

        public override ValueTask<int> ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(offset);
            ObjectDisposedException.ThrowIf(_disposed != 0, this);
            var wanted = (int)Math.Min(buffer.Length, Math.Max(0, blob.Length - offset));
            for (var done = 0; done < wanted;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                done += ReadPart(offset + done, buffer.Span[done..wanted]);
            }

            return new(wanted);
        }

        public override ValueTask DisposeAsync()
        {
            if (Interlocked.Exchange(ref _disposed, 1) == 0)
            {
                dispose();
            }

            return default;
        }

        /// <summary>Reads from one piece: whole chunks straight into the buffer, or a part of one chunk through a buffer of our own.</summary>
        private int ReadPart(long offset, Span<byte> buffer)
        {
            var index = ExtentAt(offset);
            var extent = blob.Extents[index];
            var header = _headers[index] ??= ReadHeader(extent);
            var within = (int)(offset - extent.At);
            var chunk = within / Record.ChunkBytes;
            var chunkStart = chunk * Record.ChunkBytes;
            var whole = Math.Min(buffer.Length, extent.Length - within);
            if (whole < extent.Length - within)
            {
                whole -= whole % Record.ChunkBytes;
            }

            if (within == chunkStart && whole > 0)
            {
                ReadVerified(extent, header, chunk, buffer[..whole]);
                return whole;
            }

            var length = Math.Min(Record.ChunkBytes, extent.Length - chunkStart);
            var rented = ArrayPool<byte>.Shared.Rent(length);
            try
            {
                ReadVerified(extent, header, chunk, rented.AsSpan(0, length));
                var part = Math.Min(buffer.Length, length - (within - chunkStart));
                rented.AsSpan(within - chunkStart, part).CopyTo(buffer);
                return part;
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(rented);
            }
        }

        private void ReadVerified(Extent extent, byte[] header, int firstChunk, Span<byte> chunks)
        {
            var at = extent.Offset + header.Length + ((long)firstChunk * Record.ChunkBytes);
            if (segments.Read(extent.Segment, at, chunks) < chunks.Length)
            {
                throw Damaged(extent);
            }

            for (var i = 0; i * Record.ChunkBytes < chunks.Length; i++)
            {
                var chunk = chunks[(i * Record.ChunkBytes)..Math.Min(chunks.Length, (i + 1) * Record.ChunkBytes)];
                if (Record.Crc32C(chunk) != Record.ChunkCrc(header, firstChunk + i))
                {
                    throw Damaged(extent);
                }

                if (segments.IsSealed(extent.Segment) && !Record.TryOpen(header, firstChunk + i, chunk, segments.KeyOf(extent.Segment)))
                {
                    throw new InvalidDataException(
                        $"Blob {hash} was changed at byte {extent.At}, by somebody without its key: segment {extent.Segment}, offset {extent.Offset}.");
                }
            }
        }

        private byte[] ReadHeader(Extent extent)
        {
            var header = new byte[segments.HeaderBytesOf(extent.Segment)];
            return segments.Read(extent.Segment, extent.Offset, header) == header.Length
                && Record.TryParse(header, header.Length, segments.EpochOf(extent.Segment), extent.Offset, out var parsed)
                && parsed.Kind == RecordKind.Extent
                && parsed.Payload == extent.Length
                && parsed.Sealed == segments.IsSealed(extent.Segment)
                    ? header
                    : throw Damaged(extent);
        }

        /// <summary>The piece that covers an offset. Pieces of a received blob may overlap; any that covers it will do, for all were hashed.</summary>
        private int ExtentAt(long offset)
        {
            var (low, high) = (0, blob.Extents.Count - 1);
            while (low < high)
            {
                var middle = (low + high + 1) / 2;
                (low, high) = blob.Extents[middle].At <= offset ? (middle, high) : (low, middle - 1);
            }

            while (low > 0 && blob.Extents[low].End <= offset)
            {
                low--;
            }

            return low;
        }

        private InvalidDataException Damaged(Extent extent) => new(
            $"Blob {hash} is damaged at byte {extent.At}: segment {extent.Segment}, offset {extent.Offset}, fails its checksum.");
    }
}
