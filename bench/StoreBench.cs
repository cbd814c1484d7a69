using System.CommandLine;
using Yizhan.Samples;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench store</c>: how fast an image is taken, by us, by Orthanc and by dcmtk's storescp. We and Orthanc answer after the
/// instance is on disk; storescp promises nothing. Each receiver starts on an empty folder and is warmed up with 200 other
/// instances; rounds are interleaved and the median counts.
/// </summary>
internal static class StoreBench
{
    private static readonly int[] Associations = [1, 4];

    public static Command Create()
    {
        var instances = new Option<int>("--instances") { Description = "CT instances of 512 x 512 x 16 bit.", DefaultValueFactory = _ => 500 };
        var rounds = new Option<int>("--rounds") { Description = "Times that each case is run; the median counts.", DefaultValueFactory = _ => 3 };
        var large = new Option<int>("--large-mb") { Description = "Size of the one large instance, in MB.", DefaultValueFactory = _ => 2048 };
        var telemetry = new Option<int>("--telemetry") { Description = "Only ourselves, with and without telemetry, in so many pairs of blocks 10 to a start; 60 tells hundredths apart." };
        var json = new Option<bool>("--json") { Description = "Print only the JSON object." };
        var command = new Command("store", "C-STORE into us, Orthanc and storescp, beside the limit of this disk.") { instances, rounds, large, telemetry, json };
        command.SetAction((parsed, cancellationToken) => parsed.GetValue(telemetry) switch
        {
            0 => RunAsync(parsed.GetValue(instances), parsed.GetValue(rounds), parsed.GetValue(large), parsed.GetValue(json), cancellationToken),
            >= 4 and <= 10_000 and var pairs => TelemetryBench.RunAsync(pairs, parsed.GetValue(json), cancellationToken),
            var pairs => throw new ArgumentException($"--telemetry is {pairs}; accepted is 4 to 10000."),
        });
        return command;
    }

    private static async Task<int> RunAsync(int instances, int rounds, int largeMb, bool json, CancellationToken cancellationToken)
    {
        void Say(string text) => (json ? Console.Error : Console.Out).WriteLine(text);

        var folder = Path.Combine(Path.GetFullPath("artifacts"), "bench");
        var input = Path.Combine(folder, $"ct-{instances}");
        if (!Directory.Exists(input))
        {
            Say($"Making {instances} CT instances (once) ...");
            CtStudy.WriteFiles(input, instances, studies: 1, seed: 1);
        }

        // A receiver runs for months; what it does in its first second (compiling, filling caches) is not what is compared.
        var warmUp = Path.Combine(folder, "warm-up");
        if (!Directory.Exists(warmUp))
        {
            CtStudy.WriteFiles(warmUp, instances: 200, studies: 1, seed: 2);
        }

        var bytes = new DirectoryInfo(input).GetFiles("*.dcm").Sum(file => file.Length);
        var results = new Dictionary<(string Receiver, string Sender, int Associations), List<StoreResult>>();
        var limits = new Dictionary<int, List<double>>();
        for (var round = 1; round <= rounds; round++)
        {
            foreach (var associations in Associations)
            {
                Say($"Round {round} of {rounds}, {associations} association{(associations == 1 ? "" : "s")} ...");
                (limits.TryGetValue(associations, out var l) ? l : limits[associations] = [])
                    .Add(DiskLimit.InstancesPerSecond(folder, instances, (int)(bytes / instances), group: associations));
                foreach (var receiver in Receiver.All.Where(r => r.Name != "yizhan traced"))
                {
                    foreach (var sender in Sender.All)
                    {
                        var result = await receiver.MeasureAsync(sender, input, warmUp, instances, associations, folder, cancellationToken);
                        var key = (receiver.Name, sender.Name, associations);
                        (results.TryGetValue(key, out var list) ? list : results[key] = []).Add(result);
                        Say($"  {sender.Name} into {receiver.Name}: {instances / result.Seconds:0} instances/s, "
                            + $"{bytes / result.Seconds / 1e6:0} MB/s, {result.CpuSeconds:0.00} CPU s, peak {result.PeakMemoryMb:0} MB");
                    }
                }
            }
        }

        double Rate(string receiver, string sender, int associations) =>
            instances / BenchTable.Median(results[(receiver, sender, associations)].Select(r => r.Seconds));
        double Of(string receiver, int associations, Func<StoreResult, double> what) =>
            BenchTable.Median(results[(receiver, "storescu", associations)].Select(what));

        var rows = new List<BenchRow>();
        foreach (var n in Associations)
        {
            var load = n == 1 ? "1 association" : $"{n} associations";
            foreach (var peer in new[] { "orthanc", "storescp" })
            {
                rows.Add(BenchRow.More($"{peer}, {load}, storescu", Rate("yizhan", "storescu", n), Rate(peer, "storescu", n), "instances/s"));
                rows.Add(BenchRow.More($"{peer}, {load}, own sender", Rate("yizhan", "own sender", n), Rate(peer, "own sender", n), "instances/s"));
                rows.Add(BenchRow.More($"{peer}, {load}, throughput", Rate("yizhan", "storescu", n) * bytes / instances / 1e6, Rate(peer, "storescu", n) * bytes / instances / 1e6, "MB/s"));
                rows.Add(BenchRow.Less($"{peer}, {load}, CPU", Of("yizhan", n, r => r.CpuSeconds), Of(peer, n, r => r.CpuSeconds), $"CPU s for {instances}"));
                rows.Add(BenchRow.Less($"{peer}, {load}, peak memory", Of("yizhan", n, r => r.PeakMemoryMb), Of(peer, n, r => r.PeakMemoryMb), "MB"));
            }

            rows.Add(BenchRow.More($"disk limit (append + fdatasync by {n}), {load}", Rate("yizhan", "storescu", n), BenchTable.Median(limits[n]), "instances/s"));
        }

        Say($"One instance of {largeMb} MB ...");
        var (before, after) = await LargeInstance.MeasureAsync(folder, largeMb, cancellationToken);
        rows.Add(BenchRow.Less($"itself before, peak memory after one instance of {largeMb} MB", after, before, "MB"));
        BenchTable.Print("store", rows, json);
        return 0;
    }
}

/// <summary>One run.</summary>
internal sealed record StoreResult(double Seconds, double CpuSeconds, double PeakMemoryMb);
