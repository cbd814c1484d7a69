using System.Diagnostics;
using System.Text.Json;
using Yizhan.Drills;
using Yizhan.Samples;

namespace Yizhan.EndToEnd.Tests;

/// <summary>What an operator sees of one study's way.</summary>
public sealed class TraceTests
{
    [Fact]
    [Trait("Clause", "D6.1")]
    public async Task One_trace_leads_from_the_scanner_through_an_outage_into_the_archive_of_the_centre()
    {
        var cancellationToken = TestContext.Current.CancellationToken;
        using var folder = new TemporaryFolder();
        using var sink = new OtlpSink(LocalPorts.Free().Edge);
        var site = LocalSite.Prepare(folder.In("nodes"), LocalSite.DcmtkPeers, LocalPorts.Free().WithoutRelay());
        foreach (var node in new[] { "centre", "edge" })
        {
            await File.AppendAllTextAsync(folder.In("nodes", $"{node}.yaml"), $"telemetry:\n  otlpUrl: {sink.Url}\n", cancellationToken);
        }

        CtStudy.WriteFiles(folder.In("ct"), instances: 3, studies: 1, seed: 7);
        var ledger = new Ledger();
        var files = InstanceFile.ReadFolder(folder.In("ct"), ledger);

        // The centre is away while the study comes, and the site's process ends before the centre is there.
        await using (await site.StartEdgeAsync(cancellationToken))
        {
            await new Scanner(site.Ports.Dicom, ledger).SendAllAsync(files, cancellationToken);
            await Wait.UntilAsync(() => sink.Spans.Count(s => s is { Name: "C-STORE", Site: LocalSite.SiteId }) == files.Count, "the spans of the study");
            await Wait.UntilAsync(() => sink.Spans.Any(s => s.Name == "DICOM association") && sink.Spans.Any(s => s.Name == "index"), "the spans around them");
        }

        var trace = Assert.Single(sink.Spans.Where(s => s.Name == "C-STORE").Select(s => s.TraceId).Distinct());
        await using (await site.StartCentreAsync(cancellationToken))
        await using (await site.StartEdgeAsync(cancellationToken))
        {
            await Wait.UntilAsync(() => sink.Spans.Any(s => s is { Name: "index", Site: "centre" } && s.TraceId == trace) && sink.Spans.Any(s => s is { Name: "take", Site: "centre" } && s.TraceId == trace),
                "the last hops of the trace");

            // Each node tells its spans in its own time, and the site may be the later of the two.
            await Wait.UntilAsync(() => sink.Spans.Any(s => s is { Name: "ship", Site: LocalSite.SiteId } && s.TraceId == trace), "the hop before it");
        }

        var hops = sink.Spans.Where(s => s.TraceId == trace).Select(s => (s.Site, s.Name)).Distinct().Order().ToList();
        Assert.Equal(
            [("centre", "index"), ("centre", "take"), (LocalSite.SiteId, "C-STORE"), (LocalSite.SiteId, "DICOM association"), (LocalSite.SiteId, "index"), (LocalSite.SiteId, "ship")],
            hops);
        foreach (var patientData in new[] { "Wang^", "XiaoDong", "王", "小东", "SYN0007", "19580317" })
        {
            Assert.DoesNotContain(sink.Bodies, body => body.Contains(patientData, StringComparison.Ordinal));
        }
    }

