using System.Security.Cryptography;

namespace Yizhan.Storage;

internal sealed partial class BlobStore
{
    /// <summary>
    /// Gathers up to one piece in memory, so that a CT slice is one write, and hashes on the way. Room for one piece is reserved
    /// ahead, so that what <see cref="WriteAsync"/> accepted can be written.
    /// </summary>
    private sealed class SegmentBlobWriter : BlobWriter
    {
        private readonly BlobStore _store;
        private readonly SegmentFiles _segments;
        private readonly Ledger _ledger;
        private readonly Lane _lane;
        private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private readonly List<Extent> _extents = [];
        private byte[]? _buffer;
        private int _buffered;
        private long _length;
        private BlobRef? _completed;
        private PendingBlob? _pending;
        private bool _reserved;

        public SegmentBlobWriter(BlobStore store, SegmentFiles segments, Ledger ledger, Lane lane)
        {
            (_store, _segments, _ledger, _lane) = (store, segments, ledger, lane);
            _ledger.Reserve(lane, Record.MaxDiskBytes);
            _reserved = true;
            _buffer = segments.Buffers.Rent();
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var buffer = _buffer ?? throw new InvalidOperationException("The blob is complete.");
            _hash.AppendData(bytes.Span);
            for (var rest = bytes.Span; rest.Length > 0;)
            {
                if (_buffered == Record.MaxPayload)
                {
                    WriteExtent(buffer);
                    _ledger.Reserve(_lane, Record.MaxDiskBytes);
                    _reserved = true;
                }

                var part = rest[..Math.Min(rest.Length, Record.MaxPayload - _buffered)];
                part.CopyTo(buffer.AsSpan(Record.HeaderBytes + _buffered));
                _buffered += part.Length;
                rest = rest[part.Length..];
            }

            return default;
        }

        public override ValueTask<BlobRef> CompleteAsync(CancellationToken cancellationToken)
        {
            if (_completed is { } known)
            {
                return new(known);
            }

            cancellationToken.ThrowIfCancellationRequested();
            var buffer = _buffer ?? throw new InvalidOperationException("The writer failed or was disposed.");
            if (_buffered > 0)
            {
                WriteExtent(buffer);
            }

            GiveBack();
            var blob = new BlobRef(new ContentHash(_hash.GetHashAndReset()), _length);
            _pending = new PendingBlob(_length, _extents);
            _store.Add(blob.Hash, _pending);
            _completed = blob;
            return new(blob);
        }

        public override ValueTask DisposeAsync()
        {
            if (_pending is not null)
            {
                _store.Remove(_completed!.Value.Hash, _pending);
                _pending = null;
            }
            else if (_completed is null)
            {
                _store.Free(_extents);
                _extents.Clear();
            }

            GiveBack();
            _hash.Dispose();
            return default;
        }

        private void WriteExtent(byte[] buffer)
        {
            try
            {
                var (segment, offset) = _segments.Write(RecordKind.Extent, buffer, _buffered, serial: 0);
                _extents.Add(new Extent(_length, segment, offset, _buffered));
            }
            catch (DiskFullException)
            {
                GiveBack();
                throw new SpoolFullException(_lane, 0);
            }

            // Counted as used from here on.
            _ledger.Release(Record.MaxDiskBytes);
            _reserved = false;
            _length += _buffered;
            _buffered = 0;
        }

        private void GiveBack()
        {
            if (_reserved)
            {
                _ledger.Release(Record.MaxDiskBytes);
                _reserved = false;
            }

            if (_buffer is not null)
            {
                _segments.Buffers.Return(_buffer);
                _buffer = null;
            }
        }
    }
}
