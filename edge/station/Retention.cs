using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Link;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Station;

/// <summary>
/// Gives up what the site need not keep any more. An entry goes when the centre has confirmed it, when a backup of the centre covers it (if the centre
/// speaks of backups), when every consumer on this node has read it, and when its time is over or the room is needed. An entry in quarantine is
/// moved on to the end of its lane first, still in quarantine, so that it does not hold up the rest.
/// </summary>
/// <remarks>
/// The time that counts is the time that the node ran, added up in <c>station/retention.db</c>: a clock that jumps, or that starts in 1970, expires nothing.
/// </remarks>
internal sealed partial class Retention : BackgroundService
{
    private const int Step = 256;
    private const int WorthMoving = 16;
    private const long StepBytes = 4 * 1024 * 1024;

    // The age of an entry is known to a sixty-fourth of the time that it is kept.
    private const int Samples = 64;

    private readonly IEventLog _log;
    private readonly Quarantine _quarantine;
    private readonly SpoolMetrics _metrics;
    private readonly ILogConsumer[] _consumers;
    private readonly StorageOptions _storage;
    private readonly StationOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly SqliteConnection _db;
    private readonly Lock _lock = new();
    private readonly long _started;
    private readonly double _ranBefore;
    private readonly long[] _confirmed = new long[4];
    private readonly long?[] _safe = new long?[4];

    public Retention(
        IEventLog log, Quarantine quarantine, SpoolMetrics metrics, IEnumerable<ILogConsumer> consumers, IOptions<NodeOptions> node,
        IOptions<StorageOptions> storage, IOptions<StationOptions> options, TimeProvider clock, ILogger<Retention> logger)
    {
        (_log, _quarantine, _metrics, _consumers) = (log, quarantine, metrics, [.. consumers]);
        (_storage, _options, _clock, _logger) = (storage.Value, options.Value, clock, logger);
        _db = SqliteFile.OpenWriter(node.Value.PathOf("station", "retention.db"), """
            CREATE TABLE ran (one INTEGER PRIMARY KEY CHECK (one = 1), seconds REAL NOT NULL) STRICT;
            INSERT INTO ran VALUES (1, 0);
            CREATE TABLE proof (epoch TEXT NOT NULL, lane INTEGER NOT NULL, confirmed INTEGER NOT NULL, safe INTEGER, PRIMARY KEY (epoch, lane)) STRICT;
            CREATE TABLE delivered (epoch TEXT NOT NULL, lane INTEGER NOT NULL, sequence INTEGER NOT NULL, ran REAL NOT NULL,
                PRIMARY KEY (epoch, lane, sequence)) STRICT;
            """);
        _started = clock.GetTimestamp();
        _ranBefore = _db.ExecuteScalar<double>("SELECT seconds FROM ran");
        foreach (var (lane, confirmed, safe) in _db.Query<(long, long, long?)>("SELECT lane, confirmed, safe FROM proof WHERE epoch = @Epoch", new { Epoch }))
        {
            (_confirmed[lane], _safe[lane]) = (confirmed, safe);
        }
    }

    private string Epoch => _log.Epoch.ToString();

    private double Ran => _ranBefore + _clock.GetElapsedTime(_started).TotalSeconds;

    /// <summary>
    /// Notes what the centre says that it has. Lower than before is believed: it was restored, and what it confirmed once proves nothing now.
    /// </summary>
    public void Note(LinkMarks marks)
    {
        lock (_lock)
        {
            if (marks.Epoch != _log.Epoch)
            {
                return;
            }

            for (var lane = 0; lane < _confirmed.Length; lane++)
            {
                (_confirmed[lane], _safe[lane]) = (marks.Marks[lane], marks.Safe?[lane]);
            }

            try
            {
                SaveProof_NeedsLock();
            }
            catch (SqliteException e)
            {
                // A full disk must not stop the link, which is what empties it. What is in memory counts until the next restart.
                NotNoted(e.Message);
            }
        }
    }

    /// <summary>Highest sequence of a lane that may be given up as far as the centre is concerned.</summary>
    public long Proven(Lane lane)
    {
        lock (_lock)
        {
            var confirmed = Math.Min(_confirmed[(int)lane], _log.Delivered(lane));
            return Math.Min(confirmed, _safe[(int)lane] ?? confirmed);
        }
    }

