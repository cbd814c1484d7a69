namespace Yizhan.Contracts;

/// <summary>
/// Changes of stock that belong together: all of them are recorded, or none. Event type <see cref="EventType"/>; the body of <c>POST /inventory/movements</c>.
/// </summary>
/// <param name="BatchId">What the sender calls it, 1 to 100 characters. The same again changes nothing; the same with other movements is refused.</param>
/// <param name="Source">Where it comes from: <c>console</c>, <c>scan</c>, or the name of a source of the site.</param>
/// <param name="Actor">Who answers for it; a person's id or the source again.</param>
/// <param name="Movements">1 to 2000, in the order in which they take effect on each other.</param>
/// <param name="RecordedMs">When the site recorded it, Unix milliseconds UTC. Set by the service.</param>
/// <param name="Count">How many movements the sender meant; when it is there and differs, half of the batch is missing and nothing is recorded.</param>
public sealed record MovementBatch(
    string BatchId, string Source, string Actor, IReadOnlyList<Movement> Movements, long RecordedMs = 0, int? Count = null)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.inventory.movements.v1";
}

/// <summary>One change of one lot at one place.</summary>
/// <param name="Kind">receive, issue, adjust, count, transfer, waste or recall.</param>
/// <param name="Item">Code of the item, as it was defined at the site: <c>gtin:06901234567892</c>, <c>nhsa:C…</c>, or a local one.</param>
/// <param name="Quantity">
/// In <paramref name="Unit"/>, at most three decimals once converted. Positive; signed for adjust; what is there for count, from 0; 0 for recall.
/// </param>
/// <param name="Unit">A unit of the item at this site; empty is its base unit.</param>
/// <param name="EffectiveMs">When it happened, Unix milliseconds UTC. May lie in the past, not in the future.</param>
/// <param name="Lot">Batch or lot; empty when the item has none.</param>
/// <param name="Expiry">Last day of use, <c>YYYY-MM-DD</c>; empty when it has none or is not known.</param>
/// <param name="Location">Store, room or cabinet at the site; empty is the main store.</param>
/// <param name="ToLocation">transfer: where to, at the same site.</param>
/// <param name="ToSite">transfer: the other site; it records a receive of its own when the goods arrive.</param>
/// <param name="PatientId">issue: for whom; empty when it is not for one patient.</param>
/// <param name="StudyInstanceUid">issue: the study that it was used in.</param>
/// <param name="Reference">Delivery note, recall notice, reason.</param>
/// <param name="BaseQuantity"><paramref name="Quantity"/> in the item's base unit. Set by the service, so that a later change of a unit changes no history.</param>
public sealed record Movement(
    string Kind,
    string Item,
    decimal Quantity,
    string Unit,
    long EffectiveMs,
    string Lot = "",
    string Expiry = "",
    string Location = "",
    string ToLocation = "",
    string ToSite = "",
    string PatientId = "",
    string StudyInstanceUid = "",
    string Reference = "",
    decimal? BaseQuantity = null);

/// <summary>What a site calls an item and how it counts it. Event type <see cref="EventType"/>; the body of <c>PUT /inventory/items</c>.</summary>
/// <param name="Code">1 to 100 characters; the newest definition of a code counts.</param>
/// <param name="Name">For people.</param>
/// <param name="Category">consumable, drug or reagent.</param>
/// <param name="Unit">Base unit: balances are in it.</param>
/// <param name="Units">Other units: how many base units one of them is, such as <c>box: 10</c>.</param>
/// <param name="ReorderPoint">Base units at which to order; null: computed from consumption and lead time.</param>
/// <param name="LeadDays">Days from order to delivery. Default 14.</param>
/// <param name="Codes">The same item elsewhere: <c>gtin:…</c>, <c>nhsa:C…</c> (医保), <c>ma:…</c>, <c>ahm:…</c>.</param>
public sealed record ItemDefinition(
    string Code,
    string Name,
    string Category,
    string Unit,
    IReadOnlyDictionary<string, decimal>? Units = null,
    decimal? ReorderPoint = null,
    int LeadDays = 14,
    IReadOnlyList<string>? Codes = null)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.inventory.item.v1";
}

