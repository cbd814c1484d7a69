using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Yizhan.AlertBridge.Tests;
using Yizhan.Drills;
using Yizhan.Samples;

namespace Yizhan.EndToEnd.Tests;

/// <summary>What a run of real nodes shows: nothing but the documented figures, and something in every panel.</summary>
public sealed partial class DashboardTests
{
    private const int MostSeries = 100;

    /// <summary>Panels that stay empty in this run.</summary>
    private static readonly Dictionary<string, string> Empty = new()
    {
        ["Services that do not work"] = "all do",
        ["Hours left, the least"] = "a site says it after its first busy minutes",
        ["Hours without a line that are left"] = "a site says it after its first busy minutes",
        ["Drift of inputs and results"] = "needs a hundred series of one version",
        ["Tries a second, by result"] = "the run has no medical record system that answers",
        ["Life of the licence"] = "the run has no licence",
        ["Age of the newest backup"] = "the run makes no backup",
    };

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Clause", "D6.1")]
    [Trait("Clause", "D6.2")]
    public async Task Every_panel_has_data_of_a_run_and_every_series_is_documented_and_says_nothing_of_patients()
    {
        Assert.SkipUnless(AlertingStack.Missing is null, AlertingStack.Missing ?? "");
        using var folder = new TemporaryFolder();
        var site = LocalSite.Prepare(folder.In("nodes"), LocalSite.DcmtkPeers, LocalPorts.Free().WithoutRelay());
        CtStudy.WriteFiles(folder.In("ct"), instances: 20, studies: 1, seed: 7);
        var ledger = new Ledger();
        var files = InstanceFile.ReadFolder(folder.In("ct"), ledger);
        await using var centre = await site.StartCentreAsync(Cancel);
        await using var edge = await site.StartEdgeAsync(
            [
                "--ai-infer:rules:0:model=nodule", "--ai-infer:quietSeconds=1", "--ai-infer:load:0=nodule", "--nmt-asr:dialects:0=en",
                "--emr-adapter:systems:0:name=emr", "--emr-adapter:systems:0:driver=fhir", $"--emr-adapter:systems:0:url=http://127.0.0.1:{LocalPorts.Free().Edge}/fhir",
                "--emr-adapter:studyQuietMs=500",
            ], Cancel);
        await using var stack = await AlertingStack.StartAsync(
            site.Ports.CentreWeb, Platform.Identity.LocalOperator.PathIn(site.CentreFolder),
            _ => $"{Scrape.Job("yizhan-centre", site.Ports.CentreWeb, site.CentreFolder)}, {Scrape.Job("yizhan-edge", site.Ports.EdgeWeb, site.EdgeFolder)}, {Scrape.Job("yizhan-models", site.Ports.EdgeWeb, site.EdgeFolder, "/ai-infer/metrics")}",
            "5m");
        await new Scanner(site.Ports.Dicom, ledger).SendAllAsync(files, Cancel);
        await Dictation.MakeAsync(site, "first-0001", repeated: 1, noise: 0);
        await Wait.UntilAsync(() => stack.HasAsync("yizhan_asr_reference_words_total > 0"), "the first dictation");
        await Dictation.MakeAsync(site, "second-001", repeated: 1, noise: 0);

        foreach (var panel in JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(AlertingStack.Root(), "infra", "observability", "dashboards", "dashboards.json"), Cancel))!.AsArray()
            .SelectMany(board => board!["rows"]!.AsArray()).SelectMany(row => row!["panels"]!.AsArray()))
        {
            var title = (string)panel!["title"]!;
            if (!Empty.ContainsKey(title))
            {
                await Wait.UntilAsync(() => stack.HasAsync(((string)panel["expr"]!).Replace("$site", LocalSite.SiteId, StringComparison.Ordinal)), $"data of '{title}'");
            }
        }

        using var c = site.CentreClient();
        using var e = site.EdgeClient();
        foreach (var page in new[] { await c.GetStringAsync("/metrics", Cancel), await e.GetStringAsync("/metrics", Cancel), await e.GetStringAsync("/ai-infer/metrics", Cancel) })
        {
            CheckNames(page);
            foreach (var patientData in new[] { "Wang", "XiaoDong", "王", "小东", "SYN0007", "19580317", "dictation-" })
            {
                Assert.DoesNotContain(patientData, page, StringComparison.Ordinal);
            }
        }
    }

    private static void CheckNames(string page)
    {
        var known = File.ReadLines(Path.Combine(AlertingStack.Root(), "docs", "operations", "metrics.md")).Where(l => l.StartsWith("| `", StringComparison.Ordinal))
            .Select(l => l.Split('|', StringSplitOptions.TrimEntries)).ToDictionary(c => c[2].Trim('`'), c => c[3].Split(", ", StringSplitOptions.RemoveEmptyEntries));
        var series = Line().Matches(page).Select(m => (Name: Part().Replace(m.Groups[1].Value, ""), Labels: Label().Matches(m.Groups[2].Value).Select(l => l.Groups[1].Value).ToArray())).ToList();
        foreach (var (name, labels) in series)
        {
            Assert.True(known.TryGetValue(name, out var documented), $"{name} is not in docs/operations/metrics.md.");
            Assert.Empty(labels.Except(documented!).Except(["le", "otel_scope_name"]));
        }

        Assert.All(series.GroupBy(s => (s.Name, Part: s.Labels.Contains("le"))), group => Assert.InRange(group.Count(), 1, MostSeries));
    }

    [GeneratedRegex(@"^(yizhan_\w+)(?:\{(.*)\})? ", RegexOptions.Multiline)]
    private static partial Regex Line();

    [GeneratedRegex("(\\w+)=\"")]
    private static partial Regex Label();

    [GeneratedRegex("_(bucket|sum|count)$")]
    private static partial Regex Part();
}
