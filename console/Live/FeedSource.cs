using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Yizhan.Contracts;

namespace Yizhan.Console.Live;

/// <summary>What distinguishes one feed from another: where it comes from and in which order it is shown.</summary>
/// <param name="Name">For logs.</param>
/// <param name="ListPath">Answers the whole list.</param>
/// <param name="StreamPath">Answers changes as server-sent events.</param>
/// <param name="Limit">Most records to keep.</param>
/// <param name="Key">What stays the same when a record changes.</param>
/// <param name="ChangedMs">Time of a record's last change; an older version never replaces a newer one.</param>
/// <param name="Order">Order to show.</param>
/// <param name="ListType">JSON of the list.</param>
/// <param name="ItemType">JSON of one record.</param>
internal sealed record FeedSource<T>(
    string Name,
    string ListPath,
    string StreamPath,
    int Limit,
    Func<T, string> Key,
    Func<T, long> ChangedMs,
    Comparison<T> Order,
    JsonTypeInfo<IReadOnlyList<T>> ListType,
    JsonTypeInfo<T> ItemType)
{
    /// <summary>Reads the data of one event, which is one record or a list of them.</summary>
    /// <exception cref="JsonException">It is neither.</exception>
    public IReadOnlyList<T> Parse(ReadOnlySpan<byte> data) =>
        data.TrimStart(" \t\r\n"u8) is [(byte)'[', ..]
            ? JsonSerializer.Deserialize(data, ListType) ?? []
            : [JsonSerializer.Deserialize(data, ItemType) ?? throw new JsonException("The record is null.")];
}

internal static class FeedSources
{
    /// <summary>Sites by name, so that none changes its place while one looks at it.</summary>
    public static FeedSource<SiteView> Sites { get; } = new(
        "sites", "fleet/sites", "fleet/sites/stream", Limit: 1000,
        s => s.Status.SiteId, s => s.LastContactMs,
        (a, b) => string.CompareOrdinal(a.Status.SiteId, b.Status.SiteId),
        ContractsJson.Default.IReadOnlyListSiteView, ContractsJson.Default.SiteView);

    /// <summary>The one site of a site's own console, which its station tells of; there is no stream of one.</summary>
    public static FeedSource<SiteView> ThisSite { get; } = Sites with { Name = "this site", ListPath = "station/sites", StreamPath = "station/sites/stream" };

    /// <summary>
    /// The studies that grew last, on top. The minute of growth decides and then the time of storing: two studies that arrive
    /// together would otherwise change places with every image.
    /// </summary>
    public static FeedSource<StudyView> Studies { get; } = new(
        "studies", "pacs-gw/studies?limit=50", "pacs-gw/studies/stream", Limit: 50,
        s => s.StudyInstanceUid, s => s.LastIndexedMs,
        (a, b) => (b.LastIndexedMs / 60_000).CompareTo(a.LastIndexedMs / 60_000) is not 0 and var byMinute ? byMinute
            : b.FirstStoredMs.CompareTo(a.FirstStoredMs) is not 0 and var byStored ? byStored
            : string.CompareOrdinal(a.StudyInstanceUid, b.StudyInstanceUid),
        ContractsJson.Default.IReadOnlyListStudyView, ContractsJson.Default.StudyView);
}
