namespace Yizhan.Contracts;

/// <summary>What a site says about itself with each contact; the body of <c>PUT /fleet/link/v1/status</c>.</summary>
/// <param name="SiteId">The site.</param>
/// <param name="Epoch">Epoch of its log.</param>
/// <param name="Version">Product version that it runs.</param>
/// <param name="SentMs">When it was said, by the site's clock, Unix milliseconds UTC.</param>
/// <param name="Lanes">What waits, urgent first.</param>
/// <param name="Configuration">Which configuration it runs; null from a site that does not say.</param>
/// <param name="Spool">How its spool does; null when it does not say.</param>
/// <param name="Services">What its services say of themselves; null when it does not say.</param>
/// <param name="CertificateExpiresMs">When its certificate ends, Unix milliseconds UTC; null when it does not say.</param>
/// <param name="Licence">Its licence; null when it has none, or does not say.</param>
public sealed record SiteStatus(
    string SiteId, Guid Epoch, string Version, long SentMs, IReadOnlyList<LaneStatus> Lanes, ConfigurationStatus? Configuration = null,
    SpoolFigures? Spool = null, IReadOnlyList<ServiceHealth>? Services = null, long? CertificateExpiresMs = null, LicenceStatus? Licence = null);

/// <summary>What a site's licence is worth.</summary>
/// <param name="State">active, grace, lapsed, notyet, forged, othersite, otherhardware or superseded.</param>
/// <param name="ExpiresMs">Its end, Unix milliseconds UTC; null when it cannot be read.</param>
public sealed record LicenceStatus(string State, long? ExpiresMs);

/// <summary>What a service of a site says of itself.</summary>
/// <param name="Name">The check, such as <c>audit</c>.</param>
/// <param name="State"><see cref="Healthy"/>, <see cref="Degraded"/> or <see cref="Unhealthy"/>.</param>
public sealed record ServiceHealth(string Name, string State)
{
    /// <summary>It does its work.</summary>
    public const string Healthy = "healthy";

    /// <summary>It works, with something that somebody should look at.</summary>
    public const string Degraded = "degraded";

    /// <summary>It does not do its work.</summary>
    public const string Unhealthy = "unhealthy";
}

/// <summary>How a site's spool does.</summary>
/// <param name="OutageHours">Hours without a link that the room of the bulk lane takes at the recent rate; null while nothing was accepted.</param>
/// <param name="DeliveredRatio">Confirmed of accepted entries of this epoch, 0 to 1.</param>
/// <param name="Quarantined">Entries that cannot be delivered.</param>
/// <param name="CommitP99Ms">99th percentile of the last commits, in milliseconds.</param>
/// <param name="BatchEntries">Entries that share a commit, on average.</param>
/// <param name="UsedBytes">What entries and blobs take, kept ones included.</param>
/// <param name="CapacityBytes">What they could take.</param>
public sealed record SpoolFigures(
    double? OutageHours, double DeliveredRatio, long Quarantined, double CommitP99Ms, double BatchEntries, long UsedBytes, long CapacityBytes);

/// <summary>One lane of a site's spool.</summary>
/// <param name="Lane">urgent, normal, bulk or telemetry.</param>
/// <param name="Entries">Entries that wait.</param>
/// <param name="Bytes">Bytes that wait, blobs included.</param>
/// <param name="OldestMs">Time of the oldest, Unix milliseconds UTC; null when none waits.</param>
/// <param name="RoomBytes">Bytes that the lane would still accept.</param>
public sealed record LaneStatus(string Lane, long Entries, long Bytes, long? OldestMs, long RoomBytes);

/// <summary>A site as the centre sees it; an element of <c>GET /fleet/sites</c>.</summary>
/// <param name="Status">The last that it said.</param>
/// <param name="LastContactMs">When the centre last heard from it, by the centre's clock, Unix milliseconds UTC.</param>
/// <param name="Online">True while contacts come in time.</param>
/// <param name="WantedConfiguration">The release that the site should run now; null when there is none for it.</param>
/// <param name="ReportedMs">When the centre got <paramref name="Status"/>, by the centre's clock, Unix milliseconds UTC.</param>
/// <param name="Link">How its link does, when the site speaks of itself (<c>GET /station/sites</c>); null at the centre.</param>
public sealed record SiteView(SiteStatus Status, long LastContactMs, bool Online, string? WantedConfiguration = null, long ReportedMs = 0, SiteLink? Link = null);

/// <summary>A site's link to the centre, as the site sees it. The times of <see cref="SiteView"/> are by the site's clock then, and a last contact of 0 is none.</summary>
/// <param name="State">off (no centre is configured), down, connecting or up.</param>
/// <param name="StartedMs">When the node started, Unix milliseconds UTC.</param>
/// <param name="Error">Why it is down; null while it is not, or nobody knows.</param>
public sealed record SiteLink(string State, long StartedMs, string? Error);

/// <summary>What waited at a site at one moment; an element of <c>GET /fleet/sites/SITE/history?hours=N</c>, the oldest first. A time without one is a time without a report.</summary>
/// <param name="AtMs">When the centre was told, Unix milliseconds UTC.</param>
/// <param name="Entries">Entries that waited, all lanes.</param>
/// <param name="Bytes">Their bytes, blobs included.</param>
/// <param name="OldestAgeMs">How long the oldest had waited, in milliseconds; null when none waited.</param>
/// <param name="OutageHours">Hours without a link that the site could still take; null when it did not say.</param>
public sealed record SiteFigures(long AtMs, long Entries, long Bytes, long? OldestAgeMs, double? OutageHours);