    [Fact]
    [Trait("Clause", "S5")]
    public async Task What_a_model_finds_is_in_the_emr_and_one_trace_leads_there_from_the_scanner_through_two_outages()
    {
        var cancellationToken = TestContext.Current.CancellationToken;
        using var folder = new TemporaryFolder();
        using var sink = new OtlpSink(LocalPorts.Free().Edge);
        var emr = new FhirPeer(LocalPorts.Free().Edge, folder.In("emr.journal"));
        var site = LocalSite.Prepare(folder.In("nodes"), LocalSite.DcmtkPeers, LocalPorts.Free().WithoutRelay());
        foreach (var node in new[] { "centre", "edge" })
        {
            await File.AppendAllTextAsync(folder.In("nodes", $"{node}.yaml"), $"telemetry:\n  otlpUrl: {sink.Url}\n", cancellationToken);
        }

        await File.AppendAllTextAsync(
            folder.In("nodes", "centre.yaml"),
            $"""
            emr-adapter:
              studyQuietMs: 500
              firstPauseMs: 100
              maxPauseMs: 500
              systems:
                - name: emr
                  driver: fhir
                  url: {emr.Url}
                  pollMs: 200
                  since: "2020-01-01T00:00:00Z"

            """,
            cancellationToken);
        CtStudy.WriteFiles(folder.In("ct"), instances: 60, studies: 1, seed: 7);
        var ledger = new Ledger();
        var files = InstanceFile.ReadFolder(folder.In("ct"), ledger);

        // The centre is away while the study comes and the model looks at it.
        string[] model = ["--ai-infer:rules:0:model=nodule", "--ai-infer:quietSeconds=2"];
        await using (await site.StartEdgeAsync(model, cancellationToken))
        {
            await new Scanner(site.Ports.Dicom, ledger).SendAllAsync(files, cancellationToken);
            await Wait.UntilAsync(() => sink.Spans.Any(s => s is { Name: "analyse", Site: LocalSite.SiteId }), "the analysis");
        }

        var trace = Assert.Single(sink.Spans.Where(s => s.Name == "C-STORE").Select(s => s.TraceId).Distinct());
        await using (await site.StartCentreAsync(cancellationToken))
        await using (await site.StartEdgeAsync(model, cancellationToken))
        {
            // The results are at the centre, and the EMR is away.
            await Wait.UntilAsync(() => sink.Spans.Any(s => s is { Name: "index", Site: "centre" } && s.TraceId == trace), "the study at the centre");
            await using (await emr.StartAsync(cancellationToken))
            {
                await emr.PostAsync("Patient", """{"resourceType":"Patient","identifier":[{"value":"SYN0007000"},{"value":"SYN0007001"}],"name":[{"family":"Wang"}]}""", cancellationToken);
                await Wait.UntilAsync(async () => await emr.CountAsync("DiagnosticReport", cancellationToken) == 1 && await emr.CountAsync("ImagingStudy", cancellationToken) == 1
                    && await emr.CountAsync("Provenance", cancellationToken) > 0, "the results in the EMR");
                Assert.InRange(await emr.CountAsync("Observation", cancellationToken), 1, 64);
                Assert.Equal(1, await emr.CountAsync("Provenance", cancellationToken));
                await Wait.UntilAsync(() => sink.Spans.Any(s => s is { Name: "tell", Site: "centre" } && s.TraceId == trace), "the last hop of the trace");
            }
        }

        var made = File.ReadAllLines(folder.In("emr.journal.requests")).Where(l => l.StartsWith("POST ", StringComparison.Ordinal) && !l.StartsWith("POST Patient", StringComparison.Ordinal)).ToList();
        Assert.Contains(made, l => l.StartsWith("POST DiagnosticReport", StringComparison.Ordinal));
        Assert.All(made, l => Assert.Contains($" 00-{trace}-", l, StringComparison.Ordinal));
    }

    /// <summary>The FHIR server of the EMR adapter's tests as a process.</summary>
    private sealed class FhirPeer(int port, string journal) : IAsyncDisposable
    {
        private readonly HttpClient _http = new() { BaseAddress = new Uri($"http://127.0.0.1:{port}/fhir/") };
        private Process? _process;

        public string Url => $"http://127.0.0.1:{port}/fhir";

        public async Task<FhirPeer> StartAsync(CancellationToken cancellationToken)
        {
            var directory = new DirectoryInfo(AppContext.BaseDirectory);
            while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
            {
                directory = directory.Parent ?? throw new DirectoryNotFoundException("No global.json above the test.");
            }

            var peers = Path.Combine(directory.FullName, "services/emr-adapter-service/tests/peers");
            Assert.SkipUnless(Directory.Exists(Path.Combine(peers, "node_modules")) && File.Exists("/usr/bin/node"), "The peers from npm are not installed: ./check does that.");
            _process = Process.Start(new ProcessStartInfo("/usr/bin/node", [Path.Combine(peers, "fhir-server.mjs"), $"{port}", journal]) { RedirectStandardOutput = true });
            await Wait.UntilAsync(
                async () =>
                {
                    try
                    {
                        return await CountAsync("Patient", cancellationToken) == 0;
                    }
                    catch (HttpRequestException)
                    {
                        return false;
                    }
                },
                "the FHIR server");
            return this;
        }

        public async Task PostAsync(string type, string json, CancellationToken cancellationToken)
        {
            using var content = new StringContent(json, System.Text.Encoding.UTF8, "application/fhir+json");
            using var answer = await _http.PostAsync(type, content, cancellationToken);
            Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync(cancellationToken));
        }

        public async Task<int> CountAsync(string type, CancellationToken cancellationToken)
        {
            using var bundle = JsonDocument.Parse(await _http.GetStringAsync($"{type}?_count=1000", cancellationToken));
            return bundle.RootElement.TryGetProperty("entry", out var entries) ? entries.GetArrayLength() : 0;
        }

        public async ValueTask DisposeAsync()
        {
            _http.Dispose();
            if (_process is { } process)
            {
                process.Kill();
                await process.WaitForExitAsync(CancellationToken.None);
                process.Dispose();
            }
        }
    }
}
