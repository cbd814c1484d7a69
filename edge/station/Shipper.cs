using Yizhan.Contracts;
using Yizhan.Link;
using Yizhan.Storage;

namespace Yizhan.Station;

/// <summary>What people see of the link.</summary>
/// <param name="State">off (no centre configured), down, connecting or up.</param>
/// <param name="SinceMs">Since when, Unix milliseconds UTC.</param>
/// <param name="Error">Why it is down, or the last refusal; null while all is well.</param>
internal sealed record LinkState(string State, long SinceMs, string? Error);

/// <summary>
/// Carries what the site's log holds to the centre. One loop owns all state; what takes time runs beside it as a unit (a batch, a
/// run of chunks, a question, a report) and comes back as a change that the loop applies.
/// </summary>
/// <remarks>
/// The log is the only memory: an entry counts as delivered when the centre's cumulative mark has passed it and that is recorded
/// in the log. Everything else here may be lost at any moment, and a retransmission changes nothing at the centre.
/// </remarks>
internal sealed partial class Shipper(
    IEventLog log, IBlobStore blobs, ILink link, Quarantine quarantine, StationOptions options, TimeProvider clock, Random random, ILogger<Shipper> logger)
{
    private const string WayOut = "Run `yizhan spool new-epoch` and restart the site: it sends all that it keeps again, and the centre takes each fact once.";
    private const int MaxUnits = 16;
    private const int MaxUrgentUnits = 4;
    private const long Quantum = 64 * 1024;

    // More than any unit, or the lane with the largest could never save enough for it.
    private const long MaxDeficit = 2 * LinkRoutes.MaxBodyBytes;

    // The loop stays where it was started, so that a simulation can run all of it on one thread. For the same reason nothing here calls CancelAsync.
    private const ConfigureAwaitOptions Quietly = ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext;

    private readonly ILogger _logger = logger;
    private readonly BackOff _backOff = new(random);
    private readonly SendWindow _window = new(options.MaxInFlightMiB * 1024L * 1024, TimeSpan.FromMilliseconds(options.TargetMs));
    private readonly Dictionary<ContentHash, Transfer> _transfers = [];
    private readonly List<Task<Action>> _running = [];
    private readonly LaneQueue[] _lanes =
    [
        new(Lane.Urgent, 1, random),
        new(Lane.Normal, options.NormalWeight, random),
        new(Lane.Bulk, options.BulkWeight, random),
        new(Lane.Telemetry, options.TelemetryWeight, random),
    ];

    private TaskCompletionSource _startOver = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _units;
    private int _turn = 1;
    private long _lastContactMs;
    private volatile LinkState _state = new("down", clock.GetUtcNow().ToUnixTimeMilliseconds(), null);

    /// <summary>Which configuration runs, for the report; null when nobody knows.</summary>
    public Func<Contracts.ConfigurationStatus>? Configuration { get; init; }

    /// <summary>State of the link, for people.</summary>
    public LinkState State => _state;

    /// <summary>When the centre last answered, by the site's clock, Unix milliseconds UTC; 0: never.</summary>
    public long LastContactMs
    {
        get => Volatile.Read(ref _lastContactMs);
        init => _lastContactMs = value;
    }

    /// <summary>Told when the line comes (true) and when it goes.</summary>
    public Action<bool> Changed { get; init; } = _ => { };

    /// <summary>Bytes that may be under way now.</summary>
    public long WindowBytes => _window.Bytes;

    /// <summary>Why a lane makes no progress; null while it does.</summary>
    public string? ErrorOf(Lane lane) => _lanes[(int)lane].Blocked ?? _lanes[(int)lane].Error;

    /// <summary>Told what the centre says that it has, at each connection and from time to time.</summary>
    public Action<LinkMarks> Heard { get; init; } = _ => { };

    /// <summary>Highest sequence of a lane that the centre has now; lower than what it confirmed after it was restored.</summary>
    public long MarkOf(Lane lane) => _lanes[(int)lane].Mark;

    /// <summary>Figures that go with the site's status; null: none.</summary>
    public Func<SpoolFigures?> Figures { get; init; } = () => null;

    /// <summary>What the services of the site say of themselves, for its status; null: nobody asked them.</summary>
    public Func<IReadOnlyList<ServiceHealth>?> Services { get; init; } = () => null;

    /// <summary>When the site's certificate ends, Unix milliseconds; null: not said.</summary>
    public Func<long?> CertificateExpiresMs { get; init; } = () => null;

    /// <summary>What the site's licence is worth; null: there is none.</summary>
    public Func<LicenceStatus?> Licence { get; init; } = () => null;

    /// <summary>What the site says of itself.</summary>
    public SiteStatus Status() => new(
        log.Site, log.Epoch, Version, UtcMs(), [.. _lanes.Select(l => LaneStatuses.Of(log, l.Lane))], Configuration?.Invoke(), Figures(), Services(), CertificateExpiresMs(), Licence());

    /// <summary>Forgets what was read of the lanes and begins again: an operator changed what is sent.</summary>
    public void StartOver() => _startOver.TrySetResult();

    /// <summary>Ships until it is told to stop.</summary>
    /// <exception cref="IOException">The site's own log failed.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                Become("connecting", _state.Error);
                await ShipAsync(await ConnectAsync(cancellationToken), cancellationToken);
            }
            catch (LinkDownException e)
            {
                await WaitAsync(_backOff.Next(), e.Message, cancellationToken);
            }
            catch (LinkRefusedException e)
            {
                await WaitAsync(_backOff.Next(e.Problem.RetryAfterSeconds), e.Message, cancellationToken);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
            }
        }
    }

    /// <summary>Asks the centre where each lane stands and begins there.</summary>
    private async Task<LinkMarks> ConnectAsync(CancellationToken cancellationToken)
    {
        var started = clock.GetTimestamp();
        var marks = await link.MarksAsync(log.Epoch, cancellationToken);
        _window.Latency(clock.GetElapsedTime(started));
        Heard(marks);
        return marks;
    }

    /// <summary>One connection's life; ends with an exception only.</summary>
    private async Task ShipAsync(LinkMarks marks, CancellationToken cancellationToken)
    {
        using var session = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            foreach (var lane in _lanes)
            {
                await BeginAsync(lane, marks.Marks[(int)lane.Lane], marks.Last?[(int)lane.Lane], session.Token);
            }

            Become("up", null);
            _running.Add(ReportAsync(first: true, session.Token));
            _running.Add(MoreAsync(log.LastPosition, session.Token));
            _running.Add(HearAsync(session.Token));
            _running.Add(StartOverAsync(session.Token));
            while (true)
            {
                foreach (var lane in _lanes)
                {
                    await ReadAsync(lane, session.Token);
                }

                StartUnits(session.Token);
                var done = await Task.WhenAny(_running);
                _running.Remove(done);
                (await done)();
            }
        }
        finally
        {
            session.Cancel();
            await ((Task)Task.WhenAll(_running)).ConfigureAwait(Quietly);
            await ForgetAsync();
        }
    }

    /// <summary>Sets a lane to what the centre says it has.</summary>
    private async Task BeginAsync(LaneQueue lane, long mark, LinkTaken? last, CancellationToken cancellationToken)
    {
        var delivered = log.Delivered(lane.Lane);
        var head = delivered + log.Usage(lane.Lane).Entries;
        lane.Restart(mark);
        if (mark > head)
        {
            // Sequences would be used a second time, and the centre would take the new entries for old ones.
            Block(lane, $"The centre has entries up to {mark}, this log only up to {head}: it was restored from a copy. {WayOut}");
        }
        else if (await IsAnotherAsync(lane.Lane, last, cancellationToken))
        {
            Block(lane, $"The centre took another entry as number {last!.Sequence}: this log was restored from a copy, and numbers were given twice. {WayOut}");
        }
        else if (mark < log.Released(lane.Lane))
        {
            Block(lane, $"The centre has entries up to {mark}, this log keeps those after {log.Released(lane.Lane)}: it was restored from a backup that is older than what sites keep. {WayOut}");
        }
        else if (mark > delivered)
        {
            await log.MarkDeliveredAsync(lane.Lane, mark, cancellationToken);
        }
        else if (mark < delivered)
        {
            CentreWentBack(lane.Lane, mark, delivered);
        }
    }

    /// <summary>True when this log has another entry where the centre remembers one. What is not kept any more is not compared.</summary>
    private async Task<bool> IsAnotherAsync(Lane lane, LinkTaken? taken, CancellationToken cancellationToken)
    {
        if (taken is null || taken.Sequence <= log.Released(lane))
        {
            return false;
        }

        var own = await log.ReadLaneAsync(lane, taken.Sequence - 1, 1, 1, cancellationToken);
        return own.Count > 0 && own[0].Identity.Sequence == taken.Sequence
            && LinkTaken.Of(taken.Sequence, Quarantine.TombstoneId(own[0].Identity)) != taken
            && LinkTaken.Of(taken.Sequence, own[0].Entry.Id) != taken;
    }

    private void Block(LaneQueue lane, string reason)
    {
        lane.Blocked = reason;
        LaneBlocked(lane.Lane, reason);
    }

    /// <summary>Fills a lane's window from the log.</summary>
    private async Task ReadAsync(LaneQueue lane, CancellationToken cancellationToken)
    {
        while (lane.HasRoom && lane.ReadTo < log.Delivered(lane.Lane) + log.Usage(lane.Lane).Entries)
        {
            var read = await log.ReadLaneAsync(
                lane.Lane, lane.ReadTo, LinkRoutes.MaxBatchEntries - lane.Window.Count, 1024 * 1024, cancellationToken);
            foreach (var logged in read)
            {
                if (logged.Identity.Sequence != lane.ReadTo + 1)
                {
                    Block(lane, $"Entry {lane.ReadTo + 1} is wanted by the centre and no longer in this log, which goes on with {logged.Identity.Sequence}. {WayOut}");
                    return;
                }

                var entry = quarantine.Outgoing(logged, UtcMs());
                lane.Add(new Pending(logged, entry, [.. entry.Blobs.Distinct().Select(TransferOf)]));
            }

            if (read.Count == 0)
            {
                return;
            }
        }
    }

    private Transfer TransferOf(BlobRef blob)
    {
        if (!_transfers.TryGetValue(blob.Hash, out var transfer))
        {
            _transfers[blob.Hash] = transfer = new Transfer(blob);
        }

        transfer.Users++;
        return transfer;
    }

    private async Task ForgetAsync()
    {
        foreach (var transfer in _transfers.Values)
        {
            await transfer.DisposeAsync();
        }

        _transfers.Clear();
        _running.Clear();
        _units = 0;
        _window.Reset();
    }

    /// <summary>Waits, but no longer than until something says that the line is back.</summary>
    private async Task WaitAsync(TimeSpan delay, string reason, CancellationToken cancellationToken)
    {
        if (_state.State == "up" || _state.Error != reason)
        {
            LinkDown(reason);
        }

        Become("down", reason);
        using var wait = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var back = link.ReturnAsync(wait.Token);
        await Task.WhenAny(back, SleepAsync(delay, wait.Token));
        wait.Cancel();
        await back.ConfigureAwait(Quietly);
    }

    /// <summary>Being cancelled, a bare delay would go on on the thread pool.</summary>
    private async Task SleepAsync(TimeSpan delay, CancellationToken cancellationToken) => await Task.Delay(delay, clock, cancellationToken);

    private void Become(string state, string? error)
    {
        var before = _state.State;
        _state = new LinkState(state, clock.GetUtcNow().ToUnixTimeMilliseconds(), error);
        if (state == "up")
        {
            LinkUp();
            Heed();
            Changed(true);
        }
        else if (before == "up")
        {
            Changed(false);
        }
    }

    private void Heed() => Volatile.Write(ref _lastContactMs, UtcMs());

    [LoggerMessage(8001, LogLevel.Information, "The link to the centre is up.")]
    private partial void LinkUp();

    [LoggerMessage(8002, LogLevel.Warning, "The link to the centre is down: {Reason}")]
    private partial void LinkDown(string reason);

    [LoggerMessage(8003, LogLevel.Critical, "Lane {Lane} cannot be delivered: {Reason}")]
    private partial void LaneBlocked(Lane lane, string reason);

    [LoggerMessage(8004, LogLevel.Warning,
        "The centre has lane {Lane} up to {Mark} only, although it had confirmed {Delivered}: it was restored, and gets the rest again.")]
    private partial void CentreWentBack(Lane lane, long mark, long delivered);
}
