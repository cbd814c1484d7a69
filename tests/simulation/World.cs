using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Yizhan.Fleet;
using Yizhan.Link;
using Yizhan.Platform;
using Yizhan.Station;
using Yizhan.Storage;

namespace Yizhan.Simulation;

/// <summary>One edge, one centre and a line, their producers, and everything that goes wrong: all of it from one seed, on one thread.</summary>
internal sealed class World : IDisposable
{
    public const string Site = "lakeside";

    private static readonly TimeSpan Day = TimeSpan.FromHours(24);
    private static readonly TimeSpan Patience = TimeSpan.FromHours(72);

    private readonly SeededRandom _random;
    private readonly string _folder;
    private readonly SimulatedNetwork _network;
    private readonly Quarantine _quarantine;
    private readonly SiteRegistry _sites;
    private readonly StationOptions _station;
    private readonly TimeSpan _keep;
    private readonly Queue<(TimeSpan At, Guid Epoch, long[] Delivered)> _delivered = [];
    private readonly List<TimeSpan> _lineUp = [TimeSpan.Zero];
    private CancellationTokenSource _edgeLife = new();
    private TimeSpan? _imageAt;
    private Shipper? _shipper;
    private LinkMarks? _heard;
    private bool _damageFound;

    public World(long seed, TextWriter? trace)
    {
        _random = new SeededRandom((ulong)seed);
        Scenario = Scenario.Of(seed, _random);
        Loop = new EventLoop(_random.Split());
        Trace = new RunTrace(Loop, trace);
        Books = new Books(Loop);
        Edge = new Node(this, "edge", Site, _random.Split());
        Centre = new Node(this, "centre", "centre", _random.Split());
        _network = new SimulatedNetwork(Loop, Centre.Clock, _random.Split(), Scenario, Trace, Books);
        _keep = _random.Next(TimeSpan.FromHours(3), TimeSpan.FromHours(8));
        _station = new StationOptions { HeartbeatSeconds = _random.Next(60, 3600), QuarantineAfter = _random.Next(1, 4), RetentionSeconds = 1800 };

        // The only two files on a real disk: SQLite cannot be simulated, and is trusted.
        _folder = Path.Combine(Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath(), $"yizhan-simulation-{Guid.CreateVersion7()}");
        var node = Options.Create(new NodeOptions { DataFolder = _folder });
        _quarantine = new Quarantine(node, Options.Create(_station));
        _sites = new SiteRegistry(node, Options.Create(new FleetOptions()), Centre.Clock);
        Edge.Started = EdgeUp;
        Edge.Stopped = () => _edgeLife.Cancel();
        Edge.Restored = EdgeRestored;
        Centre.Started = CentreUp;
        Centre.Stopped = () =>
        {
            _network.Intake = null;
            _network.Cut();
        };
    }

    public Scenario Scenario { get; }

    public EventLoop Loop { get; }

    public RunTrace Trace { get; }

    public Books Books { get; }

    public Node Edge { get; }

    public Node Centre { get; }

    /// <summary>False once everything is mended and only the rest is to be delivered.</summary>
    public bool Faulty { get; private set; } = true;

    /// <summary>The edge's log found that it is damaged and refuses to go on: what it was told on the way is all that can be had.</summary>
    public bool EdgeIsLost { get; private set; }

    public Task DelayAsync(TimeSpan delay) => Task.Delay(delay, Centre.Clock, CancellationToken.None);

    /// <summary>A start found damage. That is right when there is some, and else the worst that can happen.</summary>
    public void Damaged(string node, InvalidDataException e)
    {
        if (Scenario.Misdirected && node == "edge")
        {
            Found(e);
            EdgeIsLost = true;
        }
        else
        {
            Books.Violations.Add($"The log of the {node} cannot be opened: {e.Message}");
            throw new InvalidOperationException(e.Message, e);
        }
    }

