using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Yizhan.Dicom.Network;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench store --telemetry</c>: what tracing costs. Three of our sites run side by side: one with spans pushed to a collector that throws them away, one without, and a
/// second one without. All take the same images in turn, block by block, so that what the machine does to one it does to its neighbours. Two processes of one program
/// differ too (what the compiler learnt, where its memory lies), by more than what is looked for, so the three are started afresh several times: each start gives one ratio, and
/// the interval is that of their mean. What the second site without telemetry "costs" says how far the figures can be trusted: nothing, if they are right.
/// </summary>
internal static class TelemetryBench
{
    /// <summary>Instances of a block.</summary>
    private const int Block = 100;

    /// <summary>Blocks that each takes before any is counted. A receiver runs for months: its compiler is done with what it does all day.</summary>
    private const int WarmUp = 16;

    /// <summary>Student's t for 97.5 % after 2, 3, ... starts; they are at most as many as this has room for.</summary>
    private static readonly double[] StudentT = [12.706, 4.303, 3.182, 2.776, 2.571];

    /// <summary>Pairs of blocks for each start.</summary>
    private const int PairsOfStart = 10;

    private static readonly int[] Associations = [1, 4];

    public static async Task<int> RunAsync(int pairs, bool json, CancellationToken cancellationToken)
    {
        void Say(string text) => (json ? Console.Error : Console.Out).WriteLine(text);

        var folder = Path.Combine(Path.GetFullPath("artifacts"), "bench");
        var ct = PacsInstances.Ct(folder).Take(Block).ToList();
        var times = Math.Clamp(pairs / PairsOfStart, 2, StudentT.Length + 1);
        var rounds = Math.Max(3, (pairs + times - 1) / times);
        var starts = Associations.ToDictionary(n => n, _ => new List<Start>());
        for (var start = 0; start < times; start++)
        {
            Say($"Start {start + 1} of {times}: warming up with {WarmUp * Block} instances each ...");
            await using var plain = await RunningReceiver.StartAsync("yizhan", "plain", folder, cancellationToken);
            await using var traced = await RunningReceiver.StartAsync("yizhan traced", "traced", folder, cancellationToken);
            await using var again = await RunningReceiver.StartAsync("yizhan", "again", folder, cancellationToken);
            RunningReceiver[] nodes = [plain, traced, again];
            var copy = 0;
            for (; copy < WarmUp; copy++)
            {
                foreach (var node in nodes)
                {
                    await node.SendAsync(PacsInstances.Copies(ct, copy), Associations[copy % Associations.Length], cancellationToken);
                }
            }

            foreach (var associations in Associations)
            {
                var runs = nodes.Select(_ => new List<Run>()).ToArray();

                // One round more than counts: from the start of one block to the start of the same node's next, so that indexing and pushing after the last answer are in it.
                for (var round = 0; round <= rounds; round++, copy++)
                {
                    var block = PacsInstances.Copies(ct, copy);
                    for (var i = 0; i < nodes.Length; i++)
                    {
                        // Each is first, second and third as often: what a busy moment takes from the first of one round, it takes from another in the next.
                        var n = (i + round) % nodes.Length;
                        runs[n].Add(await nodes[n].SendAsync(block, associations, cancellationToken));
                    }
                }

                var one = new Start(Of(runs[0]), Of(runs[1]), Of(runs[2]));
                starts[associations].Add(one);
                Say($"  {Named(associations)}: {one.Plain.CpuMs:0.000} ms/instance without, {one.Traced.CpuMs:0.000} with, {one.Again.CpuMs:0.000} again without");
            }
        }

        var rows = new List<BenchRow>();
        foreach (var associations in Associations)
        {
            var load = Named(associations);
            rows.Add(Row($"itself without telemetry, {load}, CPU", starts[associations], s => s.Traced.CpuMs, s => s.Plain.CpuMs, "ms/instance"));
            rows.Add(Row($"itself without telemetry, {load}, time", starts[associations], s => s.Traced.WallMs, s => s.Plain.WallMs, "ms/instance"));
            rows.Add(Row($"itself without telemetry twice (control), {load}, CPU", starts[associations], s => s.Again.CpuMs, s => s.Plain.CpuMs, "ms/instance"));
        }

        foreach (var row in rows)
        {
            Say($"  {row.Case}: {Percent(1 / row.Ratio)} ({Percent(1 / row.Interval![1])} to {Percent(1 / row.Interval[0])} with 95 %, {times} starts of {rounds} blocks)");
        }

        BenchTable.Print("store", rows, json);
        return 0;
    }

    private static string Named(int associations) => associations == 1 ? "1 association" : $"{associations} associations";

    private static string Percent(double ratio) => ((ratio - 1) * 100).ToString("+0.0;-0.0;0.0", CultureInfo.InvariantCulture) + " %";

    private static Figures Of(List<Run> runs) => new(
        BenchTable.Median(runs.Zip(runs.Skip(1), (run, next) => (next.CpuMs - run.CpuMs) / Block)), BenchTable.Median(runs.SkipLast(1).Select(run => 1000 * run.Seconds / Block)));

    // The mean of logarithms, because a ratio and its inverse are the same finding.
    private static BenchRow Row(string named, List<Start> starts, Func<Start, double> ours, Func<Start, double> peer, string unit)
    {
        var logs = starts.ConvertAll(s => Math.Log(peer(s) / ours(s)));
        var mean = logs.Average();
        var reach = StudentT[logs.Count - 2] * Math.Sqrt(logs.Sum(l => (l - mean) * (l - mean)) / (logs.Count - 1) / logs.Count);
        return new BenchRow(named, Mean(ours), Mean(peer), unit, Math.Exp(mean)) { Interval = [Math.Exp(mean - reach), Math.Exp(mean + reach)] };

        double Mean(Func<Start, double> of) => Math.Exp(starts.Average(s => Math.Log(of(s))));
    }

    /// <param name="Seconds">Of sending.</param>
    /// <param name="CpuMs">What the node had used when the block began.</param>
    private readonly record struct Run(double Seconds, double CpuMs);

    /// <summary>Medians of the blocks of one node, for one instance.</summary>
    private readonly record struct Figures(double CpuMs, double WallMs);

    private sealed record Start(Figures Plain, Figures Traced, Figures Again);

    private sealed class RunningReceiver(string aeTitle, string data, Process process, int port, IAsyncDisposable stop) : IAsyncDisposable
    {
        public static async Task<RunningReceiver> StartAsync(string name, string named, string folder, CancellationToken cancellationToken)
        {
            var receiver = Receiver.All.Single(r => r.Name == name);
            var data = Path.Combine(folder, $"telemetry-{named}");
            if (Directory.Exists(data))
            {
                Directory.Delete(data, recursive: true);
            }

            Directory.CreateDirectory(data);
            var (process, port, stop) = await receiver.StartAsync(data, cancellationToken);
            return new RunningReceiver(receiver.AeTitle, data, process, port, stop);
        }

        public async Task<Run> SendAsync(IReadOnlyList<StoreInstance> block, int associations, CancellationToken cancellationToken)
        {
            var cpu = CpuMs(process);
            return new Run(await PacsInstances.SendAsync(aeTitle, port, block, associations, cancellationToken), cpu);
        }

        public async ValueTask DisposeAsync()
        {
            await stop.DisposeAsync();
            Directory.Delete(data, recursive: true);
        }
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
