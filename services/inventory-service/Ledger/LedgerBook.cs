using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Yizhan.Contracts;
using Yizhan.Inventory.Equipment;
using Yizhan.Storage;

namespace Yizhan.Inventory.Ledger;

/// <summary>
/// The ledger's one writing connection: decides whether a batch can be true and adds its movements. Used by one thread, between <see cref="Begin"/> and
/// <see cref="Commit"/>; durable after the commit.
/// </summary>
/// <remarks>
/// A balance is the fold of a stock's movements in the order (effective time, sequence): a count sets it, everything else changes it. A movement is
/// taken when no balance at or after its time becomes negative. At the end of a stock's history, where nearly all arrive, that is one comparison; earlier
/// ones read the movements between the counts around them.
/// </remarks>
internal sealed class LedgerBook : IDisposable
{
    /// <summary>How many rows a batch may have: sequence = batch × this + place.</summary>
    public const int RowsPerBatch = 4096;

    /// <summary>Movements of a stock between two checkpoints: so many at most are folded for a balance of the past.</summary>
    public const int CheckpointEvery = 256;

    private readonly SqliteConnection _db;
    private readonly int _checkpointEvery;
    private readonly List<Statement> _statements = [];
    private readonly Statement _begin, _commit, _rollback, _savepoint, _release, _undo;
    private readonly Statement _findBatch, _addBatch, _findStock, _addStock, _setExpiry, _addMovement, _setBalance, _addCheckpoint, _dropCheckpoints, _addUse, _findRecall, _addRecall;
    private readonly Statement _lastCount, _history, _findItem, _putItem, _park, _cursor, _moveCursor;

    /// <summary>Opens or creates the file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="checkpointEvery">Movements between two checkpoints.</param>
    public LedgerBook(string path, int checkpointEvery = CheckpointEvery)
    {
        _checkpointEvery = checkpointEvery;
        _db = SqliteFile.OpenWriter(path, LedgerSchema.Migrations);
        // What a savepoint may have to undo stays in memory; a checkpoint is worth its syncs.
        Prepare("PRAGMA cache_size = -65536", 0).Run();
        Prepare("PRAGMA temp_store = MEMORY", 0).Run();
        Prepare("PRAGMA wal_autocheckpoint = 16000", 0).Run();
        (_begin, _commit, _rollback) = (Prepare("BEGIN IMMEDIATE", 0), Prepare("COMMIT", 0), Prepare("ROLLBACK", 0));
        (_savepoint, _release, _undo) = (Prepare("SAVEPOINT batch", 0), Prepare("RELEASE batch", 0), Prepare("ROLLBACK TO batch", 0));
        _findBatch = Prepare("SELECT digest FROM batch WHERE site = ?1 AND id = ?2", 2);
        _addBatch = Prepare("INSERT INTO batch (site, id, digest, source, actor, recorded) VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING pk", 6);
        _findStock = Prepare("SELECT pk, balance, last_effective, expiry, since FROM stock WHERE site = ?1 AND item = ?2 AND lot = ?3 AND location = ?4", 4);
        _addStock = Prepare("INSERT INTO stock (site, item, lot, location, expiry, balance, last_effective, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING pk", 8);
        _setExpiry = Prepare("UPDATE stock SET expiry = ?2 WHERE pk = ?1", 2);
        _addMovement = Prepare("INSERT INTO movement (stock, effective, seq, kind, quantity, reference) VALUES (?1, ?2, ?3, ?4, ?5, ?6)", 6);
        _setBalance = Prepare("UPDATE stock SET balance = ?2, last_effective = ?3, since = ?4 WHERE pk = ?1", 4);
        _addCheckpoint = Prepare("INSERT INTO checkpoint (stock, effective, seq, balance) VALUES (?1, ?2, ?3, ?4)", 4);
        _dropCheckpoints = Prepare("DELETE FROM checkpoint WHERE stock = ?1 AND effective > ?2", 2);
        _addUse = Prepare("INSERT INTO used (seq, stock, effective, quantity, patient, study) VALUES (?1, ?2, ?3, ?4, ?5, ?6)", 6);
        _findRecall = Prepare("SELECT reference FROM recall WHERE site = ?1 AND item = ?2 AND lot = ?3 AND effective <= ?4", 4);
        _addRecall = Prepare(
            """
            INSERT INTO recall (site, item, lot, effective, reference) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT DO UPDATE SET effective = min(effective, excluded.effective)
            """, 5);
        _lastCount = Prepare("SELECT effective, seq FROM movement WHERE stock = ?1 AND effective <= ?2 AND kind = 4 ORDER BY effective DESC, seq DESC LIMIT 1", 2);
        _history = Prepare("SELECT effective, kind, quantity FROM movement WHERE stock = ?1 AND (effective, seq) >= (?2, ?3) ORDER BY effective, seq", 3);
        _findItem = Prepare("SELECT unit, units FROM item WHERE site = ?1 AND code = ?2", 2);
        _putItem = Prepare(
            """
            INSERT INTO item (site, code, name, category, unit, units, reorder_point, lead_days, codes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
            ON CONFLICT DO UPDATE SET name = excluded.name, category = excluded.category, unit = excluded.unit, units = excluded.units,
                reorder_point = excluded.reorder_point, lead_days = excluded.lead_days, codes = excluded.codes
            """, 9);
        _park = Prepare("INSERT INTO parked (site, batch, problem, event, parked_ms) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING", 5);
        _cursor = Prepare("SELECT position FROM cursor WHERE epoch = ?1", 1);
        Assets = new AssetBook(_db);
        _moveCursor = Prepare("INSERT INTO cursor (epoch, position) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET position = excluded.position", 2);
    }