    /// <summary>All of a run; afterwards the books say what happened.</summary>
    public async Task RunAsync()
    {
        Centre.Start();
        Edge.Start();
        foreach (var gremlin in Gremlins())
        {
            Spawn(gremlin);
        }

        Spawn(KeepHouseAsync);
        Spawn(() => SuperviseAsync(Edge));
        Spawn(() => SuperviseAsync(Centre));
        await new Producers(this, _random.Split()).RunAsync(Scenario.OutageHours >= 24 ? Day + TimeSpan.FromHours(1) : Day);

        Faulty = false;
        _network.Heal();
        foreach (var node in new[] { Edge, Centre })
        {
            if (!node.Disk.IsOff)
            {
                node.Disk.CrashAt = int.MaxValue;
                node.Disk.FailAt = int.MaxValue;
            }

            node.Disk.Capacity = 1L << 40;
        }

        var patience = Loop.Now + Patience;
        while (!IsDelivered() && !EdgeIsLost && Loop.Now < patience)
        {
            await DelayAsync(TimeSpan.FromSeconds(5));
        }

        Trace.Note("checking");
        await CheckAsync();
    }

    public void Dispose()
    {
        _edgeLife.Dispose();
        _quarantine.Dispose();
        _sites.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private bool IsDelivered() => Centre.Spool is not null && Edge.Spool is { Fault: null } edge && Enum.GetValues<Lane>().All(lane => edge.Log.Usage(lane).Entries == 0);

    private async Task CheckAsync()
    {
        if (Centre.Spool is null)
        {
            Books.Violations.Add("The centre did not come back.");
            return;
        }

        if (!EdgeIsLost && !IsDelivered())
        {
            var waiting = Edge.Spool is { } spool ? string.Join(", ", Enum.GetValues<Lane>().Select(l => $"{l} {spool.Log.Usage(l).Entries} {_shipper?.ErrorOf(l)}".TrimEnd())) : "it is down";
            Books.Violations.Add($"After {Patience} without a fault the edge has not delivered everything: {waiting}.");
        }

        await Centre.ReopenAsync();
        await Books.CheckCentreAsync(Centre.Spool, Scenario.Misdirected);
        if (Scenario.Misdirected)
        {
            CheckDamageWasFound();
        }
        else
        {
            await CheckSpaceAsync();
        }

        if (Scenario.Slow)
        {
            CheckUrgentWasFirst();
        }
    }

    /// <summary>What was damaged is reported; what is not at the centre is not missing in silence.</summary>
    private void CheckDamageWasFound()
    {
        var missing = Books.Items.Count(i => i.AcceptedAt is not null && i.ArrivedAt is null);
        if (missing > Books.Quarantined && !_damageFound)
        {
            Books.Violations.Add($"A write went astray, {missing} entries did not arrive, and nobody was told.");
        }
    }

    /// <summary>Once everything is delivered and released, the edge's disk is as good as empty.</summary>
    private async Task CheckSpaceAsync()
    {
        if (Edge.Spool is not { Fault: null } spool)
        {
            return;
        }

        foreach (var lane in Enum.GetValues<Lane>())
        {
            await spool.Log.ReleaseAsync(lane, spool.Log.Delivered(lane), CancellationToken.None);
        }

        await Edge.ReopenAsync();
        for (var commit = 0; commit < 10; commit++)
        {
            // A file goes when those before it that it takes something back from are durably gone: one commit for each step of such a chain.
            await Edge.Spool!.Blobs.ReleaseOrphansAsync(Edge.Clock.GetUtcNow().AddYears(100), CancellationToken.None);
        }

        // The file that is written to, the one before it with the last releases, two spares, and digests.
        var most = 6L * Edge.SegmentBytes;
        if (Edge.Disk.UsedBytes > most)
        {
            Books.Violations.Add($"Everything was released, and the edge's disk still has {Edge.Disk.UsedBytes} bytes; at most {most} were expected.");
        }
    }

    /// <summary>An urgent entry waits for what is on the line and no more, however much is queued.</summary>
    private void CheckUrgentWasFirst()
    {
        foreach (var item in Books.Items.Where(i => i is { Lane: Lane.Urgent, AcceptedAt: not null, ArrivedAt: not null }))
        {
            var from = _lineUp.LastOrDefault(up => up <= item.ArrivedAt) is var up && up > item.AcceptedAt ? up : item.AcceptedAt!.Value;
            if (item.ArrivedAt - from > TimeSpan.FromSeconds(75))
            {
                Books.Violations.Add($"{item.Id} is urgent and waited {item.ArrivedAt - from} on a line that was up.");
            }
        }
    }

    private void EdgeUp(Spool spool)
    {
        _edgeLife = new CancellationTokenSource();
        var line = _network.Open();
        var shipper = new Shipper(
            spool.Log, spool.Blobs, line, _quarantine, _station, Edge.Clock, _random.Split(), NullLogger<Shipper>.Instance)
        {
            Heard = marks => _heard = marks,
        };
        _shipper = shipper;
        Spawn(() => ShipAsync(spool, shipper, line, _edgeLife.Token));
    }

    private async Task ShipAsync(Spool spool, Shipper shipper, SimulatedNetwork.Line line, CancellationToken life)
    {
        try
        {
            await shipper.RunAsync(life);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // The log failed; whoever looks after the process sees that.
        }
        catch (InvalidDataException e) when (Scenario.Misdirected)
        {
            // A host that stops because of this closes its log in order.
            Found(e);
            await spool.DisposeAsync();
        }
        finally
        {
            line.Close();
        }

        if (ReferenceEquals(spool, Edge.Spool))
        {
            // A host ends when its background service does, and is started again.
            Edge.Fail(null);
        }
    }

    private void Found(InvalidDataException e)
    {
        _damageFound = true;
        Books.Fault("damage found");
        Trace.Note($"damage found: {e.Message}");
    }

    private void CentreUp(Spool spool)
    {
        Spawn(() => Books.CheckMarksAsync(spool));

        // The safe point is what was confirmed, as by default: no backup is asked for one.
        var options = Options.Create(new FleetOptions());
        _network.Intake = new LinkIntake(spool.Log, spool.Blobs, _sites, new SafePoint(null!, options), options, NullLogger<LinkIntake>.Instance);
    }

    private void EdgeRestored(Spool spool)
    {
        foreach (var item in Books.Items.Where(i => i.AcceptedAt > _imageAt && i.ArrivedAt is null))
        {
            item.Forgone = true;
        }
    }

    /// <summary>Gives up what was delivered some hours ago and is still confirmed: a centre that was restored since has less.</summary>
    private async Task KeepHouseAsync()
    {
        while (true)
        {
            await DelayAsync(TimeSpan.FromMinutes(10));
            if (Edge.Spool is not { } spool)
            {
                continue;
            }

            _delivered.Enqueue((Loop.Now, spool.Log.Epoch, [.. Enum.GetValues<Lane>().Select(spool.Log.Delivered)]));
            try
            {
                while (_delivered.TryPeek(out var then) && then.At < Loop.Now - _keep)
                {
                    _delivered.Dequeue();
                    foreach (var lane in Enum.GetValues<Lane>().Where(_ => then.Epoch == spool.Log.Epoch && _heard?.Epoch == then.Epoch))
                    {
                        await spool.Log.ReleaseAsync(lane, Math.Min(then.Delivered[(int)lane], _heard!.Marks[(int)lane]), CancellationToken.None);
                    }
                }
            }
            catch (IOException)
            {
                // Next time.
            }
        }
    }

    /// <summary>Starts a node again whose log has stopped.</summary>
    private async Task SuperviseAsync(Node node)
    {
        while (true)
        {
            await DelayAsync(TimeSpan.FromSeconds(30));
            if (node.Spool is { Fault: not null })
            {
                Books.Fault("logs stopped");
                node.Fail(_random.Chance(0.5) ? null : node.AnyCut());
            }
        }
    }

    private IEnumerable<Func<Task>> Gremlins()
    {
        yield return () => EverySoOftenAsync(Scenario.Crashes, () => Crash(Edge));
        yield return () => EverySoOftenAsync(Scenario.CentreCrashes, () => Crash(Centre));
        yield return () => EverySoOftenAsync(Scenario.IoErrors, () => Edge.Disk.FailAt = Edge.Disk.Operations + 1 + _random.Next(20));
        yield return () => EverySoOftenAsync(Scenario.CentreIoErrors, () => Centre.Disk.FailAt = Centre.Disk.Operations + 1 + _random.Next(20));
        yield return () => EverySoOftenAsync(Scenario.Full, () => Spawn(() => FillAsync(Edge)));
        yield return () => EverySoOftenAsync(Scenario.CentreFull, () => Spawn(() => FillAsync(Centre)));
        yield return () => EverySoOftenAsync(Scenario.Silences, () => Spawn(SilenceAsync));
        yield return () => EverySoOftenAsync(Scenario.ClockJumps, JumpClock);
        if (Scenario.OutageHours > 0)
        {
            yield return OutageAsync;
        }

        if (Scenario.Flap is { } mean)
        {
            yield return () => FlapAsync(mean);
        }

        if (Scenario.CentreRestored)
        {
            yield return RestoreCentreAsync;
        }

        if (Scenario.EdgeRestored)
        {
            yield return RestoreEdgeAsync;
        }

        if (Scenario.Misdirected)
        {
            yield return MisdirectAsync;
        }
    }

    private async Task EverySoOftenAsync(double perDay, Action act)
    {
        while (perDay > 0)
        {
            await DelayAsync(_random.Next(Day / perDay));
            if (!Faulty)
            {
                return;
            }

            act();
        }
    }

    private void Crash(Node node)
    {
        if (_random.Chance(0.6))
        {
            node.Disk.CrashAt = Math.Min(node.Disk.CrashAt, node.Disk.Operations + 1 + _random.Next(30));
        }
        else
        {
            node.Fail(_random.Chance(0.4) ? null : node.AnyCut());
        }
    }

    private async Task FillAsync(Node node)
    {
        Books.Fault("disks filled by others");
        node.Disk.Capacity = node.Disk.UsedBytes + _random.Next(6 * node.SegmentBytes);
        await DelayAsync(_random.Next(TimeSpan.FromMinutes(5), TimeSpan.FromMinutes(60)));
        node.Disk.Capacity = 1L << 40;
    }

    private async Task SilenceAsync()
    {
        _network.Silent = true;
        await DelayAsync(_random.Next(TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(15)));
        _network.Silent = false;
    }

    private void JumpClock()
    {
        Books.Fault("clock jumps");
        Edge.Clock.Error = _random.Next(4) switch
        {
            0 => TimeSpan.FromDays(-365),
            1 => TimeSpan.FromDays(1),
            2 => DateTimeOffset.UnixEpoch - new DateTimeOffset(2026, 3, 1, 0, 0, 0, TimeSpan.Zero) - Loop.Now,
            _ => TimeSpan.Zero,
        };
    }

    private async Task OutageAsync()
    {
        await DelayAsync(Scenario.OutageHours >= 24 ? TimeSpan.Zero : TimeSpan.FromHours(2));
        _network.Set(up: false);
        await DelayAsync(TimeSpan.FromHours(Scenario.OutageHours));
        _network.Set(up: true);
        _lineUp.Add(Loop.Now);
    }

    private async Task FlapAsync(TimeSpan mean)
    {
        while (Faulty)
        {
            await DelayAsync(_random.Next(mean));
            if (Faulty)
            {
                _network.Set(!_network.Up);
            }
        }
    }

    private async Task RestoreCentreAsync()
    {
        await DelayAsync(_random.Next(TimeSpan.FromHours(3), TimeSpan.FromHours(20)));
        var (image, confirmed) = (Centre.Image(), Books.Confirmations());
        await DelayAsync(TimeSpan.FromHours(1));
        Books.Fault("centres restored");
        Books.Restored(confirmed);
        Centre.Restore(image);
    }

    private async Task RestoreEdgeAsync()
    {
        await DelayAsync(_random.Next(TimeSpan.FromHours(8), TimeSpan.FromHours(14)));
        var image = Edge.Image();
        _imageAt = Loop.Now;

        // Some of what came since has left, some has not.
        await DelayAsync(TimeSpan.FromHours(5));
        _network.Set(up: false);
        await DelayAsync(TimeSpan.FromHours(1));
        Books.Fault("edges restored");
        Edge.Restore(image);
        await DelayAsync(TimeSpan.FromHours(1));
        _network.Set(up: true);
    }

    private async Task MisdirectAsync()
    {
        await DelayAsync(_random.Next(TimeSpan.FromHours(1), TimeSpan.FromHours(20)));
        Books.Fault("misdirected writes");
        Edge.Disk.MisdirectAt = Edge.Disk.Operations + 1;
    }

    private async void Spawn(Func<Task> work)
    {
        try
        {
            await work();
        }
        catch (Exception e)
        {
            Books.Violations.Add(e.ToString());
        }
    }
}
