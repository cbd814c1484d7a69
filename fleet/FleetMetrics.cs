using System.Diagnostics.Metrics;
using Yizhan.Contracts;
using Yizhan.Fleet.Accounts;
using Yizhan.Fleet.Drills;

namespace Yizhan.Fleet;

/// <summary>
/// What the centre knows of its sites, meter <c>Yizhan.Fleet</c>: the alerts read these, so that they work with the line down and need no way in to a site.
/// The figures of a site are the last that it reported; <c>yizhan.site.last_contact</c> says how old they may be. Series are one for each site (and lane or
/// service), and a site has one only after it was enrolled.
/// </summary>
internal sealed class FleetMetrics : IDisposable
{
    /// <summary>Name of the meter.</summary>
    public const string MeterName = "Yizhan.Fleet";

    /// <summary>Checks of one site that have a series; what a site would report beyond is left out.</summary>
    private const int MaxServices = 32;

    private readonly SiteRegistry _sites;
    private readonly Meter _meter;

    public FleetMetrics(SiteRegistry sites, EmergencyBook emergencies, DrillBook drills, TimeProvider clock, IMeterFactory meters)
    {
        _sites = sites;
        _meter = meters.Create(MeterName);
        Gauge("yizhan.site.online", "", "1 while contacts come in time.", v => v.Online ? 1 : 0);
        Gauge("yizhan.site.last_contact.timestamp", "s", "When the centre last heard of the site, Unix seconds.", v => v.LastContactMs / 1000.0);
        Gauge("yizhan.site.clock.offset", "s", "By how much the site's clock was ahead of the centre's at its last report.", v => (v.Status.SentMs - v.ReportedMs) / 1000.0);
        Gauge("yizhan.site.spool.outage_left", "h", "Hours without a link that the site's remaining room takes.", v => v.Status.Spool?.OutageHours);
        Gauge("yizhan.site.spool.quarantined", "{entry}", "Entries that cannot be delivered.", v => v.Status.Spool?.Quarantined);
        Gauge("yizhan.site.spool.used", "By", "What entries and blobs take.", v => v.Status.Spool?.UsedBytes);
        Gauge("yizhan.site.spool.capacity", "By", "What they could take.", v => v.Status.Spool?.CapacityBytes);
        Gauge("yizhan.site.configuration.current", "", "1 when the site runs the release that it should.", v =>
            v.WantedConfiguration is { } wanted ? v.Status.Configuration?.Version == wanted ? 1 : 0 : null);
        Lanes("yizhan.site.spool.entries", "{entry}", "Entries that wait for the centre.", (l, _) => l.Entries);
        Lanes("yizhan.site.spool.waiting", "By", "Bytes that wait for the centre.", (l, _) => l.Bytes);
        Lanes("yizhan.site.spool.oldest", "s", "Age of the oldest entry that waits.", (l, _) =>
            l.OldestMs is { } oldest ? Math.Max(0, clock.GetUtcNow().ToUnixTimeMilliseconds() - oldest) / 1000.0 : 0);
        Gauge("yizhan.site.certificate.expires.timestamp", "s", "When the site's certificate ends, Unix seconds.", v => v.Status.CertificateExpiresMs / 1000.0);
        _meter.CreateObservableGauge<double>(
            "yizhan.site.licence.expires.timestamp",
            () => _sites.Sites().Where(v => v.Status.Licence?.ExpiresMs is not null)
                .Select(v => new Measurement<double>(v.Status.Licence!.ExpiresMs!.Value / 1000.0, Site(v), new("state", v.Status.Licence.State))),
            "s", "When the site's licence ends, Unix seconds; the state is what it is worth now.");
        _meter.CreateObservableGauge<double>(
            "yizhan.emergency.waiting", () => emergencies.Waiting().Select(w => new Measurement<double>(w.Count, new KeyValuePair<string, object?>("site", w.Site))),
            "{access}", "Emergency accesses that nobody has looked at.");
        _meter.CreateObservableGauge<double>(
            "yizhan.emergency.oldest",
            () => emergencies.Waiting().Select(w => new Measurement<double>(
                Math.Max(0, clock.GetUtcNow().ToUnixTimeMilliseconds() - w.OldestMs) / 1000.0, new KeyValuePair<string, object?>("site", w.Site))),
            "s", "Age of the oldest of them.");
        _meter.CreateObservableGauge<double>(
            "yizhan.drill.last_success.timestamp",
            () => drills.Figures().Select(d => new Measurement<double>(d.LastSuccessMs / 1000.0, new KeyValuePair<string, object?>("kind", d.Kind))),
            "s", "When a drill of the kind passed last, Unix seconds; 0: never.");
        _meter.CreateObservableGauge<double>(
            "yizhan.drill.passed",
            () => drills.Figures().Where(d => d.Passed is not null).Select(d => new Measurement<double>(d.Passed == true ? 1 : 0, new KeyValuePair<string, object?>("kind", d.Kind))),
            null, "1 when the newest run of the kind passed, 0 when it did not.");
        _meter.CreateObservableGauge(
            "yizhan.site.service.up", Services, null, "1 while the service of the site says that it is healthy or degraded, 0 when it says that it is not.");
    }

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();

    private void Gauge(string name, string unit, string description, Func<SiteView, double?> value) =>
        _meter.CreateObservableGauge(
            name,
            () => _sites.Sites().Where(v => value(v) is not null).Select(v => new Measurement<double>(value(v)!.Value, Site(v))),
            unit.Length == 0 ? null : unit,
            description);

    private void Lanes(string name, string unit, string description, Func<LaneStatus, SiteView, double> value) =>
        _meter.CreateObservableGauge(
            name,
            () => _sites.Sites().SelectMany(v => v.Status.Lanes.Take(4).Select(l => new Measurement<double>(value(l, v), Site(v), new("lane", l.Lane)))),
            unit,
            description);

    private IEnumerable<Measurement<int>> Services() => _sites.Sites().SelectMany(v => (v.Status.Services ?? []).Take(MaxServices).Select(s =>
        new Measurement<int>(s.State == ServiceHealth.Unhealthy ? 0 : 1, Site(v), new("service", s.Name))));

    private static KeyValuePair<string, object?> Site(SiteView view) => new("site", view.Status.SiteId);
}
