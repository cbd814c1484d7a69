using System.Security.Cryptography;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Link;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Station;

/// <summary>An entry that cannot be delivered. It stays in the site's log; the centre has a tombstone in its place.</summary>
/// <param name="Lane">Its lane.</param>
/// <param name="Sequence">Its sequence.</param>
/// <param name="Epoch">Epoch of the log.</param>
/// <param name="Type">Its CloudEvents type.</param>
/// <param name="Id">Its id.</param>
/// <param name="Reason">What the centre or the site's own store said.</param>
/// <param name="QuarantinedMs">When, Unix milliseconds UTC.</param>
/// <param name="Key">Its key.</param>
/// <param name="WaitsFor">Sequence of the entry of the same key that it waits for; null when it was refused itself.</param>
/// <param name="ReplayedMs">When it was sent again, or moved on, under a sequence of its own; null while it was not.</param>
/// <param name="DiscardedMs">When an operator gave it up; null while nobody did.</param>
/// <param name="FirstSequence">Its sequence when it came into quarantine: its place among the entries of its key.</param>
internal sealed record Quarantined(
    string Lane, long Sequence, string Epoch, string Type, string Id, string Reason, long QuarantinedMs, string Key, long? WaitsFor, long? ReplayedMs,
    long? DiscardedMs, long FirstSequence)
{
    /// <summary>True while it is in quarantine.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public bool IsOpen => ReplayedMs is null && DiscardedMs is null;
}

/// <summary>
/// Remembers, durably and before the tombstone leaves, which entries were given up and why. What is listed here is not released from the log until it
/// was replayed, discarded, or moved on to the end of its lane. By the rule <c>station:poisonedKeys</c> later entries of the same key pass, or wait here for the first one.
/// </summary>
internal sealed class Quarantine : IDisposable
{
    private readonly SqliteConnection _db;
    private readonly Lock _lock = new();
    private readonly bool _keysWait;
    private readonly Dictionary<(string Epoch, Lane Lane, long Sequence), Quarantined> _all = [];

    public Quarantine(IOptions<NodeOptions> node, IOptions<StationOptions> options)
    {
        _keysWait = options.Value.PoisonedKeys == "wait";
        _db = SqliteFile.OpenWriter(
            node.Value.PathOf("station", "quarantine.db"),
            """
            CREATE TABLE quarantined (
                lane           TEXT    NOT NULL,
                sequence       INTEGER NOT NULL,
                epoch          TEXT    NOT NULL,
                type           TEXT    NOT NULL,
                id             TEXT    NOT NULL,
                reason         TEXT    NOT NULL,
                quarantined_ms INTEGER NOT NULL,
                PRIMARY KEY (epoch, lane, sequence)
            ) STRICT;
            """,
            """
            ALTER TABLE quarantined ADD COLUMN key TEXT NOT NULL DEFAULT '';
            ALTER TABLE quarantined ADD COLUMN waits_for INTEGER;
            ALTER TABLE quarantined ADD COLUMN replayed_ms INTEGER;
            """,
            """
            ALTER TABLE quarantined ADD COLUMN discarded_ms INTEGER;
            ALTER TABLE quarantined ADD COLUMN first_sequence INTEGER NOT NULL DEFAULT 0;
            UPDATE quarantined SET first_sequence = sequence;
            """);
        const string All = """
            SELECT lane AS Lane, sequence AS Sequence, epoch AS Epoch, type AS Type, id AS Id, reason AS Reason, quarantined_ms AS QuarantinedMs,
                key AS Key, waits_for AS WaitsFor, replayed_ms AS ReplayedMs, discarded_ms AS DiscardedMs, first_sequence AS FirstSequence
            FROM quarantined
            """;
        foreach (var item in _db.Query<Quarantined>(All))
        {
            _all[(item.Epoch, Enum.Parse<Lane>(item.Lane), item.Sequence)] = item;
        }
    }

