using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Yizhan.Platform;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests;

/// <summary>Which store a node opens, and that no setting puts an empty log over a full one.</summary>
public sealed class StoreChoiceTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-choice-").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string LogFolder => Path.Combine(_folder, "log");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_new_log_is_segments_at_a_site_and_sqlite_elsewhere()
    {
        await RunAsync<SiteModule>("site");
        Assert.Equal("segments", Spool.StoreIn(Path.Combine(_folder, "site", "log")));
        await RunAsync<CentreModule>("centre");
        Assert.Equal("sqlite", Spool.StoreIn(Path.Combine(_folder, "centre", "log")));
        await RunAsync<SiteModule>("set", "--storage:store=sqlite");
        Assert.Equal("sqlite", Spool.StoreIn(Path.Combine(_folder, "set", "log")));
    }

    [Theory]
    [InlineData("sqlite")]
    [InlineData("segments")]
    public async Task A_folder_stays_what_it_is_whatever_a_new_one_would_be(string store)
    {
        await RunAsync<SiteModule>("old", $"--storage:store={store}");
        Assert.Equal(2, await RunAsync<SiteModule>("old"));
        Assert.Equal(3, await RunAsync<CentreModule>("old"));
        Assert.Equal(store, Spool.StoreIn(Path.Combine(_folder, "old", "log")));
    }

    [Theory]
    [InlineData("sqlite", "segments")]
    [InlineData("segments", "sqlite")]
    public async Task A_log_is_never_opened_as_the_other_store(string held, string set)
    {
        var bytes = Given.Bytes(300_000, "image");
        await using (var store = LocalStore.Open(held, folder: LogFolder))
        {
            await store.AppendWithBlobAsync("image", bytes);
        }

        var refused = Assert.Throws<InvalidOperationException>(() => { LocalStore.Open(set, folder: LogFolder); });
        Assert.Contains($"of the store '{held}', and storage:store is '{set}'", refused.Message, StringComparison.Ordinal);
        await using var again = LocalStore.Open(held, folder: LogFolder);
        Assert.Equal(["image"], (await again.Log.ReadAllAsync()).Select(e => e.Entry.Id));
        await using var reader = await again.Blobs.OpenAsync(Given.Ref(bytes).Hash, Cancel);
        Assert.NotNull(reader);
    }

    [Fact]
    public async Task Litestream_is_refused_where_there_is_nothing_that_it_could_copy()
    {
        var refused = Assert.Throws<InvalidOperationException>(() => { LocalStore.Open("segments", folder: LogFolder, configure: o => o.CheckpointedBy = "litestream"); });
        Assert.Contains("set storage:store to sqlite before the first start", refused.Message, StringComparison.Ordinal);
        Assert.Null(Spool.StoreIn(LogFolder));

        await using (LocalStore.Open("sqlite", folder: LogFolder, configure: o => o.CheckpointedBy = "litestream"))
        {
        }

        // As a site that was set up before: litestream is set, the store is not.
        await using var old = LocalStore.Open("", folder: LogFolder, configure: o => (o.CheckpointedBy, o.NewStore) = ("litestream", "segments"));
        Assert.Equal("sqlite", old.Spool.Store);
    }

    [Theory]
    [InlineData("sqlite")]
    [InlineData("segments")]
    public async Task A_stopped_node_is_verified_without_knowing_its_store_or_its_site(string kind)
    {
        await using (var store = LocalStore.Open(kind, folder: LogFolder))
        {
            await store.AppendWithBlobAsync("image", Given.Bytes(300_000, "image"));
        }

        var report = await OfflineLog.VerifyAsync(_folder, null, null, null, Cancel);
        Assert.Equal((true, 1L, 1L), (report.Ok, report.Entries, report.Blobs));
        await Assert.ThrowsAsync<InvalidOperationException>(() => OfflineLog.VerifyAsync(_folder, "another", null, null, Cancel));
        Directory.CreateDirectory(Path.Combine(_folder, "empty", "log"));
        var none = await Assert.ThrowsAsync<IOException>(() => OfflineLog.VerifyAsync(Path.Combine(_folder, "empty"), null, null, null, Cancel));
        Assert.Contains("holds no log", none.Message, StringComparison.Ordinal);
    }

    /// <summary>Starts a node, appends an entry, and says how many there are.</summary>
    private async Task<long> RunAsync<TModule>(string name, params string[] settings)
        where TModule : IServiceModule
    {
        await using var app = new ServiceHost(
            [$"--node:dataFolder={Path.Combine(_folder, name)}", "--node:siteId=site-7", "--storage:freeFloorBytes=0", "--web:url=http://127.0.0.1:0", .. settings]).Add<TModule>().Build();
        var log = app.Services.GetRequiredService<IEventLog>();
        return (await log.AppendAsync(Given.Entry($"e{log.LastPosition}"))).Position;
    }

    private sealed class SiteModule : IServiceModule
    {
        public static string Name => "site-test";

        public static void Register(IHostApplicationBuilder builder) => builder.AddEventLog().AddEventLog(ofSite: true);

        public static void Map(Microsoft.AspNetCore.Routing.IEndpointRouteBuilder routes)
        {
        }
    }

    private sealed class CentreModule : IServiceModule
    {
        public static string Name => "centre-test";

        public static void Register(IHostApplicationBuilder builder) => builder.AddEventLog();

        public static void Map(Microsoft.AspNetCore.Routing.IEndpointRouteBuilder routes)
        {
        }
    }
}
