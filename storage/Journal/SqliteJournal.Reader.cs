using Microsoft.Data.Sqlite;

namespace Yizhan.Storage;

internal sealed partial class SqliteJournal
{
    private const int MaxReadBytes = 8 * 1024 * 1024;

    /// <summary>One reading connection with its prepared queries. Used by one thread at a time.</summary>
    private sealed class Reader(string path, KeyRing keys) : IDisposable
    {
        private const string Columns =
            "e.position, o.site, o.epoch, e.lane, e.sequence, e.type, e.id, e.key, e.time_ms, e.trace, e.blobs, e.data, e.crc, e.sealed_by, e.fact FROM entry e JOIN origin o ON o.id = e.origin";

        private readonly SqliteConnection _connection = SqliteFile.OpenReader(path);
        private readonly Dictionary<string, SqliteCommand> _commands = [];

        public StoredBlob? FindBlob(ContentHash hash)
        {
            // One statement, so that blob and pieces are of one moment.
            using var row = Command("""
                SELECT b.length, b.complete, e.at, e.segment, e.offset, e.length
                FROM blob b LEFT JOIN extent e ON e.blob = b.id WHERE b.hash = $1 ORDER BY e.at
                """, hash.ToArray()).ExecuteReader();
            if (!row.Read())
            {
                return null;
            }

            var (length, complete) = (row.GetInt64(0), row.GetInt32(1) == 1);
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
                "SELECT hash, length FROM blob WHERE complete = 1 AND hash > $1 ORDER BY hash LIMIT $2", after?.ToArray() ?? [], max).ExecuteReader();
            while (row.Read())
            {
                blobs.Add(new BlobRef(new ContentHash(row.GetFieldValue<byte[]>(0)), row.GetInt64(1)));
            }

            return blobs;
        }

        public KeyUse UseOf(IReadOnlyCollection<ulong> keys, HashSet<long> segments, LaneState[] lanes)
        {
            var blobs = new HashSet<ContentHash>();
            using (var row = Command("SELECT b.hash, e.segment FROM extent e JOIN blob b ON b.id = e.blob").ExecuteReader())
            {
                while (row.Read())
                {
                    if (segments.Contains(row.GetInt64(1)))
                    {
                        blobs.Add(new ContentHash(row.GetFieldValue<byte[]>(0)));
                    }
                }
            }

            var (entries, undelivered) = (0L, 0L);
            using var entry = Command("SELECT own, lane, sequence, sealed_by, blobs FROM entry").ExecuteReader();
            while (entry.Read())
            {
                var isSealed = !entry.IsDBNull(3) && keys.Contains((ulong)entry.GetInt64(3));
                var waits = entry.GetInt32(0) == 1 && entry.GetInt64(2) > lanes[entry.GetInt32(1)].Delivered;
                entries += isSealed ? 1 : 0;
                undelivered += waits && (isSealed || EntryRow.Unpack(entry.GetFieldValue<byte[]>(4)).Any(b => blobs.Contains(b.Hash))) ? 1 : 0;
            }

            return new KeyUse(entries, undelivered, blobs.Count);
        }

        public List<LoggedEntry> Read(long afterPosition, int maxEntries) =>
            Entries(Command($"SELECT {Columns} WHERE e.position > $1 ORDER BY e.position LIMIT $2", afterPosition, maxEntries), MaxReadBytes);

        public List<LoggedEntry> ReadLane(Lane lane, long afterSequence, int maxEntries, long maxDataBytes) =>
            Entries(Command($"SELECT {Columns} WHERE e.own = 1 AND e.lane = $1 AND e.sequence > $2 ORDER BY e.sequence LIMIT $3",
                (int)lane, afterSequence, maxEntries), maxDataBytes);

        public void Dispose()
        {
            foreach (var command in _commands.Values)
            {
                command.Dispose();
            }

            _connection.Dispose();
        }

        private List<LoggedEntry> Entries(SqliteCommand command, long maxDataBytes)
        {
            var entries = new List<LoggedEntry>();
            var bytes = 0L;
            using var row = command.ExecuteReader();
            while (row.Read())
            {
                var data = row.GetFieldValue<byte[]>(11);
                bytes += data.Length;
                if (entries.Count > 0 && bytes > maxDataBytes)
                {
                    break;
                }

                var lane = (Lane)row.GetInt32(3);
                var blobs = row.GetFieldValue<byte[]>(10);
                var entry = new Entry(lane, row.GetString(5), row.GetString(6), row.GetString(7), row.GetInt64(8), data)
                {
                    TraceParent = row.IsDBNull(9) ? null : row.GetString(9),
                    Blobs = EntryRow.Unpack(blobs),
                };
                if (!row.IsDBNull(12) && row.GetInt64(12) != EntryRow.Checksum(entry, blobs))
                {
                    throw new InvalidDataException($"Entry {row.GetInt64(0)} is damaged: its row in log.db fails its checksum.");
                }

                var identity = new EntryIdentity(row.GetString(1), new Guid(row.GetFieldValue<byte[]>(2)), lane, row.GetInt64(4));
                var logged = new LoggedEntry(row.GetInt64(0), identity, entry);
                entries.Add(row.IsDBNull(13) ? logged : EntrySeal.Open(keys, logged, FactKey.Of(row.GetFieldValue<byte[]>(14))));
            }

            return entries;
        }

        private SqliteCommand Command(string sql, params ReadOnlySpan<object?> values)
        {
            if (!_commands.TryGetValue(sql, out var command))
            {
                _commands.Add(sql, command = Prepare(_connection, sql));
            }

            return Bind(command, values);
        }
    }
}
