using System.Diagnostics;
using Yizhan.Storage;

namespace Yizhan.Station.Tests;

/// <summary>A whole site on a small file system of its own. Needs the right to mount.</summary>
public sealed class FullDiskTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("sqlite")]
    [InlineData("segments")]
    [Trait("Clause", "D4.6")]
    public async Task A_site_whose_disk_is_full_to_the_last_byte_drains_itself_and_loses_nothing(string store)
    {
        await using var nodes = await TwoNodes.StartAsync(
            edge: [$"--storage:store={store}", "--storage:freeFloorBytes=0", "--storage:keepDeliveredPercent=50", "--storage:segmentBytes=4194304", "--storage:balloonBytes=4194304", "--station:retentionSeconds=1"],
            centre: ["--storage:freeFloorBytes=0"]);
        await TwoNodes.StopAsync(nodes.Edge);
        var data = nodes.PathOf("edge");
        Directory.Delete(data, recursive: true);
        Directory.CreateDirectory(data);
        var mounted = OperatingSystem.IsLinux() && await RunAsync("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", data) == 0;
        await nodes.StartEdgeAsync();
        try
        {
            Assert.SkipUnless(mounted, "This user may not mount a tmpfs.");
            var accepted = new HashSet<string>();
            for (var round = 0; round < 3; round++)
            {
                await nodes.Listener.StopAsync(Cancel);
                var before = accepted.Count;
                await FillAsync(nodes, round, accepted);
                Assert.InRange(accepted.Count - before, 8, 64);

                // Somebody else takes what is left: not even a deletion has room now.
                await TakeTheRestAsync(Path.Combine(data, "foreign"));
                await nodes.Listener.StartAsync(Cancel);
                await nodes.DeliveredAsync();
                await Wait.UntilAsync(() => nodes.EdgeLog.Space is var space && space.UsedBytes <= space.CapacityBytes * 6 / 10);
                File.Delete(Path.Combine(data, "foreign"));
            }

            var arrived = (await nodes.ArrivedAsync()).Select(e => e.Entry.Id).ToList();
            Assert.Equal(accepted.Count, arrived.Count);
            Assert.Equal(accepted, arrived.ToHashSet());
        }
        finally
        {
            await TwoNodes.StopAsync(nodes.Edge);
            if (mounted)
            {
                Assert.Equal(0, await RunAsync("umount", data));
            }

            await nodes.StartEdgeAsync();
        }
    }

    private static async Task FillAsync(TwoNodes nodes, int round, HashSet<string> accepted)
    {
        try
        {
            for (var i = 0; i < 100; i++)
            {
                await nodes.AppendBlobAsync(Lane.Bulk, $"{round}.{i}", 900_000, (round * 100) + i);
                accepted.Add($"{round}.{i}");
            }
        }
        catch (SpoolFullException)
        {
        }
    }

    private static async Task TakeTheRestAsync(string path)
    {
        await using var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        for (var block = new byte[1024 * 1024]; block.Length >= 4096;)
        {
            try
            {
                await file.WriteAsync(block, Cancel);
            }
            catch (IOException)
            {
                block = new byte[block.Length / 2];
            }
        }
    }

    private static async Task<int> RunAsync(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
        await process.StandardError.ReadToEndAsync(CancellationToken.None);
        await process.WaitForExitAsync(CancellationToken.None);
        return process.ExitCode;
    }
}
