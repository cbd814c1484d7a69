using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.AiInfer.Clinical;

/// <summary><c>ai-infer.db</c>: what of the log was read, series that are still arriving, analyses that are owed, and the state of each model.</summary>
internal sealed class AnalysisDatabase : IDisposable
{
    private readonly Lock _lock = new();
    private readonly SqliteConnection _connection;

    public AnalysisDatabase(IOptions<NodeOptions> node) => _connection = SqliteFile.OpenWriter(
        node.Value.PathOf("ai-infer", "ai-infer.db"),
        """
        CREATE TABLE cursor (feed TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT;
        CREATE TABLE series (
            series_uid TEXT PRIMARY KEY, study_uid TEXT NOT NULL, last_ms INTEGER NOT NULL, decided INTEGER NOT NULL) STRICT;
        CREATE INDEX series_open ON series (decided, last_ms);
        CREATE TABLE analysis (
            id INTEGER PRIMARY KEY, study_uid TEXT NOT NULL, series_uid TEXT NOT NULL, model TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
            not_before_ms INTEGER NOT NULL, reason TEXT) STRICT;
        CREATE INDEX analysis_state ON analysis (state, not_before_ms);
        CREATE TABLE result (id INTEGER PRIMARY KEY, event_id TEXT UNIQUE NOT NULL, data BLOB NOT NULL) STRICT;
        CREATE TABLE rollout (
            model TEXT PRIMARY KEY, stable TEXT NOT NULL, candidate TEXT, percent INTEGER NOT NULL, stopped TEXT) STRICT;
        CREATE TABLE history (
            id INTEGER PRIMARY KEY, model TEXT NOT NULL, at_ms INTEGER NOT NULL, action TEXT NOT NULL, version TEXT NOT NULL, percent INTEGER NOT NULL, who TEXT NOT NULL,
            reason TEXT NOT NULL) STRICT;
        CREATE TABLE choice (model TEXT NOT NULL, study_uid TEXT NOT NULL, version TEXT NOT NULL, PRIMARY KEY (model, study_uid)) STRICT;
        CREATE TABLE outcome (
            id INTEGER PRIMARY KEY, model TEXT NOT NULL, version TEXT NOT NULL, series_uid TEXT NOT NULL, ok INTEGER NOT NULL, ms REAL NOT NULL, total_ml REAL, input_mean REAL) STRICT;
        CREATE INDEX outcome_version ON outcome (model, version, id);
        """,
        """
        ALTER TABLE series ADD COLUMN trace_parent TEXT;
        ALTER TABLE analysis ADD COLUMN trace_parent TEXT;
        """,
        """
        CREATE TABLE obeyed (number INTEGER PRIMARY KEY) STRICT;
        """);

    /// <summary>Does something in one transaction. Transactions are short; one at a time.</summary>
    public T Do<T>(Func<SqliteConnection, T> work)
    {
        lock (_lock)
        {
            using var transaction = _connection.BeginTransaction();
            var result = work(_connection);
            transaction.Commit();
            return result;
        }
    }

    /// <inheritdoc cref="Do{T}"/>
    public void Do(Action<SqliteConnection> work) => Do(connection =>
    {
        work(connection);
        return 0;
    });

    /// <summary>Where reading of a log goes on; null when it has not begun.</summary>
    public long? Cursor(string feed) => Do(c => c.QueryFirstOrDefault<long?>("SELECT position FROM cursor WHERE feed = @feed", new { feed }));

    /// <inheritdoc/>
    public void Dispose() => _connection.Dispose();
}