    /// <summary>Equipment and sources, in the same transactions.</summary>
    public AssetBook Assets { get; }

    /// <summary>Begins a transaction.</summary>
    public void Begin() => _begin.Run();

    /// <summary>Makes everything since <see cref="Begin"/> durable.</summary>
    public void Commit() => _commit.Run();

    /// <summary>Forgets everything since <see cref="Begin"/>.</summary>
    public void Rollback() => _rollback.Run();

    /// <summary>How far a feed was read, such as the event log by its epoch; 0 when it never was.</summary>
    public long Cursor(string feed) => _cursor.Single(feed) as long? ?? 0;

    /// <summary>Remembers how far a feed was read.</summary>
    public void MoveCursor(string feed, long position) => _moveCursor.Run(feed, position);

    /// <summary>Takes an item's newest definition.</summary>
    public void Define(string site, ItemDefinition item) => _putItem.Run(
        site, item.Code, item.Name, item.Category, item.Unit,
        JsonSerializer.Serialize(item.Units ?? new Dictionary<string, decimal>(), InventoryJson.Default.IReadOnlyDictionaryStringDecimal),
        item.ReorderPoint is { } point && Thousandths.TryOf(point, out var thousandths) ? thousandths : DBNull.Value,
        item.LeadDays, JsonSerializer.Serialize(item.Codes ?? [], InventoryJson.Default.IReadOnlyListString));

    /// <summary>Keeps what could not be taken, for a person.</summary>
    public void Park(string site, string batchId, string problem, ReadOnlyMemory<byte> data, long nowMs) => _park.Run(site, batchId, problem, data.ToArray(), nowMs);

    /// <summary>The batch with its quantities in base units of the site.</summary>
    /// <returns>The problem instead, when an item or unit is not defined.</returns>
    public (MovementBatch? Batch, string? Problem) InBaseUnits(string site, MovementBatch batch)
    {
        var units = new Dictionary<string, (string Base, IReadOnlyDictionary<string, decimal> Others)?>(StringComparer.Ordinal);
        var converted = new Movement[batch.Movements.Count];
        for (var i = 0; i < converted.Length; i++)
        {
            var m = batch.Movements[i];
            if (!units.TryGetValue(m.Item, out var item))
            {
                units[m.Item] = item = FindUnits(site, m.Item);
            }

            if (item is not { } known)
            {
                return (null, $"movements[{i}]: item '{m.Item}' is not defined at {site}; define it first (PUT /inventory/items).");
            }

            var factor = m.Unit.Length == 0 || m.Unit == known.Base ? 1 : known.Others.GetValueOrDefault(m.Unit);
            if (factor == 0)
            {
                return (null, $"movements[{i}]: '{m.Unit}' is no unit of '{m.Item}' at {site}; accepted: {string.Join(", ", known.Others.Keys.Prepend(known.Base))}.");
            }

            var quantity = Math.Abs(m.Quantity) <= Thousandths.Max ? m.Quantity * factor : m.Quantity;
            if (!Thousandths.TryOf(quantity, out _))
            {
                return (null, string.Create(CultureInfo.InvariantCulture, $"movements[{i}]: {m.Quantity} {m.Unit} of '{m.Item}' is {quantity} {known.Base}; accepted: up to three decimals and {Thousandths.Max}."));
            }

            converted[i] = m with { BaseQuantity = quantity };
        }

        return (batch with { Movements = converted, Count = null }, null);
    }

