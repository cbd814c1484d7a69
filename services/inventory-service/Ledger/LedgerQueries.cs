using System.Text;
using Dapper;
using Microsoft.Data.Sqlite;
using Yizhan.Contracts;

namespace Yizhan.Inventory.Ledger;

/// <summary>Which stock is asked for; null is any.</summary>
internal sealed record StockFilter(string? Site = null, string? Item = null, string? Lot = null, string? Location = null, bool WithEmpty = false);

/// <summary>What the ledger can be asked.</summary>
internal sealed class LedgerQueries(LedgerFile file)
{
    /// <summary>Balances now.</summary>
    public IReadOnlyList<StockView> Stock(StockFilter filter, int limit) => file.Read(db => Select(
        db, filter, filter.WithEmpty ? "" : "AND s.balance > 0", "ORDER BY s.site, s.item, s.expiry, s.lot, s.location", limit, new DynamicParameters()));

    /// <summary>Balances as they were at a time, as they are known now or were known at another time.</summary>
    /// <remarks>Reads the movements of each stock that matches: ask for an item or a lot.</remarks>
    /// <param name="filter">Which.</param>
    /// <param name="effectiveMs">Time in the store, Unix milliseconds UTC.</param>
    /// <param name="knownMs">Time in the ledger; null is now.</param>
    /// <param name="limit">Most rows.</param>
    public IReadOnlyList<StockView> StockAt(StockFilter filter, long effectiveMs, long? knownMs, int limit) => file.Read(db =>
    {
        var lastSeqs = new Dictionary<string, long>(StringComparer.Ordinal);
        var found = new List<StockView>();
        foreach (var row in db.Query<StockRow>(Sql(filter, "", "ORDER BY s.site, s.item, s.expiry, s.lot, s.location", "s.pk,"), Parameters(filter, limit)))
        {
            if (!lastSeqs.TryGetValue(row.Site, out var lastSeq))
            {
                lastSeqs[row.Site] = lastSeq = LastSeq(db, row.Site, knownMs);
            }

            var (balance, last) = (0L, 0L);
            foreach (var (effective, kind, quantity) in db.Query<(long, long, long)>(
                "SELECT effective, kind, quantity FROM movement WHERE stock = @Pk AND effective <= @effectiveMs AND seq <= @lastSeq ORDER BY effective, seq",
                new { row.Pk, effectiveMs, lastSeq }))
            {
                balance = kind == (long)MovementKind.Count ? quantity : balance + quantity;
                last = effective;
            }

            if (last > 0 && (balance != 0 || filter.WithEmpty))
            {
                found.Add(row.View() with { Quantity = Thousandths.ToDecimal(balance), LastEffectiveMs = last });
            }
        }

        return (IReadOnlyList<StockView>)found;
    });

    /// <summary>What expires by a day, the first first; what has expired, too.</summary>
    public IReadOnlyList<StockView> Expiring(string? site, DateOnly through, int limit)
    {
        var parameters = new DynamicParameters();
        parameters.Add("through", through.ToString("yyyy-MM-dd", null));
        return file.Read(db => Select(
            db, new StockFilter(site), "AND s.balance > 0 AND s.expiry <> '' AND s.expiry <= @through", "ORDER BY s.expiry, s.site, s.item", limit, parameters));
    }

    /// <summary>Movements, the newest first.</summary>
    public IReadOnlyList<MovementView> Movements(StockFilter filter, long before, int limit) => file.Read(db =>
    {
        var parameters = Parameters(filter, limit);
        parameters.Add("before", before);
        return (IReadOnlyList<MovementView>)[.. db.Query<MovementRow>(
            $"""
            SELECT m.seq AS Sequence, s.site AS Site, b.id AS BatchId, b.source AS Source, b.actor AS Actor, m.kind AS Kind, s.item AS Item, s.lot AS Lot,
                s.location AS Location, m.quantity AS Quantity, m.effective AS EffectiveMs, b.recorded AS RecordedMs, m.reference AS Reference
            FROM stock s JOIN movement m ON m.stock = s.pk JOIN batch b ON b.pk = m.seq / {LedgerBook.RowsPerBatch}
            WHERE m.seq < @before {Where(filter)} ORDER BY m.seq DESC LIMIT @limit
            """, parameters).Select(r => r.View())];
    });

