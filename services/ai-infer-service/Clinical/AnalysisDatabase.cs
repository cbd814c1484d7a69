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
        """,
        """
        ALTER TABLE series ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
        CREATE TABLE begun (series_uid TEXT NOT NULL, model TEXT NOT NULL, attempts INTEGER NOT NULL, PRIMARY KEY (series_uid, model)) STRICT;
        """);

    /// <summary>Where reading of a log is noted.</summary>
    public static string FeedOf(Guid epoch) => $"studies/{epoch:N}";

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

    /// <summary>What the next process is to have.</summary>
    public AnalysisState Leave(Guid epoch) => Do(c =>
    {
        var read = c.QueryFirstOrDefault<long?>("SELECT position FROM cursor WHERE feed = @feed", new { feed = FeedOf(epoch) }) ?? 0;

        // Of each series that something is owed for, the newest image is read again.
        var open = c.QueryFirstOrDefault<long?>(
            "SELECT min(position) FROM series WHERE decided = 0 OR series_uid IN (SELECT series_uid FROM analysis WHERE state = 'owed')");
        return new AnalysisState(
            Math.Min(read, Math.Max(0, (open ?? read + 1) - 1)),
            [.. c.Query<StateRollout>("SELECT model, stable, candidate, percent, stopped FROM rollout ORDER BY model")],
            [.. c.Query<StateChange>(
                """
                SELECT model, at_ms AS atMs, action, version, percent, who, reason FROM
                    (SELECT *, row_number() OVER (PARTITION BY model ORDER BY id DESC) AS place FROM history) WHERE place <= 100 ORDER BY id
                """)],
            [.. c.Query<long>("SELECT number FROM obeyed ORDER BY number DESC LIMIT 1000")],
            [.. c.Query<StateChoice>("SELECT model, study_uid AS study, version FROM (SELECT rowid AS place, * FROM choice ORDER BY rowid DESC LIMIT 1000) ORDER BY place")],
            [.. c.Query<StateAttempt>("SELECT series_uid AS series, model, attempts FROM analysis WHERE state = 'owed' AND attempts > 0 ORDER BY id")]);
    });

    /// <summary>Takes what another process left.</summary>
    /// <param name="state">It.</param>
    /// <param name="epoch">Of the log that is read on from there; null: only what people see is taken.</param>
    public void Take(AnalysisState state, Guid? epoch) => Do(c =>
    {
        c.Execute("DELETE FROM rollout");
        c.Execute("DELETE FROM history");
        c.Execute("INSERT INTO rollout (model, stable, candidate, percent, stopped) VALUES (@Model, @Stable, @Candidate, @Percent, @Stopped)", state.Rollouts);
        c.Execute("INSERT INTO history (model, at_ms, action, version, percent, who, reason) VALUES (@Model, @AtMs, @Action, @Version, @Percent, @Who, @Reason)", state.History);
        c.Execute("INSERT INTO obeyed (number) VALUES (@number) ON CONFLICT DO NOTHING", state.Obeyed.Select(number => new { number }));
        c.Execute(
            "INSERT INTO choice (model, study_uid, version) VALUES (@Model, @Study, @Version) ON CONFLICT (model, study_uid) DO UPDATE SET version = excluded.version", state.Choices);
        if (epoch is not { } log)
        {
            return;
        }

        // Numbers of analyses are not given twice: one of an earlier turn may still be under way.
        c.Execute("DELETE FROM series");
        c.Execute("UPDATE analysis SET state = 'left' WHERE state = 'owed'");
        c.Execute("DELETE FROM begun");
        c.Execute("INSERT INTO begun (series_uid, model, attempts) VALUES (@Series, @Model, @Attempts)", state.Begun);
        c.Execute("INSERT INTO cursor (feed, position) VALUES (@feed, @Position) ON CONFLICT (feed) DO UPDATE SET position = @Position", new { feed = FeedOf(log), state.Position });
    });

    /// <inheritdoc/>
    public void Dispose() => _connection.Dispose();
}
