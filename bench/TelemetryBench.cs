using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Yizhan.Dicom.Network;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench store --telemetry</c>: what tracing costs. Two of our sites run side by side, one with a span for each association, instance and hop, pushed to
/// a collector that throws them away, and one without. Both take the same images in turn, block by block, and each pair of blocks gives one ratio: a difference
/// of a few hundredths is lost between two runs of a machine, and is not lost between two neighbours.
/// </summary>
internal static class TelemetryBench
{
    /// <summary>Instances of a block.</summary>
    private const int Block = 100;

    /// <summary>Blocks that each takes before any is counted. A receiver runs for months: its compiler is done with what it does all day.</summary>
    private const int WarmUp = 12;

    private static readonly int[] Associations = [1, 4];

    public static async Task<int> RunAsync(int pairs, bool json, CancellationToken cancellationToken)
    {
        void Say(string text) => (json ? Console.Error : Console.Out).WriteLine(text);

        var folder = Path.Combine(Path.GetFullPath("artifacts"), "bench");
        var ct = PacsInstances.Ct(folder).Take(Block).ToList();
        var rows = new List<BenchRow>();
        foreach (var associations in Associations)
        {
            var load = associations == 1 ? "1 association" : $"{associations} associations";
            Say($"{load}: warming both up with {WarmUp * Block} instances ...");
            await using var plain = await RunningReceiver.StartAsync("yizhan", folder, cancellationToken);
            await using var traced = await RunningReceiver.StartAsync("yizhan traced", folder, cancellationToken);
            var copy = 0;
            for (; copy < WarmUp; copy++)
            {
                var block = PacsInstances.Copies(ct, copy);
                await plain.SendAsync(block, associations, cancellationToken);
                await traced.SendAsync(block, associations, cancellationToken);
            }

            var (plainRuns, tracedRuns) = (new List<Run>(), new List<Run>());
            for (var pair = 0; pair < pairs; pair++, copy++)
            {
                var block = PacsInstances.Copies(ct, copy);

                // Each is first once: what a busy moment takes from the first of one pair, it takes from the other in another.
                if (pair % 2 == 0)
                {
                    plainRuns.Add(await plain.SendAsync(block, associations, cancellationToken));
                    tracedRuns.Add(await traced.SendAsync(block, associations, cancellationToken));
                }
                else
                {
                    tracedRuns.Add(await traced.SendAsync(block, associations, cancellationToken));
                    plainRuns.Add(await plain.SendAsync(block, associations, cancellationToken));
                }
            }

            // From the start of one block to the start of the same node's next but one: indexing and pushing that come after the last answer are counted, and each
            // node has been first and second once.
            var (plainCpu, tracedCpu) = (CpuPerInstance(plainRuns), CpuPerInstance(tracedRuns));
            rows.Add(BenchRow.Less($"itself without telemetry, {load}, CPU", BenchTable.Median(tracedCpu), BenchTable.Median(plainCpu), "ms/instance"));
            rows.Add(BenchRow.More(
                $"itself without telemetry, {load}", Block / BenchTable.Median(tracedRuns.Select(r => r.Seconds)), Block / BenchTable.Median(plainRuns.Select(r => r.Seconds)), "instances/s"));
            Say(Told($"{load}, CPU", [.. tracedCpu.Zip(plainCpu, (with, without) => with / without)]));
            Say(Told($"{load}, time", [.. tracedRuns.Zip(plainRuns, (with, without) => with.Seconds / without.Seconds)]));
        }

        BenchTable.Print("store", rows, json);
        return 0;
    }

    private static double[] CpuPerInstance(List<Run> runs) =>
        [.. Enumerable.Range(0, (runs.Count - 1) / 2).Select(i => (runs[2 * i + 2].CpuMs - runs[2 * i].CpuMs) / (2 * Block))];

    /// <summary>The median of the ratios and where the true median is with 95 % (order statistics, no shape assumed).</summary>
    private static string Told(string what, double[] ratios)
    {
        Array.Sort(ratios);
        var reach = (int)Math.Ceiling(0.98 * Math.Sqrt(ratios.Length));
        var (low, high) = (Math.Max(0, ratios.Length / 2 - reach), Math.Min(ratios.Length - 1, (ratios.Length - 1) / 2 + reach));
        string Percent(double ratio) => ((ratio - 1) * 100).ToString("+0.0;-0.0;0.0", CultureInfo.InvariantCulture) + " %";
        return $"  {what}: telemetry adds {Percent(BenchTable.Median(ratios))} ({Percent(ratios[low])} to {Percent(ratios[high])} with 95 %, {ratios.Length} pairs)";
    }

    /// <param name="Seconds">Of sending.</param>
    /// <param name="CpuMs">What the node had used when the block began.</param>
    private readonly record struct Run(double Seconds, double CpuMs);

    private sealed class RunningReceiver(string aeTitle, Process process, int port, IAsyncDisposable stop) : IAsyncDisposable
    {
        public static async Task<RunningReceiver> StartAsync(string name, string folder, CancellationToken cancellationToken)
        {
            var receiver = Receiver.All.Single(r => r.Name == name);
            var data = Path.Combine(folder, name);
            if (Directory.Exists(data))
            {
                Directory.Delete(data, recursive: true);
            }

            Directory.CreateDirectory(data);
            var (process, port, stop) = await receiver.StartAsync(data, cancellationToken);
            return new RunningReceiver(receiver.AeTitle, process, port, stop);
        }

        public async Task<Run> SendAsync(IReadOnlyList<StoreInstance> block, int associations, CancellationToken cancellationToken)
        {
            var cpu = CpuMs(process);
            return new Run(await PacsInstances.SendAsync(aeTitle, port, block, associations, cancellationToken), cpu);
        }

        public ValueTask DisposeAsync() => stop.DisposeAsync();
    }

    // /proc tells hundredths of a second, and a block takes two tenths of one.
    private static double CpuMs(Process process) =>
        GetCpuClock(process.Id, out var clock) == 0 && GetTime(clock, out var time) == 0
            ? time.Seconds * 1e3 + time.Nanoseconds / 1e6
            : throw new InvalidOperationException($"The processor time of process {process.Id} cannot be read.");

    [StructLayout(LayoutKind.Sequential)]
    private readonly struct TimeSpec
    {
        public readonly long Seconds;
        public readonly long Nanoseconds;
    }

    [DllImport("libc", EntryPoint = "clock_getcpuclockid")]
    private static extern int GetCpuClock(int processId, out int clock);

    [DllImport("libc", EntryPoint = "clock_gettime")]
    private static extern int GetTime(int clock, out TimeSpec time);
}
