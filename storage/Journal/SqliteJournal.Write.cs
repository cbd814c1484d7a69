namespace Yizhan.Storage;

internal sealed partial class SqliteJournal
{
    /// <summary>Numbered by their place, counted in <c>user_version</c>. Append only.</summary>
    private static readonly string[] Migrations =
    [
        """
        CREATE TABLE log (one INTEGER PRIMARY KEY CHECK (one = 1), site TEXT NOT NULL, epoch BLOB NOT NULL, position INTEGER NOT NULL) STRICT;
        CREATE TABLE lane (lane INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, bytes INTEGER NOT NULL, delivered INTEGER NOT NULL,
            delivered_bytes INTEGER NOT NULL, released INTEGER NOT NULL) STRICT;
        CREATE TABLE origin (id INTEGER PRIMARY KEY, site TEXT NOT NULL, epoch BLOB NOT NULL, UNIQUE (site, epoch)) STRICT;
        CREATE TABLE mark (origin INTEGER NOT NULL REFERENCES origin, lane INTEGER NOT NULL, sequence INTEGER NOT NULL,
            PRIMARY KEY (origin, lane)) STRICT, WITHOUT ROWID;
        CREATE TABLE entry (position INTEGER PRIMARY KEY, origin INTEGER NOT NULL REFERENCES origin, lane INTEGER NOT NULL,
            sequence INTEGER NOT NULL, own INTEGER NOT NULL, fact BLOB NOT NULL, lane_bytes INTEGER NOT NULL, blob_bytes INTEGER NOT NULL,
            id TEXT NOT NULL, type TEXT NOT NULL, key TEXT NOT NULL, time_ms INTEGER NOT NULL, trace TEXT,
            blobs BLOB NOT NULL, data BLOB NOT NULL) STRICT;
        CREATE UNIQUE INDEX entry_fact ON entry (fact);
        CREATE UNIQUE INDEX entry_own ON entry (lane, sequence) WHERE own = 1;
        CREATE TABLE blob (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, length INTEGER NOT NULL, complete INTEGER NOT NULL,
            names INTEGER NOT NULL, touched_ms INTEGER NOT NULL) STRICT;
        CREATE INDEX blob_orphan ON blob (touched_ms) WHERE names = 0;
        CREATE TABLE extent (blob INTEGER NOT NULL REFERENCES blob, at INTEGER NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL,
            length INTEGER NOT NULL, PRIMARY KEY (blob, at, segment, offset)) STRICT, WITHOUT ROWID;
        CREATE TABLE pin (blob INTEGER NOT NULL REFERENCES blob, holder TEXT NOT NULL, PRIMARY KEY (blob, holder)) STRICT, WITHOUT ROWID;
        """,

        // SQLite's pages have no checksum: each entry has its own. Null: it was written before there was one.
        "ALTER TABLE entry ADD COLUMN crc INTEGER",

        // The key that sealed id, key and data, in data; null: they are as they were given. How long the data was, for what is sealed.
        "ALTER TABLE entry ADD COLUMN sealed_by INTEGER; ALTER TABLE entry ADD COLUMN data_bytes INTEGER",
    ];

    private void Write(Group group)
    {
        foreach (var (hash, change) in group.Blobs)
        {
            Write(hash, change, group);
        }

        foreach (var entry in group.Entries)
        {
            Write(entry);
        }

        foreach (var (origin, sequence) in group.Marks)
        {
            Run("INSERT INTO mark (origin, lane, sequence) VALUES ($1, $2, $3) ON CONFLICT DO UPDATE SET sequence = excluded.sequence",
                OriginId(origin.Site, origin.Epoch), (int)origin.Lane, sequence);
        }

        // What nothing names is looked for last, so that a blob which this very group names again stays.
        var candidates = new HashSet<long>();
        WritePins(group, candidates);
        foreach (var (lane, after, through) in group.Releases)
        {
            Release(lane, after, through, candidates);
        }

        ForgetUnnamed(candidates, group);
        for (var lane = 0; lane < group.Lanes.Length; lane++)
        {
            var now = group.Lanes[lane];
            if (now != State.Lanes[lane])
            {
                Run("""
                    INSERT INTO lane (lane, sequence, bytes, delivered, delivered_bytes, released) VALUES ($1, $2, $3, $4, $5, $6)
                    ON CONFLICT DO UPDATE SET sequence = excluded.sequence, bytes = excluded.bytes, delivered = excluded.delivered,
                        delivered_bytes = excluded.delivered_bytes, released = excluded.released
                    """, lane, now.Sequence, now.Bytes, now.Delivered, now.DeliveredBytes, now.Released);
            }
        }

        if (group.Position != State.Position)
        {
            Run("UPDATE log SET position = $1", group.Position);
        }
    }

    private void Write(ContentHash hash, BlobChange change, Group group)
    {
        var key = hash.ToArray();
        if (change.Dropped)
        {
            // What something names or holds stays as a blob of which nothing is here: its key was destroyed.
            var free = Ids("SELECT id FROM blob b WHERE hash = $1 AND names = 0 AND NOT EXISTS (SELECT 1 FROM pin p WHERE p.blob = b.id)", key);
            Forget(free, group);
            var kept = Ids("SELECT id FROM blob WHERE hash = $1", key);
            kept.ForEach(id => FreePieces(id, group));
            if (kept.Count == 0 && change.Added.Count == 0 && !change.Complete)
            {
                return;
            }
        }

        Run("""
            INSERT INTO blob (hash, length, complete, names, touched_ms) VALUES ($1, $2, $3, 0, $4)
            ON CONFLICT DO UPDATE SET complete = excluded.complete, touched_ms = excluded.touched_ms
            """, key, change.Length, change.Complete ? 1 : 0, group.NowMs);
        foreach (var extent in change.Added)
        {
            Run("INSERT INTO extent (blob, at, segment, offset, length) VALUES ((SELECT id FROM blob WHERE hash = $1), $2, $3, $4, $5)",
                key, extent.At, extent.Segment, extent.Offset, extent.Length);
        }
    }