    /// <summary>Everything of an epoch that is in quarantine, oldest first.</summary>
    public IReadOnlyList<Quarantined> Items(Guid epoch)
    {
        lock (_lock)
        {
            return [.. _all.Values.Where(i => i.Epoch == epoch.ToString() && i.IsOpen).OrderBy(i => i.QuarantinedMs).ThenBy(i => i.Sequence)];
        }
    }

    /// <summary>An entry that is or was in quarantine; null for any other.</summary>
    public Quarantined? Find(EntryIdentity identity)
    {
        lock (_lock)
        {
            return _all.GetValueOrDefault((identity.Epoch.ToString(), identity.Lane, identity.Sequence));
        }
    }

    /// <summary>An entry in quarantine and those that wait for it, in sequence; empty when it is not there.</summary>
    public IReadOnlyList<Quarantined> With(Guid epoch, Lane lane, long sequence)
    {
        lock (_lock)
        {
            return [.. _all.Where(i => i.Key.Epoch == epoch.ToString() && i.Key.Lane == lane && i.Value.IsOpen
                    && (i.Key.Sequence == sequence || i.Value.WaitsFor == sequence))
                .OrderBy(i => i.Value.FirstSequence).Select(i => i.Value)];
        }
    }

    /// <summary>Sequence of the first entry of a lane that is in quarantine; null when there is none.</summary>
    public long? First(Guid epoch, Lane lane)
    {
        lock (_lock)
        {
            return _all.Where(i => i.Key.Epoch == epoch.ToString() && i.Key.Lane == lane && i.Value.IsOpen).Min(i => (long?)i.Key.Sequence);
        }
    }

    /// <summary>Puts an entry into quarantine; on disk when it returns.</summary>
    public void Add(LoggedEntry logged, string reason, long nowMs) => Add(logged, reason, nowMs, waitsFor: null);

    /// <summary>Notes that entries were sent again; on disk when it returns. Their tombstones stay what the centre has in their old places.</summary>
    public void Replayed(IEnumerable<Quarantined> items, long nowMs)
    {
        lock (_lock)
        {
            using var transaction = _db.BeginTransaction();
            var replayed = items.Select(i => i with { ReplayedMs = nowMs }).ToList();
            _db.Execute(
                "UPDATE quarantined SET replayed_ms = @ReplayedMs WHERE epoch = @Epoch AND lane = @Lane AND sequence = @Sequence", replayed, transaction);
            transaction.Commit();
            replayed.ForEach(i => _all[(i.Epoch, Enum.Parse<Lane>(i.Lane), i.Sequence)] = i);
        }
    }

    /// <summary>Notes that an operator gave an entry up; on disk when it returns. Its tombstone stays.</summary>
    public void Discarded(Quarantined item, long nowMs)
    {
        lock (_lock)
        {
            var discarded = item with { DiscardedMs = nowMs };
            _db.Execute("UPDATE quarantined SET discarded_ms = @DiscardedMs WHERE epoch = @Epoch AND lane = @Lane AND sequence = @Sequence", discarded);
            _all[(item.Epoch, Enum.Parse<Lane>(item.Lane), item.Sequence)] = discarded;
        }
    }

    /// <summary>Notes that an entry is in quarantine under another sequence now, and what waited for it waits for that one; on disk when it returns.</summary>
    public void Moved(Quarantined item, long sequence, long nowMs)
    {
        lock (_lock)
        {
            var there = item with { Sequence = sequence };
            var waiting = _all.Values.Where(i => i.Epoch == item.Epoch && i.Lane == item.Lane && i.IsOpen && i.WaitsFor == item.Sequence)
                .Select(i => i with { WaitsFor = sequence }).ToList();
            using var transaction = _db.BeginTransaction();
            Insert(there, transaction);
            _db.Execute(
                "UPDATE quarantined SET waits_for = @WaitsFor WHERE epoch = @Epoch AND lane = @Lane AND sequence = @Sequence", waiting, transaction);
            _db.Execute(
                "UPDATE quarantined SET replayed_ms = @nowMs WHERE epoch = @Epoch AND lane = @Lane AND sequence = @Sequence",
                new { nowMs, item.Epoch, item.Lane, item.Sequence }, transaction);
            transaction.Commit();
            foreach (var changed in waiting.Append(there).Append(item with { ReplayedMs = nowMs }))
            {
                _all[(changed.Epoch, Enum.Parse<Lane>(changed.Lane), changed.Sequence)] = changed;
            }
        }
    }

