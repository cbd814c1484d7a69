using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests;

/// <summary>A store of this project in a temporary folder.</summary>
internal sealed class LocalStore : StoreFixture
{
    private readonly string _kind;
    private readonly string _site;
    private readonly List<LocalStore> _others = [];
    private readonly bool _ownsFolder;
    private Spool _spool = null!;

    private LocalStore(string kind, string site, string? folder, IDisk? disk)
    {
        (_kind, _site) = (kind, site);
        _ownsFolder = folder is null;
        Folder = folder ?? Directory.CreateTempSubdirectory("yizhan-storage-").FullName;
        Disk = disk ?? new RealDisk();
        Options = new StorageOptions { Store = kind.Length > 0 ? kind : null, SegmentBytes = 4 * 1024 * 1024, FreeFloorBytes = 0 };
        if (Path.GetFileName(Folder) != "log")
        {
            Options.SiteKeyFile = Path.Combine(Folder, "site.key");
        }
    }

    public string Folder { get; }

    public IDisk Disk { get; }

    public StorageOptions Options { get; }

    public FakeTimeProvider Clock { get; } = new();

    public Spool Spool => _spool;

    public override IEventLog Log => _spool.Log;

    public override IBlobStore Blobs => _spool.Blobs;

    public static LocalStore Open(string kind, string site = Site, string? folder = null, IDisk? disk = null, string? siteKey = null, bool encrypt = true, Action<StorageOptions>? configure = null)
    {
        var store = new LocalStore(kind, site, folder, disk);
        store.Options.Encrypt = encrypt;
        store.Options.SiteKeyFile = siteKey ?? store.Options.SiteKeyFile;
        configure?.Invoke(store.Options);
        store.Open();
        return store;
    }

    /// <summary>The segments store on a disk in memory; only the folder's lock is missing.</summary>
    public static Spool OpenSimulated(IDisk disk, string folder, bool seals = true)
    {
        // Much smaller files than production allows, so that a short workload rolls, empties and recycles several.
        var options = new StorageOptions { Store = "segments", FreeFloorBytes = 0 };
        var segments = new SegmentFiles(disk, folder, segmentBytes: 320 * 1024, seals ? Keys(disk, folder, new FakeTimeProvider()) : null);
        var journal = new SegmentJournal(disk, folder, Site, newEpoch: false, segments, NullLogger.Instance);
        return new Spool(new MemoryStream(), segments, journal, options, () => disk.FreeBytes(folder), new FakeTimeProvider(), NullLogger.Instance);
    }

    /// <summary>Keys on a disk in memory, under a site key that is always the same.</summary>
    public static KeyRing Keys(IDisk disk, string folder, TimeProvider clock) =>
        new(disk, folder + "/keys", _ => new SiteKeyFile(new byte[32]), seals: true, clock);

    public override async Task ReopenAsync(bool restored = false)
    {
        await _spool.DisposeAsync();
        if (restored)
        {
            await File.WriteAllTextAsync(Path.Combine(Folder, Spool.RestoredMarker), "", TestContext.Current.CancellationToken);
        }

        Open();
    }

    public override Task<StoreFixture> AnotherAsync(string site)
    {
        var other = Open(_kind, site);
        _others.Add(other);
        return Task.FromResult<StoreFixture>(other);
    }

    public override async Task LimitAsync(long quotaBytes)
    {
        await _spool.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
        Directory.CreateDirectory(Folder);
        Options.QuotaBytes = quotaBytes;
        Open();
    }

    public override async ValueTask DisposeAsync()
    {
        foreach (var other in _others)
        {
            await other.DisposeAsync();
        }

        await _spool.DisposeAsync();
        if (_ownsFolder)
        {
            Directory.Delete(Folder, recursive: true);
        }
    }

    private void Open() => _spool = Spool.Open(Folder, _site, Options, Disk, Clock, NullLogger.Instance);
}
