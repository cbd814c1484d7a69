using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Drills;
using Yizhan.PacsGw.Archive;
using Yizhan.Platform;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench pacs --flat N</c>: whether what an archive does stays as fast while it grows. A node whose index is filled to 100 000 rows, 1 000 000
/// and so on, beside a node with 500: the same requests to one and the other in turn, so that a ratio near 1 is flat. The rows are written by the
/// index's own writer while the node is down; their pixels do not exist, and nothing here reads them.
/// </summary>
internal static class PacsFlat
{
    private const int Batch = 10_000, NewInstances = 400, Associations = 4, StoreRounds = 4;

    private static readonly int[] Sizes = [100_000, 1_000_000, 10_000_000];

    public static async Task<int> RunAsync(int rows, string? only, bool json, CancellationToken cancellationToken)
    {
        void Say(string text) => (json ? Console.Error : Console.Out).WriteLine(text);

        var data = Path.Combine(Path.GetFullPath("artifacts"), "bench", "pacs-flat");
        if (Directory.Exists(data))
        {
            Directory.Delete(data, recursive: true);
        }

        var sink = LocalPorts.Free().Dicom; // A peer of the settings; nothing is sent to it.
        var (large, small) = (Path.Combine(data, "large"), Path.Combine(data, "small"));
        var table = new List<BenchRow>();
        await using var few = await StartAsync(small, sink, cancellationToken) with { Name = "itself with few" };
        await using (var first = await StartAsync(large, sink, cancellationToken))
        {
            foreach (var server in (PacsServer[])[few, first])
            {
                await PacsInstances.SendAsync(server, [.. PacsInstances.OfTheDay()], Associations, cancellationToken);
                await PacsInstances.IndexedAsync(server, 100, cancellationToken);
            }
        }

        var (filled, copy) = (0, 0);
        foreach (var size in Sizes.Where(s => s < rows).Append(rows))
        {
            var from = Stopwatch.GetTimestamp();
            Fill(Path.Combine(large, LocalSite.SiteId), filled, size, cancellationToken);
            Say($"{size - filled} rows more in {Stopwatch.GetElapsedTime(from).TotalSeconds:0} s; the index has {new FileInfo(Path.Combine(large, LocalSite.SiteId, "pacs-gw", "archive.db")).Length / 1_000_000} MB");
            filled = size;
            from = Stopwatch.GetTimestamp();
            await using var many = await StartAsync(large, sink, cancellationToken);
            Say($"started in {Stopwatch.GetElapsedTime(from).TotalSeconds:0.0} s");
            var at = string.Create(CultureInfo.InvariantCulture, $"at {size} rows");
            foreach (var request in Requests().Where(r => only is null || r.Name.Contains(only, StringComparison.OrdinalIgnoreCase)))
            {
                table.AddRange(await (request with { Name = $"{request.Name} {at}" }).MeasureAsync(many, few, cancellationToken));
            }

            if (only is null || "C-STORE".Contains(only, StringComparison.OrdinalIgnoreCase))
            {
                PacsServer[] servers = [many, few];
                var (stored, found) = (servers.ToDictionary(s => s, _ => new List<double>()), servers.ToDictionary(s => s, _ => new List<double>()));
                for (var round = 0; round < StoreRounds; round++)
                {
                    foreach (var server in round % 2 == 0 ? servers : servers.Reverse())
                    {
                        var begin = Stopwatch.GetTimestamp();
                        stored[server].Add(NewInstances / await PacsInstances.SendAsync(server, PacsInstances.NewStudy(++copy, NewInstances), Associations, cancellationToken));
                        await FoundAsync(server, PacsInstances.NewStudyUid(copy), cancellationToken);
                        found[server].Add(NewInstances / Stopwatch.GetElapsedTime(begin).TotalSeconds);
                    }
                }

                table.Add(BenchRow.More($"{few.Name}, C-STORE over {Associations} {at}", BenchTable.Median(stored[many]), BenchTable.Median(stored[few]), "instances/s"));
                table.Add(BenchRow.More($"{few.Name}, C-STORE over {Associations} until found {at}", BenchTable.Median(found[many]), BenchTable.Median(found[few]), "instances/s"));
            }
        }

        BenchTable.Print("pacs-flat", table, json);
        return 0;
    }

    private static IEnumerable<PacsRequest> Requests()
    {
        yield return PacsDimse.Find("C-FIND 100 studies", PacsDimse.Keys("STUDY", (DicomTags.StudyDate, PacsInstances.Day)));
        yield return PacsDimse.Find("C-FIND by PatientID, 1 study", PacsDimse.Keys("STUDY", (DicomTags.PatientID, "BENCH-1-50")));
        yield return PacsQueries.Get("QIDO 100 studies", $"studies?StudyDate={PacsInstances.Day}&limit=200");
        yield return PacsQueries.Get("QIDO by PatientID, 1 study", "studies?PatientID=BENCH-1-50");
        yield return PacsQueries.Get("QIDO by name, 1 study", $"studies?PatientName={Uri.EscapeDataString("Synth^Patient 50")}&StudyDate={PacsInstances.Day}&limit=200");
        yield return PacsQueries.Get("QIDO newest 25 studies", "studies?limit=25");
        yield return PacsQueries.Get("metadata of 5 instances", "studies/2.25.881.50/metadata");
    }

    private static Task<PacsServer> StartAsync(string folder, int sink, CancellationToken cancellationToken) =>
        PacsServer.StartYizhanAsync(folder, sink, cancellationToken);

    private static async Task FoundAsync(PacsServer server, string study, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(TimeSpan.FromMinutes(2));
        while (JsonDocument.Parse(await server.Http.GetStringAsync(new Uri($"studies/{study}/instances?limit=1000", UriKind.Relative), limit.Token))
            .RootElement.GetArrayLength() < NewInstances)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, limit.Token);
        }
    }

    /// <summary>Writes the rows from one number to another as the indexer does, in batches of one transaction. The node is down.</summary>
    private static void Fill(string dataFolder, int from, int to, CancellationToken cancellationToken)
    {
        var database = new ArchiveDatabase(Options.Create(new NodeOptions { DataFolder = dataFolder }));
        using var db = database.OpenWriter();
        using var statements = new ArchiveStatements(db);
        var nowMs = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
        for (var row = from; row < to;)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var transaction = db.BeginTransaction();
            var writer = new ArchiveWriter(statements, transaction, nowMs);
            for (var end = Math.Min(to, row + Batch); row < end; row++)
            {
                writer.Add(Instance(row, nowMs), out _);
            }

            transaction.Commit();
        }
    }

    private static ArchivedInstance Instance(int row, long nowMs)
    {
        var (study, number) = (row / PacsInstances.PerStudy, row % PacsInstances.PerStudy);
        var header = PacsInstances.Header(3, study, number, PacsInstances.DayOf(study));
        string Of(DicomTag tag) => header.GetString(tag)!;
        var stored = new InstanceStored(
            Of(DicomTags.StudyInstanceUID), Of(DicomTags.SeriesInstanceUID), Of(DicomTags.SOPInstanceUID), Of(DicomTags.SOPClassUID),
            DicomTransferSyntax.ExplicitVrLittleEndian.Uid, Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(Of(DicomTags.SOPInstanceUID)))),
            1000, "BENCH", LocalSite.AeTitle, "bench");
        var json = Metadata.Create(stored, new InstanceHeader(header, []));
        return new ArchivedInstance(stored, LocalSite.SiteId, nowMs, 0, new JsonAttributes(json), json);
    }
}
