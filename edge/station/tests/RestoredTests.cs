using Microsoft.Extensions.DependencyInjection;
using Yizhan.Storage;

namespace Yizhan.Station.Tests;

/// <summary>One end was restored from a backup, wiped, or copied back by hand. Real nodes, a real link between them.</summary>
public sealed class RestoredTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Clause", "D4.6")]
    public async Task A_centre_that_is_restored_from_an_older_backup_gets_the_rest_again_from_its_sites()
    {
        await using var nodes = await TwoNodes.StartAsync(
            edge: ["--storage:keepDeliveredHours=0", "--station:retentionSeconds=1"], centre: [.. Backups(out var backups), "--fleet:safePoint=backup"]);
        await nodes.AppendAsync(Lane.Normal, 20);
        await nodes.AppendBlobAsync(Lane.Bulk, "before", 300_000, 1);
        await nodes.DeliveredAsync();
        await Maintenance(nodes.Centre).BackupAsync(null, Cancel);

        await nodes.AppendAsync(Lane.Normal, 30, "after/");
        var (blob, bytes) = await nodes.AppendBlobAsync(Lane.Bulk, "after", 300_000, 2);
        await nodes.DeliveredAsync();

        // The site hears what the backup covers, gives up that, and keeps the rest although it is confirmed.
        await Wait.UntilAsync(() => nodes.EdgeLog.Released(Lane.Normal) >= 20 && nodes.EdgeLog.Released(Lane.Bulk) >= 1);

        await nodes.Edge.Services.GetRequiredService<Retention>().RunOnceAsync(Cancel);
        Assert.Equal((20, 1), (nodes.EdgeLog.Released(Lane.Normal), nodes.EdgeLog.Released(Lane.Bulk)));

        var port = nodes.Listener.EndPoint.Port;
        await TwoNodes.StopAsync(nodes.Centre);
        Directory.Delete(nodes.PathOf("centre"), recursive: true);
        Restore.Run(backups, nodes.PathOf("centre"));
        await nodes.StartCentreAsync(port);

        var arrived = await UntilArrivedAsync(nodes, 52);
        Assert.Equal(52, arrived.DistinctBy(e => e.Entry.Id).Count());
        Assert.Equal(Enumerable.Range(1, 50).Select(i => (long)i), arrived.Where(e => e.Identity.Lane == Lane.Normal).Select(e => e.Identity.Sequence));
        Assert.Equal(bytes, await nodes.CentreBytesAsync(blob));
        Directory.Delete(backups, recursive: true);
    }

    [Fact]
    [Trait("Clause", "D4.6")]
    public async Task A_site_that_is_restored_from_an_older_backup_begins_a_new_epoch_and_uses_no_sequence_twice()
    {
        await using var nodes = await TwoNodes.StartAsync(edge: Backups(out var backups));
        await nodes.AppendAsync(Lane.Normal, 20);
        await nodes.DeliveredAsync();
        await Maintenance(nodes.Edge).BackupAsync(null, Cancel);
        await nodes.AppendAsync(Lane.Normal, 10, "lost at the site/");
        await nodes.DeliveredAsync();
        var epoch = nodes.EdgeLog.Epoch;

        await TwoNodes.StopAsync(nodes.Edge);
        Directory.Delete(nodes.PathOf("edge"), recursive: true);
        Restore.Run(backups, nodes.PathOf("edge"));
        await nodes.StartEdgeAsync();
        Assert.NotEqual(epoch, nodes.EdgeLog.Epoch);
        await nodes.AppendAsync(Lane.Normal, 10, "new/");
        await nodes.DeliveredAsync();

        var arrived = await nodes.ArrivedAsync();
        Assert.Equal(40, arrived.Count);
        Assert.Equal(40, arrived.DistinctBy(e => e.Entry.Id).Count());
        Assert.Equal(40, arrived.DistinctBy(e => e.Identity).Count());
        Directory.Delete(backups, recursive: true);
    }

    [Fact]
    public async Task A_site_that_was_wiped_begins_a_new_epoch()
    {
        await using var nodes = await TwoNodes.StartAsync();
        await nodes.AppendAsync(Lane.Normal, 5);
        await nodes.DeliveredAsync();
        await TwoNodes.StopAsync(nodes.Edge);
        Directory.Delete(nodes.PathOf("edge"), recursive: true);
        await nodes.StartEdgeAsync();
        await nodes.AppendAsync(Lane.Normal, 5, "new/");
        await nodes.DeliveredAsync();
        var arrived = await nodes.ArrivedAsync();
        Assert.Equal(10, arrived.Count);
        Assert.Equal(2, arrived.DistinctBy(e => e.Identity.Epoch).Count());
    }

    /// <param name="appended">Entries that the copied log accepts before it meets the centre: fewer and more than it had lost.</param>
    [Theory]
    [InlineData(5)]
    [InlineData(15)]
    [Trait("Clause", "D4.6")]
    public async Task A_site_that_was_copied_back_by_hand_is_stopped_and_the_way_out_loses_nothing(int appended)
    {
        await using var nodes = await TwoNodes.StartAsync();
        await nodes.AppendAsync(Lane.Normal, 10);
        await nodes.DeliveredAsync();
        await TwoNodes.StopAsync(nodes.Edge);
        Copy(nodes.PathOf("edge"), nodes.PathOf("copy"));
        await nodes.StartEdgeAsync();
        await nodes.AppendAsync(Lane.Normal, 10, "lost at the site/");
        await nodes.DeliveredAsync();

        await TwoNodes.StopAsync(nodes.Edge);
        await nodes.Listener.StopAsync(Cancel);
        Directory.Delete(nodes.PathOf("edge"), recursive: true);
        Directory.Move(nodes.PathOf("copy"), nodes.PathOf("edge"));
        await nodes.StartEdgeAsync();
        await nodes.AppendAsync(Lane.Normal, appended, "new/");
        await nodes.Listener.StartAsync(Cancel);
        string? error = null;
        await Wait.UntilAsync(() => (error = nodes.Link.View().Lanes[(int)Lane.Normal].Error) is not null);
        Assert.Contains("yizhan spool new-epoch", error, StringComparison.Ordinal);
        Assert.Equal(20, (await nodes.ArrivedAsync()).Count);

        Maintenance(nodes.Edge).BeginNewEpochAtNextStart();
        await TwoNodes.StopAsync(nodes.Edge);
        await nodes.StartEdgeAsync();
        await nodes.DeliveredAsync();
        var arrived = await nodes.ArrivedAsync();
        Assert.Equal(20 + appended, arrived.Count);
        Assert.Equal(20 + appended, arrived.DistinctBy(e => e.Entry.Id).Count());
    }

    private static LogMaintenance Maintenance(Microsoft.AspNetCore.Builder.WebApplication node) => node.Services.GetRequiredService<LogMaintenance>();

    private static string[] Backups(out string folder)
    {
        folder = Directory.CreateTempSubdirectory("yizhan-backups-").FullName;
        return [$"--storage:backupFolder={folder}"];
    }

    private static async Task<List<LoggedEntry>> UntilArrivedAsync(TwoNodes nodes, int count)
    {
        List<LoggedEntry> arrived = [];
        await Wait.UntilAsync(async () => (arrived = await nodes.ArrivedAsync()).Count >= count);
        return arrived;
    }

    private static void Copy(string from, string to)
    {
        foreach (var file in Directory.EnumerateFiles(from, "*", SearchOption.AllDirectories))
        {
            var target = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target);
        }
    }
}