    /// <summary>Where a lot is, where it ever was, and to whom it was issued.</summary>
    public RecallView Recall(string? item, string lot, int limit) => file.Read(db =>
    {
        var all = Select(db, new StockFilter(Item: item, Lot: lot), "", "ORDER BY s.site, s.location", 100_000, new DynamicParameters());
        var uses = db.Query<UseRow>(
            $"""
            SELECT s.site AS Site, s.item AS Item, u.patient AS PatientId, u.study AS StudyInstanceUid, u.quantity AS Quantity, u.effective AS EffectiveMs
            FROM stock s JOIN used u ON u.stock = s.pk WHERE s.lot = @lot {(item is null ? "" : "AND s.item = @item")} ORDER BY u.effective DESC LIMIT @more
            """, new { lot, item, more = limit + 1 }).Select(r => r.View()).ToList();
        return new RecallView(
            item ?? "", lot, [.. all.Where(s => s.Quantity > 0)], [.. uses.Take(limit)], [.. all.Select(s => s.Site).Distinct()], uses.Count > limit);
    });

    /// <summary>Definitions.</summary>
    public IReadOnlyList<ItemDefinition> Items(string? site, int limit) => file.Read(db => (IReadOnlyList<ItemDefinition>)[.. db.Query<ItemRow>(
        $"SELECT code AS Code, name AS Name, category AS Category, unit AS Unit, units AS Units, reorder_point AS ReorderPoint, lead_days AS LeadDays, codes AS Codes FROM item {(site is null ? "" : "WHERE site = @site")} ORDER BY site, code LIMIT @limit",
        new { site, limit }).Select(r => r.View())]);

    /// <summary>What waits for a person.</summary>
    public IReadOnlyList<ParkedBatch> Parked(int limit) => file.Read(db => (IReadOnlyList<ParkedBatch>)[.. db.Query<ParkedBatch>(
        "SELECT site AS Site, batch AS BatchId, problem AS Problem, parked_ms AS ParkedMs FROM parked ORDER BY parked_ms DESC LIMIT @limit", new { limit })]);

    /// <summary>How far a feed was read; 0 when it never was.</summary>
    public long Cursor(string feed) => file.Read(db => db.ExecuteScalar<long?>("SELECT position FROM cursor WHERE epoch = @feed", new { feed }) ?? 0);

    /// <summary>Whether a batch of this name is recorded.</summary>
    public bool IsRecorded(string site, string batchId) => file.Read(db => db.ExecuteScalar<long>("SELECT count(*) FROM batch WHERE site = @site AND id = @batchId", new { site, batchId }) > 0);

    /// <summary>Whether an item is defined.</summary>
    public bool IsDefined(string site, string code) => file.Read(db => db.ExecuteScalar<long>("SELECT count(*) FROM item WHERE site = @site AND code = @code", new { site, code }) > 0);

    /// <summary>Whether what a count says, in base units, is what the ledger has and nothing is recorded after it.</summary>
    public bool IsOnHand(string site, Movement count) => (count.Unit.Length == 0 || Items(site, count.Item)?.Unit == count.Unit) && file.Read(db => db.ExecuteScalar<long>(
        """
        SELECT count(*) FROM stock WHERE site = @site AND item = @Item AND lot = @Lot AND location = @Location AND (expiry = @Expiry OR @Expiry = '') AND last_effective <= @EffectiveMs
            AND balance = @balance
        """,
        new { site, count.Item, count.Lot, count.Location, count.Expiry, count.EffectiveMs, balance = Thousandths.TryOf(count.Quantity, out var t) ? t : -1 }) > 0);

    /// <summary>An item's definition; null when there is none.</summary>
    public ItemDefinition? Items(string site, string code) => file.Read(db => db.Query<ItemRow>(
        "SELECT code AS Code, name AS Name, category AS Category, unit AS Unit, units AS Units, reorder_point AS ReorderPoint, lead_days AS LeadDays, codes AS Codes FROM item WHERE site = @site AND code = @code",
        new { site, code }).FirstOrDefault()?.View());

