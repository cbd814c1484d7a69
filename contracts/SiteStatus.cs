namespace Yizhan.Contracts;

/// <summary>What a site says about itself with each contact; the body of <c>PUT /fleet/link/v1/status</c>.</summary>
/// <param name="SiteId">The site.</param>
/// <param name="Epoch">Epoch of its log.</param>
/// <param name="Version">Product version that it runs.</param>
/// <param name="SentMs">When it was said, by the site's clock, Unix milliseconds UTC.</param>
/// <param name="Lanes">What waits, urgent first.</param>
/// <param name="Configuration">Which configuration it runs; null from a site that does not say.</param>
public sealed record SiteStatus(
    string SiteId, Guid Epoch, string Version, long SentMs, IReadOnlyList<LaneStatus> Lanes, ConfigurationStatus? Configuration = null);

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
public sealed record SiteView(SiteStatus Status, long LastContactMs, bool Online, string? WantedConfiguration = null);
