using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using Yizhan.Storage;

namespace Yizhan.Bench;

/// <summary>What an item costs when millions wait already, and how soon a spool of that size accepts after a restart.</summary>
internal static partial class SpoolBenchQueue
{
    private const int Producers = 8;
    private const int ItemsPerCall = 32;
    private const int ItemBytes = 256;
    private const int Windows = 20;

    /// <summary>A spool that is not ready by then is one that a technician restarts again (gate G8).</summary>
    private const double AllowedStartSeconds = 5;

    /// <param name="store">Which of our stores.</param>
    /// <param name="folder">For its data; emptied.</param>
    /// <param name="items">How many items to queue; 0 for as many as fit into the time.</param>
    /// <param name="time">Time for queueing when there is no number.</param>
    /// <param name="say">Told of progress.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public static async Task<BenchRow[]> MeasureAsync(
        string store, string folder, long items, TimeSpan time, Action<string> say, CancellationToken cancellationToken)
    {
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }

        Directory.CreateDirectory(folder);
        long queued;
        double[] costs;
        await using (var spool = new OwnSystem(store))
        {
            await spool.StartAsync(folder, Producers, ItemBytes, cancellationToken);
            (queued, costs) = await FillAsync(spool.Log, items, time, say, cancellationToken);
        }

        ForgetCached(folder);
        var (from, used) = (Stopwatch.GetTimestamp(), Environment.CpuUsage.TotalTime);
        await using var again = new OwnSystem(store);
        await again.StartAsync(folder, Producers, ItemBytes, cancellationToken);
        await again.PutAsync(0, new byte[ItemBytes], cancellationToken);
        var start = Stopwatch.GetElapsedTime(from).TotalSeconds;
        var busy = (Environment.CpuUsage.TotalTime - used).TotalSeconds;
        say(string.Create(CultureInfo.InvariantCulture, $"  accepting {start:0.00} s ({busy:0.00} s of processor time) after a restart with {queued:#,0} queued"));
        var waiting = again.Log.Usage(Lane.Normal).Entries;
        await again.DisposeAsync();
        Directory.Delete(folder, recursive: true);
        if (waiting != queued + 1)
        {
            throw new InvalidOperationException($"{queued + 1} items were acknowledged and {waiting} are queued.");
        }

        var size = string.Create(CultureInfo.InvariantCulture, $"{queued / 1e6:0.0} million queued, {store}");

        // The first windows warm up; a quarter of the windows at either end is long enough to be no accident.
        return
        [
            BenchRow.Less($"empty spool, cost of an item with {size}", BenchTable.Median(costs[^(Windows / 4)..]), BenchTable.Median(costs[1..(1 + (Windows / 4))]), "us"),
            BenchRow.Less($"the 5 s that are allowed, accepting after a restart with {size}", start, AllowedStartSeconds, "s"),
        ];
    }

    private static async Task<(long Items, double[] CostsUs)> FillAsync(
        IEventLog log, long items, TimeSpan time, Action<string> say, CancellationToken cancellationToken)
    {
        var costs = new double[Windows];
        var (total, began) = (0L, Stopwatch.GetTimestamp());
        for (var window = 0; window < Windows; window++)
        {
            var (from, before) = (Stopwatch.GetTimestamp(), total);
            var until = time * (window + 1) / Windows;
            var goal = items * (window + 1) / Windows;
            bool More() => items > 0 ? Interlocked.Read(ref total) < goal : Stopwatch.GetElapsedTime(began) < until;
            await Task.WhenAll(Enumerable.Range(0, Producers).Select(_ => Task.Run(
                async () =>
                {
                    while (More())
                    {
                        var first = Interlocked.Add(ref total, ItemsPerCall) - ItemsPerCall;
                        var data = RandomNumberGenerator.GetBytes(ItemBytes);
                        await log.AppendAsync(
                            [.. Enumerable.Range(0, ItemsPerCall).Select(i => new Entry(
                                Lane.Normal, "yizhan.bench.item.v1", (first + i).ToString(CultureInfo.InvariantCulture), "", 0, data))],
                            cancellationToken);
                    }
                },
                cancellationToken)));
            costs[window] = Stopwatch.GetElapsedTime(from).TotalMicroseconds / Math.Max(1, total - before);
            say(string.Create(CultureInfo.InvariantCulture, $"  {total:#,0} queued, {costs[window]:0.0} us each"));
        }

        return (total, costs);
    }

    /// <summary>Asks the kernel to forget our files, as after a power cut: a start has to read them from the disk.</summary>
    private static void ForgetCached(string folder)
    {
        const int DontNeed = 4;
        foreach (var path in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories))
        {
            using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
            RandomAccess.FlushToDisk(file);
            _ = Advise(file, 0, 0, DontNeed);
        }
    }

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int Advise(SafeFileHandle file, long offset, long length, int advice);
}