    /// <summary>The item that is defined with an identifier, as its code or among its codes; null when there is none.</summary>
    public string? ItemWith(string site, string identifier) => file.Read(db => db.ExecuteScalar<string?>(
        "SELECT code FROM item WHERE site = @site AND (code = @identifier OR EXISTS (SELECT 1 FROM json_each(item.codes) WHERE value = @identifier)) ORDER BY code = @identifier DESC, code LIMIT 1",
        new { site, identifier }));

    /// <summary>The newest run of each source; of every site when none is named.</summary>
    public IReadOnlyList<SourceView> Sources(string? site) => file.Read(db => (IReadOnlyList<SourceView>)[.. db.Query<(string Site, string Last, long Success)>(
        $"SELECT site, last, last_success FROM source {(site is null ? "" : "WHERE site = @site")} ORDER BY site, name", new { site })
        .Select(r => new SourceView(r.Site, System.Text.Json.JsonSerializer.Deserialize(r.Last, ContractsJson.Default.SourceCollected)! with { LastSuccessMs = r.Success }))]);

    /// <summary>When a source was last collected completely, or first tried; null when it never was.</summary>
    public long? LastSuccessMs(string site, string source) =>
        file.Read(db => db.ExecuteScalar<long?>("SELECT last_success FROM source WHERE site = @site AND name = @source", new { site, source }));

    /// <summary>Equipment, the newest report first.</summary>
    public IReadOnlyList<AssetView> Assets(string? site, int limit) => file.Read(db => (IReadOnlyList<AssetView>)[.. db.Query<(string Id, string Site, string Report, long First, string Keys)>(
        $"""
        SELECT id, site, report, first_seen, (SELECT json_group_array(key) FROM asset_key k WHERE k.site = a.site AND k.asset = a.id) FROM asset a
        {(site is null ? "" : "WHERE site = @site")} ORDER BY last_seen DESC LIMIT @limit
        """, new { site, limit })
        .Select(r => new AssetView(
            r.Id, r.Site, System.Text.Json.JsonSerializer.Deserialize(r.Report, ContractsJson.Default.AssetReported)!,
            System.Text.Json.JsonSerializer.Deserialize(r.Keys, InventoryJson.Default.IReadOnlyListString)!, r.First))]);

    /// <summary>Assets that may be one and that nobody has decided on.</summary>
    public IReadOnlyList<AssetConflict> Conflicts(string? site) => file.Read(db => (IReadOnlyList<AssetConflict>)[.. db.Query<(string Site, string First, string Second, string Shared, string Reason, long Since)>(
        $"SELECT site, first, second, shared, reason, since FROM asset_conflict WHERE decision = '' {(site is null ? "" : "AND site = @site")} ORDER BY since LIMIT 1000", new { site })
        .Select(r => new AssetConflict(r.Site, r.First, r.Second, System.Text.Json.JsonSerializer.Deserialize(r.Shared, InventoryJson.Default.IReadOnlyListString)!, r.Reason, r.Since))]);

    /// <summary>The last sequence that was recorded by a time. Times rise within a site only: a batch of another comes through the link behind what was recorded here meanwhile.</summary>
    private static long LastSeq(SqliteConnection db, string site, long? knownMs) => knownMs is not { } known
        ? long.MaxValue
        : (db.ExecuteScalar<long?>("SELECT max(pk) FROM batch WHERE site = @site AND recorded <= @known", new { site, known }) ?? 0)
            * LedgerBook.RowsPerBatch + LedgerBook.RowsPerBatch - 1;

    private static IReadOnlyList<StockView> Select(SqliteConnection db, StockFilter filter, string more, string order, int limit, DynamicParameters parameters)
    {
        parameters.AddDynamicParams(Parameters(filter, limit));
        return [.. db.Query<StockRow>(Sql(filter, more, order, ""), parameters).Select(r => r.View())];
    }

