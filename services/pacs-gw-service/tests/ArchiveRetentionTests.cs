using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.PacsGw.Retention;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Tests;

/// <summary>The archive gives up what the centre has, and nothing else.</summary>
public sealed class ArchiveRetentionTests
{
    [Fact]
    public async Task Only_what_the_centre_confirmed_and_no_rule_pins_is_given_up_with_its_blob()
    {
        await using var rules = new RulesFile("rules: [{ name: teaching, when: { PatientID: TEACH }, pin: true }]");
        await using var gateway = await Gateway.StartAsync(rules.Setting);
        var retention = gateway.Services.GetServices<Microsoft.Extensions.Hosting.IHostedService>().OfType<ArchiveRetention>().Single();
        var blobs = gateway.Services.GetRequiredService<IBlobStore>();
        var first = new TestInstance("2.25.1", "2.25.11", "2.25.111");
        await gateway.SendAsync([
            first.ToSend(), new TestInstance("2.25.2", "2.25.21", "2.25.211") { PatientId = "TEACH" }.ToSend(), new TestInstance("2.25.3", "2.25.31", "2.25.311").ToSend()]);
        await gateway.IndexedAsync();

        // Nothing is confirmed; then the first two are.
        Assert.Equal(0, await retention.RunAsync(TimeSpan.Zero, 0, Gateway.Cancel));
        await gateway.Log.MarkDeliveredAsync(Lane.Bulk, 2, Gateway.Cancel);
        Assert.Equal(0, await retention.RunAsync(TimeSpan.FromDays(1), null, Gateway.Cancel));
        Assert.Equal(0, await retention.RunAsync(null, 1_000_000, Gateway.Cancel));
        Assert.Equal(1, await retention.RunAsync(TimeSpan.Zero, null, Gateway.Cancel));
        Assert.Equal(["2.25.2", "2.25.3"], (await gateway.QueryAsync("studies")).Select(s => (string)s!["0020000D"]!["Value"]![0]!).Order());

        // The log still names the blob; when that gives it up, too, it is gone, and the pinned one is not.
        var hash = ContentHash.Of(first.ToBytes());
        await using (var kept = await blobs.OpenAsync(hash, Gateway.Cancel))
        {
            Assert.NotNull(kept);
        }

        await gateway.Log.ReleaseAsync(Lane.Bulk, 2, Gateway.Cancel);
        Assert.Null(await blobs.OpenAsync(hash, Gateway.Cancel));
        await using var pinned = await blobs.OpenAsync(
            ContentHash.Of(new TestInstance("2.25.2", "2.25.21", "2.25.211") { PatientId = "TEACH" }.ToBytes()), Gateway.Cancel);
        Assert.NotNull(pinned);
        Assert.Single(await gateway.EntriesAsync(AuditRecord.EventType), e => (string?)e["eventId"] == "110105");

        // The third came over the room that there is, and is not confirmed: it stays. Once it is, it goes, too.
        Assert.Equal(0, await retention.RunAsync(null, 0, Gateway.Cancel));
        await gateway.Log.MarkDeliveredAsync(Lane.Bulk, 3, Gateway.Cancel);
        Assert.Equal(1, await retention.RunAsync(null, 0, Gateway.Cancel));
        Assert.Single(await gateway.QueryAsync("studies"));
    }

    [Fact]
    public async Task A_study_whose_copy_is_owed_stays()
    {
        await using var rules = new RulesFile($$"""
            destinations: { away: { aeTitle: AWAY, host: 127.0.0.1, port: {{FreePorts.Next()}} } }
            rules: [{ name: all, route: away }]
            """);
        await using var gateway = await Gateway.StartAsync(rules.Setting);
        var retention = gateway.Services.GetServices<Microsoft.Extensions.Hosting.IHostedService>().OfType<ArchiveRetention>().Single();
        await gateway.SendAsync(new TestInstance("2.25.1", "2.25.11", "2.25.111"));
        await gateway.IndexedAsync();
        await gateway.Log.MarkDeliveredAsync(Lane.Bulk, 1, Gateway.Cancel);
        var queue = gateway.Services.GetRequiredService<Yizhan.PacsGw.Rules.RouteQueue>();
        await Wait.UntilAsync(() => queue.Count("away").Waiting > 0);
        Assert.Equal(0, await retention.RunAsync(TimeSpan.Zero, 0, Gateway.Cancel));
        Assert.Single(await gateway.QueryAsync("studies"));
    }
}
