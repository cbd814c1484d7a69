using System.Diagnostics;
using System.Globalization;
using Microsoft.Extensions.Logging.Abstractions;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests.Crash;

/// <summary>
/// The process that is killed: it appends from several producers, transfers, receives, delivers and releases as fast as it can, and prints a line for each
/// acknowledgement it got. Arguments: store, folder, name of this run, and a point with a count: it kills itself when it passes there that often.
/// </summary>
internal static class CrashChild
{
    public const string Argument = "crash-child";

    private static readonly Lock Output = new();

    public static async Task<int> RunAsync(string[] arguments)
    {
        var (kind, folder, run, point) = (arguments[0], arguments[1], arguments[2], new KillPoint(arguments[3], int.Parse(arguments[4], CultureInfo.InvariantCulture)));
        var options = new StorageOptions { Store = kind, SegmentBytes = 4 * 1024 * 1024, FreeFloorBytes = 0, QuotaBytes = 256 * 1024 * 1024, SiteKeyFile = Path.Combine(folder, "site.key") };
        await using var spool = Spool.Open(folder, StoreFixture.Site, options, new KillingDisk(new RealDisk(), point), TimeProvider.System, NullLogger.Instance,
            journal => new KillingJournal(journal, point));
        Say($"ready {Environment.ProcessId}");
        var started = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, 6).Select(i => Task.Run(async () =>
        {
            for (var n = 0; Stopwatch.GetElapsedTime(started) < TimeSpan.FromMinutes(5); n++)
            {
                await (i switch
                {
                    < 3 => AppendBlob(spool, $"{run}.{i}.{n}", 1000 + (n * 7919 % 400_000)),
                    3 => AppendSome(spool, $"{run}.{i}.{n}"),
                    4 => Transfer(spool, $"{run}.{i}.{n}"),
                    _ => Deliver(spool),
                });
            }
        })));
        return 0;
    }

    private static async Task AppendBlob(Spool spool, string id, int length)
    {
        var bytes = Given.Bytes(length, id);
        await using var writer = spool.Blobs.Begin(Lane.Bulk);
        await writer.WriteAsync(bytes, default);
        var blob = await writer.CompleteAsync(default);
        Say(id, length, (await spool.Log.AppendAsync([Given.Entry(id, Lane.Bulk, 50, blob)], default))[0]);
    }

    private static async Task AppendSome(Spool spool, string id)
    {
        var receipts = await spool.Log.AppendAsync([Given.Entry(id + "a", Lane.Urgent), Given.Entry(id + "b", Lane.Normal), Given.Entry(id + "c", Lane.Urgent)], default);
        foreach (var (part, receipt) in "abc".Zip(receipts))
        {
            Say(id + part, 0, receipt);
        }
    }

    private static async Task Transfer(Spool spool, string id)
    {
        var bytes = Given.Bytes((3 * IBlobStore.ChunkBytes) + 5, id);
        for (var at = 0; at < bytes.Length; at += IBlobStore.ChunkBytes)
        {
            await spool.Blobs.PutAsync(Given.Ref(bytes), at, bytes.AsMemory(at, Math.Min(IBlobStore.ChunkBytes, bytes.Length - at)), default);
            Say($"chunk {id} {at}");
        }

        Say(id, bytes.Length, (await spool.Log.AppendAsync([Given.Entry(id, Lane.Normal, 50, Given.Ref(bytes))], default))[0]);
    }

    private static async Task Deliver(Spool spool)
    {
        await Task.Delay(20, CancellationToken.None);
        if (await spool.Log.ReadLaneAsync(Lane.Bulk, spool.Log.Delivered(Lane.Bulk), 5, long.MaxValue, default) is [.., var last])
        {
            var through = last.Identity.Sequence;
            await spool.Log.MarkDeliveredAsync(Lane.Bulk, through, default);
            Say($"delivered {through}");

            // Said before: what may be gone, rather than what is gone.
            Say($"released {through - 3}");
            await spool.Log.ReleaseAsync(Lane.Bulk, through - 3, default);
        }
    }

    private static void Say(string id, int length, Receipt receipt) => Say($"entry {id} {length} {receipt.Identity.Lane} {receipt.Identity.Sequence}");

    private static void Say(string line)
    {
        lock (Output)
        {
            Console.Out.WriteLine(line);
            Console.Out.Flush();
        }
    }
}