    private static string Sql(StockFilter filter, string more, string order, string columns) =>
        $"""
        SELECT {columns} s.site AS Site, s.location AS Location, s.item AS Item, ifnull(i.name, s.item) AS Name, s.lot AS Lot, s.expiry AS Expiry, s.balance AS Balance,
            ifnull(i.unit, '') AS Unit, r.lot IS NOT NULL AS Recalled, s.last_effective AS LastEffectiveMs
        FROM stock s LEFT JOIN item i ON i.site = s.site AND i.code = s.item LEFT JOIN recall r ON r.site = s.site AND r.item = s.item AND r.lot = s.lot
        WHERE TRUE {Where(filter)} {more} {order} LIMIT @limit
        """;

    private static string Where(StockFilter filter)
    {
        var sql = new StringBuilder();
        foreach (var (column, value) in new[] { ("site", filter.Site), ("item", filter.Item), ("lot", filter.Lot), ("location", filter.Location) })
        {
            if (value is not null)
            {
                sql.Append(" AND s.").Append(column).Append(" = @").Append(column);
            }
        }

        return sql.ToString();
    }

    private static DynamicParameters Parameters(StockFilter filter, int limit)
    {
        var parameters = new DynamicParameters();
        parameters.Add("site", filter.Site);
        parameters.Add("item", filter.Item);
        parameters.Add("lot", filter.Lot);
        parameters.Add("location", filter.Location);
        parameters.Add("limit", limit);
        return parameters;
    }

    private sealed class StockRow
    {
        public long Pk { get; init; }
        public string Site { get; init; } = "";
        public string Location { get; init; } = "";
        public string Item { get; init; } = "";
        public string Name { get; init; } = "";
        public string Lot { get; init; } = "";
        public string Expiry { get; init; } = "";
        public long Balance { get; init; }
        public string Unit { get; init; } = "";
        public long Recalled { get; init; }
        public long LastEffectiveMs { get; init; }

        public StockView View() => new(Site, Location, Item, Name, Lot, Expiry, Thousandths.ToDecimal(Balance), Unit, Recalled != 0, LastEffectiveMs);
    }

    private sealed class MovementRow
    {
        public long Sequence { get; init; }
        public string Site { get; init; } = "";
        public string BatchId { get; init; } = "";
        public string Source { get; init; } = "";
        public string Actor { get; init; } = "";
        public long Kind { get; init; }
        public string Item { get; init; } = "";
        public string Lot { get; init; } = "";
        public string Location { get; init; } = "";
        public long Quantity { get; init; }
        public long EffectiveMs { get; init; }
        public long RecordedMs { get; init; }
        public string Reference { get; init; } = "";

        public MovementView View() => new(
            Sequence, Site, BatchId, Source, Actor, MovementRules.NameOf((MovementKind)Kind), Item, Lot, Location, Thousandths.ToDecimal(Quantity),
            EffectiveMs, RecordedMs, Reference);
    }

    private sealed class UseRow
    {
        public string Site { get; init; } = "";
        public string Item { get; init; } = "";
        public string PatientId { get; init; } = "";
        public string StudyInstanceUid { get; init; } = "";
        public long Quantity { get; init; }
        public long EffectiveMs { get; init; }

        public LotUse View() => new(Site, Item, PatientId, StudyInstanceUid, Thousandths.ToDecimal(Quantity), EffectiveMs);
    }

    private sealed class ItemRow
    {
        public string Code { get; init; } = "";
        public string Name { get; init; } = "";
        public string Category { get; init; } = "";
        public string Unit { get; init; } = "";
        public string Units { get; init; } = "";
        public long? ReorderPoint { get; init; }
        public long LeadDays { get; init; }
        public string Codes { get; init; } = "";

        public ItemDefinition View() => new(
            Code, Name, Category, Unit, System.Text.Json.JsonSerializer.Deserialize(Units, InventoryJson.Default.IReadOnlyDictionaryStringDecimal),
            ReorderPoint is { } point ? Thousandths.ToDecimal(point) : null, (int)LeadDays,
            System.Text.Json.JsonSerializer.Deserialize(Codes, InventoryJson.Default.IReadOnlyListString));
    }
}
