using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using Microsoft.Data.Sqlite;

namespace Yizhan.Storage;

/// <summary>Entries, blob index and marks in one SQLite database. A group is one transaction, after the flush of the blobs that it names.</summary>
internal sealed partial class SqliteJournal : Journal
{
    // SQLITE_FULL: the transaction was rolled back and nothing durable is in doubt.
    private const int SqliteFull = 13;

    private readonly SegmentFiles _segments;
    private readonly string _path;
    private readonly SqliteConnection _writer;
    private readonly ConcurrentBag<Reader> _readers = [];
    private readonly Dictionary<string, SqliteCommand> _commands = [];
    private readonly Dictionary<(string, Guid), long> _origins = [];
    private long _entryBytes;

    /// <param name="path">The database file.</param>
    /// <param name="site">Site of the log, when it is created.</param>
    /// <param name="newEpoch">The log was restored: begin a new epoch.</param>
    /// <param name="segments">Where the blobs are.</param>
    /// <param name="checkpoints">False: another process checkpoints the database.</param>
    public SqliteJournal(string path, string site, bool newEpoch, SegmentFiles segments, bool checkpoints = true)
    {
        _path = path;
        _segments = segments;
        _writer = SqliteFile.OpenWriter(path, Migrations);
        try
        {
            if (!checkpoints)
            {
                Run("PRAGMA wal_autocheckpoint = 0");
            }

            State = Load(site, newEpoch);
            foreach (var (segment, offset, length) in LiveExtents())
            {
                segments.Adopt(new Extent(0, segment, offset, length));
            }

            // Not on behind the last live record: a file that was closed never changes again, so a backup shares it with the one before.
            segments.Adopted(goOn: false);
            _entryBytes = Measure();
        }
        catch
        {
            // Nobody gets this object to dispose it: the files of the folder would stay open, and their locks with them.
            Dispose();
            throw;
        }
    }

    public override LogState State { get; }

    public override long EntryBytes => Interlocked.Read(ref _entryBytes);

    /// <summary>What SQLite says about the durability of the writing connection; 2 is FULL.</summary>
    internal string Synchronous
    {
        get
        {
            using var row = Command("PRAGMA synchronous").ExecuteReader();
            row.Read();
            return row.GetString(0);
        }
    }

    public override void Commit(Group group)
    {
        // Blobs first: a row that names a blob must never be durable before the blob is.
        _segments.FlushDirty();
        try
        {
            Run("BEGIN IMMEDIATE");
            Write(group);
            Run("COMMIT");
        }
        catch (Exception e) when (e is DiskFullException or SqliteException { SqliteErrorCode: SqliteFull })
        {
            Rollback();
            group.Freed.Clear();
            throw new DiskFullException($"{_path}: no space is left.", e);
        }

        Interlocked.Exchange(ref _entryBytes, Measure());
    }

    public override (EntryIdentity Identity, long Position)? FindFact(FactKey fact)
    {
        const string sql = """
            SELECT o.site, o.epoch, e.lane, e.sequence, e.position
            FROM entry e JOIN origin o ON o.id = e.origin WHERE e.fact = $1
            """;
        using var row = Command(sql, fact.ToArray()).ExecuteReader();
        return row.Read()
            ? (new EntryIdentity(row.GetString(0), new Guid(row.GetFieldValue<byte[]>(1)), (Lane)row.GetInt32(2), row.GetInt64(3)), row.GetInt64(4))
            : null;
    }

    public override (long LaneBytes, long TimeMs)? FindOwn(Lane lane, long sequence)
    {
        using var row = Command("SELECT lane_bytes, time_ms FROM entry WHERE own = 1 AND lane = $1 AND sequence = $2", (int)lane, sequence)
            .ExecuteReader();
        return row.Read() ? (row.GetInt64(0), row.GetInt64(1)) : null;
    }

    public override StoredBlob? FindBlob(ContentHash hash) => Query(reader => reader.FindBlob(hash));

    public override IReadOnlyList<BlobRef> Blobs(ContentHash? after, int max) => Query(reader => reader.Blobs(after, max));

    public override KeyUse UseOf(IReadOnlyCollection<ulong> keys) => Query(reader => reader.UseOf(keys, _segments.Under(keys), State.Lanes));

    public override IReadOnlyList<LoggedEntry> Read(long afterPosition, int maxEntries) =>
        Query(reader => reader.Read(afterPosition, maxEntries));

    public override IReadOnlyList<LoggedEntry> ReadLane(Lane lane, long afterSequence, int maxEntries, long maxDataBytes) =>
        Query(reader => reader.ReadLane(lane, afterSequence, maxEntries, maxDataBytes));

    public override void Dispose()
    {
        foreach (var command in _commands.Values)
        {
            command.Dispose();
        }

        while (_readers.TryTake(out var reader))
        {
            reader.Dispose();
        }

        _writer.Dispose();
    }

    private T Query<T>(Func<Reader, T> query)
    {
        // As many readers as ever read at once; a failed one is not used again.
        var reader = _readers.TryTake(out var free) ? free : new Reader(_path, _segments.Keys);
        var result = query(reader);
        _readers.Add(reader);
        return result;
    }

