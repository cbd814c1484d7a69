using System.Diagnostics.Metrics;
using Microsoft.Extensions.Options;
using Yizhan.Platform;

namespace Yizhan.Storage;

/// <summary>How old the newest backup of this node is, meter <c>Yizhan.Storage</c>. A node that never made one has no series: sites are kept by their centre.</summary>
internal sealed class BackupMetrics : IDisposable
{
    private readonly Meter _meter;

    public BackupMetrics(LogMaintenance maintenance, IMeterFactory meters, IOptions<NodeOptions> node)
    {
        var site = new KeyValuePair<string, object?>("site", node.Value.SiteId);
        _meter = meters.Create("Yizhan.Storage");
        _meter.CreateObservableGauge(
            "yizhan.backup.newest.timestamp",
            () => maintenance.LastBackup is { } last ? [new Measurement<double>(last.TakenMs / 1000.0, site)] : Array.Empty<Measurement<double>>(),
            "s", "When the newest complete backup of this node was begun, Unix seconds.");
    }

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();
}
