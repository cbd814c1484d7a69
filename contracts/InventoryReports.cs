namespace Yizhan.Contracts;

/// <summary>A source says what a piece of equipment or a node is. Event type <see cref="EventType"/>.</summary>
/// <param name="Source">Name of the source at the site.</param>
/// <param name="ReportId">Deterministic: the same report read again has the same.</param>
/// <param name="SeenMs">When it was seen, Unix milliseconds UTC.</param>
/// <param name="Kind">computer, network, printer, phone, modality, server, device or node.</param>
/// <param name="Name">What it calls itself.</param>
/// <param name="Manufacturer">Manufacturer; may be empty.</param>
/// <param name="Model">Model; may be empty.</param>
/// <param name="Keys">What it may be known by, as <c>type:value</c>: uuid, serial, board, mac, agent, engine, ae, udi, host.</param>
/// <param name="Addresses">Network addresses.</param>
/// <param name="Software">Software, firmware and models with versions.</param>
/// <param name="Partial">Only some sections were reported: what is not named is as it was.</param>
public sealed record AssetReported(
    string Source, string ReportId, long SeenMs, string Kind, string Name, string Manufacturer, string Model, IReadOnlyList<string> Keys,
    IReadOnlyList<string> Addresses, IReadOnlyList<AssetSoftware> Software, bool Partial = false)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.inventory.asset.v1";
}

/// <summary>Something that runs on a piece of equipment.</summary>
/// <param name="Name">Name.</param>
/// <param name="Version">Version; may be empty.</param>
public sealed record AssetSoftware(string Name, string Version);

/// <summary>Somebody decided whether two assets that share a key are one. Event type <see cref="EventType"/>; also a request's body.</summary>
/// <param name="First">Id of the one.</param>
/// <param name="Second">Id of the other.</param>
/// <param name="Same">They are one: the second's keys and reports are the first's.</param>
/// <param name="Actor">Who decided.</param>
public sealed record AssetDecision(string First, string Second, bool Same, string Actor)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.inventory.asset-decision.v1";
}

/// <summary>A run of a source came to its end. Event type <see cref="EventType"/>; the newest is its watermark.</summary>
/// <param name="Source">Name of the source at the site.</param>
/// <param name="Kind">csv, agent, fhir, rest, mqtt, push, snmp, redfish, dicom or node.</param>
/// <param name="EndedMs">When it ended, Unix milliseconds UTC.</param>
/// <param name="Outcome">complete; partial: some of it was refused; nothing: there was nothing new; failed.</param>
/// <param name="Problem">Why it is not complete; empty when it is.</param>
/// <param name="Movements">Movements that it brought.</param>
/// <param name="Assets">Reports of equipment that it brought.</param>
/// <param name="LastSuccessMs">When its last complete run ended; until the first one, when the source was first tried.</param>
/// <param name="EveryMinutes">How often it runs.</param>
public sealed record SourceCollected(
    string Source, string Kind, long EndedMs, string Outcome, string Problem, long Movements, long Assets, long LastSuccessMs, int EveryMinutes)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.inventory.collected.v1";
}

/// <summary>A source of a site as it was last heard of; an element of <c>GET /inventory/sources</c>.</summary>
/// <param name="Site">Site.</param>
/// <param name="Last">Its last run.</param>
public sealed record SourceView(string Site, SourceCollected Last);

/// <summary>A piece of equipment or a node; an element of <c>GET /inventory/assets</c>.</summary>
/// <param name="Id">Identity, the same at the site and at the centre.</param>
/// <param name="Site">Site.</param>
/// <param name="Last">Its newest report; software of partial reports is kept from before.</param>
/// <param name="Keys">All keys that it was ever known by.</param>
/// <param name="FirstSeenMs">Unix milliseconds UTC.</param>
public sealed record AssetView(string Id, string Site, AssetReported Last, IReadOnlyList<string> Keys, long FirstSeenMs);

