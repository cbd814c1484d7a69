using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Yizhan.Contracts;
using Yizhan.Inventory.Ledger;

namespace Yizhan.Inventory.Equipment;

/// <summary>
/// Puts reports of equipment together, in the ledger's transaction. Two reports are one thing when keys of two types agree and no key of which a thing has only one
/// disagrees, or when a report has exactly the keys of a thing. One key alone never merges: then there are two things and a conflict for a person.
/// </summary>
/// <remarks>Reports are read in the same order at the site and at the centre, and ids are made from their keys, so both find the same things.</remarks>
internal sealed class AssetBook : IDisposable
{
    private readonly Statement _forget, _byKey, _keysOf, _add, _addKey, _update, _get, _conflict, _decide, _moveKeys, _dropKeys, _drop, _merged, _source, _alias;

    public AssetBook(SqliteConnection db)
    {
        _byKey = new Statement(db, "SELECT asset FROM asset_key WHERE site = ?1 AND key = ?2", 2);
        _keysOf = new Statement(db, "SELECT key FROM asset_key WHERE site = ?1 AND asset = ?2 ORDER BY key", 2);
        _add = new Statement(db, "INSERT INTO asset (site, id, report, first_seen, last_seen) VALUES (?1, ?2, ?3, ?4, ?4)", 4);
        _addKey = new Statement(db, "INSERT INTO asset_key (site, key, asset) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING", 3);
        _update = new Statement(db, "UPDATE asset SET report = ?3, last_seen = ?4 WHERE site = ?1 AND id = ?2 AND last_seen <= ?4", 4);
        _get = new Statement(db, "SELECT report FROM asset WHERE site = ?1 AND id = ?2", 2);
        _conflict = new Statement(db,
            """
            INSERT INTO asset_conflict (site, first, second, shared, reason, since, decision) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ''
            WHERE NOT EXISTS (SELECT 1 FROM asset_conflict WHERE site = ?1 AND ((first = ?2 AND second = ?3) OR (first = ?3 AND second = ?2)))
            """, 6);
        _decide = new Statement(db, "UPDATE asset_conflict SET decision = ?4 WHERE site = ?1 AND ((first = ?2 AND second = ?3) OR (first = ?3 AND second = ?2))", 4);
        _moveKeys = new Statement(db, "INSERT INTO asset_key (site, key, asset) SELECT site, key, ?2 FROM asset_key WHERE site = ?1 AND asset = ?3 ON CONFLICT DO NOTHING", 3);
        _dropKeys = new Statement(db, "DELETE FROM asset_key WHERE site = ?1 AND asset = ?2", 2);
        _drop = new Statement(db, "DELETE FROM asset WHERE site = ?1 AND id = ?2", 2);
        _merged = new Statement(db, "INSERT INTO asset_merged (site, id, into_id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING", 3);
        _alias = new Statement(db, "SELECT into_id FROM asset_merged WHERE site = ?1 AND id = ?2", 2);
        _forget = new Statement(db, "DELETE FROM source WHERE site = ?1 AND name = ?2", 2);
        _source = new Statement(db,
            """
            INSERT INTO source (site, name, last, last_success) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT DO UPDATE SET last = excluded.last, last_success = max(last_success, excluded.last_success)
            """, 4);
    }

    /// <summary>Remembers a source's newest run.</summary>
    public void Collected(string site, SourceCollected run)
    {
        if (run.Outcome == "removed")
        {
            _forget.Run(site, run.Source);
            return;
        }

        _source.Run(site, run.Source, JsonSerializer.Serialize(run, ContractsJson.Default.SourceCollected), run.LastSuccessMs);
    }

    /// <summary>Takes a report.</summary>
    public void Report(string site, AssetReported report)
    {
        var candidates = Candidates(site, report.Keys);
        var same = candidates.Where(c => c.IsSame).ToList();
        var exact = same.Where(c => c.IsExact).ToList();
        var match = exact.Count == 1 ? exact[0] : same.Count == 1 ? same[0] : null;
        var id = match?.Id ?? Add(site, report);
        if (match is not null)
        {
            _update.Run(site, id, JsonSerializer.Serialize(Merge(site, id, report), ContractsJson.Default.AssetReported), report.SeenMs);
        }

        foreach (var key in report.Keys)
        {
            _addKey.Run(site, key, id);
        }

        // A host name is given by people, twice if they like; it is no reason to ask one of them.
        foreach (var other in candidates.Where(c => c.Id != id && c.Shared.Any(key => AssetKeys.TypeOf(key) != "host")))
        {
            var reason = other.Disagrees is { } type ? $"they share {string.Join(" and ", other.Shared)} and differ in {type}"
                : other.IsSame ? $"they share {string.Join(" and ", other.Shared)}, as does another"
                : $"they share {string.Join(" and ", other.Shared)} and nothing else";
            _conflict.Run(site, other.Id, id, JsonSerializer.Serialize(other.Shared, InventoryJson.Default.IReadOnlyListString), reason, report.SeenMs);
        }
    }