    /// <summary>Gives up what may go now.</summary>
    public async Task RunOnceAsync(CancellationToken cancellationToken)
    {
        var readThrough = long.MaxValue;
        foreach (var consumer in _consumers)
        {
            readThrough = Math.Min(readThrough, await consumer.ReadThroughAsync(cancellationToken));
        }

        // Room first: on a full disk it is what the notes below need.
        await MakeRoomAsync(readThrough, cancellationToken);
        foreach (var lane in Enum.GetValues<Lane>())
        {
            Sample(lane);
            while (HoldsUp(lane, Math.Min(Aged(lane), Proven(lane))) is { } first)
            {
                await MoveOnAsync(lane, first, cancellationToken);
            }

            for (var through = Math.Min(Aged(lane), Limit(lane)); _log.Released(lane) < through;)
            {
                if (!await ReleaseStepAsync(lane, through, readThrough, cancellationToken))
                {
                    break;
                }
            }
        }
    }

    public override void Dispose()
    {
        _db.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(_options.RetentionSeconds), _clock);
        try
        {
            do
            {
                _metrics.Sample();
                await TryRunOnceAsync(stoppingToken);
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
        }
        catch (IOException e)
        {
            // The log or the disk failed: the health check says so, and nothing more is given up.
            Stopped(e);
        }
    }

    private void SaveProof_NeedsLock()
    {
        using var transaction = _db.BeginTransaction();
        for (var lane = 0; lane < _confirmed.Length; lane++)
        {
            _db.Execute(
                """
                INSERT INTO proof VALUES (@Epoch, @lane, @confirmed, @safe)
                ON CONFLICT DO UPDATE SET confirmed = excluded.confirmed, safe = excluded.safe
                """, new { Epoch, lane, confirmed = _confirmed[lane], safe = _safe[lane] }, transaction);
        }

        transaction.Commit();
    }

    /// <summary>On a disk without a byte left nothing can be noted: the next round may find room.</summary>
    private async Task TryRunOnceAsync(CancellationToken cancellationToken)
    {
        try
        {
            await RunOnceAsync(cancellationToken);
        }
        catch (SqliteException e)
        {
            NotNoted(e.Message);
        }
    }

    /// <summary>While the room is short, gives up proven entries before their time, those first that this node accepted first.</summary>
    private async Task MakeRoomAsync(long readThrough, CancellationToken cancellationToken)
    {
        var stuck = new HashSet<Lane>();
        while (_log.Space is var space && space.UsedBytes > space.CapacityBytes / 100 * _storage.KeepDeliveredPercent)
        {
            (Lane Lane, long Position)? oldest = null;
            foreach (var lane in Enum.GetValues<Lane>().Where(lane => !stuck.Contains(lane) && _log.Released(lane) < Limit(lane)))
            {
                var next = await _log.ReadLaneAsync(lane, _log.Released(lane), 1, 1, cancellationToken);
                if (next.Count > 0 && (oldest is null || next[0].Position < oldest.Value.Position))
                {
                    oldest = (lane, next[0].Position);
                }
            }

            if (oldest is not { } found)
            {
                var held = Enum.GetValues<Lane>().Select(lane => (Lane: lane, First: HoldsUp(lane, Proven(lane)))).FirstOrDefault(h => h.First is not null);
                if (held.First is { } first)
                {
                    await MoveOnAsync(held.Lane, first, cancellationToken);
                    continue;
                }

                NoRoomToMake(space.UsedBytes, space.CapacityBytes);
                return;
            }

            if (!await ReleaseStepAsync(found.Lane, Math.Min(Limit(found.Lane), _log.Released(found.Lane) + 16), readThrough, cancellationToken))
            {
                stuck.Add(found.Lane);
            }
        }
    }

    /// <summary>Proven, and before the first entry in quarantine.</summary>
    private long Limit(Lane lane) => Math.Min(Proven(lane), (_quarantine.First(_log.Epoch, lane) ?? long.MaxValue) - 1);

    /// <summary>
    /// The first entry of a lane in quarantine when enough up to a sequence could go but for it: an entry that moves takes room too, and an empty lane must not
    /// move it round and round.
    /// </summary>
    private long? HoldsUp(Lane lane, long through)
    {
        var held = _quarantine.Items(_log.Epoch).Where(i => i.Lane == lane.ToString() && i.Sequence <= through).ToList();
        return held.Count > 0 && held.Min(i => i.Sequence) is var first && through - first + 1 - held.Count >= WorthMoving ? first : null;
    }