    private LogState Load(string site, bool newEpoch)
    {
        // A random epoch: nothing about this machine or its clock may make two logs share one.
        var epoch = new Guid(RandomNumberGenerator.GetBytes(16)).ToByteArray();
        Run("BEGIN IMMEDIATE");
        var known = Run("INSERT INTO log (one, site, epoch, position) VALUES (1, $1, $2, 0) ON CONFLICT DO NOTHING", site, epoch) == 0;
        if (known && newEpoch)
        {
            BeginEpoch(epoch);
        }

        Run("COMMIT");
        using var log = Command("SELECT site, epoch, position FROM log").ExecuteReader();
        log.Read();
        if (log.GetString(0) != site)
        {
            throw new InvalidOperationException($"{_path} is the log of site '{log.GetString(0)}', not of '{site}'.");
        }

        var state = new LogState { Site = site, Epoch = new Guid(log.GetFieldValue<byte[]>(1)), Position = log.GetInt64(2) };
        var lanes = new LaneState[4];
        using var lane = Command("""
            SELECT l.lane, l.sequence, l.bytes, l.delivered, l.delivered_bytes, l.released, e.time_ms
            FROM lane l LEFT JOIN entry e ON e.own = 1 AND e.lane = l.lane AND e.sequence = l.delivered + 1
            """).ExecuteReader();
        while (lane.Read())
        {
            lanes[lane.GetInt32(0)] = new LaneState(lane.GetInt64(1), lane.GetInt64(2), lane.GetInt64(3), lane.GetInt64(4),
                lane.GetInt64(5), lane.IsDBNull(6) ? null : lane.GetInt64(6));
        }

        state.Lanes = lanes;
        using var mark = Command("SELECT o.site, o.epoch, m.lane, m.sequence FROM mark m JOIN origin o ON o.id = m.origin").ExecuteReader();
        while (mark.Read())
        {
            state.Marks[new Origin(mark.GetString(0), new Guid(mark.GetFieldValue<byte[]>(1)), (Lane)mark.GetInt32(2))] = mark.GetInt64(3);
        }

        return state;
    }

    /// <summary>
    /// After a restore nobody knows which sequences the lost part of the log had given away. So everything that is kept gets new ones, under a new
    /// epoch, and is sent again; the centre knows the facts by (site, id) and keeps none twice.
    /// </summary>
    private void BeginEpoch(byte[] epoch)
    {
        Run("UPDATE log SET epoch = $1", epoch);
        Run("INSERT INTO origin (site, epoch) SELECT site, epoch FROM log");

        // Negative first: the unique index looks at every single row.
        Run("""
            UPDATE entry SET origin = (SELECT o.id FROM origin o JOIN log l ON l.site = o.site AND l.epoch = o.epoch),
                sequence = (SELECT l.released FROM lane l WHERE l.lane = entry.lane) - sequence
            WHERE own = 1
            """);
        Run("UPDATE entry SET sequence = -sequence WHERE own = 1");
        Run("""
            UPDATE lane SET sequence = sequence - released, delivered = 0, released = 0,
                delivered_bytes = coalesce((SELECT e.lane_bytes - coalesce(e.data_bytes, length(e.data)) - e.blob_bytes FROM entry e
                    WHERE e.own = 1 AND e.lane = lane.lane AND e.sequence = 1), bytes)
            """);
    }

    private List<(long Segment, int Offset, int Length)> LiveExtents()
    {
        var extents = new List<(long, int, int)>();
        using var row = Command("SELECT segment, offset, length FROM extent").ExecuteReader();
        while (row.Read())
        {
            extents.Add((row.GetInt64(0), row.GetInt32(1), row.GetInt32(2)));
        }

        return extents;
    }

    private long Measure()
    {
        using var row = Command("SELECT (p.page_count - f.freelist_count) * s.page_size FROM pragma_page_count p, pragma_freelist_count f, pragma_page_size s")
            .ExecuteReader();
        row.Read();
        return row.GetInt64(0);
    }

    private void Rollback()
    {
        // What this transaction gave an id has none now.
        _origins.Clear();

        // SQLite has often rolled back by itself already; then this says so and nothing is wrong.
        try
        {
            Run("ROLLBACK");
        }
        catch (SqliteException e) when (e.SqliteErrorCode == 1)
        {
        }
    }

    private int Run(string sql, params ReadOnlySpan<object?> values) => Command(sql, values).ExecuteNonQuery();

    /// <summary>A prepared command of the writing connection; its text is the key. Parameters are $1, $2, ….</summary>
    private SqliteCommand Command(string sql, params ReadOnlySpan<object?> values)
    {
        if (!_commands.TryGetValue(sql, out var command))
        {
            _commands.Add(sql, command = Prepare(_writer, sql));
        }

        return Bind(command, values);
    }

    private static SqliteCommand Prepare(SqliteConnection connection, string sql)
    {
#pragma warning disable CA2100 // All texts are literals in this class.
        return new SqliteCommand(sql, connection);
#pragma warning restore CA2100
    }

    private static SqliteCommand Bind(SqliteCommand command, ReadOnlySpan<object?> values)
    {
        for (var i = 0; i < values.Length; i++)
        {
            if (command.Parameters.Count <= i)
            {
                command.Parameters.Add(new SqliteParameter { ParameterName = string.Create(CultureInfo.InvariantCulture, $"${i + 1}") });
            }

            command.Parameters[i].Value = values[i] ?? DBNull.Value;
        }

        return command;
    }
}
