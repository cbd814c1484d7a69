using Microsoft.Data.Sqlite;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Yizhan.Platform;
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
        Assert.Contains("storage:store must be sqlite or segments", wrong.Message, StringComparison.Ordinal);
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
        }
    }

    public static ServiceHost Storage(this ServiceHost host) => host.Add<Module>();
}