/// <summary>Two assets that may be one; an element of <c>GET /inventory/assets/conflicts</c>.</summary>
/// <param name="Site">Site.</param>
/// <param name="First">The one that was known before.</param>
/// <param name="Second">The other.</param>
/// <param name="Shared">Keys that both have.</param>
/// <param name="Reason">Why nobody but a person decides it.</param>
/// <param name="SinceMs">Since when, Unix milliseconds UTC.</param>
public sealed record AssetConflict(string Site, string First, string Second, IReadOnlyList<string> Shared, string Reason, long SinceMs);

/// <summary>A scan of a label with what is to be recorded; the body of <c>POST /inventory/scans</c>.</summary>
/// <param name="Scan">What the scanner typed: GS1 element string, MA or AHM code, 医保 code.</param>
/// <param name="Kind">Kind of the movement; empty only reads the code.</param>
/// <param name="Quantity">How many; 1 when left out.</param>
/// <param name="Unit">Unit; empty is the base unit.</param>
/// <param name="BatchId">Name of the batch; a scan that is sent twice with one name counts once.</param>
/// <param name="Actor">Who scans.</param>
/// <param name="Location">Place.</param>
/// <param name="PatientId">issue: for whom.</param>
/// <param name="StudyInstanceUid">issue: in which study.</param>
/// <param name="EffectiveMs">When; 0 is now.</param>
public sealed record ScanRequest(
    string Scan, string Kind = "", decimal Quantity = 1, string Unit = "", string BatchId = "", string Actor = "", string Location = "", string PatientId = "",
    string StudyInstanceUid = "", long EffectiveMs = 0);

/// <summary>What a label says.</summary>
/// <param name="Scheme">gs1, ma, ahm or nhsa.</param>
/// <param name="Item">The item's code here: the first item that is defined with this identifier, or the identifier itself.</param>
/// <param name="DeviceIdentifier">The fixed part: GTIN, MA or AHM identifier, 医保 code.</param>
/// <param name="Lot">Lot or empty.</param>
/// <param name="Serial">Serial number or empty.</param>
/// <param name="Expiry"><c>YYYY-MM-DD</c> or empty.</param>
/// <param name="Produced"><c>YYYY-MM-DD</c> or empty.</param>
public sealed record ScanResult(string Scheme, string Item, string DeviceIdentifier, string Lot, string Serial, string Expiry, string Produced);

/// <summary>How long an item lasts at a site.</summary>
/// <param name="Site">Site.</param>
/// <param name="Item">Code.</param>
/// <param name="Name">Name.</param>
/// <param name="Unit">Base unit.</param>
/// <param name="OnHand">All there is.</param>
/// <param name="Usable">Without what is recalled or has expired.</param>
/// <param name="PerDay">Mean consumption of a day; null when there is too little history.</param>
/// <param name="DaysOfCover">Days until it runs out; null when nothing is used or too little is known.</param>
/// <param name="RunsOutOn">That day.</param>
/// <param name="WillExpire">What of it is expected to expire unused.</param>
/// <param name="ReorderPoint">Quantity at which to order; null when it cannot be told.</param>
/// <param name="Order">The usable stock is at or below the reorder point.</param>
public sealed record ForecastView(
    string Site, string Item, string Name, string Unit, decimal OnHand, double Usable, double? PerDay, double? DaysOfCover, DateOnly? RunsOutOn, double WillExpire,
    double? ReorderPoint, bool Order);

/// <summary>The answer of <c>GET /inventory/shortage</c>.</summary>
/// <param name="Method">How the figures are made.</param>
/// <param name="Items">The scarcest first.</param>
/// <param name="More">There are further ones behind these.</param>
public sealed record ShortageView(string Method, IReadOnlyList<ForecastView> Items, bool More = false);

/// <summary>Lots that expire in one month; an element of <c>GET /inventory/expiry-calendar</c>.</summary>
/// <param name="Month"><c>YYYY-MM</c>; empty for what has expired.</param>
/// <param name="Lots">Lots of which there is some, at each place.</param>
public sealed record ExpiryMonth(string Month, long Lots);
