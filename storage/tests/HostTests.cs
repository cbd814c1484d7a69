using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Yizhan.Platform;
using Yizhan.Platform.Identity;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests;

/// <summary>The log as a part of a host, and what it refuses to start on.</summary>
public sealed class HostTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-host-").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("sqlite")]
    [InlineData("segments")]
    public async Task A_host_opens_one_log_and_closes_it(string store)
    {
        for (var run = 1; run <= 2; run++)
        {
            await using var app = Host(store).Build();
            await app.StartAsync(Cancel);
            var log = app.Services.GetRequiredService<IEventLog>();
            Assert.Same(log, app.Services.GetRequiredService<IEventLog>());
            Assert.Equal("site-7", log.Site);
            Assert.Equal(run, (await log.AppendAsync(Given.Entry($"run{run}"))).Identity.Sequence);
            Assert.NotNull(app.Services.GetRequiredService<IBlobStore>());
            var health = await app.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync(Cancel);
            Assert.Equal(HealthStatus.Healthy, health.Status);
            await app.StopAsync(Cancel);
        }

        Assert.True(File.Exists(Path.Combine(_folder, "log", store == "sqlite" ? "log.db" : "segments/0000000001.seg")));
    }

    [Fact]
    public void A_value_out_of_range_stops_the_start()
    {
        var wrong = Assert.Throws<SettingException>(() => new ServiceHost(
            ["--node:dataFolder=" + _folder, "--storage:store=paper", "--storage:segmentBytes=5"]).Storage().Build());
        Assert.Contains("storage:store must be sqlite, segments, postgres or remote", wrong.Message, StringComparison.Ordinal);
        Assert.Contains("SegmentBytes must be between 4194304 and 1073741824", wrong.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_folder_in_use_is_refused_with_what_to_do()
    {
        await using var first = LocalStore.Open("sqlite", folder: _folder);
        var refused = Assert.Throws<IOException>(() => { LocalStore.Open("sqlite", folder: _folder); });
        Assert.Contains("open in another process", refused.Message, StringComparison.Ordinal);
        Assert.Contains("node:dataFolder", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("sqlite")]
    [InlineData("segments")]
    public async Task The_log_of_another_site_is_refused(string store)
    {
        await LocalStore.Open(store, folder: _folder).DisposeAsync();
        Assert.Contains("site-b", Assert.Throws<InvalidOperationException>(() => { LocalStore.Open(store, "site-b", _folder); }).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_database_that_a_newer_version_wrote_is_refused()
    {
        var path = Path.Combine(_folder, "a.db");
        SqliteFile.OpenWriter(path, "CREATE TABLE a (x)", "CREATE TABLE b (x)").Dispose();
        using (var again = SqliteFile.OpenWriter(path, "CREATE TABLE a (x)", "CREATE TABLE b (x)", "CREATE TABLE c (x)"))
        {
            Assert.Equal("3", Scalar(again, "PRAGMA user_version"));
            Assert.Equal("2", Scalar(again, "PRAGMA synchronous"));
            Assert.Equal("wal", Scalar(again, "PRAGMA journal_mode"));
        }

        Assert.Contains("newer", Assert.Throws<InvalidOperationException>(() => SqliteFile.OpenWriter(path, "CREATE TABLE a (x)")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_migration_that_fails_leaves_the_database_as_it_was()
    {
        var path = Path.Combine(_folder, "a.db");
        Assert.Throws<SqliteException>(() => SqliteFile.OpenWriter(path, "CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE a (x)"));
        using var again = SqliteFile.OpenWriter(path, "CREATE TABLE a (x)");
        Assert.Equal("0", Scalar(again, "SELECT count(*) FROM sqlite_schema WHERE name = 'b'"));
    }

    [Fact]
    public void Only_the_opener_may_say_how_durable_a_database_is()
    {
        // The journal has the one writing connection: whatever it was told, it is FULL.
        using var log = new SqliteConnection($"Data Source={Path.Combine(_folder, "log.db")};Pooling=False");
        log.Open();
        Scalar(log, "PRAGMA synchronous = OFF");
        using var segments = new SegmentFiles(new RealDisk(), Path.Combine(_folder, "segments"), 4 * 1024 * 1024);
        using var journal = new SqliteJournal(Path.Combine(_folder, "log.db"), "site-a", newEpoch: false, segments);
        Assert.Equal("2", journal.Synchronous);
    }

    [Theory]
    [InlineData("throws")]
    [InlineData("answers")]
    public async Task Every_answer_that_there_is_no_room_says_when_to_come_again(string how)
    {
        await using var app = Host("sqlite").Build();
        await app.StartAsync(Cancel);
        using var http = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
        using var answer = await http.GetAsync("/storage-test/" + how, Cancel);
        Assert.Equal(507, (int)answer.StatusCode);
        Assert.Equal(TimeSpan.FromSeconds(60), answer.Headers.RetryAfter?.Delta);
    }

    [Fact]
    public async Task A_scrub_reads_no_faster_than_it_may_and_reports_damage_until_it_is_gone()
    {
        await using var store = LocalStore.Open("sqlite", folder: Path.Combine(_folder, "log"));
        var bytes = Given.Bytes(3_000_000, "image");
        await store.AppendWithBlobAsync("image", bytes);
        var options = new StorageOptions { ScrubMiBPerSecond = 1 };
        using var maintenance = new LogMaintenance(store.Spool, new NodeOptions { DataFolder = _folder }, options, store.Clock);
        using var scrub = new Scrub(maintenance, Microsoft.Extensions.Options.Options.Create(options), store.Clock, Microsoft.Extensions.Logging.Abstractions.NullLogger<Scrub>.Instance);
        var began = store.Clock.GetTimestamp();
        await RunAsync(scrub, store);
        Assert.True(store.Clock.GetElapsedTime(began) >= TimeSpan.FromSeconds(2.8));
        Assert.True(scrub.Last.Ok);

        var segment = Directory.GetFiles(Path.Combine(_folder, "log", "segments"), "*.seg").Single();
        using (var file = new FileStream(segment, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete))
        {
            file.Position = 1_000_000;
            file.Write(new byte[100]);
        }

        await RunAsync(scrub, store);
        Assert.Equal("image", Assert.Single(scrub.Last.Damaged).EntryId);
        Assert.Equal(HealthStatus.Degraded, (await scrub.CheckHealthAsync(new HealthCheckContext(), Cancel)).Status);

        await store.Log.MarkDeliveredAsync(Lane.Bulk, 1, Cancel);
        await store.Log.ReleaseAsync(Lane.Bulk, 1, Cancel);
        await RunAsync(scrub, store);
        Assert.True(scrub.Last.Ok);
    }

    private static async Task RunAsync(Scrub scrub, LocalStore store)
    {
        var round = scrub.RunOnceAsync(Cancel);
        while (!round.IsCompleted)
        {
            store.Clock.Advance(TimeSpan.FromMilliseconds(50));
            await Task.Delay(1, Cancel);
        }

        await round;
    }

    private ServiceHost Host(string store) => new ServiceHost(
        ["--node:dataFolder=" + _folder, "--node:siteId=site-7", "--storage:store=" + store, "--storage:freeFloorBytes=0", "--web:url=http://127.0.0.1:0"]).Storage();

    private static string Scalar(SqliteConnection connection, string sql)
    {
        using var command = new SqliteCommand(sql, connection);
        return $"{command.ExecuteScalar()}";
    }
}

file static class HostExtensions
{
    private sealed class Module : IServiceModule
    {
        public static string Name => "storage-test";

        public static void Register(Microsoft.Extensions.Hosting.IHostApplicationBuilder builder) => builder.AddEventLog().AddEventLog();

        public static void Map(Microsoft.AspNetCore.Routing.IEndpointRouteBuilder routes)
        {
            routes.MapGet("/throws", IResult () => throw new SpoolFullException(Lane.Bulk, 0)).OpenToAll("a test");
            routes.MapGet("/answers", () => Results.StatusCode(507)).OpenToAll("a test");
        }
    }

    public static ServiceHost Storage(this ServiceHost host) => host.Add<Module>();
}
