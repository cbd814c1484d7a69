using System.Diagnostics.Metrics;
using Microsoft.Extensions.Options;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Audit;

/// <summary>How the audit log of this node does, meter <c>Yizhan.Audit</c>. At the centre the log has the records of all sites, and a gap may be any site's.</summary>
internal sealed class AuditMetrics : IDisposable
{
    private readonly Meter _meter;

    public AuditMetrics(AuditConsumer consumer, IEventLog events, IMeterFactory meters, IOptions<NodeOptions> node)
    {
        var site = new KeyValuePair<string, object?>("site", node.Value.SiteId);
        _meter = meters.Create("Yizhan.Audit");

        // From 0 on, so that the first gap is an increase.
        _meter.CreateObservableCounter("yizhan.audit.gaps", () => new Measurement<long>(consumer.Gaps, site), "{gap}", "Records that a source did not deliver, since the start of this node.");
        _meter.CreateObservableGauge(
            "yizhan.audit.size", () => consumer.Log is { } log ? [new Measurement<long>(log.Current.Checkpoint.Size, site)] : Array.Empty<Measurement<long>>(),
            "{entry}", "Entries of the audit log; none while it is not open.");
        _meter.CreateObservableGauge(
            "yizhan.audit.behind", () => new Measurement<long>(Math.Max(0, events.LastPosition - consumer.ReadThrough), site), "{entry}", "Entries of the event log that the audit log has still to read.");
    }

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();
}
