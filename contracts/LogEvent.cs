namespace Yizhan.Contracts;

/// <summary>One entry of the centre's event log as an operator sees it; an element of <c>GET /fleet/events?after=POSITION&amp;limit=N</c>.</summary>
/// <param name="Position">Place in the centre's log; give it as <c>after</c> to read on.</param>
/// <param name="Site">Site that accepted the fact.</param>
/// <param name="Epoch">Epoch of that site's log.</param>
/// <param name="Lane">urgent, normal, bulk or telemetry.</param>
/// <param name="Sequence">Place in (site, epoch, lane).</param>
/// <param name="Type">CloudEvents type.</param>
/// <param name="TimeMs">When it happened, by the site's clock, Unix milliseconds UTC.</param>
/// <param name="Blobs">SHA-256 of the blobs that it names, 64 lower-case hex digits each.</param>
public sealed record LogEvent(
    long Position, string Site, Guid Epoch, string Lane, long Sequence, string Type, long TimeMs, IReadOnlyList<string> Blobs);