    /// <summary>Adds a batch in base units: all of it, or nothing.</summary>
    public ApplyResult Apply(string site, MovementBatch batch)
    {
        var digest = DigestOf(batch);
        if (_findBatch.Single(site, batch.BatchId) is byte[] known)
        {
            return digest.AsSpan().SequenceEqual(known)
                ? new ApplyResult.Known()
                : new ApplyResult.NameTaken($"A batch '{batch.BatchId}' with other movements was recorded before; give this one another name.");
        }

        _savepoint.Run();
        var first = (long)_addBatch.Single(site, batch.BatchId, digest, batch.Source, batch.Actor, batch.RecordedMs)! * RowsPerBatch;
        for (var i = 0; i < batch.Movements.Count; i++)
        {
            if (Add(site, batch.Movements[i], first + (2L * i)) is { } problem)
            {
                _undo.Run();
                _release.Run();
                return new ApplyResult.Impossible($"movements[{i}]: {problem}");
            }
        }

        _release.Run();
        return new ApplyResult.Applied();
    }

    public void Dispose()
    {
        _statements.ForEach(s => s.Dispose());
        Assets.Dispose();
        _db.Dispose();
    }

    /// <summary>Adds one movement, in at most two rows; the problem when it cannot be.</summary>
    private string? Add(string site, Movement m, long seq)
    {
        var kind = MovementRules.KindOf(m.Kind);
        if (m.BaseQuantity is not { } quantity || !Thousandths.TryOf(quantity, out var amount))
        {
            return "it has no quantity in base units.";
        }

        if (kind is MovementKind.Issue or MovementKind.Transfer && m.Lot.Length > 0 && _findRecall.Single(site, m.Item, m.Lot, m.EffectiveMs) is string notice)
        {
            return $"lot '{m.Lot}' of '{m.Item}' was recalled ({notice}); accepted: waste, count and adjust.";
        }

        switch (kind)
        {
            case MovementKind.Recall:
                _addRecall.Run(site, m.Item, m.Lot, m.EffectiveMs, m.Reference);
                return Change(site, m, kind, m.Location, seq, 0, out _);
            case MovementKind.Transfer:
                return Change(site, m, kind, m.Location, seq, -amount, out _) ?? (m.ToSite.Length > 0 ? null : Change(site, m, kind, m.ToLocation, seq + 1, amount, out _));
            case MovementKind.Issue:
                var problem = Change(site, m, kind, m.Location, seq, -amount, out var stock);
                if (problem is null && m.PatientId.Length + m.StudyInstanceUid.Length > 0)
                {
                    _addUse.Run(seq, stock, m.EffectiveMs, amount, m.PatientId, m.StudyInstanceUid);
                }

                return problem;
            default:
                return Change(site, m, kind, m.Location, seq, kind == MovementKind.Waste ? -amount : amount, out _);
        }
    }

