using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.AlertBridge;

/// <summary>A group of alerts that waits for a destination; an element of <c>GET /alert-bridge/queue</c>.</summary>
/// <param name="Destination">feishu or jira.</param>
/// <param name="Hash">The group.</param>
/// <param name="Version">Grows with each newer state of the group.</param>
/// <param name="Attempts">Deliveries of this state that failed.</param>
/// <param name="DueMs">When it is tried next, Unix milliseconds UTC.</param>
/// <param name="SinceMs">Since when something of the group waits.</param>
/// <param name="Error">Why it failed last; null when it was not tried.</param>
internal sealed record QueuedGroup(string Destination, string Hash, long Version, long Attempts, long DueMs, long SinceMs, string? Error);

/// <summary>The durable queue: one row for each destination and group, the newest state of the group in it.</summary>
internal sealed class Outbox : IDisposable
{
    private const string Schema = """
        CREATE TABLE waiting (
            destination TEXT    NOT NULL,
            hash        TEXT    NOT NULL,
            version     INTEGER NOT NULL,
            body        BLOB    NOT NULL,
            attempts    INTEGER NOT NULL,
            due_ms      INTEGER NOT NULL,
            since_ms    INTEGER NOT NULL,
            error       TEXT,
            PRIMARY KEY (destination, hash)
        ) STRICT;
        CREATE INDEX waiting_due ON waiting (destination, due_ms);
        """;

    private readonly SqliteConnection _db;
    private readonly Lock _writer = new();
    private readonly TimeProvider _clock;
    private readonly int _maxGroups;
    private volatile TaskCompletionSource _more = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Outbox(IOptions<NodeOptions> node, IOptions<AlertBridgeOptions> options, TimeProvider clock)
    {
        (_clock, _maxGroups) = (clock, options.Value.MaxGroups);
        _db = SqliteFile.OpenWriter(node.Value.PathOf("alert-bridge", "alert-bridge.db"), Schema);
    }

    /// <summary>Completes when something was put.</summary>
    public Task More => _more.Task;

    /// <summary>Keeps the newest state of a group; durable when it returns. False when too many groups wait.</summary>
    /// <exception cref="SqliteException">The disk is full or broken; nothing was kept.</exception>
    public bool TryPut(string destination, string hash, byte[] body)
    {
        var nowMs = NowMs();
        lock (_writer)
        {
            var known = _db.ExecuteScalar<bool>("SELECT EXISTS (SELECT 1 FROM waiting WHERE destination = @destination AND hash = @hash)", new { destination, hash });
            if (!known && _db.ExecuteScalar<long>("SELECT count(*) FROM waiting WHERE destination = @destination", new { destination }) >= _maxGroups)
            {
                return false;
            }

            // A newer state is due when the older one was: a destination that is down is not asked more often because alerts go on.
            _db.Execute(
                """
                INSERT INTO waiting VALUES (@destination, @hash, 1, @body, 0, @nowMs, @nowMs, NULL)
                ON CONFLICT DO UPDATE SET version = version + 1, body = excluded.body
                """,
                new { destination, hash, body, nowMs });
        }

        Interlocked.Exchange(ref _more, new(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
        return true;
    }

    /// <summary>What is due first for a destination, with its body; null when nothing waits.</summary>
    public (QueuedGroup Group, byte[] Body)? First(string destination)
    {
        lock (_writer)
        {
            var row = _db.Query<(string Destination, string Hash, long Version, long Attempts, long DueMs, long SinceMs, string? Error, byte[] Body)>(
                "SELECT destination, hash, version, attempts, due_ms, since_ms, error, body FROM waiting WHERE destination = @destination ORDER BY due_ms, hash LIMIT 1",
                new { destination }).ToList();
            return row is [var r] ? (new QueuedGroup(r.Destination, r.Hash, r.Version, r.Attempts, r.DueMs, r.SinceMs, r.Error), r.Body) : null;
        }
    }

    /// <summary>Forgets a state that came to its end. A newer one that came meanwhile stays.</summary>
    public void Done(QueuedGroup group)
    {
        lock (_writer)
        {
            _db.Execute("DELETE FROM waiting WHERE destination = @Destination AND hash = @Hash AND version = @Version", group);
        }
    }

    /// <summary>Notes a failure and when the group is tried again.</summary>
    public void Failed(QueuedGroup group, TimeSpan wait, string error)
    {
        lock (_writer)
        {
            _db.Execute(
                "UPDATE waiting SET attempts = attempts + 1, due_ms = @dueMs, error = @error WHERE destination = @Destination AND hash = @Hash",
                new { dueMs = NowMs() + (long)wait.TotalMilliseconds, error, group.Destination, group.Hash });
        }
    }

    /// <summary>All that waits, at most 1000, what is due first in front.</summary>
    public IReadOnlyList<QueuedGroup> All()
    {
        lock (_writer)
        {
            return [.. _db.Query<(string, string, long, long, long, long, string?)>(
                "SELECT destination, hash, version, attempts, due_ms, since_ms, error FROM waiting ORDER BY due_ms, destination, hash LIMIT 1000")
                .Select(r => new QueuedGroup(r.Item1, r.Item2, r.Item3, r.Item4, r.Item5, r.Item6, r.Item7))];
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _db.Dispose();

    private long NowMs() => _clock.GetUtcNow().ToUnixTimeMilliseconds();
}
