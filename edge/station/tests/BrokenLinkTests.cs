using System.Text;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Contracts;
using Yizhan.Fleet;
using Yizhan.Link;
using Yizhan.Platform.Certificates;
using Yizhan.Storage;

namespace Yizhan.Station.Tests;

/// <summary>What goes wrong on a real link, over real sockets.</summary>
public sealed class BrokenLinkTests
{
    private static readonly CancellationToken Cut = new(canceled: true);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_listener_that_is_cut_again_and_again_loses_and_doubles_nothing()
    {
        await using var nodes = await TwoNodes.StartAsync();
        for (var round = 0; round < 8; round++)
        {
            foreach (var lane in Enum.GetValues<Lane>())
            {
                await nodes.AppendAsync(lane, 50, $"{round}/");
            }

            await nodes.AppendBlobAsync(Lane.Bulk, $"blob/{round}", 700_000, round);
            var port = nodes.Listener.EndPoint.Port;
            await nodes.Listener.StopAsync(Cut);
            await nodes.AppendAsync(Lane.Urgent, 5, $"down/{round}/");
            await nodes.Listener.StartAsync(Cancel);
            Assert.Equal(port, nodes.Listener.EndPoint.Port);
        }

        await nodes.DeliveredAsync();
        AssertAll(await nodes.ArrivedAsync(), (8 * 50 * 4) + 8 + (8 * 5));
    }

    [Fact]
    public async Task A_centre_that_restarts_goes_on_where_it_was()
    {
        await using var nodes = await TwoNodes.StartAsync();
        await nodes.EdgeLog.AppendAsync([new Entry(Lane.Normal, "t.v1", "long", "", 0, Noise(500_000))], Cancel);
        await nodes.AppendAsync(Lane.Normal, 99);
        await nodes.DeliveredAsync();
        var sent = nodes.Link.View().BytesSent;
        Assert.InRange(sent, 250_000, 1_000_000);
        var port = nodes.Listener.EndPoint.Port;
        await TwoNodes.StopAsync(nodes.Centre);
        await nodes.AppendAsync(Lane.Normal, 100, "later/");
        await nodes.StartCentreAsync(port);
        await nodes.DeliveredAsync();

        AssertAll(await nodes.ArrivedAsync(), 200);
        Assert.InRange(nodes.Link.View().BytesSent - sent, 1, 100_000);
    }

    [Fact]
    public async Task A_blob_that_is_cut_in_the_middle_is_resumed_and_no_byte_that_arrived_is_sent_again()
    {
        await using var nodes = await TwoNodes.StartAsync();
        const int Length = 64 * 1024 * 1024;
        BlobRef blob;
        byte[] bytes;
        long missing;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        limit.CancelAfter(TimeSpan.FromMinutes(5));
        for (var attempt = 1; ; attempt++)
        {
            (blob, bytes) = await nodes.AppendBlobAsync(Lane.Bulk, $"large/{attempt}", Length, seed: attempt);
            do
            {
                // Without a pause: the transfer must not be over before it is seen.
                Assert.False(limit.IsCancellationRequested, "Nothing of the blob has come within five minutes.");
                missing = (await nodes.CentreBlobs.MissingAsync(blob, Cancel)).Sum(r => r.Length);
            }
            while (missing == Length);

            await nodes.Listener.StopAsync(Cut);

            // Another process on the same folder: nothing that was in memory helps.
            await TwoNodes.StopAsync(nodes.Edge);
            missing = (await nodes.CentreBlobs.MissingAsync(blob, Cancel)).Sum(r => r.Length);
            if (missing > 0)
            {
                break;
            }

            // This thread had to wait for its turn, and all was there when it came.
            await nodes.Listener.StartAsync(Cancel);
            await nodes.StartEdgeAsync();
            await nodes.DeliveredAsync();
        }

        Assert.InRange(missing, 1, Length - 1);
        await nodes.Listener.StartAsync(Cancel);
        await nodes.StartEdgeAsync();
        await nodes.DeliveredAsync();

        Assert.Equal(bytes, await nodes.CentreBytesAsync(blob));
        Assert.InRange(nodes.Link.View().BytesSent, 1, missing + 16_384);
    }

    [Fact]
    public async Task A_certificate_of_another_authority_is_turned_away_in_the_handshake()
    {
        await using var nodes = await TwoNodes.StartAsync();
        using var other = EmbeddedCa.Open(nodes.PathOf("other-ca"), TimeProvider.System);
        await RefusedAsync(nodes, other.IssueSite(TwoNodes.Site));
    }

