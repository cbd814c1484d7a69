using System.Collections.Concurrent;
using System.Diagnostics;
using Yizhan.Contracts;
using Yizhan.Platform.Telemetry;

namespace Yizhan.PacsGw.Tests;

/// <summary>What of a study is traced: its association, its first instances, and what went wrong.</summary>
public sealed class TracingTests
{
    [Fact]
    [Trait("Clause", "D6.1")]
    public async Task Of_a_long_association_the_first_instances_and_the_refused_have_spans_and_all_carry_the_trace_on()
    {
        var ended = new ConcurrentQueue<Activity>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "Yizhan",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = ended.Enqueue,
        };
        ActivitySource.AddActivityListener(listener);
        await using var gateway = await Gateway.StartAsync("--pacs-gw:peers:2:aeTitle=TRACED");
        var good = Enumerable.Range(1, 3 * Tracing.MaxPieces).Select(i => new TestInstance("2.25.1", "2.25.11", $"2.25.111.{i}")).ToList();
        var bad = new TestInstance("2.25.1", "2.25.11", "2.25.112") { Change = d => d.Remove(Yizhan.Dicom.DicomTags.StudyInstanceUID) };
        await gateway.SendAsync([.. good.Select(i => i.ToSend()), bad.ToSend()], calling: "TRACED");

        // The source is one for all gateways of this process; this peer is ours alone.
        Activity? Association() => ended.SingleOrDefault(a => a.DisplayName == "DICOM association" && a.GetTagItem("dicom.calling_ae_title") is "TRACED");
        await Wait.UntilAsync(() => Association() is not null);
        var association = Association()!;

        // One of the many that took long has a span for that, whatever the reason was here.
        var instances = ended.Where(a => a.DisplayName == "C-STORE" && a.TraceId == association.TraceId).OrderBy(a => a.StartTimeUtc)
            .Where((a, place) => place < Tracing.MaxPieces || a.Duration <= Tracing.Slow || a.GetTagItem("dicom.status") is not "0000").ToList();
        Assert.Equal([.. Enumerable.Repeat("0000", Tracing.MaxPieces), "C000"], instances.Select(a => (string)a.GetTagItem("dicom.status")!).Order());
        Assert.All(instances, a => Assert.Equal(association.SpanId, a.ParentSpanId));
        var refused = instances.Single(a => a.GetTagItem("dicom.status") is "C000");
        Assert.InRange(refused.StartTimeUtc, association.StartTimeUtc, association.StartTimeUtc + association.Duration);

        var stored = (await gateway.Log.ReadAsync(0, 1000, Gateway.Cancel)).Where(e => e.Entry.Type == InstanceStored.EventType).ToList();
        Assert.Equal(good.Count, stored.Count);
        Assert.All(stored, e => Assert.StartsWith($"00-{association.TraceId}-", e.Entry.TraceParent, StringComparison.Ordinal));
    }
}