    /// <summary>
    /// Appends an entry in quarantine again, at the end of its lane, and notes there that it is in quarantine. A crash in between leaves it in both places, and
    /// its id says that it must not be sent; the next round's append changes nothing and the note is made.
    /// </summary>
    private async Task MoveOnAsync(Lane lane, long sequence, CancellationToken cancellationToken)
    {
        var item = _quarantine.With(_log.Epoch, lane, sequence).First(i => i.Sequence == sequence);
        var kept = (await _log.ReadLaneAsync(lane, sequence - 1, 1, 1, cancellationToken)).Single();
        var receipts = await _log.AppendAsync([kept.Entry with { Id = $"{Entry.MovedPrefix}{_log.Epoch}/{lane}/{sequence}" }], cancellationToken);
        _quarantine.Moved(item, receipts[0].Identity.Sequence, _clock.GetUtcNow().ToUnixTimeMilliseconds());
        MovedOn(lane, sequence, receipts[0].Identity.Sequence);
    }

    /// <summary>Releases some entries; false when a consumer has still to read the next one.</summary>
    private async Task<bool> ReleaseStepAsync(Lane lane, long through, long readThrough, CancellationToken cancellationToken)
    {
        var released = _log.Released(lane);
        var next = await _log.ReadLaneAsync(lane, released, (int)Math.Min(Step, through - released), StepBytes, cancellationToken);
        if (next.LastOrDefault(e => e.Position <= readThrough) is not { } last)
        {
            return false;
        }

        await _log.ReleaseAsync(lane, last.Identity.Sequence, cancellationToken);
        Released(lane, last.Identity.Sequence);
        return last == next[^1];
    }

    /// <summary>Remembers how far the lane was confirmed at this moment of the node's running time.</summary>
    private void Sample(Lane lane)
    {
        var (ran, proven) = (Ran, Proven(lane));
        lock (_lock)
        {
            using var transaction = _db.BeginTransaction();
            _db.Execute("UPDATE ran SET seconds = @ran", new { ran }, transaction);
            var last = _db.QuerySingle<(long? Sequence, double? Ran)>(
                "SELECT max(sequence), max(ran) FROM delivered WHERE epoch = @Epoch AND lane = @lane", new { Epoch, lane = (int)lane }, transaction);
            if (proven > (last.Sequence ?? 0) && ran - (last.Ran ?? double.MinValue) >= KeepSeconds / Samples)
            {
                _db.Execute("INSERT INTO delivered VALUES (@Epoch, @lane, @proven, @ran)", new { Epoch, lane = (int)lane, proven, ran }, transaction);
            }

            // Nobody asks any more for what was released, or for another epoch's.
            _db.Execute(
                "DELETE FROM delivered WHERE epoch <> @Epoch OR (lane = @lane AND sequence <= @released)",
                new { Epoch, lane = (int)lane, released = _log.Released(lane) }, transaction);
            transaction.Commit();
        }
    }

    /// <summary>Highest sequence that has been proven for as long as entries are kept; 0 when there is none.</summary>
    private long Aged(Lane lane)
    {
        lock (_lock)
        {
            return _db.ExecuteScalar<long?>(
                "SELECT max(sequence) FROM delivered WHERE epoch = @Epoch AND lane = @lane AND ran <= @before",
                new { Epoch, lane = (int)lane, before = Ran - KeepSeconds }) ?? 0;
        }
    }

    private double KeepSeconds => TimeSpan.FromHours(_storage.KeepDeliveredHours).TotalSeconds;

    [LoggerMessage(8030, LogLevel.Debug, "Lane {Lane}: entries up to {Sequence} were given up; the centre has them.")]
    private partial void Released(Lane lane, long sequence);

    [LoggerMessage(8031, LogLevel.Warning, "{UsedBytes} of {CapacityBytes} bytes are used, and nothing more may be given up: the centre has to confirm first.")]
    private partial void NoRoomToMake(long usedBytes, long capacityBytes);

    [LoggerMessage(8034, LogLevel.Information, "Lane {Lane}: entry {Sequence} is in quarantine and was moved on to {NewSequence}, so that what came after it can be given up.")]
    private partial void MovedOn(Lane lane, long sequence, long newSequence);

    [LoggerMessage(8033, LogLevel.Warning, "What the centre has could not be noted, and nothing was given up by age: {Reason}")]
    private partial void NotNoted(string reason);

    [LoggerMessage(8032, LogLevel.Error, "Nothing more is given up until the node is restarted.")]
    private partial void Stopped(Exception exception);
}
