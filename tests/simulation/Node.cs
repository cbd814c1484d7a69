using Microsoft.Extensions.Logging.Abstractions;
using Yizhan.Storage;

namespace Yizhan.Simulation;

/// <summary>A machine with a disk and a log on it: it may be killed, lose its power at any operation, be restored from an image, and starts again by itself.</summary>
internal sealed class Node
{
    private const string Folder = "/log";

    private readonly World _world;
    private readonly string _name;
    private readonly string _site;
    private readonly SeededRandom _random;
    private readonly int _segmentBytes;
    private readonly StorageOptions _options;
    private readonly bool _seals;
    private bool _restored;
    private bool _starting;

    public Node(World world, string name, string site, SeededRandom random)
    {
        (_world, _name, _site, _random) = (world, name, site, random);
        _segmentBytes = random.Next(3) switch { 0 => 512 * 1024, 1 => 768 * 1024, _ => 1536 * 1024 };
        _seals = random.Chance(0.8);
        _options = new StorageOptions { Store = "segments", FreeFloorBytes = 4L * _segmentBytes };
        Clock = new EventLoop.NodeClock(world.Loop);
        Disk = new SimulatedDisk { Observe = what => world.Trace.Note($"{name} {what}") };
    }

    public EventLoop.NodeClock Clock { get; }

    public SimulatedDisk Disk { get; private set; }

    /// <summary>The open log; null while the node is down.</summary>
    public Spool? Spool { get; private set; }

    /// <summary>Size of the segment files.</summary>
    public int SegmentBytes => _segmentBytes;

    /// <summary>Told each time the log is open.</summary>
    public Action<Spool>? Started { get; set; }

    /// <summary>Told each time it is gone.</summary>
    public Action? Stopped { get; set; }

    /// <summary>Told after a start what the restored disk holds.</summary>
    public Action<Spool>? Restored { get; set; }

    /// <summary>Opens the log, or tries again later.</summary>
    public void Start()
    {
        if (Spool is not null || _starting)
        {
            return;
        }

        var disk = Disk;
        disk.PowerLost = () => _world.Loop.Post(_ => Lose(disk), null);
        disk.Failed = () => _world.Books.Fault("I/O errors");
        if (_random.Chance(_world.Faulty ? _world.Scenario.RecoveryCrash : 0))
        {
            _world.Books.Fault("crashes during recovery");
            disk.CrashAt = disk.Operations + 1 + _random.Next(12);
        }

        _starting = true;
        try
        {
            Spool = Open(disk);
            _world.Trace.Note($"{_name} up");
        }
        catch (InvalidDataException e)
        {
            _world.Damaged(_name, e);
        }
        catch (IOException) when (!disk.IsOff)
        {
            // An I/O error or a full disk: whoever looks after the process starts it again.
            Disk = disk.AfterKill();
            _world.Loop.After(_random.Next(TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(5)), Start);
        }
        catch (IOException)
        {
            // The power went; Lose comes next.
        }
        finally
        {
            _starting = false;
        }

        if (Spool is { } spool)
        {
            if (_restored)
            {
                _restored = false;
                Restored?.Invoke(spool);
            }

            Started?.Invoke(spool);
        }
    }

    /// <summary>The process ends (null), or the power with it; the node starts again after a while. Nothing happens while it is down.</summary>
    public void Fail(PowerCut? cut)
    {
        if (Spool is not null)
        {
            End(cut);
        }
    }

    /// <summary>The node comes back with an older disk.</summary>
    public void Restore(SimulatedDisk image)
    {
        _world.Trace.Note($"{_name} restored");
        Disk.TurnOff();
        Disk = image;
        _restored = true;
        Down();
    }

    /// <summary>The disk as a backup would have it.</summary>
    public SimulatedDisk Image() => Disk.AfterPowerCut(PowerCut.KeepsAll, 0);

    public PowerCut AnyCut() => (PowerCut)_random.Next(4);

    /// <summary>Closes the log in order and opens it again.</summary>
    public async Task ReopenAsync()
    {
        await Spool!.DisposeAsync();
        Spool = Open(Disk);
    }

    private void Lose(SimulatedDisk disk)
    {
        if (ReferenceEquals(disk, Disk))
        {
            _world.Books.Fault("ends at an operation");
            End(_random.Chance(0.3) ? null : AnyCut());
        }
    }

    private void End(PowerCut? cut)
    {
        _world.Trace.Note($"{_name} {cut?.ToString() ?? "killed"}");
        _world.Books.Fault(cut is null ? "kills" : "power cuts");
        Disk.TurnOff();
        Disk = cut is { } how ? Disk.AfterPowerCut(how, _random.Next()) : Disk.AfterKill();
        Down();
    }

    private void Down()
    {
        Spool = null;
        Stopped?.Invoke();
        _world.Loop.After(_random.Next(TimeSpan.FromSeconds(5), TimeSpan.FromMinutes(_random.Chance(0.2) ? 30 : 2)), Start);
    }

    private Spool Open(SimulatedDisk disk)
    {
        var keys = new KeyRing(disk, Folder + "/keys", _ => new SiteKeyFile(new byte[32]), _seals, Clock);
        var segments = new SegmentFiles(disk, Folder, _segmentBytes, keys);
        var journal = new SegmentJournal(disk, Folder, _site, _restored, segments, NullLogger.Instance);
        return new Spool(
            new MemoryStream(), segments, journal, _options, () => disk.FreeBytes(Folder), Clock, NullLogger.Instance,
            post: run => _world.Loop.After(_random.Next(TimeSpan.Zero, TimeSpan.FromMilliseconds(5)), run));
    }
}
