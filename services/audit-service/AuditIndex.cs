using System.Globalization;
using System.Text;
using Microsoft.Data.Sqlite;
using Yizhan.Storage;

namespace Yizhan.Audit;

/// <summary>What to look for; a member that is null does not matter.</summary>
internal sealed record AuditQuery(string? Entity, string? Agent, string? Action, long? FromMs, long? ToMs, string? Site, string? Id, int Limit);

/// <summary>
/// Search over the leaves, and the cursor. It can be thrown away: it is built again from the tree, and entries that are read
/// again are recognised. It is written after the tree, so it is never ahead of an honest one.
/// </summary>
internal sealed class AuditIndex : IDisposable
{
    private const int SchemaVersion = 1;

    private readonly SqliteConnection _connection;
    private readonly string _connectionString;
    private readonly Dictionary<(string Site, Guid Epoch, Lane Lane), long> _origins = [];

    private AuditIndex(string connectionString)
    {
        _connectionString = connectionString;
        _connection = new SqliteConnection(connectionString);
    }

    /// <summary>Number of leaves that are in it: the first so many of the tree.</summary>
    public long Size { get; private set; }

    /// <summary>Opens the file, or makes a new one when there is none, an old one, or a damaged one.</summary>
    public static AuditIndex Open(string path)
    {
        try
        {
            return OpenFile(path);
        }
        catch (SqliteException e) when (e.SqliteErrorCode is SQLitePCL.raw.SQLITE_CORRUPT or SQLitePCL.raw.SQLITE_NOTADB)
        {
            foreach (var suffix in new[] { "", "-wal", "-shm" })
            {
                File.Delete(path + suffix);
            }

            return OpenFile(path);
        }
    }

