using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Simulation;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests.Crash;

/// <summary>
/// The power goes at every operation on the blobs' disk while SQLite, which is trusted, keeps each transaction that it has committed: the worst order for us.
/// </summary>
public sealed class SqlitePowerCutTests : IDisposable
{
    private const string Segments = "/simulated";

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-cut-").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(PowerCut.LosesAll)]
    [InlineData(PowerCut.KeepsSome)]
    public async Task Every_row_has_its_blob_whenever_the_power_goes(PowerCut cut)
    {
        var last = 1;
        for (var at = 1; at <= last; at++)
        {
            var disk = new SimulatedDisk { CrashAt = at };
            var acknowledged = 0;
            var released = 0;
            var path = Path.Combine(_folder, $"{at}.db");
            try
            {
                await using var spool = Open(disk, path);
                for (var i = 0; i < 12; i++)
                {
                    await using var writer = spool.Blobs.Begin(Lane.Bulk);
                    await writer.WriteAsync(Given.Bytes(70_000 + i, $"b{i}"), Cancel);
                    await spool.Log.AppendAsync([Given.Entry($"b{i}", Lane.Bulk, 60, await writer.CompleteAsync(Cancel))], Cancel);
                    acknowledged = i + 1;
                    if (i % 4 == 3)
                    {
                        await spool.Log.MarkDeliveredAsync(Lane.Bulk, i - 1, Cancel);
                        released = i - 2;
                        await spool.Log.ReleaseAsync(Lane.Bulk, released, Cancel);
                    }
                }

                // It came to its end: that was the last operation to cut at.
                last = 0;
            }
            catch (IOException)
            {
                last = at + 1;
            }

            await using var again = Open(disk.AfterPowerCut(cut, at), path);
            var all = await again.Log.ReadAllAsync();
            var kept = all.Select(e => e.Entry.Id).ToHashSet();
            Assert.All(Enumerable.Range(released, acknowledged - released), i => Assert.Contains($"b{i}", kept));
            foreach (var blob in all.SelectMany(e => e.Entry.Blobs))
            {
                Assert.Equal(blob, Given.Ref((await again.Blobs.ReadAllAsync(blob.Hash))!));
            }
        }

        Assert.Equal(0, last);
    }

    private static Spool Open(SimulatedDisk disk, string path)
    {
        var segments = new SegmentFiles(disk, Segments, segmentBytes: 320 * 1024, LocalStore.Keys(disk, Segments, new FakeTimeProvider()));
        var journal = new SqliteJournal(path, StoreFixture.Site, newEpoch: false, segments);
        return new Spool(new MemoryStream(), segments, journal, new StorageOptions { FreeFloorBytes = 0 }, () => 1L << 40, new FakeTimeProvider(), NullLogger.Instance);
    }
}
