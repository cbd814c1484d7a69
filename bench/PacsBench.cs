using System.CommandLine;
using Yizhan.Dicom.Network;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench pacs</c>: an archive's daily work, by us and by Debian's Orthanc with its DICOMweb plugin. Both run at once on
/// the same instances; each request is warmed up and then made to one and the other in turn.
/// </summary>
internal static class PacsBench
{
    private const int StoreRounds = 4;

    private static readonly int[] Associations = [1, 4, 16];

    public static Command Create()
    {
        var instances = new Option<int>("--instances")
        {
            Description = "Small instances of earlier days in the archive, besides the 1000 that are asked for.",
            DefaultValueFactory = _ => 0,
        };
        var only = new Option<string?>("--only") { Description = "Only requests whose name contains this." };
        var flat = new Option<int>("--flat")
        {
            Description = "How flat the archive is: its own figures with 100 000, 1 000 000 … up to this many rows in the index beside those of a small one. At least 1000.",
        };
        var json = new Option<bool>("--json") { Description = "Print only the JSON object." };
        var command = new Command("pacs", """
            Store, query and retrieve, beside Orthanc on the same instances.

            Examples:
              yizhan bench pacs
              yizhan bench pacs --only QIDO
              yizhan bench pacs --instances 100000 --json | tail -n 1 | jq '.rows[] | select(.ratio < 1)'
              yizhan bench pacs --flat 10000000
            """) { instances, only, flat, json };
        command.SetAction((parsed, cancellationToken) => parsed.GetValue(flat) switch
        {
            0 => RunAsync(parsed.GetValue(instances), parsed.GetValue(only), parsed.GetValue(json), cancellationToken),
            >= 1000 and <= 100_000_000 and var rows => PacsFlat.RunAsync(rows, parsed.GetValue(only), parsed.GetValue(json), cancellationToken),
            var rows => throw new ArgumentException($"--flat is {rows}; accepted is 1000 to 100000000."),
        });
        return command;
    }

    private static async Task<int> RunAsync(int earlier, string? only, bool json, CancellationToken cancellationToken)
    {
        void Say(string text) => (json ? Console.Error : Console.Out).WriteLine(text);

        var folder = Path.Combine(Path.GetFullPath("artifacts"), "bench");
        var ct = PacsInstances.Ct(folder);
        var data = Path.Combine(folder, "pacs");
        if (Directory.Exists(data))
        {
            Directory.Delete(data, recursive: true);
        }

        var sinkPort = Drills.LocalPorts.Free().Dicom;
        await using var ours = await PacsServer.StartYizhanAsync(Path.Combine(data, "yizhan"), sinkPort, cancellationToken);
        await using var orthanc = await PacsServer.StartOrthancAsync(Path.Combine(data, "orthanc"), sinkPort, cancellationToken);
        var rows = new List<BenchRow>();
        await using var sink = new PacsSink(sinkPort);
        var requests = PacsRequests.All(ct, sink).Where(r => only is null || r.Name.Contains(only, StringComparison.OrdinalIgnoreCase)).ToList();

        Say($"Filling both archives with {1000 + earlier} instances ...");
        foreach (var server in (PacsServer[])[ours, orthanc])
        {
            await PacsInstances.SendAsync(server, ct, 1, cancellationToken);
            await PacsInstances.SendAsync(server, [.. PacsInstances.OfTheDay()], 4, cancellationToken);
            var seconds = await PacsInstances.SendAsync(server, [.. PacsInstances.Earlier(earlier)], 4, cancellationToken);
            await PacsInstances.IndexedAsync(server, 101, cancellationToken);
            Say($"  {server.Name}: {earlier} small instances in {seconds:0} s");
        }

        if (only is null || "C-STORE".Contains(only, StringComparison.OrdinalIgnoreCase))
        {
            rows.AddRange(await StoreAsync(ours, orthanc, ct, Say, cancellationToken));
        }

        foreach (var request in requests)
        {
            Say($"{request.Name} ...");
            rows.AddRange(await request.MeasureAsync(ours, orthanc, cancellationToken));
        }

        if (only is null || "WADO-RS".Contains(only, StringComparison.OrdinalIgnoreCase))
        {
            Say("WADO-RS beside nginx ...");
            rows.AddRange(await PacsWeb.MeasureAsync(ours, orthanc, ct, folder, cancellationToken));
        }

        rows.Add(BenchRow.Less("orthanc, largest resident memory", ProcessUse.PeakMemoryMb(ours.Process), ProcessUse.PeakMemoryMb(orthanc.Process), "MB"));
        rows.Add(BenchRow.Less("orthanc, resident memory at the end", ours.ResidentMb(), orthanc.ResidentMb(), "MB"));
        BenchTable.Print("pacs", rows, json);
        return 0;
    }

    private static async Task<IReadOnlyList<BenchRow>> StoreAsync(
        PacsServer ours, PacsServer orthanc, IReadOnlyList<StoreInstance> ct, Action<string> say, CancellationToken cancellationToken)
    {
        var rows = new List<BenchRow>();
        var copy = 0;
        foreach (var associations in Associations)
        {
            say($"C-STORE, {associations} associations ...");
            PacsServer[] servers = [ours, orthanc];
            var (rates, cpu) = (servers.ToDictionary(s => s, _ => new List<double>()), servers.ToDictionary(s => s, _ => new List<double>()));
            for (var round = 0; round < StoreRounds; round++)
            {
                // In turn and each first once: a busy moment of the machine, or a full page cache, meets both.
                foreach (var server in round % 2 == 0 ? servers : servers.Reverse())
                {
                    var before = ProcessUse.Cpu(server.Process);
                    rates[server].Add(ct.Count / await PacsInstances.SendAsync(server, PacsInstances.Copies(ct, ++copy), associations, cancellationToken));
                    cpu[server].Add((ProcessUse.Cpu(server.Process) - before).TotalMilliseconds / ct.Count);
                }
            }

            rows.Add(BenchRow.More($"orthanc, C-STORE over {associations}", BenchTable.Median(rates[ours]), BenchTable.Median(rates[orthanc]), "instances/s"));
            rows.Add(BenchRow.Less($"orthanc, C-STORE over {associations}, CPU", BenchTable.Median(cpu[ours]), BenchTable.Median(cpu[orthanc]), "ms/instance"));
        }

        return rows;
    }
}

/// <summary>Everything that is asked of both archives. A further kind of request is a further file and a line here.</summary>
internal static class PacsRequests
{
    public static IEnumerable<PacsRequest> All(IReadOnlyList<StoreInstance> ct, PacsSink sink) =>
        [.. PacsQueries.All(ct), .. PacsDimse.All(ct, sink), .. PacsWeb.All(ct)];
}
