using Yizhan.Storage.Tests.Contract;
using Yizhan.Storage.Tests.Crash;

namespace Yizhan.Storage.Tests;

/// <summary>A real file system of 48 MiB that fills up. Needs the right to mount.</summary>
public sealed class SmallFileSystemTests : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-small-").FullName;
    private bool _mounted;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        if (_mounted)
        {
            await LoopDisk.RunAsync("umount", _folder);
        }

        Directory.Delete(_folder);
    }

    [Theory]
    [InlineData("sqlite", 0)]
    [InlineData("sqlite", 8)]
    [InlineData("segments", 0)]
    [InlineData("segments", 8)]
    public async Task A_full_file_system_loses_nothing_and_drains_by_itself(string kind, int floorMiB)
    {
        _mounted = OperatingSystem.IsLinux() && await LoopDisk.RunAsync("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", _folder) == 0;
        Assert.SkipUnless(_mounted, "This user may not mount a tmpfs.");

        await using var store = LocalStore.Open(kind, folder: _folder);
        store.Options.FreeFloorBytes = floorMiB * 1024L * 1024;
        for (var round = 0; round < 3; round++)
        {
            var accepted = await FillAsync(store, $"r{round}.");
            Assert.InRange(accepted.Count, 15, 48);
            foreach (var blob in accepted)
            {
                Assert.NotNull(await store.Blobs.ReadAllAsync(blob));
            }

            if (floorMiB > 0)
            {
                // Bulk stopped at the floor; urgent entries go on below it.
                await store.Log.AppendAsync(Given.Entry($"urgent{round}", Lane.Urgent));
            }

            await store.ReopenAsync();
            var last = (await store.Log.ReadLaneAsync(Lane.Bulk, store.Log.Delivered(Lane.Bulk), 1000, long.MaxValue, Cancel))[^1].Identity.Sequence;
            await store.Log.MarkDeliveredAsync(Lane.Bulk, last, Cancel);
            await store.Log.ReleaseAsync(Lane.Bulk, last, Cancel);
        }

        Assert.Null(store.Spool.Fault);
    }

    private static async Task<List<ContentHash>> FillAsync(LocalStore store, string prefix)
    {
        var accepted = new List<ContentHash>();
        try
        {
            for (var i = 0; i < 100; i++)
            {
                var bytes = Given.Bytes(900_000, prefix + i);
                await store.AppendWithBlobAsync(prefix + i, bytes);
                accepted.Add(Given.Ref(bytes).Hash);
            }
        }
        catch (SpoolFullException)
        {
        }

        return accepted;
    }
}
