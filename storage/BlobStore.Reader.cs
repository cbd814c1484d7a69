using System.Buffers;

namespace Yizhan.Storage;

internal sealed partial class BlobStore
{
    /// <summary>Reads a blob chunk by chunk, each against the checksum in its record's header.</summary>
    private sealed class SegmentBlobReader(SegmentFiles segments, S3Store? objects, string prefix, ContentHash hash, StoredBlob blob, Action dispose) : BlobReader
    {
        // Headers are read once. Two threads may read one twice; the result is the same.
        private readonly byte[]?[] _headers = new byte[blob.Extents.Count][];
        private int _disposed;

        // The piece that was fetched last from the object store, whole and opened: who reads on needs it again.
        private Tuple<int, byte[]>? _fetched;

        public override long Length => blob.Length;

        public override ValueTask<int> ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(offset);
            ObjectDisposedException.ThrowIf(_disposed != 0, this);
            var wanted = (int)Math.Min(buffer.Length, Math.Max(0, blob.Length - offset));
            for (var done = 0; done < wanted;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (!TryReadPart(offset + done, buffer.Span[done..wanted], out var read))
                {
                    return ReadAwayAsync(offset, buffer, done, wanted, cancellationToken);
                }

                done += read;
            }

            return new(wanted);
        }

        /// <summary>False when the piece is in the object store alone; also when it just went there.</summary>
        private bool TryReadPart(long offset, Span<byte> buffer, out int read)
        {
            var segment = blob.Extents[ExtentAt(offset)].Segment;
            read = 0;
            try
            {
                if (segments.IsAway(segment))
                {
                    return false;
                }

                read = ReadPart(offset, buffer);
                return true;
            }
            catch (ObjectDisposedException) when (segments.IsAway(segment))
            {
                return false;
            }
        }

        private async ValueTask<int> ReadAwayAsync(long offset, Memory<byte> buffer, int done, int wanted, CancellationToken cancellationToken)
        {
            while (done < wanted)
            {
                if (TryReadPart(offset + done, buffer.Span[done..wanted], out var read))
                {
                    done += read;
                    continue;
                }

                var index = ExtentAt(offset + done);
                var piece = await FetchAsync(index, cancellationToken).ConfigureAwait(false);
                var within = (int)(offset + done - blob.Extents[index].At);
                var part = Math.Min(wanted - done, piece.Length - within);
                piece.AsMemory(within, part).CopyTo(buffer[done..]);
                done += part;
            }

            return wanted;
        }

        /// <summary>A piece from the object store, each chunk against its checksum. Other bytes are asked for once more: the line may have changed them.</summary>
        private async ValueTask<byte[]> FetchAsync(int index, CancellationToken cancellationToken)
        {
            if (_fetched is { } last && last.Item1 == index)
            {
                return last.Item2;
            }

            var extent = blob.Extents[index];
            var (epoch, headerBytes) = (segments.EpochOf(extent.Segment), segments.HeaderBytesOf(extent.Segment));
            var record = new byte[headerBytes + extent.Length];
            for (var attempt = 1; ; attempt++)
            {
                await (objects ?? throw new InvalidDataException($"Blob {hash} is in an object store, and storage:s3Url is not set."))
                    .ReadAsync(AwaySegment.ObjectOf(prefix, extent.Segment, epoch), extent.Offset, record, cancellationToken).ConfigureAwait(false);
                try
                {
                    var header = Checked(record.AsSpan(0, headerBytes).ToArray(), headerBytes, extent);
                    var piece = record[headerBytes..];
                    if (FirstChanged(extent, header, 0, piece) is { } changed)
                    {
                        throw Refused(extent, header, changed, ChunkOf(record.AsSpan(headerBytes), changed));
                    }

                    _fetched = Tuple.Create(index, piece);
                    return piece;
                }
                catch (InvalidDataException) when (attempt < 2)
                {
                }
            }
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

            if (FirstChanged(extent, header, firstChunk, chunks) is { } changed)
            {
                var stored = ChunkOf(chunks, changed - firstChunk);
                segments.Read(extent.Segment, at + ((changed - firstChunk) * Record.ChunkBytes), stored);
                throw Refused(extent, header, changed, stored);
            }
        }

        /// <summary>
        /// Opens sealed chunks in place; the first that is not what was written, or null. The tag of a sealed one says more than its checksum, so only
        /// one of the two is looked at.
        /// </summary>
        private int? FirstChanged(Extent extent, byte[] header, int firstChunk, Span<byte> chunks)
        {
            var key = segments.IsSealed(extent.Segment) ? segments.KeyOf(extent.Segment) : null;
            for (var i = 0; i * Record.ChunkBytes < chunks.Length; i++)
            {
                var chunk = ChunkOf(chunks, i);
                if (key is null ? Record.Crc32C(chunk) != Record.ChunkCrc(header, firstChunk + i) : !Record.TryOpen(header, firstChunk + i, chunk, key))
                {
                    return firstChunk + i;
                }
            }

            return null;
        }

        /// <summary>A chunk whose checksum is right was written so, by somebody without its key.</summary>
        private InvalidDataException Refused(Extent extent, byte[] header, int chunk, ReadOnlySpan<byte> stored) =>
            Record.Crc32C(stored) != Record.ChunkCrc(header, chunk)
                ? Damaged(extent)
                : new InvalidDataException(
                    $"Blob {hash} was changed at byte {extent.At}, by somebody without its key: segment {extent.Segment}, offset {extent.Offset}.");

        private static Span<byte> ChunkOf(Span<byte> chunks, int index) =>
            chunks[(index * Record.ChunkBytes)..Math.Min(chunks.Length, (index + 1) * Record.ChunkBytes)];

        private byte[] ReadHeader(Extent extent)
        {
            var header = new byte[segments.HeaderBytesOf(extent.Segment)];
            return Checked(header, segments.Read(extent.Segment, extent.Offset, header), extent);
        }

        private byte[] Checked(byte[] header, int read, Extent extent) =>
            read == header.Length
                && Record.TryParse(header, header.Length, segments.EpochOf(extent.Segment), extent.Offset, out var parsed)
                && parsed.Kind == RecordKind.Extent
                && parsed.Payload == extent.Length
                && parsed.Sealed == segments.IsSealed(extent.Segment)
                    ? header
                    : throw Damaged(extent);

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