    private static AuditIndex OpenFile(string path)
    {
        var index = new AuditIndex(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false, DefaultTimeout = 30 }.ToString());
        try
        {
            index._connection.Open();
            index.Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
            if (index.Scalar("PRAGMA user_version") != SchemaVersion)
            {
                index.CreateSchema();
            }

            index.Size = index.Scalar("SELECT coalesce(max(leaf) + 1, 0) FROM leaves");
            return index;
        }
        catch
        {
            index.Dispose();
            throw;
        }
    }

    /// <summary>Position in the event log of this epoch up to which everything is in the tree; 0 when nothing is known.</summary>
    public long Cursor(Guid epoch) =>
        Scalar("SELECT coalesce(max(position), 0) FROM cursors WHERE epoch = $epoch", ("$epoch", epoch.ToString("D")));

    /// <summary>True when the leaf of this entry, or of another entry with the same transfer, is here already.</summary>
    public bool Knows(AuditLeaf leaf) => leaf.Kind == AuditLeaf.Transferred
        ? Scalar("""
            SELECT count(*) FROM transfers WHERE site = $site AND study = $study AND association = $association
            """, ("$site", leaf.Origin.Site), ("$study", leaf.Record.Entity), ("$association", leaf.Association)) > 0
        : Scalar("""
            SELECT count(*) FROM leaves WHERE origin = $origin AND sequence = $sequence
            """, ("$origin", OriginOf(leaf.Origin)), ("$sequence", leaf.Origin.Sequence)) > 0;

    /// <summary>Adds the next leaves and moves the cursor, in one transaction.</summary>
    /// <param name="leaves">In the order of the tree, from <see cref="Size"/> on.</param>
    /// <param name="cursor">Null while leaves that the tree had before are added again.</param>
    public void Add(IReadOnlyList<AuditLeaf> leaves, (Guid Epoch, long Position)? cursor)
    {
        using var transaction = _connection.BeginTransaction();
        using var insert = Command("""
            INSERT INTO leaves (leaf, origin, sequence, event_id, action, outcome, agent, entity, recorded_ms, id)
            VALUES ($leaf, $origin, $sequence, $event_id, $action, $outcome, $agent, $entity, $recorded_ms, $id)
            """);
        var leafIndex = Size;
        foreach (var leaf in leaves)
        {
            insert.Parameters.Clear();
            insert.Parameters.AddWithValue("$leaf", leafIndex++);
            insert.Parameters.AddWithValue("$origin", OriginOf(leaf.Origin));
            insert.Parameters.AddWithValue("$sequence", leaf.Origin.Sequence);
            insert.Parameters.AddWithValue("$event_id", leaf.Record.EventId);
            insert.Parameters.AddWithValue("$action", leaf.Record.Action);
            insert.Parameters.AddWithValue("$outcome", leaf.Record.Outcome);
            insert.Parameters.AddWithValue("$agent", leaf.Record.Agent);
            insert.Parameters.AddWithValue("$entity", leaf.Record.Entity);
            insert.Parameters.AddWithValue("$recorded_ms", leaf.Record.RecordedMs);
            insert.Parameters.AddWithValue("$id", leaf.Id);
            insert.ExecuteNonQuery();
            if (leaf.Kind == AuditLeaf.Transferred)
            {
                Execute("""
                    INSERT INTO transfers (site, study, association) VALUES ($site, $study, $association) ON CONFLICT DO NOTHING
                    """, ("$site", leaf.Origin.Site), ("$study", leaf.Record.Entity), ("$association", leaf.Association));
            }
        }

        if (cursor is { } to)
        {
            Execute("""
                INSERT INTO cursors (epoch, position) VALUES ($epoch, $position) ON CONFLICT (epoch) DO UPDATE SET position = excluded.position
                """, ("$epoch", to.Epoch.ToString("D")), ("$position", to.Position));
        }

        transaction.Commit();
        Size = leafIndex;
    }

    /// <summary>Leaves that match, the newest record first. On a connection of its own: for any thread.</summary>
    public List<long> Find(AuditQuery query)
    {
        var sql = new StringBuilder("SELECT leaf FROM leaves WHERE 1 = 1");
        using var connection = new SqliteConnection(_connectionString);
        connection.Open();
        using var command = connection.CreateCommand();
        Filter("entity = $entity", "$entity", query.Entity);
        Filter("agent = $agent", "$agent", query.Agent);
        Filter("action = $action", "$action", query.Action);
        Filter("recorded_ms >= $from", "$from", query.FromMs);
        Filter("recorded_ms < $to", "$to", query.ToMs);
        Filter("origin IN (SELECT origin FROM origins WHERE site = $site)", "$site", query.Site);
        Filter("id = $id", "$id", query.Id);
        command.CommandText = sql.Append(" ORDER BY recorded_ms DESC, leaf DESC LIMIT $limit").ToString();
        command.Parameters.AddWithValue("$limit", query.Limit);
        using var reader = command.ExecuteReader();
        var leaves = new List<long>();
        while (reader.Read())
        {
            leaves.Add(reader.GetInt64(0));
        }

        return leaves;

        void Filter(string condition, string name, object? value)
        {
            if (value is not null)
            {
                sql.Append(" AND ").Append(condition);
                command.Parameters.AddWithValue(name, value);
            }
        }
    }

    /// <summary>How SQLite would run a search: tests look for the index.</summary>
    internal string Plan(string condition)
    {
        using var command = Command($"EXPLAIN QUERY PLAN SELECT leaf FROM leaves WHERE {condition} ORDER BY recorded_ms DESC, leaf DESC LIMIT 10");
        using var reader = command.ExecuteReader();
        var plan = new StringBuilder();
        while (reader.Read())
        {
            plan.Append(reader.GetString(3)).Append("; ");
        }

        return plan.ToString();
    }

    public void Dispose() => _connection.Dispose();

    private void CreateSchema() => Execute(string.Create(CultureInfo.InvariantCulture, $"""
        BEGIN IMMEDIATE;
        DROP TABLE IF EXISTS leaves; DROP TABLE IF EXISTS origins; DROP TABLE IF EXISTS transfers; DROP TABLE IF EXISTS cursors;
        CREATE TABLE origins (origin INTEGER PRIMARY KEY, site TEXT NOT NULL, epoch TEXT NOT NULL, lane INTEGER NOT NULL, UNIQUE (site, epoch, lane)) STRICT;
        CREATE TABLE leaves (
            leaf INTEGER PRIMARY KEY, origin INTEGER NOT NULL, sequence INTEGER NOT NULL, event_id TEXT NOT NULL, action TEXT NOT NULL,
            outcome INTEGER NOT NULL, agent TEXT NOT NULL, entity TEXT NOT NULL, recorded_ms INTEGER NOT NULL, id TEXT NOT NULL) STRICT;
        CREATE INDEX by_origin ON leaves (origin, sequence);
        CREATE INDEX by_entity ON leaves (entity, recorded_ms);
        CREATE INDEX by_agent ON leaves (agent, recorded_ms);
        CREATE INDEX by_time ON leaves (recorded_ms);
        CREATE INDEX by_id ON leaves (id, recorded_ms);
        CREATE TABLE transfers (site TEXT NOT NULL, study TEXT NOT NULL, association TEXT NOT NULL, PRIMARY KEY (site, study, association)) STRICT, WITHOUT ROWID;
        CREATE TABLE cursors (epoch TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT;
        PRAGMA user_version = {SchemaVersion};
        COMMIT;
        """));

    private long OriginOf(EntryIdentity identity)
    {
        var key = (identity.Site, identity.Epoch, identity.Lane);
        if (!_origins.TryGetValue(key, out var origin))
        {
            // The update that changes nothing makes RETURNING give the row that was there.
            _origins[key] = origin = Scalar("""
                INSERT INTO origins (site, epoch, lane) VALUES ($site, $epoch, $lane)
                ON CONFLICT (site, epoch, lane) DO UPDATE SET lane = excluded.lane RETURNING origin
                """, ("$site", identity.Site), ("$epoch", identity.Epoch.ToString("D")), ("$lane", (int)identity.Lane));
        }

        return origin;
    }

    private void Execute(string sql, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        using var command = Command(sql, parameters);
        command.ExecuteNonQuery();
    }

    private long Scalar(string sql, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        using var command = Command(sql, parameters);
        return (long)command.ExecuteScalar()!;
    }

    private SqliteCommand Command(string sql, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        var command = _connection.CreateCommand();
        command.CommandText = sql;
        foreach (var (name, value) in parameters)
        {
            command.Parameters.AddWithValue(name, value ?? DBNull.Value);
        }

        return command;
    }
}
