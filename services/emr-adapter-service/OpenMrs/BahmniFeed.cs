using System.Globalization;
using System.Text.Json.Nodes;
using System.Xml;
using System.Xml.Linq;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Fhir;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.EmrAdapter.Sources;
using Yizhan.EmrAdapter.Terms;

namespace Yizhan.EmrAdapter.OpenMrs;

/// <summary>
/// Follows the encounter feed of Bahmni 0.93 (atomfeed 2.6): numbered pages from old to new, each entry the address of an encounter. The marker is the last entry
/// that was read and its page. Pages are made by counting rows, so rows that were deleted move entries to earlier pages: an entry that is not on its page is
/// looked for before it, and when it is nowhere, all that is not older is read again, which the log knows by its content.
/// </summary>
internal sealed partial class BahmniFeed(EmrSystemOptions system, Intake intake, TermMaps terms, TimeSpan offset, TimeProvider clock, ILogger logger) : ISource
{
    private const string Root = "ws/atomfeed/encounter/";
    private const int MaxPages = 10_000;

    private static readonly XNamespace Atom = "http://www.w3.org/2005/Atom";

    private readonly ILogger _logger = logger;
    private readonly FhirClient _client = new(system, "application/json");

    private string Feed => $"atomfeed/{system.Name}";

    /// <inheritdoc/>
    public async Task PollAsync(CancellationToken cancellationToken)
    {
        var marker = intake.Cursor(Feed) is { } text ? FeedMarker.Parse(text) : new FeedMarker("", "", (system.Since ?? clock.GetUtcNow()).ToUniversalTime());
        var (page, isGap) = await FindAsync(marker, cancellationToken);
        if (isGap)
        {
            Gap(system.Name);
        }

        if (marker.EntryId.Length == 0)
        {
            // Also before there is an entry: what comes from now on is ours.
            intake.MoveCursor(Feed, marker.ToString());
        }

        for (var pages = 0; page is not null && pages < MaxPages; pages++)
        {
            foreach (var entry in page.After(marker, isGap))
            {
                await TakeAsync(entry, cancellationToken);
                marker = new FeedMarker(entry.Id, page.Address, entry.Updated);
                intake.MoveCursor(Feed, marker.ToString());
            }

            page = page.Next is { } next ? await PageAsync(next, cancellationToken) : null;
        }
    }

