using System.Buffers;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text.Json;

namespace Yizhan.Storage;

/// <summary>The blobs of another process. They go up in pieces of up to 1 MiB, hashed at both ends, and come down in ranges.</summary>
internal sealed class RemoteBlobs(LogLine line) : IBlobStore
{
    private readonly Lock _gate = new();
    private readonly Dictionary<ContentHash, int> _writing = [];

    public BlobWriter Begin(Lane lane)
    {
        line.ThrowIfAwayForLong();

        // Nobody asks the owner for this: what it said last is enough to refuse a peer before a byte is accepted, and it has the last word with each piece.
        var room = line.State.Lanes[(int)lane].Usage.RoomBytes;
        return room >= Record.MaxDiskBytes ? new Writer(this, line, lane) : throw new SpoolFullException(lane, room);
    }

    public async ValueTask<BlobReader?> OpenAsync(ContentHash hash, CancellationToken cancellationToken)
    {
        var id = NewId();
        return await ReadAsync(line, id, hash, 0, WireBounds.MaxPieceBytes, cancellationToken) is { } first ? new Reader(line, id, hash, first.BlobLength, first.Bytes) : null;
    }

    public async ValueTask<IReadOnlyList<ByteRange>> MissingAsync(BlobRef blob, CancellationToken cancellationToken) => await line.AskAsync(
        HttpMethod.Get, $"blobs/{blob.Hash}/missing?length={blob.Length}", null, LogLine.Json(LogWireJson.Default.ByteRangeArray), cancellationToken);

    public async ValueTask<bool> PutAsync(BlobRef blob, long offset, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken) => await line.AskAsync(
        HttpMethod.Put, $"blobs/{blob.Hash}?length={blob.Length}&offset={offset}", () => Bytes(bytes), LogLine.Json(LogWireJson.Default.Boolean), cancellationToken);

    public async ValueTask PinAsync(IReadOnlyList<ContentHash> blobs, string holder, CancellationToken cancellationToken) =>
        await line.AskAsync(HttpMethod.Post, "pins", Pins(blobs, holder), LogLine.Nothing, cancellationToken);

    public async ValueTask UnpinAsync(IReadOnlyList<ContentHash> blobs, string holder, CancellationToken cancellationToken) =>
        await line.AskAsync(HttpMethod.Post, "unpins", Pins(blobs, holder), LogLine.Nothing, cancellationToken);

    public async ValueTask ReleaseOrphansAsync(DateTimeOffset untouchedSince, CancellationToken cancellationToken) => await line.AskAsync(
        HttpMethod.Post, $"orphans/released?before={Uri.EscapeDataString(untouchedSince.ToString("O", CultureInfo.InvariantCulture))}", null, LogLine.Nothing, cancellationToken);

    /// <summary>Whether this process has written a blob of these bytes whose writer it still holds.</summary>
    public bool IsWriting(ContentHash hash)
    {
        lock (_gate)
        {
            return _writing.ContainsKey(hash);
        }
    }

    private void Note(ContentHash hash, int writers)
    {
        lock (_gate)
        {
            if ((_writing[hash] = _writing.GetValueOrDefault(hash) + writers) == 0)
            {
                _writing.Remove(hash);
            }
        }
    }

