using System.Buffers.Binary;
using System.Security.Cryptography;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Platform.Certificates;
using Yizhan.Storage;

namespace Yizhan.Station.Tests;

/// <summary>What changes at a site while it has no line: its program, its certificate, the keys of its days. Real nodes, a real link.</summary>
public sealed class OutageChangesTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("segments")]
    [InlineData("sqlite")]
    [Trait("Clause", "D4.6")]
    public async Task An_upgrade_in_an_outage_and_its_rollback_lose_nothing(string store)
    {
        await using var nodes = await TwoNodes.StartAsync([$"--storage:store={store}"]);
        await nodes.AppendAsync(Lane.Normal, 5, "before/");
        await nodes.DeliveredAsync();
        await nodes.Listener.StopAsync(Cancel);
        await nodes.AppendAsync(Lane.Normal, 5, "in the outage/");
        var (blob, bytes) = await nodes.AppendBlobAsync(Lane.Bulk, "image", 300_000, seed: 11);
        var epoch = nodes.EdgeLog.Epoch;

        // An upgrade that keeps the formats, and back again: each a new process on the same folder.
        await RestartAsync(nodes);
        await nodes.AppendAsync(Lane.Normal, 5, "upgraded/");
        await RestartAsync(nodes);

        // An upgrade that writes a newer format: the version before it refuses the folder, says why and leaves everything as it is.
        await TwoNodes.StopAsync(nodes.Edge);
        var newer = Change(nodes.PathOf("edge", "log"), store, back: false);
        var refused = await Assert.ThrowsAsync<InvalidOperationException>(() => nodes.StartEdgeAsync());
        Assert.Contains("written by a newer version", refused.Message, StringComparison.Ordinal);
        Assert.Equal(newer, Content(nodes.PathOf("edge", "log")));
        Change(nodes.PathOf("edge", "log"), store, back: true);

        await nodes.StartEdgeAsync();
        await nodes.AppendAsync(Lane.Normal, 5, "forward again/");
        await nodes.Listener.StartAsync(Cancel);
        await nodes.DeliveredAsync();

        Assert.Equal(epoch, nodes.EdgeLog.Epoch);
        var arrived = await nodes.ArrivedAsync();
        Assert.Equal(
            Ids(Lane.Normal, "before/", "in the outage/", "upgraded/", "forward again/"),
            arrived.Where(e => e.Identity.Lane == Lane.Normal).Select(e => e.Entry.Id));
        Assert.Single(arrived, e => e.Entry.Id == "image");
        Assert.Equal(bytes, await nodes.CentreBytesAsync(blob));
    }

    [Fact]
    [Trait("Clause", "D4.6")]
    public async Task A_certificate_that_ends_in_an_outage_of_a_hundred_days_stops_the_line_and_not_the_site()
    {
        var then = new FakeTimeProvider(TimeProvider.System.GetUtcNow().AddDays(-100));
        var clock = new WrongClock();
        clock.Set(then.GetUtcNow().AddHours(1));
        await using var nodes = await TwoNodes.StartAsync(edge: ["--station:certificatePollSeconds=1"], installed: then, edgeClock: clock);
        await nodes.Listener.StopAsync(Cancel);
        await TwoNodes.StopAsync(nodes.Edge);
        using (var past = EmbeddedCa.Open(nodes.PathOf("centre", "fleet", "ca"), then))
        {
            past.IssueSite(TwoNodes.Site).WriteTo(nodes.PathOf("site.crt"), nodes.PathOf("site.key"));
        }

        // The certificate is good, there is no line.
        await nodes.StartEdgeAsync();
        var epoch = nodes.EdgeLog.Epoch;
        await nodes.AppendAsync(Lane.Urgent, 5, "valid/");
        var (first, firstBytes) = await nodes.AppendBlobAsync(Lane.Bulk, "under the first day's key", 300_000, seed: 13);

        // A hundred days later the certificate is over, and what is new is sealed with another day's key. The site accepts as ever.
        clock.Set(TimeProvider.System.GetUtcNow());
        Assert.True(nodes.Link.Files!.Certificate.NotAfter < TimeProvider.System.GetUtcNow());
        await nodes.AppendAsync(Lane.Urgent, 5, "expired/");
        var (second, secondBytes) = await nodes.AppendBlobAsync(Lane.Bulk, "under another day's key", 300_000, seed: 14);
        Assert.Equal(2, Directory.GetFiles(nodes.PathOf("edge", "log", "keys"), "*.key").Length);

        // The line is back, and the centre lets nobody in with what is over, however often the site tries.
        await nodes.Listener.StartAsync(Cancel);
        using (var link = new HttpLink(Options(nodes), TimeProvider.System))
        {
            await Assert.ThrowsAsync<LinkDownException>(() => link.MarksAsync(Guid.Empty, Cancel));
        }

        await nodes.AppendAsync(Lane.Urgent, 5, "turned away/");
        Assert.Empty(await nodes.ArrivedAsync());

        // Somebody brings a new certificate: the running site takes it up, and everything goes, once and in order.
        nodes.Ca.IssueSite(TwoNodes.Site).WriteTo(nodes.PathOf("site.crt"), nodes.PathOf("site.key"));
        await nodes.DeliveredAsync();
        Assert.Equal(epoch, nodes.EdgeLog.Epoch);
        Assert.Equal(
            Ids(Lane.Urgent, "valid/", "expired/", "turned away/"),
            (await nodes.ArrivedAsync()).Where(e => e.Identity.Lane == Lane.Urgent).Select(e => e.Entry.Id));
        Assert.Equal(firstBytes, await nodes.CentreBytesAsync(first));
        Assert.Equal(secondBytes, await nodes.CentreBytesAsync(second));
    }

    /// <summary>What five entries with each prefix are called.</summary>
    private static IEnumerable<string> Ids(Lane lane, params string[] prefixes) =>
        from prefix in prefixes from i in Enumerable.Range(1, 5) select $"{prefix}{lane}/{i}";

    private static StationOptions Options(TwoNodes nodes) => new()
    {
        CentreUrl = new Uri($"https://127.0.0.1:{nodes.Listener.EndPoint.Port}"),
        CertificatePath = nodes.PathOf("site.crt"),
        KeyPath = nodes.PathOf("site.key"),
        RootPath = nodes.Ca.RootFile,
    };

    private static async Task RestartAsync(TwoNodes nodes)
    {
        await TwoNodes.StopAsync(nodes.Edge);
        await nodes.StartEdgeAsync();
    }

    /// <summary>Makes the log one of a version that does not exist yet, or takes that back; returns what is in the folder then.</summary>
    private static Dictionary<string, string> Change(string folder, string store, bool back)
    {
        if (store == "sqlite")
        {
            using var db = new SqliteConnection($"Data Source={Path.Combine(folder, "log.db")};Pooling=False");
            db.Open();
            using var version = new SqliteCommand("PRAGMA user_version", db);
            var now = Convert.ToInt64(version.ExecuteScalar(), System.Globalization.CultureInfo.InvariantCulture);
            using var change = new SqliteCommand($"PRAGMA user_version = {(back ? now - 100 : now + 100)}", db);
            change.ExecuteNonQuery();
        }
        else
        {
            // 4 format u32, 24 crc of the 24 bytes before it: the same in every format.
            using var file = File.Open(Directory.GetFiles(Path.Combine(folder, "segments"), "*.seg").Order().Last(), FileMode.Open, FileAccess.ReadWrite);
            var header = new byte[24];
            file.ReadExactly(header);
            BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(4), BinaryPrimitives.ReadInt32LittleEndian(header.AsSpan(4)) + (back ? -100 : 100));
            var crc = new byte[4];
            BinaryPrimitives.WriteUInt32LittleEndian(crc, header.Aggregate(0xFFFF_FFFFu, System.Numerics.BitOperations.Crc32C) ^ 0xFFFF_FFFFu);
            file.Position = 0;
            file.Write([.. header, .. crc]);
        }

        return Content(folder);
    }

    /// <summary>Files that hold something, and the hash of each.</summary>
    private static Dictionary<string, string> Content(string folder) => Directory.GetFiles(folder, "*", SearchOption.AllDirectories)
        .Where(path => Path.GetExtension(path) is ".seg" or ".digest" or ".key" or ".db")
        .ToDictionary(path => Path.GetRelativePath(folder, path), path => Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(path))));
}
