using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Yizhan.Dicom;
using Yizhan.Drills;
using Yizhan.Samples;

namespace Yizhan.Bench;

/// <summary>A study stored to its segmentation: a site as it is, a CT by C-STORE, and the clock from the last answer until the results are found by QIDO-RS.</summary>
internal static class InferStudyBench
{
    private const int Slices = 30, Seed = 11;

    // A series is looked at when nothing came for so long: one second is the least that a scanner's pauses leave whole.
    private const int QuietMs = 1000;

    public static async Task RunAsync(string folder, int studies, List<BenchRow> rows, Action<string> say, CancellationToken cancellationToken)
    {
        var site = LocalSite.Prepare(folder, LocalSite.DcmtkPeers, LocalPorts.Free());
        await using var edge = await site.StartEdgeAsync(["--ai-infer:rules:0:model=nodule", $"--ai-infer:quietSeconds={QuietMs / 1000}"], cancellationToken);
        using var http = site.EdgeClient();
        var files = Path.Combine(folder, "ct");
        CtStudy.WriteFiles(files, Slices * (studies + 1), studies + 1, Seed);
        var ledger = new Ledger();
        var instances = InstanceFile.ReadFolder(files, ledger);
        var scanner = new Scanner(site.Ports.Dicom, ledger);
        var pixels = new short[CtStudy.Size * CtStudy.Size];
        var times = new List<double>();
        var segmented = 0;
        double executions = 0;
        for (var study = 0; study <= studies; study++)
        {
            var uid = CtStudy.Slice(Seed, study, 0, Slices, pixels).GetString(DicomTags.StudyInstanceUID)!;
            await scanner.SendAllAsync([.. instances.Where((_, i) => i % (studies + 1) == study)], cancellationToken);
            var from = Stopwatch.GetTimestamp();
            IReadOnlyList<string> found;
            while (!(found = await ModalitiesAsync(http, uid, cancellationToken)).Contains("SR"))
            {
                if (Stopwatch.GetElapsedTime(from).TotalSeconds > 120)
                {
                    throw new InvalidOperationException($"Study {uid} has no result after 120 s; its series: {string.Join(", ", found)}.");
                }

                await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System, cancellationToken);
            }

            // The first one loads the model and compiles what it meets.
            if (study > 0)
            {
                times.Add(Stopwatch.GetElapsedTime(from).TotalMilliseconds);
                segmented += found.Contains("SEG") ? 1 : 0;
            }
            else
            {
                executions = await ExecutionsAsync(http, cancellationToken);
            }
        }

        var bare = InferBench.Bare(new InferCase("nodule", "image", [1, 1, 96, 96], []), TimeSpan.FromSeconds(2)).P50 / 1000 * executions;
        times.Sort();
        say(string.Create(CultureInfo.InvariantCulture, $"{studies} studies of {Slices} slices, {segmented} with a segmentation; the network alone needs {bare:0} ms for {executions:0} windows"));
        var limit = bare + QuietMs;
        rows.Add(BenchRow.Less($"bare model and {QuietMs} ms of quiet; {Slices} slices stored to SEG and SR available, p50", times[times.Count / 2], limit, "ms"));
        rows.Add(BenchRow.Less($"bare model and {QuietMs} ms of quiet; {Slices} slices stored to SEG and SR available, p99", times[(int)(times.Count * 0.99)], limit, "ms"));
    }

    private static async Task<double> ExecutionsAsync(HttpClient http, CancellationToken cancellationToken) =>
        (double)JsonNode.Parse(await http.GetStringAsync("v2/models/nodule/stats", cancellationToken))!["model_stats"]![0]!["execution_count"]!;

    private static async Task<IReadOnlyList<string>> ModalitiesAsync(HttpClient http, string study, CancellationToken cancellationToken)
    {
        var text = await http.GetStringAsync($"pacs-gw/dicom-web/studies/{study}/series", cancellationToken);
        return text.Length == 0 ? [] : [.. JsonNode.Parse(text)!.AsArray().Select(s => (string)s!["00080060"]!["Value"]![0]!)];
    }
}