    /// <summary>Adds a row to a stock and moves its balance.</summary>
    private string? Change(string site, Movement m, MovementKind kind, string location, long seq, long quantity, out long pk)
    {
        var stock = FindStock(site, m, location);
        pk = stock.Pk;
        if (m.Expiry.Length > 0 && stock.Expiry != m.Expiry)
        {
            if (stock.Expiry.Length > 0)
            {
                return $"lot '{m.Lot}' of '{m.Item}' expires on {stock.Expiry}, not on {m.Expiry}; one of the two was read wrong.";
            }

            _setExpiry.Run(stock.Pk, m.Expiry);
        }

        var isLast = m.EffectiveMs >= stock.LastEffective;
        var (balance, lowest, at) = isLast ? AtEnd(stock, kind, quantity, m.EffectiveMs) : Earlier(stock, kind, quantity, m.EffectiveMs);
        if (lowest < 0)
        {
            return string.Create(CultureInfo.InvariantCulture,
                $"there would be {Thousandths.ToDecimal(lowest)} of '{m.Item}', lot '{m.Lot}', at '{location}' on {DateTimeOffset.FromUnixTimeMilliseconds(at):u}; stock cannot be negative. There is {Thousandths.ToDecimal(stock.Balance)} now.");
        }

        var last = isLast ? m.EffectiveMs : stock.LastEffective;
        var since = stock.Since + 1;
        if (!isLast && _dropCheckpoints.Run(pk, m.EffectiveMs) > 0)
        {
            // Nobody counts how many there are behind the one that is left: the next at the end makes a new one.
            since = _checkpointEvery;
        }

        var isCheckpoint = isLast && since >= _checkpointEvery;
        since = isCheckpoint ? 0 : since;
        if (pk == Stock.None)
        {
            pk = (long)_addStock.Single(site, m.Item, m.Lot, location, m.Expiry, balance, last, since)!;
        }
        else
        {
            _setBalance.Run(pk, balance, last, since);
        }

        _addMovement.Run(pk, m.EffectiveMs, seq, (int)kind, quantity, m.Reference);
        if (isCheckpoint)
        {
            _addCheckpoint.Run(pk, m.EffectiveMs, seq, balance);
        }

        return null;
    }

    private static (long Balance, long Lowest, long At) AtEnd(Stock stock, MovementKind kind, long quantity, long effective)
    {
        var balance = kind == MovementKind.Count ? quantity : stock.Balance + quantity;
        return (balance, balance, effective);
    }

    /// <summary>Folds the history again with the new movement at its place, behind those of the same time: from the count before it to the count after it.</summary>
    private (long Balance, long Lowest, long At) Earlier(Stock stock, MovementKind kind, long quantity, long effective)
    {
        var from = (Effective: long.MinValue, Seq: long.MinValue);
        using (var count = _lastCount.Read(stock.Pk, effective))
        {
            if (count.Read())
            {
                from = (count.GetInt64(0), count.GetInt64(1));
            }
        }

        var (balance, lowest, at, placed) = (0L, long.MaxValue, 0L, false);
        using var history = _history.Read(stock.Pk, from.Effective, from.Seq);
        while (history.Read())
        {
            var (time, isCount, change) = (history.GetInt64(0), history.GetInt64(1) == (long)MovementKind.Count, history.GetInt64(2));
            if (!placed && time > effective)
            {
                placed = true;
                Step(kind == MovementKind.Count, quantity, effective);
            }

            if (placed && isCount)
            {
                // What was counted then was there, whatever happened before: the rest of the history stands.
                return (stock.Balance, lowest, at);
            }

            Step(isCount, change, time);
        }

        return (balance, lowest, at);

        void Step(bool sets, long value, long time)
        {
            balance = sets ? value : balance + value;
            if (placed && balance < lowest)
            {
                (lowest, at) = (balance, time);
            }
        }
    }

    private Stock FindStock(string site, Movement m, string location)
    {
        using var found = _findStock.Read(site, m.Item, m.Lot, location);
        return found.Read()
            ? new Stock(found.GetInt64(0), found.GetInt64(1), found.GetInt64(2), found.GetString(3), found.GetInt64(4))
            : new Stock(Stock.None, 0, 0, m.Expiry, 0);
    }

    private (string, IReadOnlyDictionary<string, decimal>)? FindUnits(string site, string code)
    {
        using var found = _findItem.Read(site, code);
        return found.Read() ? (found.GetString(0), JsonSerializer.Deserialize(found.GetString(1), InventoryJson.Default.IReadOnlyDictionaryStringDecimal)!) : null;
    }

    private Statement Prepare(string sql, int parameters)
    {
        var statement = new Statement(_db, sql, parameters);
        _statements.Add(statement);
        return statement;
    }

    /// <summary>What makes two batches of one name the same: who and what, not when it was recorded.</summary>
    private static byte[] DigestOf(MovementBatch batch) =>
        SHA256.HashData(JsonSerializer.SerializeToUtf8Bytes(batch with { RecordedMs = 0, Count = null }, ContractsJson.Default.MovementBatch));

    private readonly record struct Stock(long Pk, long Balance, long LastEffective, string Expiry, long Since)
    {
        /// <summary>Key of a stock that is not in the table yet: those of the table begin with 1.</summary>
        public const long None = 0;
    }
}