    /// <summary>What is sent for an entry: itself, or the tombstone when it is in quarantine or waits there for an earlier one of its key.</summary>
    public Entry Outgoing(LoggedEntry logged, long nowMs)
    {
        var (identity, entry) = (logged.Identity, logged.Entry);
        lock (_lock)
        {
            if (!_all.TryGetValue((identity.Epoch.ToString(), identity.Lane, identity.Sequence), out var item))
            {
                if (entry.Id.StartsWith(Entry.MovedPrefix, StringComparison.Ordinal))
                {
                    item = Add(logged, "It was in quarantine before.", nowMs, waitsFor: null);
                }
                else if (!_keysWait || entry.Key.Length == 0 || FirstOfKey(identity, entry) is not { } first)
                {
                    return entry;
                }
                else
                {
                    item = Add(logged, $"It waits for entry {first}, which has the same key.", nowMs, first);
                }
            }

            var tombstone = new LinkTombstone(
                entry.Type, entry.Id, Convert.ToHexStringLower(SHA256.HashData(entry.Data.Span)), item.Reason, item.QuarantinedMs);
            return new Entry(identity.Lane, LinkTombstone.EventType, TombstoneId(identity), entry.Key, item.QuarantinedMs, tombstone.ToJson());
        }
    }

    /// <summary>Id of the tombstone in an entry's place.</summary>
    public static string TombstoneId(EntryIdentity identity) => $"tombstone/{identity.Site}/{identity.Epoch}/{identity.Lane}/{identity.Sequence}";

    public void Dispose() => _db.Dispose();

    /// <summary>What an entry waits for. One that is replayed does not wait for what it is a replay of, only for another replay.</summary>
    private long? FirstOfKey(EntryIdentity identity, Entry entry) => _all
        .Where(i => i.Key.Epoch == identity.Epoch.ToString() && i.Key.Lane == identity.Lane && i.Value.FirstSequence < identity.Sequence
            && i.Value is { IsOpen: true, WaitsFor: null } && i.Value.Key == entry.Key && (IsReplay(i.Value.Id) || !IsReplay(entry.Id)))
        .Min(i => (long?)i.Key.Sequence);

    private static bool IsReplay(string id) => id.StartsWith(Entry.ReplayPrefix, StringComparison.Ordinal);

    private Quarantined Add(LoggedEntry logged, string reason, long nowMs, long? waitsFor)
    {
        var (identity, entry) = (logged.Identity, logged.Entry);
        var item = new Quarantined(
            identity.Lane.ToString(), identity.Sequence, identity.Epoch.ToString(), entry.Type, entry.Id, reason, nowMs, entry.Key, waitsFor, null, null, identity.Sequence);
        lock (_lock)
        {
            Insert(item, transaction: null);
            return _all[(item.Epoch, identity.Lane, identity.Sequence)] = item;
        }
    }

    private void Insert(Quarantined item, SqliteTransaction? transaction) => _db.Execute(
        """
        INSERT OR IGNORE INTO quarantined (lane, sequence, epoch, type, id, reason, quarantined_ms, key, waits_for, first_sequence)
        VALUES (@Lane, @Sequence, @Epoch, @Type, @Id, @Reason, @QuarantinedMs, @Key, @WaitsFor, @FirstSequence)
        """, item, transaction);
}
