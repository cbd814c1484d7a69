using Npgsql;

namespace Yizhan.Storage;

internal sealed partial class PostgresJournal
{
    private const int MaxReadBytes = 8 * 1024 * 1024;

    /// <summary>The queries, on a connection of the pool.</summary>
    private readonly struct Reader(NpgsqlConnection connection, KeyRing keys)
    {
        public List<(FactKey Fact, (EntryIdentity Identity, long Position) Found)> FindFacts(Guid[] facts)
        {
            var found = new List<(FactKey, (EntryIdentity, long))>();
            using var row = Command("""
                SELECT e.fact, o.site, o.epoch, e.lane, e.sequence, e.position FROM entry e JOIN origin o ON o.id = e.origin WHERE e.fact = ANY($1)
                """, facts).ExecuteReader();
            while (row.Read())
            {
                found.Add((Fact(row.GetGuid(0)), (new EntryIdentity(row.GetString(1), row.GetGuid(2), (Lane)row.GetInt16(3), row.GetInt64(4)), row.GetInt64(5))));
            }

            return found;
        }

        public (long LaneBytes, long TimeMs)? FindOwn(Lane lane, long sequence)
        {
            using var row = Command("SELECT lane_bytes, time_ms FROM entry WHERE own AND lane = $1 AND sequence = $2", (short)lane, sequence).ExecuteReader();
            return row.Read() ? (row.GetInt64(0), row.GetInt64(1)) : null;
        }

        public StoredBlob? FindBlob(ContentHash hash)
        {
            // One statement, so that blob and pieces are of one moment.
            using var row = Command("""
                SELECT b.length, b.complete, e.at, e.segment, e."offset", e.length
                FROM blob b LEFT JOIN extent e ON e.blob = b.id WHERE b.hash = $1 ORDER BY e.at
                """, hash.ToArray()).ExecuteReader();
            if (!row.Read())
            {
                return null;
            }

            var (length, complete) = (row.GetInt64(0), row.GetBoolean(1));
            var extents = new List<Extent>();
            do
            {
                if (!row.IsDBNull(2))
                {
                    extents.Add(new Extent(row.GetInt64(2), row.GetInt64(3), row.GetInt32(4), row.GetInt32(5)));
                }
            }
            while (row.Read());
            return new StoredBlob(length, complete, extents);
        }

        public List<BlobRef> Blobs(ContentHash? after, int max)
        {
            var blobs = new List<BlobRef>();
            using var row = Command(
                "SELECT hash, length FROM blob WHERE complete AND hash > $1 ORDER BY hash LIMIT $2", after?.ToArray() ?? [], max).ExecuteReader();
            while (row.Read())
            {
                blobs.Add(new BlobRef(new ContentHash(row.GetFieldValue<byte[]>(0)), row.GetInt64(1)));
            }

            return blobs;
        }

        public KeyUse UseOf(IReadOnlyCollection<ulong> sealing, HashSet<long> segments, LaneState[] lanes)
        {
            var blobs = new HashSet<ContentHash>();
            using (var row = Command("SELECT DISTINCT b.hash FROM extent e JOIN blob b ON b.id = e.blob WHERE e.segment = ANY($1)", segments.ToArray()).ExecuteReader())
            {
                while (row.Read())
                {
                    blobs.Add(new ContentHash(row.GetFieldValue<byte[]>(0)));
                }
            }

            var (entries, undelivered) = (0L, 0L);
            using var entry = Command("SELECT own, lane, sequence, sealed_by, blobs FROM entry").ExecuteReader();
            while (entry.Read())
            {
                var isSealed = !entry.IsDBNull(3) && sealing.Contains(unchecked((ulong)entry.GetInt64(3)));
                var waits = entry.GetBoolean(0) && entry.GetInt64(2) > lanes[entry.GetInt16(1)].Delivered;
                entries += isSealed ? 1 : 0;
                undelivered += waits && (isSealed || EntryRow.Unpack(entry.GetFieldValue<byte[]>(4)).Any(b => blobs.Contains(b.Hash))) ? 1 : 0;
            }

            return new KeyUse(entries, undelivered, blobs.Count);
        }

        public List<LoggedEntry> Read(long afterPosition, int maxEntries) =>
            Entries("position > $1 ORDER BY position LIMIT $2", "position", MaxReadBytes, afterPosition, maxEntries);

        public List<LoggedEntry> ReadLane(Lane lane, long afterSequence, int maxEntries, long maxDataBytes) =>
            Entries("own AND lane = $3 AND sequence > $1 ORDER BY sequence LIMIT $2", "sequence", maxDataBytes, afterSequence, maxEntries, (short)lane);

        /// <summary>A page by number and bytes: the server adds up, so that no more crosses the line than is wanted.</summary>
        private List<LoggedEntry> Entries(string which, string order, long maxDataBytes, params ReadOnlySpan<object> values)
        {
            var entries = new List<LoggedEntry>();
            using var row = Command($"""
                SELECT e.position, o.site, o.epoch, e.lane, e.sequence, e.type, e.id, e.key, e.time_ms, e.trace, e.blobs, e.data, e.crc, e.sealed_by, e.fact
                FROM (SELECT *, sum(octet_length(data)) OVER (ORDER BY {order}) AS bytes, row_number() OVER (ORDER BY {order}) AS number
                    FROM (SELECT * FROM entry WHERE {which}) p) e JOIN origin o ON o.id = e.origin
                WHERE e.bytes <= {maxDataBytes} OR e.number = 1 ORDER BY e.{order}
                """, values).ExecuteReader();
            while (row.Read())
            {
                var lane = (Lane)row.GetInt16(3);
                var blobs = row.GetFieldValue<byte[]>(10);
                var entry = new Entry(lane, row.GetString(5), row.GetString(6), row.GetString(7), row.GetInt64(8), row.GetFieldValue<byte[]>(11))
                {
                    TraceParent = row.IsDBNull(9) ? null : row.GetString(9),
                    Blobs = EntryRow.Unpack(blobs),
                };
                if (row.GetInt64(12) != EntryRow.Checksum(entry, blobs))
                {
                    throw new InvalidDataException($"Entry {row.GetInt64(0)} is damaged: its row in PostgreSQL fails its checksum.");
                }

                var logged = new LoggedEntry(row.GetInt64(0), new EntryIdentity(row.GetString(1), row.GetGuid(2), lane, row.GetInt64(4)), entry);
                entries.Add(row.IsDBNull(13) ? logged : EntrySeal.Open(keys, logged, Fact(row.GetGuid(14))));
            }

            return entries;
        }

        private NpgsqlCommand Command(string sql, params ReadOnlySpan<object> values) => Bind(new NpgsqlCommand(null, connection), sql, values);
    }
}
