using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace Yizhan.Storage;

/// <summary>
/// The writers and readers that other processes have open in the blobs of this one. Both are few and named by their callers, so that a call whose answer
/// was lost is made again: a piece that is here already is not added twice. What nobody asks for is closed after a while; a writer is then begun again by
/// its caller, a reader opened again without anybody noticing.
/// </summary>
internal sealed class SharedBlobs(IBlobStore blobs, IOptions<StorageOptions> options, TimeProvider clock) : BackgroundService, IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Writing> _writers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Reading> _readers = new(StringComparer.Ordinal);
    private readonly StorageOptions _options = options.Value;
    private bool _closed;

    /// <summary>Adds a piece to a blob that is being written; the first one begins it.</summary>
    /// <returns>The blob, once it is complete.</returns>
    /// <exception cref="WriterGoneException">It has an offset, and its beginning is not here.</exception>
    /// <exception cref="TooManyException">As many as may be are being written.</exception>
    public async Task<BlobRef?> WriteAsync(string id, Lane lane, long offset, ReadOnlyMemory<byte> piece, bool last, CancellationToken cancellationToken)
    {
        var writing = WriterOf(id, lane, begins: offset == 0);
        await writing.Gate.WaitAsync(cancellationToken);
        try
        {
            writing.TouchedAt = clock.GetTimestamp();
            if (writing.Blob is { } known)
            {
                return known;
            }

            if (writing.Ended || (writing.Length != offset && writing.Length != offset + piece.Length))
            {
                throw new WriterGoneException();
            }

            writing.Writer ??= blobs.Begin(lane);
            if (writing.Length == offset)
            {
                await writing.Writer.WriteAsync(piece, CancellationToken.None);
                writing.Length += piece.Length;
            }

            return last ? writing.Blob = await writing.Writer.CompleteAsync(CancellationToken.None) : null;
        }
        catch
        {
            // A writer that failed in the middle of a piece knows no longer what it has.
            await End_NeedsGateAsync(id, writing);
            throw;
        }
        finally
        {
            writing.Gate.Release();
        }
    }

    /// <summary>Ends a writer; what was not named by an entry is given up.</summary>
    public async Task EndWriterAsync(string id)
    {
        Writing? writing;
        lock (_gate)
        {
            _writers.TryGetValue(id, out writing);
        }

        if (writing is not null)
        {
            await writing.Gate.WaitAsync(CancellationToken.None);
            try
            {
                await End_NeedsGateAsync(id, writing);
            }
            finally
            {
                writing.Gate.Release();
            }
        }
    }

    /// <summary>Reads from a blob, which stays open for the reader of this id; a blob of which all is in this answer does not.</summary>
    /// <returns>Its length and how many bytes were read; null when it is not here.</returns>
    public async Task<(long Length, int Read)?> ReadAsync(string id, ContentHash hash, long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Reading? reading;
        Reading? evicted = null;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            if (_readers.TryGetValue(id, out reading))
            {
                reading.Users++;
            }
        }

        if (reading is null)
        {
            if (await blobs.OpenAsync(hash, cancellationToken) is not { } opened)
            {
                return null;
            }

            reading = new Reading(opened) { Users = 1, TouchedAt = clock.GetTimestamp() };
            lock (_gate)
            {
                if (offset != 0 || opened.Length > buffer.Length)
                {
                    if (_readers.Count >= _options.SharedReaders && _readers.Where(r => r.Value.Users == 0).MinBy(r => r.Value.TouchedAt) is { Key: { } longest } idle)
                    {
                        _readers.Remove(longest);
                        evicted = idle.Value;
                    }

                    // A reader too many, or two calls of one reader at once: this one is for this call alone.
                    reading.Kept = _readers.Count < _options.SharedReaders && _readers.TryAdd(id, reading);
                }
            }
        }

        try
        {
            return (reading.Reader.Length, await reading.Reader.ReadAsync(offset, buffer, cancellationToken));
        }
        finally
        {
            bool ends;
            lock (_gate)
            {
                reading.Users--;
                reading.TouchedAt = clock.GetTimestamp();
                ends = reading.Users == 0 && !reading.Kept;
            }

            await (ends ? reading.Reader.DisposeAsync() : default);
            await (evicted?.Reader.DisposeAsync() ?? default);
        }
    }

    /// <summary>Closes a reader.</summary>
    public async Task EndReaderAsync(string id)
    {
        Reading? reading;
        lock (_gate)
        {
            if (_readers.Remove(id, out reading))
            {
                reading.Kept = false;
                reading = reading.Users == 0 ? reading : null;
            }
        }

        await (reading?.Reader.DisposeAsync() ?? default);
    }

    async ValueTask IAsyncDisposable.DisposeAsync()
    {
        lock (_gate)
        {
            _closed = true;
        }

        await CloseAsync(TimeSpan.Zero);
        Dispose();
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(Math.Clamp(_options.SharedIdleSeconds / 4.0, 0.25, 30)), clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                await CloseAsync(TimeSpan.FromSeconds(_options.SharedIdleSeconds));
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
        }
    }

    private async Task CloseAsync(TimeSpan idle)
    {
        string[] writers, readers;
        lock (_gate)
        {
            writers = [.. _writers.Where(w => clock.GetElapsedTime(w.Value.TouchedAt) >= idle).Select(w => w.Key)];
            readers = [.. _readers.Where(r => r.Value.Users == 0 && clock.GetElapsedTime(r.Value.TouchedAt) >= idle).Select(r => r.Key)];
        }

        foreach (var id in writers)
        {
            await EndWriterAsync(id);
        }

        foreach (var id in readers)
        {
            await EndReaderAsync(id);
        }
    }

    private Writing WriterOf(string id, Lane lane, bool begins)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            if (_writers.TryGetValue(id, out var writing))
            {
                return writing;
            }

            if (!begins)
            {
                throw new WriterGoneException();
            }

            if (_writers.Count >= _options.SharedWriters)
            {
                throw new TooManyException(_options.SharedWriters);
            }

            return _writers[id] = new Writing { TouchedAt = clock.GetTimestamp() };
        }
    }

    private async Task End_NeedsGateAsync(string id, Writing writing)
    {
        lock (_gate)
        {
            if (_writers.TryGetValue(id, out var there) && there == writing)
            {
                _writers.Remove(id);
            }
        }

        writing.Ended = true;
        if (writing.Writer is { } writer)
        {
            writing.Writer = null;
            await writer.DisposeAsync();
        }
    }

    private sealed class Writing
    {
        /// <summary>Held while a call uses it. It has no wait handle, so nobody has to dispose it.</summary>
        public SemaphoreSlim Gate { get; } = new(1, 1);

        public BlobWriter? Writer { get; set; }

        public long Length { get; set; }

        public BlobRef? Blob { get; set; }

        public bool Ended { get; set; }

        public long TouchedAt { get; set; }
    }

    private sealed class Reading(BlobReader reader)
    {
        public BlobReader Reader { get; } = reader;

        public int Users { get; set; }

        public bool Kept { get; set; }

        public long TouchedAt { get; set; }
    }
}