    /// <summary>Takes a person's decision.</summary>
    public void Decide(string site, AssetDecision decision)
    {
        if (_decide.Run(site, decision.First, decision.Second, decision.Same ? "same" : "different") == 0 || !decision.Same)
        {
            return;
        }

        _moveKeys.Run(site, decision.First, decision.Second);
        _dropKeys.Run(site, decision.Second);
        _drop.Run(site, decision.Second);
        _merged.Run(site, decision.Second, decision.First);
    }

    public void Dispose()
    {
        foreach (var statement in new[] { _forget, _byKey, _keysOf, _add, _addKey, _update, _get, _conflict, _decide, _moveKeys, _dropKeys, _drop, _merged, _source, _alias })
        {
            statement.Dispose();
        }
    }

    private List<Candidate> Candidates(string site, IReadOnlyList<string> keys)
    {
        var ids = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var key in keys)
        {
            using var found = _byKey.Read(site, key);
            while (found.Read())
            {
                ids.Add(found.GetString(0));
            }
        }

        return [.. ids.Select(id => new Candidate(id, keys, KeysOf(site, id)))];
    }

    private List<string> KeysOf(string site, string id)
    {
        var keys = new List<string>();
        using var found = _keysOf.Read(site, id);
        while (found.Read())
        {
            keys.Add(found.GetString(0));
        }

        return keys;
    }

    private string Add(string site, AssetReported report)
    {
        // What has no key at all is known by its source and name, and is never put together with anything.
        var identity = report.Keys.Count > 0 ? string.Join('\n', report.Keys) : $"{report.Source}\n{report.Name}";
        var id = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{site}\n{identity}")).AsSpan(0, 8));
        if (_alias.Single(site, id) is string merged)
        {
            id = merged;
        }

        var json = JsonSerializer.Serialize(report, ContractsJson.Default.AssetReported);
        if (_get.Single(site, id) is null)
        {
            _add.Run(site, id, json, report.SeenMs);
        }
        else
        {
            _update.Run(site, id, json, report.SeenMs);
        }

        return id;
    }

    /// <summary>A partial report leaves what it does not name.</summary>
    private AssetReported Merge(string site, string id, AssetReported report)
    {
        if (!report.Partial || _get.Single(site, id) is not string json || JsonSerializer.Deserialize(json, ContractsJson.Default.AssetReported) is not { } known)
        {
            return report;
        }

        return report with
        {
            Software = report.Software.Count > 0 ? report.Software : known.Software,
            Addresses = report.Addresses.Count > 0 ? report.Addresses : known.Addresses,
            Manufacturer = report.Manufacturer.Length > 0 ? report.Manufacturer : known.Manufacturer,
            Model = report.Model.Length > 0 ? report.Model : known.Model,
            Partial = false,
        };
    }

    private sealed class Candidate
    {
        public Candidate(string id, IReadOnlyList<string> keys, List<string> known)
        {
            Id = id;
            Shared = [.. keys.Intersect(known, StringComparer.Ordinal)];
            Disagrees = AssetKeys.Single.FirstOrDefault(type =>
                Of(keys, type) is { Length: > 0 } mine && Of(known, type) is { Length: > 0 } theirs && !mine.Intersect(theirs, StringComparer.Ordinal).Any());
            IsExact = known.Count == keys.Count && Shared.Count == keys.Count;
            IsSame = IsExact || (Disagrees is null && Shared.Select(AssetKeys.TypeOf).Distinct().Count() >= 2);
        }

        public string Id { get; }

        public IReadOnlyList<string> Shared { get; }

        public string? Disagrees { get; }

        public bool IsExact { get; }

        public bool IsSame { get; }

        private static string[] Of(IEnumerable<string> keys, string type) => [.. keys.Where(k => AssetKeys.TypeOf(k) == type)];
    }
}