    private static string NewId() => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));

    private static ReadOnlyMemoryContent Bytes(ReadOnlyMemory<byte> bytes) => new(bytes) { Headers = { ContentType = new MediaTypeHeaderValue("application/octet-stream") } };

    private static Func<HttpContent> Pins(IReadOnlyList<ContentHash> blobs, string holder)
    {
        var json = JsonSerializer.SerializeToUtf8Bytes(new WirePins(holder, [.. blobs.Select(blob => blob.ToString())]), LogWireJson.Default.WirePins);
        return () => new ByteArrayContent(json) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };
    }

    private static Task<(byte[] Bytes, long BlobLength)?> ReadAsync(LogLine line, string id, ContentHash hash, long offset, int length, CancellationToken cancellationToken) =>
        line.AskAsync<(byte[], long)?>(HttpMethod.Get, $"readers/{id}/{hash}?offset={offset}&length={length}", null, async (answer, token) =>
        {
            if (answer.StatusCode == HttpStatusCode.NoContent)
            {
                return null;
            }

            // Fewer bytes than were announced are an error of the connection, which asks again.
            var bytes = await answer.Content.ReadAsByteArrayAsync(token);
            return (bytes, long.Parse(answer.Headers.GetValues(SharedLog.BlobLength).First(), CultureInfo.InvariantCulture));
        }, cancellationToken);

    /// <summary>Gathers pieces and sends them one after the other. The owner's room is asked for with the first.</summary>
    private sealed class Writer(RemoteBlobs blobs, LogLine line, Lane lane) : BlobWriter
    {
        private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private readonly string _id = NewId();
        private byte[]? _buffer = ArrayPool<byte>.Shared.Rent(WireBounds.MaxPieceBytes);
        private int _buffered;
        private long _sent;
        private bool _begun;
        private BlobRef? _completed;

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var buffer = _buffer is { } there && _completed is null ? there : throw new InvalidOperationException("The blob is complete, or its writer failed or was disposed.");
            _hash.AppendData(bytes.Span);
            while (bytes.Length > 0)
            {
                if (_buffered == WireBounds.MaxPieceBytes)
                {
                    await SendAsync(buffer, last: false, cancellationToken);
                }

                var part = bytes[..Math.Min(bytes.Length, WireBounds.MaxPieceBytes - _buffered)];
                part.CopyTo(buffer.AsMemory(_buffered));
                _buffered += part.Length;
                bytes = bytes[part.Length..];
            }
        }

        public override async ValueTask<BlobRef> CompleteAsync(CancellationToken cancellationToken)
        {
            if (_completed is { } known)
            {
                return known;
            }

            cancellationToken.ThrowIfCancellationRequested();
            var stored = await SendAsync(_buffer ?? throw new InvalidOperationException("The writer failed or was disposed."), last: true, cancellationToken);
            var written = new BlobRef(new ContentHash(_hash.GetHashAndReset()), _sent);
            if (stored != written)
            {
                throw new InvalidDataException($"The owner of the log has {stored} for the blob {written} that was sent to it.");
            }

            blobs.Note(written.Hash, 1);
            _completed = written;
            return written;
        }

        public override async ValueTask DisposeAsync()
        {
            if (_buffer is not { } buffer)
            {
                return;
            }

            _buffer = null;
            if (_completed is { } blob)
            {
                blobs.Note(blob.Hash, -1);
            }

            ArrayPool<byte>.Shared.Return(buffer);
            _hash.Dispose();
            await (_begun ? EndAsync(line, $"writers/{_id}") : default);
        }

        private async Task<BlobRef?> SendAsync(byte[] buffer, bool last, CancellationToken cancellationToken)
        {
            _begun = true;
            var piece = buffer.AsMemory(0, _buffered);
            var written = await line.AskAsync(
                HttpMethod.Put, $"writers/{_id}?lane={lane:D}&offset={_sent}&last={(last ? "true" : "false")}", () => Bytes(piece), LogLine.Json(LogWireJson.Default.WireWritten),
                cancellationToken);
            _sent += _buffered;
            _buffered = 0;
            return written.Blob?.Read();
        }
    }

    /// <summary>Reads ranges; who reads on finds the next piece here already.</summary>
    private sealed class Reader(LogLine line, string id, ContentHash hash, long length, byte[] first) : BlobReader
    {
        private readonly bool _isKeptThere = first.Length < length;
        private Tuple<long, byte[]> _window = Tuple.Create(0L, first);
        private int _disposed;

        public override long Length => length;

        public override async ValueTask<int> ReadAsync(long offset, Memory<byte> buffer, CancellationToken cancellationToken)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(offset);
            ObjectDisposedException.ThrowIf(_disposed != 0, this);
            cancellationToken.ThrowIfCancellationRequested();
            var wanted = (int)Math.Min(buffer.Length, Math.Max(0, length - offset));
            for (var done = 0; done < wanted;)
            {
                var (at, bytes) = Volatile.Read(ref _window);
                var place = offset + done;
                if (place < at || place >= at + bytes.Length)
                {
                    // A piece from there when it goes on from the last one, else what is wanted and a little more.
                    var most = place == at + bytes.Length ? WireBounds.MaxPieceBytes : Math.Clamp(wanted - done, IBlobStore.ChunkBytes, WireBounds.MaxPieceBytes);
                    var read = await RemoteBlobs.ReadAsync(line, id, hash, place, most, cancellationToken)
                        ?? throw new IOException($"The blob {hash} is not in the log any more.");
                    (at, bytes) = read.Bytes.Length > 0 && read.BlobLength == length ? (place, read.Bytes)
                        : throw new InvalidDataException($"The owner of the log has {read.BlobLength} bytes for the blob {hash} of {length}.");
                    Volatile.Write(ref _window, Tuple.Create(at, bytes));
                }

                var part = (int)Math.Min(wanted - done, at + bytes.Length - place);
                bytes.AsMemory((int)(place - at), part).CopyTo(buffer[done..]);
                done += part;
            }

            return wanted;
        }

        public override async ValueTask DisposeAsync()
        {
            if (Interlocked.Exchange(ref _disposed, 1) == 0)
            {
                await (_isKeptThere ? EndAsync(line, $"readers/{id}") : default);
            }
        }
    }

    /// <summary>Tells the owner that something is not needed any more. It finds out by itself when it does not hear it.</summary>
    private static async ValueTask EndAsync(LogLine line, string path)
    {
        try
        {
            await line.AskAsync(HttpMethod.Delete, path, null, LogLine.Nothing, CancellationToken.None, TimeSpan.FromSeconds(2));
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException)
        {
        }
    }
}
