using System.Globalization;
using System.Text;
using Dapper;
using Microsoft.Data.Sqlite;
using Yizhan.Contracts;

namespace Yizhan.Inventory.Ledger;

/// <summary>Which stock is asked for; null is any. Search: part of the name, the code or the lot.</summary>
internal sealed record StockFilter(string? Site = null, string? Item = null, string? Lot = null, string? Location = null, bool WithEmpty = false, string? Search = null);

/// <summary>A part of a list: so many rows behind those that are skipped. The order of each list is total, so that nothing is there twice or missing while nothing is recorded.</summary>
internal readonly record struct Page(int Skip, int Limit)
{
    /// <summary>The whole list, for what is bounded by the settings.</summary>
    public static Page All => new(0, int.MaxValue);

    /// <summary>The first rows.</summary>
    public static implicit operator Page(int limit) => new(0, limit);
}

/// <summary>What the ledger can be asked.</summary>
internal sealed class LedgerQueries(LedgerFile file)
{
    /// <summary>Balances now.</summary>
    public IReadOnlyList<StockView> Stock(StockFilter filter, Page page) => file.Read(db => Select(
        db, filter, filter.WithEmpty ? "" : "AND s.balance > 0", "ORDER BY s.site, s.item, s.expiry, s.lot, s.location", page, new DynamicParameters()));

