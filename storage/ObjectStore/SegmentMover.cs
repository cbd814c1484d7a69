using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Yizhan.Storage;

/// <summary>
/// Brings full segment files to the object store, one after the other, and takes the local copy away once room is wanted. A file is away when it was read
/// back, has the hash that was sent, and the journal has committed that; before, nothing here is given up.
/// </summary>
internal sealed partial class SegmentMover(Spool spool, StorageOptions options, TimeProvider clock, ILogger<SegmentMover> logger) : BackgroundService, IHealthCheck
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan MaxPause = TimeSpan.FromMinutes(1);

    private readonly ILogger _logger = logger;
    private volatile string? _failure;

    /// <summary>Segment files that are full and not away yet.</summary>
    public int Waiting => spool.Objects is null ? 0 : spool.Segments.Movable().Count;

    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) => Task.FromResult(
        _failure is { } failure ? HealthCheckResult.Degraded($"{Waiting} segment files wait for the object store: {failure}") : HealthCheckResult.Healthy());

    /// <summary>One round: moves what is full, deletes what is empty, makes room. The number of files that were moved.</summary>
    /// <exception cref="BlobAwayException">The store does not answer; what was moved so far is.</exception>
    public async Task<int> RunOnceAsync(CancellationToken cancellationToken)
    {
        var store = spool.Objects!;
        var moved = 0;
        foreach (var segment in spool.Segments.Movable())
        {
            cancellationToken.ThrowIfCancellationRequested();
            moved += await MoveAsync(store, segment, cancellationToken).ConfigureAwait(false) ? 1 : 0;
        }

        foreach (var gone in spool.Segments.EmptyAway())
        {
            // The object first: a row without an object is deleted again after a crash, an object without a row would stay for ever.
            await store.DeleteAsync(AwaySegment.ObjectOf(options.S3Prefix, gone.Number, gone.Epoch), cancellationToken).ConfigureAwait(false);
            await spool.NoteAwayAsync(group => group.Returned.Add(gone.Number), cancellationToken).ConfigureAwait(false);
            spool.Segments.ForgetAway(gone.Number);
        }

        while (spool.Log.Space is var space && space.UsedBytes > space.CapacityBytes / 100.0 * options.S3KeepLocalPercent && spool.Segments.DropOldestLocal())
        {
        }

        return moved;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (spool.Objects is null)
        {
            return;
        }

        await Task.Yield();
        var pause = Pause;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await RunOnceAsync(stoppingToken).ConfigureAwait(false);
                (pause, _failure) = (Pause, null);
            }
            catch (Exception e) when (e is IOException or InvalidDataException)
            {
                if (_failure is null)
                {
                    Away(e.Message);
                }

                (pause, _failure) = (pause * 2 < MaxPause ? pause * 2 : MaxPause, e.Message);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }

            await Task.Delay(pause, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task<bool> MoveAsync(S3Store store, Segment segment, CancellationToken cancellationToken)
    {
        var key = AwaySegment.ObjectOf(options.S3Prefix, segment.Number, segment.Epoch);
        byte[] sent;
        try
        {
            sent = await store.PutAsync(key, segment.Tail, (at, part) =>
            {
                if (segment.File.Read(part.Span, at) < part.Length)
                {
                    throw new InvalidDataException($"{segment.Path} is shorter than its records.");
                }
            }, cancellationToken).ConfigureAwait(false);
        }
        catch (ObjectDisposedException)
        {
            // All that was in it was released meanwhile.
            return false;
        }

        var kept = await store.HashAsync(key, segment.Tail, cancellationToken).ConfigureAwait(false);
        if (!sent.AsSpan().SequenceEqual(kept))
        {
            await store.DeleteAsync(key, cancellationToken).ConfigureAwait(false);
            throw new InvalidDataException($"The object store gave other bytes back than it was given for {key}; the file stays here.");
        }

        var away = new AwaySegment(segment.Number, segment.Epoch, segment.Key, segment.HeaderBytes, segment.Size, segment.Tail, sent);
        await spool.NoteAwayAsync(group => group.Moved.Add(away), cancellationToken).ConfigureAwait(false);
        spool.Segments.MarkAway(segment);
        Moved(key, segment.Tail);
        return true;
    }

    [LoggerMessage(120, LogLevel.Debug, "{Key} is in the object store: {Bytes} bytes, read back.")]
    private partial void Moved(string key, int bytes);

    [LoggerMessage(121, LogLevel.Warning, "The object store does not take segment files; they stay here until it does: {Reason}")]
    private partial void Away(string reason);
}