    private void Write(NewEntry entry)
    {
        var (position, identity, fact) = entry.Logged;
        var packed = EntryRow.Pack(fact.Blobs);
        var (kept, isSealed) = EntrySeal.Seal(_segments.Keys, fact, entry.Fact, position);
        Run("""
            INSERT INTO entry (position, origin, lane, sequence, own, fact, lane_bytes, blob_bytes, id, type, key, time_ms, trace, blobs, data, crc,
                sealed_by, data_bytes)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
            """, position, OriginId(identity.Site, identity.Epoch), (int)identity.Lane, identity.Sequence, entry.Own ? 1 : 0,
            entry.Fact.ToArray(), entry.LaneBytes, fact.Blobs.Sum(b => b.Length), kept.Id, kept.Type, kept.Key, kept.TimeMs, kept.TraceParent,
            packed, kept.Data.ToArray(), (long)EntryRow.Checksum(kept, packed), isSealed ? (long)EntrySeal.KeyOf(kept.Data.Span) : null, fact.Data.Length);
        foreach (var blob in fact.Blobs)
        {
            Run("UPDATE blob SET names = names + 1 WHERE hash = $1", blob.Hash.ToArray());
        }
    }

    private void WritePins(Group group, HashSet<long> candidates)
    {
        foreach (var (hash, holder, set) in group.Pins)
        {
            var key = hash.ToArray();
            if (set)
            {
                Run("INSERT INTO pin (blob, holder) SELECT id, $2 FROM blob WHERE hash = $1 ON CONFLICT DO NOTHING", key, holder);
            }
            else if (Run("DELETE FROM pin WHERE blob = (SELECT id FROM blob WHERE hash = $1) AND holder = $2", key, holder) > 0)
            {
                candidates.UnionWith(Ids("SELECT id FROM blob WHERE hash = $1", key));
            }
        }

        if (group.ForgetOrphansBeforeMs is { } before)
        {
            candidates.UnionWith(Ids("SELECT id FROM blob WHERE names = 0 AND touched_ms < $1", before));
        }
    }

    private void Release(Lane lane, long after, long through, HashSet<long> candidates)
    {
        var named = new List<byte[]>();
        using (var row = Command("SELECT blobs FROM entry WHERE own = 1 AND lane = $1 AND sequence > $2 AND sequence <= $3 AND length(blobs) > 0",
            (int)lane, after, through).ExecuteReader())
        {
            while (row.Read())
            {
                named.AddRange(EntryRow.Unpack(row.GetFieldValue<byte[]>(0)).Select(b => b.Hash.ToArray()));
            }
        }

        foreach (var hash in named)
        {
            Run("UPDATE blob SET names = names - 1 WHERE hash = $1", hash);
            candidates.UnionWith(Ids("SELECT id FROM blob WHERE hash = $1 AND names = 0", hash));
        }

        Run("DELETE FROM entry WHERE own = 1 AND lane = $1 AND sequence > $2 AND sequence <= $3", (int)lane, after, through);
    }

    private void ForgetUnnamed(HashSet<long> candidates, Group group)
    {
        foreach (var id in candidates)
        {
            Forget(Ids("SELECT id FROM blob b WHERE id = $1 AND names = 0 AND NOT EXISTS (SELECT 1 FROM pin p WHERE p.blob = b.id)", id), group);
        }
    }

    /// <summary>Deletes blobs from the index. Their space is given back once this transaction is durable.</summary>
    private void Forget(List<long> ids, Group group)
    {
        foreach (var id in ids)
        {
            FreePieces(id, group);
            Run("DELETE FROM blob WHERE id = $1", id);
        }
    }

    private void FreePieces(long blob, Group group)
    {
        using (var row = Command("SELECT b.hash, e.at, e.segment, e.offset, e.length FROM extent e JOIN blob b ON b.id = e.blob WHERE b.id = $1", blob)
            .ExecuteReader())
        {
            while (row.Read())
            {
                group.Freed.Add((new ContentHash(row.GetFieldValue<byte[]>(0)), new Extent(row.GetInt64(1), row.GetInt64(2), row.GetInt32(3), row.GetInt32(4))));
            }
        }

        Run("DELETE FROM extent WHERE blob = $1", blob);
    }

    private long OriginId(string site, Guid epoch)
    {
        if (!_origins.TryGetValue((site, epoch), out var id))
        {
            var key = epoch.ToByteArray();
            Run("INSERT INTO origin (site, epoch) VALUES ($1, $2) ON CONFLICT DO NOTHING", site, key);
            id = Ids("SELECT id FROM origin WHERE site = $1 AND epoch = $2", site, key)[0];
            _origins.Add((site, epoch), id);
        }

        return id;
    }

    private List<long> Ids(string sql, params ReadOnlySpan<object?> values)
    {
        var ids = new List<long>();
        using var row = Command(sql, values).ExecuteReader();
        while (row.Read())
        {
            ids.Add(row.GetInt64(0));
        }

        return ids;
    }
}
