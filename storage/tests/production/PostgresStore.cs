using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.ProductionTests;

/// <summary>A log in a schema of its own, with its blobs in a temporary folder.</summary>
internal sealed class PostgresStore : StoreFixture
{
    private static int _schemas;

    private readonly string _site;
    private string _connectionString;
    private bool _closed;
    private readonly List<PostgresStore> _others = [];
    private Spool _spool = null!;
    private Action<StorageOptions>? _configure;

    private PostgresStore(string connectionString, string site)
    {
        (_connectionString, _site) = (connectionString, site);
        Folder = Directory.CreateTempSubdirectory("yizhan-pglog-").FullName;
        var connection = Path.Combine(Folder, "connection");
        File.WriteAllText(connection, connectionString + "\n");
        Options = new StorageOptions
        {
            Store = "postgres",
            SegmentBytes = 4 * 1024 * 1024,
            FreeFloorBytes = 0,
            PostgresConnectionFile = connection,
            PostgresSchema = NewSchema(),
            SiteKeyFile = Path.Combine(Folder, "site.key"),
            PostgresPatienceSeconds = 30,
        };
    }

    public string Folder { get; }

    public string LogFolder => Path.Combine(Folder, "log");

    public StorageOptions Options { get; }

    public Spool Spool => _spool;

    public SegmentMover Mover => new(_spool, Options, TimeProvider.System, NullLogger<SegmentMover>.Instance);

    public PostgresJournal Journal => (PostgresJournal)_spool.Journal;

    public override IEventLog Log => _spool.Log;

    public override IBlobStore Blobs => _spool.Blobs;

    public static PostgresStore Open(string connectionString, string site = Site, Action<StorageOptions>? configure = null)
    {
        var store = new PostgresStore(connectionString, site) { _configure = configure };
        configure?.Invoke(store.Options);
        store.Open();
        return store;
    }

    public static string NewSchema() => $"log_{Environment.ProcessId}_{Interlocked.Increment(ref _schemas)}";

    /// <summary>Opens the same log beside, in another folder: what an operator does who starts a second centre.</summary>
    public Spool OpenSecond(string folder, StorageOptions? options = null, string? site = null) =>
        Spool.Open(folder, site ?? _site, options ?? Options, new RealDisk(), TimeProvider.System, NullLogger.Instance);

    public override async Task ReopenAsync(bool restored = false)
    {
        if (_spool.Objects is not null)
        {
            // What can be moved is read from the object store from here on.
            await Mover.RunOnceAsync(TestContext.Current.CancellationToken);
        }

        await _spool.DisposeAsync();
        if (restored)
        {
            await File.WriteAllTextAsync(Path.Combine(LogFolder, Spool.RestoredMarker), "", TestContext.Current.CancellationToken);
        }

        Open();
    }

    /// <summary>Closes what is open, in good order; <see cref="OpenAgainAsync"/> opens it.</summary>
    public async Task CloseAsync()
    {
        await _spool.DisposeAsync();
        _closed = true;
    }

    /// <summary>Opens the folder with the database at another server.</summary>
    public async Task OpenAgainAsync(string connectionString, bool restored)
    {
        _connectionString = connectionString;
        await File.WriteAllTextAsync(Options.PostgresConnectionFile!, connectionString, TestContext.Current.CancellationToken);
        if (restored)
        {
            await File.WriteAllTextAsync(Path.Combine(LogFolder, Spool.RestoredMarker), "", TestContext.Current.CancellationToken);
        }

        Open();
        _closed = false;
    }

    public override Task<StoreFixture> AnotherAsync(string site)
    {
        var other = Open(_connectionString, site, _configure);
        _others.Add(other);
        return Task.FromResult<StoreFixture>(other);
    }

    public override async Task LimitAsync(long quotaBytes)
    {
        await _spool.DisposeAsync();
        Directory.Delete(LogFolder, recursive: true);
        Options.QuotaBytes = quotaBytes;
        Options.PostgresSchema = NewSchema();
        Open();
    }

    public async Task<long> NumberAsync(string sql)
    {
        await using var source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(_connectionString) { SearchPath = Options.PostgresSchema, Pooling = false });
        await using var command = source.CreateCommand(sql);
        return Convert.ToInt64(await command.ExecuteScalarAsync(TestContext.Current.CancellationToken), System.Globalization.CultureInfo.InvariantCulture);
    }

    public override async ValueTask DisposeAsync()
    {
        foreach (var other in _others)
        {
            await other.DisposeAsync();
        }

        if (!_closed)
        {
            await _spool.DisposeAsync();
        }

        Directory.Delete(Folder, recursive: true);
    }

    private void Open() => _spool = Spool.Open(LogFolder, _site, Options, new RealDisk(), TimeProvider.System, NullLogger.Instance);
}
