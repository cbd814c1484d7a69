using System.Net;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Yizhan.Platform;
using Yizhan.Platform.Identity;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests.Remote;

/// <summary>What can happen between the owner of a log and another process, that cannot happen to a log of one's own.</summary>
[Trait("Clause", "D1.1")]
public sealed class RemoteLogTests : IAsyncLifetime
{
    private static readonly TimeSpan Long = TimeSpan.FromMinutes(1);

    private RemoteStore _store = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private IEventLog Owned => _store.Owner.Services.GetRequiredService<IEventLog>();

    public async ValueTask InitializeAsync() => _store = await RemoteStore.OpenAsync(role: "log");

    public ValueTask DisposeAsync() => _store.DisposeAsync();

    [Fact]
    public async Task An_append_whose_answer_was_lost_is_sent_again_and_kept_once()
    {
        _store.Lost.Next(3);
        var receipt = await _store.Log.AppendAsync(Given.Entry("one")).WaitAsync(Long, Cancel);
        Assert.Equal(0, _store.Lost.Left);
        Assert.True(receipt.AlreadyKnown);
        Assert.Equal(1, receipt.Identity.Sequence);
        Assert.Equal(["one"], (await Owned.ReadAllAsync()).Select(e => e.Entry.Id));
    }

    [Fact]
    public async Task A_piece_of_a_blob_whose_answer_was_lost_is_not_added_twice()
    {
        var bytes = Given.Bytes((3 * 1024 * 1024) + 5, "pieces");
        await using var writer = _store.Blobs.Begin(Lane.Bulk);
        for (var at = 0; at < bytes.Length; at += 500_000)
        {
            _store.Lost.Next(2);
            await writer.WriteAsync(bytes.AsMemory(at, Math.Min(500_000, bytes.Length - at)), Cancel).AsTask().WaitAsync(Long, Cancel);
        }

        _store.Lost.Next(2);
        Assert.Equal(Given.Ref(bytes), await writer.CompleteAsync(Cancel));
        Assert.Equal(0, _store.Lost.Left);
        await _store.Log.AppendAsync(Given.Entry("e", Lane.Bulk, 40, Given.Ref(bytes)));
        Assert.Equal(bytes, await _store.Blobs.ReadAllAsync(Given.Ref(bytes).Hash));
    }

    [Fact]
    public async Task Callers_wait_for_an_owner_that_is_started_again_and_readers_read_on()
    {
        var bytes = Given.Bytes(3_000_000, "read on");
        await _store.AppendWithBlobAsync("before", bytes);
        await using var reader = (await _store.Blobs.OpenAsync(Given.Ref(bytes).Hash, Cancel))!;
        await _store.StopOwnerAsync();
        var more = _store.Log.WaitForMoreAsync(_store.Log.LastPosition, Cancel);
        var appending = _store.Log.AppendAsync(Given.Entry("after"));
        await Task.Delay(200, Cancel);
        Assert.False(appending.IsCompleted);
        await _store.StartOwnerAsync();
        Assert.False((await appending.WaitAsync(Long, Cancel)).AlreadyKnown);
        await more.WaitAsync(Long, Cancel);
        var read = new byte[bytes.Length];
        Assert.Equal(bytes.Length, await reader.ReadAsync(0, read, Cancel));
        Assert.Equal(bytes, read);
        Assert.Equal(["before", "after"], (await _store.Log.ReadAllAsync()).Select(e => e.Entry.Id));
    }

    [Fact]
    public async Task A_blob_whose_beginning_went_with_the_owner_is_refused_and_nothing_is_appended()
    {
        var bytes = Given.Bytes(2_500_000, "gone");
        await using (var writer = _store.Blobs.Begin(Lane.Bulk))
        {
            await writer.WriteAsync(bytes.AsMemory(0, 1_500_000), Cancel);
            await _store.StopOwnerAsync();
            await _store.StartOwnerAsync();
            await Assert.ThrowsAsync<IOException>(async () =>
            {
                await writer.WriteAsync(bytes.AsMemory(1_500_000), Cancel);
                await writer.CompleteAsync(Cancel);
            });
        }

        await using (var whole = _store.Blobs.Begin(Lane.Bulk))
        {
            await whole.WriteAsync(bytes, Cancel);
            var blob = await whole.CompleteAsync(Cancel);
            await _store.StopOwnerAsync();
            await _store.StartOwnerAsync();
            var refused = await Assert.ThrowsAsync<IOException>(async () => await _store.Log.AppendAsync(Given.Entry("e", Lane.Bulk, 40, blob)));
            Assert.Contains("nothing was appended", refused.Message, StringComparison.Ordinal);
        }

        Assert.Empty(await Owned.ReadAllAsync());
    }