    [Fact]
    public async Task An_expired_certificate_is_turned_away_in_the_handshake()
    {
        var past = new FakeTimeProvider(TimeProvider.System.GetUtcNow().AddDays(-EmbeddedCa.LeafDays - 1));
        await using var nodes = await TwoNodes.StartAsync(installed: past);
        using var then = EmbeddedCa.Open(Path.GetDirectoryName(nodes.Ca.RootFile)!, past);
        await RefusedAsync(nodes, then.IssueSite(TwoNodes.Site));
    }

    [Fact]
    public async Task A_server_certificate_does_not_make_a_site()
    {
        await using var nodes = await TwoNodes.StartAsync();
        await RefusedAsync(nodes, nodes.Ca.IssueServer("127.0.0.1"));
    }

    [Fact]
    public async Task A_centre_of_another_authority_gets_nothing()
    {
        await using var nodes = await TwoNodes.StartAsync();
        using var other = EmbeddedCa.Open(nodes.PathOf("other-ca"), TimeProvider.System);
        using var link = Link(nodes, nodes.Ca.IssueSite(TwoNodes.Site), other.RootFile);
        var e = await Assert.ThrowsAsync<LinkDownException>(() => link.MarksAsync(Guid.Empty, Cancel));
        Assert.Contains("UnknownIssuer", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_body_that_claims_another_site_is_refused_with_403()
    {
        await using var nodes = await TwoNodes.StartAsync();
        using var link = Link(nodes, nodes.Ca.IssueSite("hillside"), nodes.Ca.RootFile);
        var entry = new BatchEntry(0, "t.v1", "id", "", null, [], "{}"u8.ToArray());
        var entries = await Assert.ThrowsAsync<LinkRefusedException>(
            () => link.SendAsync(new EntryBatch(TwoNodes.Site, nodes.EdgeLog.Epoch, 0, 1, [entry]), Cancel));
        var status = await Assert.ThrowsAsync<LinkRefusedException>(
            () => link.ReportAsync(new SiteStatus(TwoNodes.Site, Guid.Empty, "1", 0, []), Cancel));
        Assert.Equal((403, 403), (entries.Problem.Status, status.Problem.Status));
        Assert.Empty(await nodes.ArrivedAsync());
    }

    [Fact]
    public async Task A_batch_after_a_gap_is_refused_with_the_mark_and_a_repeated_one_changes_nothing()
    {
        await using var nodes = await TwoNodes.StartAsync();
        using var link = Link(nodes, nodes.Ca.IssueSite("hillside"), nodes.Ca.RootFile);
        var epoch = Guid.Parse("11111111-2222-3333-4444-555555555555");
        EntryBatch Batch(long first, int count) => new("hillside", epoch, 1, first,
            [.. Enumerable.Range(0, count).Select(i => new BatchEntry(0, "t.v1", $"id/{first + i}", "", null, [], "{}"u8.ToArray()))]);

        Assert.Equal(3, await link.SendAsync(Batch(1, 3), Cancel));
        Assert.Equal(3, await link.SendAsync(Batch(1, 3), Cancel));
        Assert.Equal(4, await link.SendAsync(Batch(2, 3), Cancel));
        var gap = await Assert.ThrowsAsync<LinkRefusedException>(() => link.SendAsync(Batch(6, 2), Cancel));
        Assert.Equal((409, 4L), (gap.Problem.Status, gap.Problem.Mark));
        Assert.Equal([0, 4, 0, 0], (await link.MarksAsync(epoch, Cancel)).Marks);
        Assert.Equal(4, (await nodes.ArrivedAsync()).Count);
    }

    [Fact]
    public async Task A_full_centre_says_507_the_lane_waits_and_urgent_entries_pass()
    {
        // The reserve of the urgent lane is what the centre keeps beyond the bulk share of this small quota.
        await using var nodes = await TwoNodes.StartAsync(centre: ["--storage:quotaBytes=33554432", "--storage:bulkPercent=50", "--storage:freeFloorBytes=0", "--fleet:retryAfterSeconds=1"]);
        for (var i = 0; i < 40; i++)
        {
            await nodes.AppendBlobAsync(Lane.Bulk, $"image/{i}", 1_000_000, i);
        }

        await Wait.UntilAsync(() => nodes.Link.View().Lanes[(int)Lane.Bulk].Error?.Contains("507", StringComparison.Ordinal) == true);
        Assert.NotEqual(0, nodes.EdgeLog.Usage(Lane.Bulk).Entries);
        var port = nodes.Listener.EndPoint.Port;
        await TwoNodes.StopAsync(nodes.Centre);
        await nodes.StartCentreAsync(port, "--storage:freeFloorBytes=0");
        await nodes.DeliveredAsync();
        AssertAll(await nodes.ArrivedAsync(), 40);
    }

    [Fact]
    public async Task An_entry_that_the_centre_refuses_for_ever_is_quarantined_and_a_tombstone_takes_its_place()
    {
        await using var nodes = await TwoNodes.StartAsync();
        await nodes.AppendAsync(Lane.Normal, 3);
        await nodes.EdgeLog.AppendAsync([new Entry(Lane.Normal, "test.v1", "poison", "study", 0, Encoding.UTF8.GetBytes("not json"))], Cancel);
        await nodes.AppendAsync(Lane.Normal, 3, "after/");
        await nodes.DeliveredAsync();

        var arrived = await nodes.ArrivedAsync();
        AssertAll(arrived, 7);
        Assert.Equal((LinkTombstone.EventType, "study"), (arrived[3].Entry.Type, arrived[3].Entry.Key));
        Assert.Contains("\"id\":\"poison\"", Encoding.UTF8.GetString(arrived[3].Entry.Data.Span), StringComparison.Ordinal);
        var kept = Assert.Single(nodes.Link.View().Quarantine);
        Assert.Equal(("Normal", 4L, "poison"), (kept.Lane, kept.Sequence, kept.Id));
        Assert.Contains("JSON", kept.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_centre_sees_the_site_its_spool_and_when_it_falls_silent()
    {
        await using var nodes = await TwoNodes.StartAsync(edge: ["--station:heartbeatSeconds=1"], centre: ["--fleet:onlineSeconds=2"]);
        var registry = nodes.Centre.Services.GetRequiredService<SiteRegistry>();
        await Wait.UntilAsync(() => registry.Sites() is [{ Online: true }]);
        Assert.Equal((TwoNodes.Site, nodes.EdgeLog.Epoch), (registry.Sites()[0].Status.SiteId, registry.Sites()[0].Status.Epoch));
        Assert.Equal(["urgent", "normal", "bulk", "telemetry"], registry.Sites()[0].Status.Lanes.Select(l => l.Lane));
        await nodes.Listener.StopAsync(Cut);
        await Wait.UntilAsync(() => registry.Sites() is [{ Online: false }]);
    }

    /// <summary>A JSON string that does not compress well.</summary>
    private static byte[] Noise(int length)
    {
        var bytes = new byte[length / 2];
        new Random(1).NextBytes(bytes);
        return Encoding.UTF8.GetBytes($"\"{Convert.ToHexString(bytes)}\"");
    }

    private static async Task RefusedAsync(TwoNodes nodes, IssuedCertificate certificate)
    {
        using var link = Link(nodes, certificate, nodes.Ca.RootFile);
        await Assert.ThrowsAsync<LinkDownException>(() => link.MarksAsync(Guid.Empty, Cancel));

        // The same call with the right certificate works, so it was the certificate.
        using var right = Link(nodes, nodes.Ca.IssueSite(TwoNodes.Site), nodes.Ca.RootFile);
        Assert.Equal([0, 0, 0, 0], (await right.MarksAsync(Guid.Empty, Cancel)).Marks);
    }

    private static HttpLink Link(TwoNodes nodes, IssuedCertificate certificate, string rootFile)
    {
        var (cert, key) = (nodes.PathOf("test.crt"), nodes.PathOf("test.key"));
        certificate.WriteTo(cert, key);
        return new HttpLink(
            new StationOptions
            {
                CentreUrl = new Uri($"https://127.0.0.1:{nodes.Listener.EndPoint.Port}"),
                CertificatePath = cert,
                KeyPath = key,
                RootPath = rootFile,
            },
            TimeProvider.System);
    }

    /// <summary>Nothing is missing, nothing is there twice, and each lane is in order.</summary>
    private static void AssertAll(List<LoggedEntry> arrived, int expected)
    {
        Assert.Equal(expected, arrived.Count);
        Assert.Equal(expected, arrived.DistinctBy(e => e.Entry.Id).Count());
        foreach (var lane in arrived.GroupBy(e => e.Identity.Lane))
        {
            Assert.Equal(Enumerable.Range(1, lane.Count()).Select(i => (long)i), lane.Select(e => e.Identity.Sequence));
        }
    }
}