    /// <summary>Balances as they were at a time, as they are known now or were known at another time.</summary>
    /// <remarks>Reads up to <see cref="LedgerBook.CheckpointEvery"/> movements of each stock that matches: ask for an item or a lot.</remarks>
    /// <param name="filter">Which.</param>
    /// <param name="effectiveMs">Time in the store, Unix milliseconds UTC.</param>
    /// <param name="knownMs">Time in the ledger; null is now.</param>
    /// <param name="page">Which of the stocks that match; one that was empty then is left out.</param>
    public IReadOnlyList<StockView> StockAt(StockFilter filter, long effectiveMs, long? knownMs, Page page) => file.Read(db =>
    {
        var lastSeqs = new Dictionary<string, long>(StringComparer.Ordinal);
        var found = new List<StockView>();
        foreach (var row in db.Query<StockRow>(Sql(filter, "", "ORDER BY s.site, s.item, s.expiry, s.lot, s.location", "s.pk,"), Parameters(filter, page)))
        {
            if (!lastSeqs.TryGetValue(row.Site, out var lastSeq))
            {
                lastSeqs[row.Site] = lastSeq = LastSeq(db, row.Site, knownMs);
            }

            var (last, seq, balance) = Checkpoint(db, row.Pk, effectiveMs, lastSeq);
            foreach (var (effective, kind, quantity) in db.Query<(long, long, long)>(
                """
                SELECT effective, kind, quantity FROM movement WHERE stock = @Pk AND (effective, seq) > (@last, @seq) AND effective <= @effectiveMs AND seq <= @lastSeq
                ORDER BY effective, seq
                """,
                new { row.Pk, last, seq, effectiveMs, lastSeq }))
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
    public IReadOnlyList<StockView> Expiring(string? site, DateOnly through, Page page)
    {
        var parameters = new DynamicParameters();
        parameters.Add("through", Day(through));
        return file.Read(db => Select(
            db, new StockFilter(site), "AND s.balance > 0 AND s.expiry <> '' AND s.expiry <= @through", "ORDER BY s.expiry, s.site, s.item, s.lot, s.location", page, parameters));
    }

    /// <summary>How many lots expire in each of the coming months, what has expired before them.</summary>
    public IReadOnlyList<ExpiryMonth> ExpiryCalendar(string? site, DateOnly today, int months) => file.Read(db =>
    {
        var counted = db.Query<(string Month, long Lots)>(
            $"""
            SELECT CASE WHEN expiry < @today THEN '' ELSE substr(expiry, 1, 7) END AS month, count(*) FROM stock
            WHERE balance > 0 AND expiry <> '' AND expiry < @end {(site is null ? "" : "AND site = @site")} GROUP BY month
            """, new { site, today = Day(today), end = Day(new DateOnly(today.Year, today.Month, 1).AddMonths(months)) }).ToDictionary(m => m.Month, m => m.Lots);
        return (IReadOnlyList<ExpiryMonth>)[.. Enumerable.Range(0, months).Select(i => Day(today.AddDays(1 - today.Day).AddMonths(i))[..7]).Prepend("")
            .Select(month => new ExpiryMonth(month, counted.GetValueOrDefault(month)))];
    });

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
    public RecallView Recall(string? item, string lot, Page page) => file.Read(db =>
    {
        var filter = new StockFilter(Item: item, Lot: lot);
        var sites = db.Query<string>($"SELECT DISTINCT s.site FROM stock s WHERE TRUE {Where(filter)} ORDER BY s.site", Parameters(filter, page));
        var stock = Select(db, filter, "AND s.balance > 0", "ORDER BY s.site, s.item, s.location", page with { Limit = page.Limit + 1 }, new DynamicParameters());
        var uses = db.Query<UseRow>(
            $"""
            SELECT s.site AS Site, s.item AS Item, u.patient AS PatientId, u.study AS StudyInstanceUid, u.quantity AS Quantity, u.effective AS EffectiveMs
            FROM stock s JOIN used u ON u.stock = s.pk WHERE s.lot = @lot {(item is null ? "" : "AND s.item = @item")} ORDER BY u.effective DESC, u.seq LIMIT @more OFFSET @Skip
            """, new { lot, item, more = page.Limit + 1, page.Skip }).Select(r => r.View()).ToList();
        return new RecallView(
            item ?? "", lot, [.. stock.Take(page.Limit)], [.. uses.Take(page.Limit)], [.. sites], uses.Count > page.Limit, stock.Count > page.Limit);
    });

    /// <summary>Definitions.</summary>
    public IReadOnlyList<ItemDefinition> Items(string? site, Page page) => file.Read(db => (IReadOnlyList<ItemDefinition>)[.. db.Query<ItemRow>(
        $"SELECT code AS Code, name AS Name, category AS Category, unit AS Unit, units AS Units, reorder_point AS ReorderPoint, lead_days AS LeadDays, codes AS Codes FROM item {(site is null ? "" : "WHERE site = @site")} ORDER BY site, code LIMIT @Limit OFFSET @Skip",
        new { site, page.Limit, page.Skip }).Select(r => r.View())]);

    /// <summary>What waits for a person.</summary>
    public IReadOnlyList<ParkedBatch> Parked(Page page) => file.Read(db => (IReadOnlyList<ParkedBatch>)[.. db.Query<ParkedBatch>(
        "SELECT site AS Site, batch AS BatchId, problem AS Problem, parked_ms AS ParkedMs FROM parked ORDER BY parked_ms DESC, site, batch LIMIT @Limit OFFSET @Skip", new { page.Limit, page.Skip })]);

    /// <summary>Sites that have, or had, stock or a source here.</summary>
    public IReadOnlyList<string> Sites() => file.Read(db => (IReadOnlyList<string>)[.. db.Query<string>(
        """
        -- From one site to the next by the index: a site has thousands of rows.
        WITH RECURSIVE known (site) AS (SELECT min(site) FROM stock UNION ALL SELECT (SELECT min(site) FROM stock WHERE site > known.site) FROM known WHERE site IS NOT NULL)
        SELECT site FROM known WHERE site IS NOT NULL UNION SELECT site FROM source ORDER BY site
        """)]);

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

    /// <summary>The newest run of each source, the one that is silent the longest first; of every site when none is named.</summary>
    public IReadOnlyList<SourceView> Sources(string? site, Page page) => file.Read(db => (IReadOnlyList<SourceView>)[.. db.Query<(string Site, string Last, long Success)>(
        $"SELECT site, last, last_success FROM source {(site is null ? "" : "WHERE site = @site")} ORDER BY last_success, site, name LIMIT @Limit OFFSET @Skip", new { site, page.Limit, page.Skip })
        .Select(r => new SourceView(r.Site, System.Text.Json.JsonSerializer.Deserialize(r.Last, ContractsJson.Default.SourceCollected)! with { LastSuccessMs = r.Success }))]);

    /// <summary>When a source was last collected completely, or first tried; null when it never was.</summary>
    public long? LastSuccessMs(string site, string source) =>
        file.Read(db => db.ExecuteScalar<long?>("SELECT last_success FROM source WHERE site = @site AND name = @source", new { site, source }));

    /// <summary>Equipment, the newest report first.</summary>
    public IReadOnlyList<AssetView> Assets(string? site, Page page) => file.Read(db => (IReadOnlyList<AssetView>)[.. db.Query<(string Id, string Site, string Report, long First, string Keys)>(
        $"""
        SELECT id, site, report, first_seen, (SELECT json_group_array(key) FROM asset_key k WHERE k.site = a.site AND k.asset = a.id) FROM asset a
        {(site is null ? "" : "WHERE site = @site")} ORDER BY last_seen DESC, site, id LIMIT @Limit OFFSET @Skip
        """, new { site, page.Limit, page.Skip })
        .Select(r => new AssetView(
            r.Id, r.Site, System.Text.Json.JsonSerializer.Deserialize(r.Report, ContractsJson.Default.AssetReported)!,
            System.Text.Json.JsonSerializer.Deserialize(r.Keys, InventoryJson.Default.IReadOnlyListString)!, r.First))]);

    /// <summary>Assets that may be one and that nobody has decided on.</summary>
    public IReadOnlyList<AssetConflict> Conflicts(string? site, Page page) => file.Read(db => (IReadOnlyList<AssetConflict>)[.. db.Query<(string Site, string First, string Second, string Shared, string Reason, long Since)>(
        $"SELECT site, first, second, shared, reason, since FROM asset_conflict WHERE decision = '' {(site is null ? "" : "AND site = @site")} ORDER BY since, site, first, second LIMIT @Limit OFFSET @Skip", new { site, page.Limit, page.Skip })
        .Select(r => new AssetConflict(r.Site, r.First, r.Second, System.Text.Json.JsonSerializer.Deserialize(r.Shared, InventoryJson.Default.IReadOnlyListString)!, r.Reason, r.Since))]);

    /// <summary>The last checkpoint of a stock by a time of which everything was known by a sequence; when there is none, one before all that there is.</summary>
    internal static (long Effective, long Seq, long Balance) Checkpoint(SqliteConnection db, long stock, long effectiveMs, long lastSeq = long.MaxValue) =>
        db.Query<(long, long, long)>(
            "SELECT effective, seq, balance FROM checkpoint WHERE stock = @stock AND effective <= @effectiveMs AND seq <= @lastSeq ORDER BY effective DESC, seq DESC LIMIT 1",
            new { stock, effectiveMs, lastSeq }).FirstOrDefault((long.MinValue, long.MinValue, 0));

    /// <summary>Whether nobody has decided yet if two assets are one.</summary>
    public bool IsConflict(string site, string one, string other) => file.Read(db => db.ExecuteScalar<long>(
        "SELECT count(*) FROM asset_conflict WHERE site = @site AND decision = '' AND ((first = @one AND second = @other) OR (first = @other AND second = @one))",
        new { site, one, other }) > 0);

    /// <summary>The last sequence that was recorded by a time. Times rise within a site only: a batch of another comes through the link behind what was recorded here meanwhile.</summary>
    private static long LastSeq(SqliteConnection db, string site, long? knownMs) => knownMs is not { } known
        ? long.MaxValue
        : (db.ExecuteScalar<long?>("SELECT max(pk) FROM batch WHERE site = @site AND recorded <= @known", new { site, known }) ?? 0)
            * LedgerBook.RowsPerBatch + LedgerBook.RowsPerBatch - 1;

    private static IReadOnlyList<StockView> Select(SqliteConnection db, StockFilter filter, string more, string order, Page page, DynamicParameters parameters)
    {
        parameters.AddDynamicParams(Parameters(filter, page));
        return [.. db.Query<StockRow>(Sql(filter, more, order, ""), parameters).Select(r => r.View())];
    }

    private static string Sql(StockFilter filter, string more, string order, string columns) =>
        $"""
        SELECT {columns} s.site AS Site, s.location AS Location, s.item AS Item, ifnull(i.name, s.item) AS Name, s.lot AS Lot, s.expiry AS Expiry, s.balance AS Balance,
            ifnull(i.unit, '') AS Unit, r.lot IS NOT NULL AS Recalled, s.last_effective AS LastEffectiveMs
        FROM stock s LEFT JOIN item i ON i.site = s.site AND i.code = s.item LEFT JOIN recall r ON r.site = s.site AND r.item = s.item AND r.lot = s.lot
        WHERE TRUE {Where(filter)} {more} {order} LIMIT @limit OFFSET @skip
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

        if (filter.Search is not null)
        {
            // instr and no LIKE: what is searched for has no wildcards.
            sql.Append(" AND (instr(lower(s.item), lower(@search)) OR instr(lower(s.lot), lower(@search)) OR instr(lower(ifnull(i.name, '')), lower(@search)))");
        }

        return sql.ToString();
    }

    private static string Day(DateOnly day) => day.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);

    private static DynamicParameters Parameters(StockFilter filter, Page page)
    {
        var parameters = new DynamicParameters();
        parameters.Add("site", filter.Site);
        parameters.Add("item", filter.Item);
        parameters.Add("lot", filter.Lot);
        parameters.Add("location", filter.Location);
        parameters.Add("search", filter.Search);
        parameters.Add("limit", page.Limit);
        parameters.Add("skip", page.Skip);
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