/// <summary>The answer to a recorded batch.</summary>
/// <param name="BatchId">Its name.</param>
/// <param name="AlreadyKnown">It was recorded before; nothing changed.</param>
/// <param name="Movements">How many it has.</param>
public sealed record RecordedBatch(string BatchId, bool AlreadyKnown, int Movements);

/// <summary>What is there of one lot at one place; an element of <c>GET /inventory/stock</c>.</summary>
/// <param name="Site">Site.</param>
/// <param name="Location">Place at the site.</param>
/// <param name="Item">Code.</param>
/// <param name="Name">Name; the code when it was not defined.</param>
/// <param name="Lot">Lot.</param>
/// <param name="Expiry"><c>YYYY-MM-DD</c> or empty.</param>
/// <param name="Quantity">In base units.</param>
/// <param name="Unit">Base unit.</param>
/// <param name="Recalled">Nothing may be issued of it.</param>
/// <param name="LastEffectiveMs">Time of its last movement, Unix milliseconds UTC.</param>
public sealed record StockView(
    string Site, string Location, string Item, string Name, string Lot, string Expiry, decimal Quantity, string Unit, bool Recalled, long LastEffectiveMs);

/// <summary>A movement as the ledger has it; an element of <c>GET /inventory/movements</c>, the newest first.</summary>
/// <param name="Sequence">Place in this ledger.</param>
/// <param name="Site">Site.</param>
/// <param name="BatchId">Batch.</param>
/// <param name="Source">Where the batch came from.</param>
/// <param name="Actor">Who answers for it.</param>
/// <param name="Kind">receive, issue, adjust, count, transfer, waste or recall.</param>
/// <param name="Item">Code.</param>
/// <param name="Lot">Lot.</param>
/// <param name="Location">Place.</param>
/// <param name="Quantity">Change in base units; for count what was there.</param>
/// <param name="EffectiveMs">When it happened, Unix milliseconds UTC.</param>
/// <param name="RecordedMs">When it was recorded, Unix milliseconds UTC.</param>
/// <param name="Reference">Note.</param>
public sealed record MovementView(
    long Sequence, string Site, string BatchId, string Source, string Actor, string Kind, string Item, string Lot, string Location, decimal Quantity,
    long EffectiveMs, long RecordedMs, string Reference);

/// <summary>Where a lot went; the answer of <c>GET /inventory/recall</c>.</summary>
/// <param name="Item">Code, or empty for every item with that lot.</param>
/// <param name="Lot">Lot.</param>
/// <param name="Stock">What is still there, by site and place.</param>
/// <param name="Uses">To whom it was issued.</param>
/// <param name="Sites">Every site that ever had it; all of them on every page.</param>
/// <param name="MoreUses">True when there are uses behind these.</param>
/// <param name="MoreStock">True when there is stock behind this.</param>
public sealed record RecallView(
    string Item, string Lot, IReadOnlyList<StockView> Stock, IReadOnlyList<LotUse> Uses, IReadOnlyList<string> Sites, bool MoreUses, bool MoreStock = false);

/// <summary>One issue of a lot.</summary>
/// <param name="Site">Site.</param>
/// <param name="Item">Code.</param>
/// <param name="PatientId">For whom; empty when it was not for one patient.</param>
/// <param name="StudyInstanceUid">The study; empty when there was none.</param>
/// <param name="Quantity">In base units.</param>
/// <param name="EffectiveMs">When, Unix milliseconds UTC.</param>
public sealed record LotUse(string Site, string Item, string PatientId, string StudyInstanceUid, decimal Quantity, long EffectiveMs);

/// <summary>A batch of another site that this ledger could not take as it is; somebody has to look. Element of <c>GET /inventory/parked</c>.</summary>
/// <param name="Site">Site.</param>
/// <param name="BatchId">Batch.</param>
/// <param name="Problem">Why.</param>
/// <param name="ParkedMs">Since when, Unix milliseconds UTC.</param>
public sealed record ParkedBatch(string Site, string BatchId, string Problem, long ParkedMs);