    /// <inheritdoc/>
    public async Task TakeAsync(string reference, CancellationToken cancellationToken)
    {
        var encounter = await _client.GetAsync(reference, cancellationToken) ?? throw new FormatException("The encounter is not there.");
        var patientUuid = FhirClient.Text(encounter, "patientUuid") ?? throw new FormatException("The encounter names no patient.");
        var patient = new Lazy<Task<EmrPatient>>(async () => BahmniOrders.Patient(
            await _client.GetAsync($"ws/rest/v1/patient/{patientUuid}?v=full", cancellationToken) ?? throw new FormatException($"The patient {patientUuid} is not known there.")));
        if ((encounter["orders"] as JsonArray)?.Count is null or 0)
        {
            return;
        }

        foreach (var order in BahmniOrders.Read(encounter, await patient.Value, system.Name, terms, offset))
        {
            await intake.AppendAsync(order, cancellationToken);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();

    private async Task TakeAsync(FeedEntry entry, CancellationToken cancellationToken)
    {
        if (entry.Title == "Bed-Assignment" || entry.Path.Length == 0)
        {
            return;
        }

        // Addresses begin with the web application; ours does, too, and may be another.
        var path = entry.Path.IndexOf("/ws/", StringComparison.Ordinal) is >= 0 and var at ? entry.Path[(at + 1)..] : entry.Path;
        await intake.TryAsync(system.Name, "encounter", path, () => TakeAsync(path, cancellationToken), cancellationToken);
    }

    /// <summary>The page with the marker, or the first that has something which is not older than it.</summary>
    private async Task<(FeedPage? Page, bool IsGap)> FindAsync(FeedMarker marker, CancellationToken cancellationToken)
    {
        var page = marker.Page.Length > 0 ? await PageAsync(marker.Page, cancellationToken) : null;
        if (page?.Entries.Any(e => e.Id == marker.EntryId) == true)
        {
            return (page, false);
        }

        // "recent" changes all the time; what it names as itself (via) is the page to remember.
        page ??= await PageAsync("recent", cancellationToken);
        for (var pages = 0; page is not null && pages < MaxPages; pages++)
        {
            if (marker.EntryId.Length > 0 && page.Entries.Any(e => e.Id == marker.EntryId))
            {
                return (page, false);
            }

            if (page.Previous is not { } previous || (page.Entries.Count > 0 && page.Entries[0].Updated < marker.Updated))
            {
                return (page, marker.EntryId.Length > 0);
            }

            page = await PageAsync(previous, cancellationToken);
        }

        return (page, marker.EntryId.Length > 0);
    }

    private async Task<FeedPage?> PageAsync(string number, CancellationToken cancellationToken)
    {
        if (await _client.GetTextAsync(Root + number, cancellationToken) is not { } text)
        {
            return null;
        }

        try
        {
            var settings = new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null };
            using var reader = XmlReader.Create(new StringReader(text), settings);
            var feed = XDocument.Load(reader).Root!;
            if (feed.Name != Atom + "feed")
            {
                throw new FhirException(new SendOutcome.Unreachable($"Instead of an Atom feed came <{feed.Name.LocalName}>."), null);
            }

            return new FeedPage(Link(feed, "via") ?? number, Link(feed, "prev-archive"), Link(feed, "next-archive"), [.. feed.Elements(Atom + "entry").Select(Entry)]);
        }
        catch (XmlException e)
        {
            throw new FhirException(new SendOutcome.Unreachable($"Instead of an Atom feed came something that is no XML: {e.Message}"), null, e);
        }
    }

    /// <summary>The page number at the end of a link; its host may be any.</summary>
    private static string? Link(XElement feed, string relation) =>
        (string?)feed.Elements(Atom + "link").FirstOrDefault(l => (string?)l.Attribute("rel") == relation)?.Attribute("href") is { } address ? address.TrimEnd('/').Split('/')[^1] : null;

    private static FeedEntry Entry(XElement entry) => new(
        (string?)entry.Element(Atom + "id") ?? "", (string?)entry.Element(Atom + "title") ?? "", ((string?)entry.Element(Atom + "content") ?? "").Trim(),
        DateTimeOffset.TryParse((string?)entry.Element(Atom + "updated"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var updated) ? updated.ToUniversalTime() : DateTimeOffset.UnixEpoch);

    [LoggerMessage(4031, LogLevel.Error, "The feed of {System} does not have the entry any more that was read last: all that is not older is read again.")]
    private partial void Gap(string system);

    private sealed record FeedEntry(string Id, string Title, string Path, DateTimeOffset Updated);

    private sealed record FeedPage(string Address, string? Previous, string? Next, IReadOnlyList<FeedEntry> Entries)
    {
        /// <summary>Entries that were not read yet.</summary>
        public IEnumerable<FeedEntry> After(FeedMarker marker, bool isGap) =>
            !isGap && Entries.Any(e => e.Id == marker.EntryId) ? Entries.SkipWhile(e => e.Id != marker.EntryId).Skip(1) : Entries.Where(e => e.Updated >= marker.Updated);
    }
}

/// <summary>How far the feed was read.</summary>
/// <param name="EntryId">The last entry; empty before the first.</param>
/// <param name="Page">Its page.</param>
/// <param name="Updated">Its time; before the first entry, the time from which on entries are wanted.</param>
internal sealed record FeedMarker(string EntryId, string Page, DateTimeOffset Updated)
{
    public static FeedMarker Parse(string text)
    {
        var parts = text.Split('\t');
        return new FeedMarker(parts[0], parts[1], DateTimeOffset.Parse(parts[2], CultureInfo.InvariantCulture));
    }

    public override string ToString() => $"{EntryId}\t{Page}\t{Updated.ToString("O", CultureInfo.InvariantCulture)}";
}
