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
internal sealed record Quarantined(string Lane, long Sequence, string Epoch, string Type, string Id, string Reason, long QuarantinedMs);

/// <summary>
/// Remembers, durably and before the tombstone leaves, which entries were given up and why. What is listed here must not be
/// released from the log until somebody has replayed or discarded it.
/// </summary>
internal sealed class Quarantine : IDisposable
{
    private readonly SqliteConnection _db;
    private readonly Lock _lock = new();
    private readonly Dictionary<(string Epoch, Lane, long), Quarantined> _all = [];

    public Quarantine(IOptions<NodeOptions> node)
    {
        _db = SqliteFile.OpenWriter(node.Value.PathOf("station", "quarantine.db"), """
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
            """);
        const string All = """
            SELECT lane AS Lane, sequence AS Sequence, epoch AS Epoch, type AS Type, id AS Id, reason AS Reason, quarantined_ms AS QuarantinedMs
            FROM quarantined
            """;
        foreach (var item in _db.Query<Quarantined>(All))
        {
            _all[(item.Epoch, Enum.Parse<Lane>(item.Lane), item.Sequence)] = item;
        }
    }

    /// <summary>Everything in quarantine, oldest first.</summary>
    public IReadOnlyList<Quarantined> Items()
    {
        lock (_lock)
        {
            return [.. _all.Values.OrderBy(i => i.QuarantinedMs).ThenBy(i => i.Sequence)];
        }
    }

    /// <summary>Sequence of the first entry of a lane that is in quarantine; null when there is none.</summary>
    public long? First(Guid epoch, Lane lane)
    {
        lock (_lock)
        {
            return _all.Keys.Where(k => k.Epoch == epoch.ToString() && k.Item2 == lane).Min(k => (long?)k.Item3);
        }
    }

    /// <summary>Puts an entry into quarantine; on disk when it returns.</summary>
    public void Add(LoggedEntry logged, string reason, long nowMs)
    {
        var (identity, entry) = (logged.Identity, logged.Entry);
        var item = new Quarantined(
            identity.Lane.ToString(), identity.Sequence, identity.Epoch.ToString(), entry.Type, entry.Id, reason, nowMs);
        lock (_lock)
        {
            _db.Execute(
                "INSERT OR IGNORE INTO quarantined VALUES (@Lane, @Sequence, @Epoch, @Type, @Id, @Reason, @QuarantinedMs)", item);
            _all[(item.Epoch, identity.Lane, identity.Sequence)] = item;
        }
    }

    /// <summary>What is sent for an entry: itself, or the tombstone when it is in quarantine.</summary>
    public Entry Outgoing(LoggedEntry logged)
    {
        var (identity, entry) = (logged.Identity, logged.Entry);
        lock (_lock)
        {
            if (!_all.TryGetValue((identity.Epoch.ToString(), identity.Lane, identity.Sequence), out var item))
            {
                return entry;
            }

            var tombstone = new LinkTombstone(
                entry.Type, entry.Id, Convert.ToHexStringLower(SHA256.HashData(entry.Data.Span)), item.Reason, item.QuarantinedMs);
            var id = $"tombstone/{identity.Site}/{identity.Epoch}/{identity.Lane}/{identity.Sequence}";
            return new Entry(identity.Lane, LinkTombstone.EventType, id, entry.Key, item.QuarantinedMs, tombstone.ToJson());
        }
    }

    public void Dispose() => _db.Dispose();
}
