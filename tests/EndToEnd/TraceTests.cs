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
        }

        var trace = Assert.Single(sink.Spans.Where(s => s.Name == "C-STORE").Select(s => s.TraceId).Distinct());
        await using (await site.StartCentreAsync(cancellationToken))
        await using (await site.StartEdgeAsync(cancellationToken))
        {
            await Wait.UntilAsync(() => sink.Spans.Any(s => s is { Name: "index", Site: "centre" } && s.TraceId == trace), "the last hop of the trace");
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
}
