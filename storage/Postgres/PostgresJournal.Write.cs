using Npgsql;
using NpgsqlTypes;

namespace Yizhan.Storage;

internal sealed partial class PostgresJournal
{
    // What a row takes beside its data: columns, three indexes. Counted, because asking the server for the size of its files costs and says nothing of deletions.
    private const int RowBytes = 400;

    // Rows that are made ready at once, and how many a group must have before another processor is asked for help.
    private const int RowsAtOnce = 128, RowsWorthHelp = 4 * RowsAtOnce;

    /// <summary>All of a group in one transaction, a few statements whatever its size; returns what the entries take then.</summary>
    private long Write(Group group)
    {
        using var transaction = _lease.Session.BeginTransaction();

        // First, so that two writers would wait for each other here; a writer that was taken over finds nothing.
        if (Run("UPDATE log SET position = $1, groups = $2 WHERE fence = $3", group.Position, _groups + 1, _fence) != 1)
        {
            using var row = Command("SELECT owner FROM log").ExecuteReader();
            throw Fenced(row.Read() ? row.GetString(0) : "nobody");
        }

        WriteBlobs(group);
        var bytes = EntryBytes + WriteEntries(group.Entries);
        var candidates = new HashSet<long>();
        WritePins(group, candidates);
        foreach (var (lane, after, through) in group.Releases)
        {
            bytes -= Release(lane, after, through, candidates);
        }

        // What nothing names is looked for last, so that a blob which this very group names again stays.
        Forget(candidates, group);
        foreach (var away in group.Moved)
        {
            Run("INSERT INTO away (segment, epoch, key, header_bytes, size, bytes, sha256) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                away.Number, unchecked((long)away.Epoch), unchecked((long)away.Key), away.HeaderBytes, away.Size, away.Bytes, away.Sha256);
        }

        if (group.Returned.Count > 0)
        {
            Run("DELETE FROM away WHERE segment = ANY($1)", (object)group.Returned.ToArray());
        }

        WriteState(group, bytes);
        transaction.Commit();
        return bytes;
    }

    private void WriteState(Group group, long bytes)
    {
        var marks = group.Marks.ToArray();
        var origins = marks.Select(m => OriginId(m.Key.Site, m.Key.Epoch)).ToArray();
        using var batch = new NpgsqlBatch(_lease.Session);
        void Add(string sql, params object[] values)
        {
            var command = new NpgsqlBatchCommand(sql);
            foreach (var value in values)
            {
                command.Parameters.Add(new NpgsqlParameter { Value = value });
            }

            batch.BatchCommands.Add(command);
        }

        for (var lane = 0; lane < group.Lanes.Length; lane++)
        {
            var now = group.Lanes[lane];
            if (now != State.Lanes[lane])
            {
                Add("""
                    INSERT INTO lane (lane, sequence, bytes, delivered, delivered_bytes, released) VALUES ($1, $2, $3, $4, $5, $6)
                    ON CONFLICT (lane) DO UPDATE SET sequence = excluded.sequence, bytes = excluded.bytes, delivered = excluded.delivered,
                        delivered_bytes = excluded.delivered_bytes, released = excluded.released
                    """, (short)lane, now.Sequence, now.Bytes, now.Delivered, now.DeliveredBytes, now.Released);
            }
        }

        if (marks.Length > 0)
        {
            Add("""
                INSERT INTO mark (origin, lane, sequence) SELECT * FROM unnest($1, $2, $3)
                ON CONFLICT (origin, lane) DO UPDATE SET sequence = excluded.sequence
                """, origins, marks.Select(m => (short)m.Key.Lane).ToArray(), marks.Select(m => m.Value).ToArray());
        }

        if (bytes != EntryBytes)
        {
            Add("UPDATE log SET entry_bytes = $1", bytes);
        }

        if (batch.BatchCommands.Count > 0)
        {
            batch.ExecuteNonQuery();
        }
    }

    private void WriteBlobs(Group group)
    {
        if (group.Blobs.Count == 0)
        {
            return;
        }

        // What something names or holds stays as a blob of which nothing is here: its key was destroyed.
        var dropped = group.Blobs.Where(b => b.Value.Dropped).Select(b => b.Key.ToArray()).ToArray();
        if (dropped.Length > 0)
        {
            FreePieces("DELETE FROM extent e USING blob b WHERE e.blob = b.id AND b.hash = ANY($1)", dropped, group);
            Run("DELETE FROM blob b WHERE hash = ANY($1) AND names = 0 AND NOT EXISTS (SELECT FROM pin p WHERE p.blob = b.id)", (object)dropped);
        }

        var emptied = group.Blobs.Where(b => b.Value is { Dropped: true, Complete: false, Added.Count: 0 }).ToArray();
        if (emptied.Length > 0)
        {
            Run("UPDATE blob SET complete = false, touched_ms = $2 WHERE hash = ANY($1)", emptied.Select(b => b.Key.ToArray()).ToArray(), group.NowMs);
        }

        var kept = group.Blobs.Except(emptied).ToArray();
        if (kept.Length == 0)
        {
            return;
        }

        Run("""
            INSERT INTO blob (hash, length, complete, names, touched_ms) SELECT x.hash, x.length, x.complete, 0, $4
            FROM unnest($1, $2, $3) x (hash, length, complete)
            ON CONFLICT (hash) DO UPDATE SET complete = excluded.complete, touched_ms = excluded.touched_ms
            """, kept.Select(b => b.Key.ToArray()).ToArray(), kept.Select(b => b.Value.Length).ToArray(), kept.Select(b => b.Value.Complete).ToArray(), group.NowMs);
        var pieces = kept.SelectMany(b => b.Value.Added.Select(e => (Hash: b.Key.ToArray(), Extent: e))).ToArray();
        if (pieces.Length > 0)
        {
            Run("""
                INSERT INTO extent (blob, at, segment, "offset", length) SELECT b.id, x.at, x.segment, x.place, x.length
                FROM unnest($1, $2, $3, $4, $5) x (hash, at, segment, place, length) JOIN blob b ON b.hash = x.hash
                """, pieces.Select(p => p.Hash).ToArray(), pieces.Select(p => p.Extent.At).ToArray(), pieces.Select(p => p.Extent.Segment).ToArray(),
                pieces.Select(p => p.Extent.Offset).ToArray(), pieces.Select(p => p.Extent.Length).ToArray());
        }
    }

    /// <summary>By COPY, the fastest way into a table; returns what they take.</summary>
    private long WriteEntries(List<NewEntry> entries)
    {
        if (entries.Count == 0)
        {
            return 0;
        }

        // Before the COPY: while it runs the session can do nothing else.
        var origins = entries.Select(e => OriginId(e.Logged.Identity.Site, e.Logged.Identity.Epoch)).ToArray();
        var rows = MakeReady(entries);
        var bytes = 0L;
        using (var copy = _lease.Session.BeginBinaryImport("""
            COPY entry (position, origin, lane, sequence, own, fact, lane_bytes, blob_bytes, time_ms, sealed_by, data_bytes, crc, id, type, key, trace, blobs, data)
            FROM STDIN (FORMAT BINARY)
            """))
        {
            for (var i = 0; i < entries.Count; i++)
            {
                bytes += Write(copy, entries[i], rows[i / RowsAtOnce].Value[i % RowsAtOnce], origins[i]);
            }

            copy.Complete();
        }

        var named = entries.SelectMany(e => e.Logged.Entry.Blobs).GroupBy(b => b.Hash).ToArray();
        if (named.Length > 0)
        {
            Run("UPDATE blob b SET names = names + x.count FROM unnest($1, $2) x (hash, count) WHERE b.hash = x.hash",
                named.Select(b => b.Key.ToArray()).ToArray(), named.Select(b => (long)b.Count()).ToArray());
        }

        return bytes;
    }

    /// <summary>
    /// Seals and sums entries on processors that are idle while the rows before them are on their way. What nobody has begun with when its turn comes the
    /// committer does itself, so that it never waits for a thread.
    /// </summary>
    private Lazy<Row[]>[] MakeReady(List<NewEntry> entries)
    {
        var rows = new Lazy<Row[]>[(entries.Count + RowsAtOnce - 1) / RowsAtOnce];
        for (var i = 0; i < rows.Length; i++)
        {
            var (from, count) = (i * RowsAtOnce, Math.Min(RowsAtOnce, entries.Count - (i * RowsAtOnce)));
            rows[i] = new Lazy<Row[]>(() => MakeReady(entries, from, count));
        }

        for (var i = 1; i < rows.Length && entries.Count >= RowsWorthHelp; i++)
        {
            var some = rows[i];
            _ = Task.Run(() => some.Value);
        }

        return rows;
    }

    private Row[] MakeReady(List<NewEntry> entries, int from, int count)
    {
        var rows = new Row[count];
        for (var i = 0; i < count; i++)
        {
            var entry = entries[from + i];
            var packed = EntryRow.Pack(entry.Logged.Entry.Blobs);
            var (kept, isSealed) = EntrySeal.Seal(_segments.Keys, entry.Logged.Entry, entry.Fact, entry.Logged.Position);
            rows[i] = new Row(kept, isSealed, packed, EntryRow.Checksum(kept, packed));
        }

        return rows;
    }

    private static long Write(NpgsqlBinaryImporter copy, NewEntry entry, Row row, long origin)
    {
        var (position, identity, fact) = entry.Logged;
        var (kept, isSealed, packed, checksum) = row;
        copy.StartRow();
        copy.Write(position, NpgsqlDbType.Bigint);
        copy.Write(origin, NpgsqlDbType.Bigint);
        copy.Write((short)identity.Lane, NpgsqlDbType.Smallint);
        copy.Write(identity.Sequence, NpgsqlDbType.Bigint);
        copy.Write(entry.Own, NpgsqlDbType.Boolean);
        copy.Write(Key(entry.Fact), NpgsqlDbType.Uuid);
        copy.Write(entry.LaneBytes, NpgsqlDbType.Bigint);
        copy.Write(fact.Blobs.Sum(b => b.Length), NpgsqlDbType.Bigint);
        copy.Write(kept.TimeMs, NpgsqlDbType.Bigint);
        if (isSealed)
        {
            copy.Write(unchecked((long)EntrySeal.KeyOf(kept.Data.Span)), NpgsqlDbType.Bigint);
        }
        else
        {
            copy.WriteNull();
        }

        copy.Write(fact.Data.Length, NpgsqlDbType.Integer);
        copy.Write((long)checksum, NpgsqlDbType.Bigint);
        copy.Write(kept.Id, NpgsqlDbType.Text);
        copy.Write(kept.Type, NpgsqlDbType.Text);
        copy.Write(kept.Key, NpgsqlDbType.Text);
        if (kept.TraceParent is null)
        {
            copy.WriteNull();
        }
        else
        {
            copy.Write(kept.TraceParent, NpgsqlDbType.Text);
        }

        copy.Write(packed, NpgsqlDbType.Bytea);
        copy.Write(kept.Data, NpgsqlDbType.Bytea);
        return RowBytes + packed.Length + kept.Data.Length;
    }

    private void WritePins(Group group, HashSet<long> candidates)
    {
        // Runs of one kind, so that their order is kept and an archive that pins hundreds is one statement.
        for (var from = 0; from < group.Pins.Count;)
        {
            var set = group.Pins[from].Set;
            var run = group.Pins.Skip(from).TakeWhile(p => p.Set == set).Distinct().ToArray();
            from += group.Pins.Skip(from).TakeWhile(p => p.Set == set).Count();
            var (hashes, holders) = (run.Select(p => p.Hash.ToArray()).ToArray(), run.Select(p => p.Holder).ToArray());
            if (set)
            {
                Run("""
                    INSERT INTO pin (blob, holder) SELECT b.id, x.holder FROM unnest($1, $2) x (hash, holder) JOIN blob b ON b.hash = x.hash
                    ON CONFLICT DO NOTHING
                    """, hashes, holders);
            }
            else
            {
                candidates.UnionWith(Ids("""
                    DELETE FROM pin p USING blob b, unnest($1, $2) x (hash, holder) WHERE p.blob = b.id AND b.hash = x.hash AND p.holder = x.holder
                    RETURNING b.id
                    """, hashes, holders));
            }
        }

        if (group.ForgetOrphansBeforeMs is { } before)
        {
            candidates.UnionWith(Ids("SELECT id FROM blob WHERE names = 0 AND touched_ms < $1", before));
        }
    }

    private long Release(Lane lane, long after, long through, HashSet<long> candidates)
    {
        var named = new Dictionary<ContentHash, long>();
        var bytes = 0L;
        using (var row = Command(
            "DELETE FROM entry WHERE own AND lane = $1 AND sequence > $2 AND sequence <= $3 RETURNING blobs, octet_length(data)", (short)lane, after, through).ExecuteReader())
        {
            while (row.Read())
            {
                var packed = row.GetFieldValue<byte[]>(0);
                bytes += RowBytes + packed.Length + row.GetInt32(1);
                foreach (var blob in EntryRow.Unpack(packed))
                {
                    named[blob.Hash] = named.GetValueOrDefault(blob.Hash) + 1;
                }
            }
        }

        if (named.Count > 0)
        {
            candidates.UnionWith(Ids("UPDATE blob b SET names = names - x.count FROM unnest($1, $2) x (hash, count) WHERE b.hash = x.hash RETURNING b.id",
                named.Keys.Select(h => h.ToArray()).ToArray(), named.Values.ToArray()));
        }

        return bytes;
    }

    /// <summary>Deletes what nothing names or holds from the index. Its space is given back once this transaction is durable.</summary>
    private void Forget(HashSet<long> candidates, Group group)
    {
        if (candidates.Count == 0)
        {
            return;
        }

        const string unnamed = "b.id = ANY($1) AND b.names = 0 AND NOT EXISTS (SELECT FROM pin p WHERE p.blob = b.id)";
        long[] ids = [.. candidates];
        FreePieces($"DELETE FROM extent e USING blob b WHERE e.blob = b.id AND {unnamed}", ids, group);
        Run($"DELETE FROM blob b WHERE {unnamed}", ids);
    }

    private void FreePieces(string delete, object which, Group group)
    {
        using var row = Command(delete + """ RETURNING b.hash, e.at, e.segment, e."offset", e.length""", which).ExecuteReader();
        while (row.Read())
        {
            group.Freed.Add((new ContentHash(row.GetFieldValue<byte[]>(0)), new Extent(row.GetInt64(1), row.GetInt64(2), row.GetInt32(3), row.GetInt32(4))));
        }
    }

    private long OriginId(string site, Guid epoch)
    {
        if (!_origins.TryGetValue((site, epoch), out var id))
        {
            Run("INSERT INTO origin (site, epoch) VALUES ($1, $2) ON CONFLICT DO NOTHING", site, epoch);
            id = Ids("SELECT id FROM origin WHERE site = $1 AND epoch = $2", site, epoch)[0];
            _origins.Add((site, epoch), id);
        }

        return id;
    }

    private List<long> Ids(string sql, params ReadOnlySpan<object> values)
    {
        var ids = new List<long>();
        using var row = Command(sql, values).ExecuteReader();
        while (row.Read())
        {
            ids.Add(row.GetInt64(0));
        }

        return ids;
    }

    /// <summary>An entry as its row has it.</summary>
    private readonly record struct Row(Entry Kept, bool Sealed, byte[] Packed, uint Checksum);
}
