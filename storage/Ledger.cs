namespace Yizhan.Storage;

/// <summary>
/// Promises of space. Bytes are reserved before they are accepted, so that what was begun can be finished; lanes stop at
/// different levels, so that urgent entries pass when bulk is full.
/// </summary>
internal sealed class Ledger(StorageOptions options, TimeProvider clock, Func<long> usedBytes, Func<long> freeBytes)
{
    private static readonly TimeSpan FreeIsAskedAgain = TimeSpan.FromMilliseconds(200);

    private readonly Lock _gate = new();
    private long _reserved;
    private long _free;
    private long _freeAskedAt;
    private long _promisedSinceAsked;

    /// <summary>Bytes that a lane could still reserve; 0 when full.</summary>
    public long Room(Lane lane)
    {
        lock (_gate)
        {
            return Math.Max(0, Room_NeedsLock(lane));
        }
    }

    /// <summary>What is used, and what could be: the quota, or what the file system would still give.</summary>
    public SpaceUsage Space
    {
        get
        {
            var used = usedBytes();
            return new SpaceUsage(used, Math.Min(options.QuotaBytes, used + Math.Max(0, freeBytes() - options.FreeFloorBytes)));
        }
    }

    /// <summary>Reserves bytes.</summary>
    /// <exception cref="SpoolFullException">The lane has less room than that; nothing was reserved.</exception>
    public void Reserve(Lane lane, long bytes)
    {
        lock (_gate)
        {
            var room = Room_NeedsLock(lane);
            if (room < bytes)
            {
                // Space may have come back since the file system was asked: nobody is refused on an old answer.
                _freeAskedAt = 0;
                room = Room_NeedsLock(lane);
            }

            if (room < bytes)
            {
                throw new SpoolFullException(lane, Math.Max(0, room));
            }

            _reserved += bytes;
            _promisedSinceAsked += bytes;
        }
    }

    /// <summary>Ends a reservation: its bytes are used now, and counted there, or are not needed.</summary>
    public void Release(long bytes)
    {
        lock (_gate)
        {
            _reserved -= bytes;
        }
    }

    private long Room_NeedsLock(Lane lane)
    {
        // Asking the file system costs a system call; between two questions our own promises are counted against its answer.
        if (_freeAskedAt == 0 || clock.GetElapsedTime(_freeAskedAt) > FreeIsAskedAgain)
        {
            _free = freeBytes();
            _freeAskedAt = clock.GetTimestamp();
            _promisedSinceAsked = _reserved;
        }

        var (percent, floor) = lane switch
        {
            Lane.Urgent => (100, options.FreeFloorBytes / 4),
            Lane.Normal => (options.NormalPercent, options.FreeFloorBytes / 2),
            Lane.Bulk => (options.BulkPercent, options.FreeFloorBytes),
            _ => (options.TelemetryPercent, options.FreeFloorBytes),
        };
        var ofQuota = (long)((decimal)options.QuotaBytes * percent / 100) - usedBytes() - _reserved;
        return Math.Min(ofQuota, _free - floor - _promisedSinceAsked);
    }
}
