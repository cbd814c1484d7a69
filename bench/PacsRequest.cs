using System.Diagnostics;

namespace Yizhan.Bench;

/// <summary>A request that is timed, one at a time, against both archives in turn.</summary>
/// <param name="Name">What is asked for: <c>QIDO 101 studies</c>.</param>
/// <param name="RunAsync">Does it once; returns the bytes that came, or 0 when they say nothing.</param>
internal sealed record PacsRequest(string Name, Func<PacsServer, CancellationToken, Task<long>> RunAsync)
{
    private const int WarmUps = 40;

    /// <summary>A runtime that compiles what is hot does so once it was called thirty times and a moment was quiet: a server in use has that behind it.</summary>
    private static readonly TimeSpan Quiet = TimeSpan.FromSeconds(1);

    /// <summary>True for a transfer: its row is MB/s instead of milliseconds.</summary>
    public bool IsTransfer { get; init; }

    /// <summary>How often it is done when it is timed. Of a hundred or fewer the p99 is the worst of all: short requests are made more often.</summary>
    public int Repetitions { get; init; } = 60;

    /// <summary>Warms both archives up, then asks one after the other, so that a busy moment of the machine meets both.</summary>
    public async Task<IEnumerable<BenchRow>> MeasureAsync(PacsServer ours, PacsServer peer, CancellationToken cancellationToken)
    {
        PacsServer[] servers = [ours, peer];
        foreach (var server in servers)
        {
            for (var i = 0; i < Math.Min(WarmUps, Repetitions); i++)
            {
                await RunAsync(server, cancellationToken);
            }
        }

        await Task.Delay(Quiet, TimeProvider.System, cancellationToken);

        var times = servers.ToDictionary(s => s, _ => new List<double>());
        var cpu = servers.ToDictionary(s => s, _ => TimeSpan.Zero);
        var bytes = servers.ToDictionary(s => s, _ => 0L);
        for (var i = 0; i < Repetitions; i++)
        {
            foreach (var server in servers)
            {
                var cpuBefore = ProcessUse.Cpu(server.Process);
                var from = Stopwatch.GetTimestamp();
                bytes[server] += await RunAsync(server, cancellationToken);
                times[server].Add(Stopwatch.GetElapsedTime(from).TotalMilliseconds);
                cpu[server] += ProcessUse.Cpu(server.Process) - cpuBefore;
            }
        }

        double CpuMs(PacsServer server) => Math.Max(cpu[server].TotalMilliseconds / Repetitions, 0.01);
        double MegabytesPerSecond(PacsServer server) => bytes[server] / 1e3 / times[server].Sum();
        var cpuRow = BenchRow.Less($"{peer.Name}, {Name}, CPU", CpuMs(ours), CpuMs(peer), "ms/request");
        return IsTransfer
            ? [BenchRow.More($"{peer.Name}, {Name}", MegabytesPerSecond(ours), MegabytesPerSecond(peer), "MB/s"), cpuRow]
            :
            [
                BenchRow.Less($"{peer.Name}, {Name}, p50", Percentile(times[ours], 0.5), Percentile(times[peer], 0.5), "ms"),
                BenchRow.Less($"{peer.Name}, {Name}, p99", Percentile(times[ours], 0.99), Percentile(times[peer], 0.99), "ms"),
                cpuRow,
            ];
    }

    private static double Percentile(List<double> values, double share)
    {
        var sorted = values.Order().ToArray();
        return sorted[Math.Clamp((int)Math.Ceiling(share * sorted.Length) - 1, 0, sorted.Length - 1)];
    }
}