    [Fact]
    public async Task An_owner_that_stays_away_is_waited_for_as_long_as_the_setting_says()
    {
        await using var line = await _store.LineAsync("pacs-gw", patienceSeconds: 2);
        await _store.StopOwnerAsync();
        var failed = await Assert.ThrowsAsync<IOException>(async () => await new RemoteLog(line, new RemoteBlobs(line)).AppendAsync(Given.Entry("never")));
        Assert.Contains("Nothing is known of what was asked", failed.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<IOException>(() => _store.LineAsync("pacs-gw", patienceSeconds: 1));
        await _store.StartOwnerAsync();
    }

    [Fact]
    public async Task A_restored_log_is_another_log_and_the_process_begins_again()
    {
        var told = new TaskCompletionSource<string>();
        await using var line = await _store.LineAsync("pacs-gw", otherLog: told.SetResult);
        var log = new RemoteLog(line, new RemoteBlobs(line));
        await log.AppendAsync(Given.Entry("before"));
        var waiting = log.WaitForMoreAsync(log.LastPosition, Cancel);
        await _store.StopOwnerAsync();
        _store.MarkRestored();
        await _store.StartOwnerAsync();
        Assert.Contains("has to be started again", await told.Task.WaitAsync(Long, Cancel), StringComparison.Ordinal);
        await Assert.ThrowsAsync<IOException>(() => waiting);
        Assert.Throws<IOException>(() => log.Epoch);
    }

    [Fact]
    public async Task Nobody_comes_in_but_a_service_to_which_a_line_of_the_list_gives_the_log()
    {
        // Others whom the list lets in, with what they may; the machine's own operator, who may everything that people may; and nobody.
        var token = _store.Owner.Services.GetRequiredService<LocalOperator>().Token();
        var routes = ((IEndpointRouteBuilder)_store.Owner).DataSources.SelectMany(source => source.Endpoints).OfType<RouteEndpoint>()
            .Where(route => route.RoutePattern.RawText!.Contains("/log/shared", StringComparison.Ordinal)).ToArray();
        Assert.True(routes.Length >= 17, $"{routes.Length} routes");
        foreach (var route in routes)
        {
            var path = "fleet" + route.RoutePattern.RawText!["/fleet".Length..].Replace("{epoch:guid}", $"{Guid.Empty}", StringComparison.Ordinal)
                .Replace("{lane}", "1", StringComparison.Ordinal).Replace("{hash}", new string('0', 64), StringComparison.Ordinal)
                .Replace("{id}", "a", StringComparison.Ordinal).Replace("{site}", "a", StringComparison.Ordinal);
            var method = route.Metadata.GetRequiredMetadata<HttpMethodMetadata>().HttpMethods[0];
            foreach (var (service, with, expected) in new (string, string?, HttpStatusCode)[]
            {
                ("prometheus", null, HttpStatusCode.Unauthorized), ("console", null, HttpStatusCode.Forbidden), ("prometheus", token, HttpStatusCode.Forbidden),
                ("pacs-gw", token, HttpStatusCode.Forbidden), ("pacs-gw", "nonsense", HttpStatusCode.Unauthorized),
            })
            {
                using var http = new HttpClient(_store.Tls(service).Client("fleet")) { BaseAddress = _store.Address };
                using var request = new HttpRequestMessage(new HttpMethod(method), path) { Content = method == "GET" ? null : new StringContent("[]", new System.Net.Http.Headers.MediaTypeHeaderValue("application/json")) };
                request.Headers.Authorization = with is null ? null : new("Bearer", with);
                using var answer = await http.SendAsync(request, Cancel);
                Assert.True(expected == answer.StatusCode, $"{method} {path} answers {service} {(with is null ? "" : "with a token ")}with {answer.StatusCode}");
            }
        }
    }

    [Fact]
    public async Task Who_shares_the_log_can_append_and_read_and_not_say_what_was_delivered()
    {
        await _store.Log.AppendAsync(Given.Entry("one"));
        var refused = await Assert.ThrowsAsync<IOException>(async () => await _store.Log.MarkDeliveredAsync(Lane.Normal, 1, Cancel));
        Assert.Contains("as: log", refused.Message, StringComparison.Ordinal);
        Assert.Equal(0, Owned.Delivered(Lane.Normal));
        await Assert.ThrowsAsync<IOException>(async () => await _store.Log.ReleaseAsync(Lane.Normal, 0, Cancel));
        await Assert.ThrowsAsync<IOException>(async () => await _store.Blobs.ReleaseOrphansAsync(DateTimeOffset.MaxValue, Cancel));
    }

    [Fact]
    public async Task As_many_blobs_are_written_at_once_as_the_owner_allows_and_idle_ones_are_given_up()
    {
        await using var few = await RemoteStore.OpenAsync("few", "log", "--storage:sharedWriters=2", "--storage:sharedIdleSeconds=5");
        var bytes = Given.Bytes(1_500_000, "few");
        await using var one = few.Blobs.Begin(Lane.Bulk);
        await using var two = few.Blobs.Begin(Lane.Bulk);
        await one.WriteAsync(bytes, Cancel);
        await two.WriteAsync(bytes, Cancel);

        // The third waits until the owner has given up what nobody writes to.
        await few.AppendWithBlobAsync("third", bytes).WaitAsync(Long, Cancel);
        await Assert.ThrowsAsync<IOException>(async () => await one.CompleteAsync(Cancel));
        Assert.Equal(bytes, await few.Blobs.ReadAllAsync(Given.Ref(bytes).Hash));
    }

    [Fact]
    public async Task A_service_on_the_log_of_another_keeps_no_log_itself()
    {
        await using var node = Host("--node:siteId=" + StoreFixture.Site, "--storage:remoteUrl=" + _store.Address).Build();
        await node.StartAsync(Cancel);
        await node.Services.GetRequiredService<IEventLog>().AppendAsync(Given.Entry("of the other"));
        Assert.Equal("of the other", Assert.Single(await Owned.ReadAllAsync()).Entry.Id);
        Assert.False(Directory.Exists(Path.Combine(_store.In("other"), "log")));
        await node.StopAsync(Cancel);
    }

    [Fact]
    public async Task Settings_that_cannot_work_stop_the_start_with_their_reason()
    {
        await RefusedAsync("storage:remoteUrl is ''", "--node:siteId=" + StoreFixture.Site);
        await RefusedAsync("storage:remoteUrl is 'http://fleet'", "--node:siteId=" + StoreFixture.Site, "--storage:remoteUrl=http://fleet");
        await RefusedAsync("is of the site 'site-a'", "--node:siteId=elsewhere", "--storage:remoteUrl=" + _store.Address);
        await RefusedAsync("this node owns the log", owns: true, "--node:siteId=" + StoreFixture.Site, "--storage:remoteUrl=" + _store.Address);
        await LocalStore.Open("sqlite", folder: Path.Combine(_store.In("other"), "log")).DisposeAsync();
        await RefusedAsync("holds a log of the store 'sqlite'", "--node:siteId=" + StoreFixture.Site, "--storage:remoteUrl=" + _store.Address);
    }

    private async Task RefusedAsync(string why, params string[] settings) => await RefusedAsync(why, owns: false, settings);

    private async Task RefusedAsync(string why, bool owns, params string[] settings)
    {
        var refused = await Assert.ThrowsAsync<SettingException>(async () =>
        {
            await using var node = Host(settings).Also(owns).Build();
            await node.StartAsync(Cancel);
        });
        Assert.Contains(why, refused.Message, StringComparison.Ordinal);
    }

    private ServiceHost Host(params string[] settings) => new ServiceHost(
        [
            $"--node:dataFolder={_store.In("other")}", "--storage:store=remote", "--log:level=error", "--web:url=http://127.0.0.1:0", .. _store.TlsOf("pacs-gw"), .. settings,
        ]).Add<UserModule>();
}

file sealed class UserModule : IServiceModule
{
    public static string Name => "pacs-gw";

    public static void Register(IHostApplicationBuilder builder) => builder.AddEventLog();

    public static void Map(IEndpointRouteBuilder routes)
    {
    }
}

file sealed class OwningModule : IServiceModule
{
    public static string Name => "fleet";

    public static void Register(IHostApplicationBuilder builder) => builder.AddEventLog(owns: true);

    public static void Map(IEndpointRouteBuilder routes)
    {
    }
}

file static class Hosts
{
    public static ServiceHost Also(this ServiceHost host, bool owns) => owns ? host.Add<OwningModule>() : host;
}
