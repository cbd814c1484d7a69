using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Fleet.Accounts;

/// <summary>Emergency access of all sites that waits for somebody to look at it: made of the event log, with its place there in one transaction.</summary>
/// <remarks>A review at the centre is an event of its own, so that the queue can be made again from the log alone.</remarks>
public sealed partial class EmergencyBook : BackgroundService, ILogConsumer
{
    private const int MaxBatch = 256;
    private const int MaxVerdict = 200;

    // DICOM PS3.16 CID 400: Security Alert.
    private const string SecurityAlert = "110113";

    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(2);

    private readonly IEventLog _log;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly SqliteConnection _db;
    private readonly Lock _gate = new();
    private long _position;

    /// <summary>Opens the queue of a node.</summary>
    /// <exception cref="SqliteException">The file cannot be opened.</exception>
    public EmergencyBook(IOptions<NodeOptions> node, IEventLog log, TimeProvider clock, ILogger<EmergencyBook> logger)
    {
        (_log, _clock, _logger) = (log, clock, logger);
        _db = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = node.Value.PathOf("fleet", "emergencies.db") }.ToString());
        _db.Open();
        _db.Execute("""
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            CREATE TABLE IF NOT EXISTS emergency (
                site TEXT NOT NULL, id TEXT NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL, from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL,
                reviewer TEXT, verdict TEXT, reviewed_ms INTEGER,
                PRIMARY KEY (site, id)
            ) STRICT;
            CREATE TABLE IF NOT EXISTS review (
                site TEXT NOT NULL, id TEXT NOT NULL, reviewer TEXT NOT NULL, verdict TEXT NOT NULL, reviewed_ms INTEGER NOT NULL,
                PRIMARY KEY (site, id)
            ) STRICT;
            CREATE TABLE IF NOT EXISTS place (epoch TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT;
            """);
        _position = _db.ExecuteScalar<long?>("SELECT position FROM place WHERE epoch = @epoch", new { epoch = log.Epoch.ToString() }) ?? 0;
    }

    /// <inheritdoc/>
    public string Name => "fleet";

    /// <inheritdoc/>
    public ValueTask<long> ReadThroughAsync(CancellationToken cancellationToken) => new(Volatile.Read(ref _position));

    /// <summary>What waits, the oldest first, at most a thousand.</summary>
    public IReadOnlyList<EmergencyView> ToReview() => Query("reviewer IS NULL ORDER BY from_ms, id LIMIT 1000", new { });

    /// <summary>The newest of a site that somebody has looked at.</summary>
    public IReadOnlyList<EmergencyView> Reviewed(string site, int most) =>
        Query("site = @site AND reviewer IS NOT NULL ORDER BY reviewed_ms DESC, id LIMIT @most", new { site, most });

    /// <summary>For each site where some wait: how many, and since when.</summary>
    public IReadOnlyList<(string Site, long Count, long OldestMs)> Waiting()
    {
        lock (_gate)
        {
            return [.. _db.Query<(string, long, long)>("SELECT site, count(*), min(from_ms) FROM emergency WHERE reviewer IS NULL GROUP BY site")];
        }
    }

    /// <summary>Closes one; nobody reviews his own. It is durable, and in the audit log, when this returns true.</summary>
    /// <returns>False when none of that id waits.</returns>
    /// <exception cref="ArgumentException">The reviewer is who took it, or the verdict is out of bounds.</exception>
    public async Task<bool> ReviewAsync(string site, string id, string reviewer, string verdict, CancellationToken cancellationToken)
    {
        verdict = verdict.Trim();
        if (verdict.Length is < 1 or > MaxVerdict)
        {
            throw new ArgumentException($"A verdict of 1 to {MaxVerdict} characters is needed; there are {verdict.Length}.", nameof(verdict));
        }

        if (Query("site = @site AND id = @id AND reviewer IS NULL", new { site, id }) is not [var waiting])
        {
            return false;
        }

        if (reviewer == waiting.Who || reviewer == $"{site}:{waiting.Who}")
        {
            throw new ArgumentException($"{reviewer} took this access; somebody else reviews it.", nameof(reviewer));
        }

        var now = _clock.GetUtcNow().ToUnixTimeMilliseconds();
        var reviewed = new EmergencyReviewed(id, site, reviewer, verdict, now);
        var record = new AuditRecord(SecurityAlert, "E", 0, reviewer, null, $"fleet@{_log.Site}", $"emergency/{id}", $"reviewed for {site}: {verdict}", now);
        await _log.AppendAsync(
            [
                new Entry(Lane.Urgent, EmergencyReviewed.EventType, $"emergency/centre/{site}/{id}", $"emergency/{id}", now,
                    JsonSerializer.SerializeToUtf8Bytes(reviewed, ContractsJson.Default.EmergencyReviewed)),
                new Entry(Lane.Urgent, AuditRecord.EventType, $"emergency/audit/{site}/{id}", record.Entity, now,
                    JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord)),
            ], cancellationToken);
        lock (_gate)
        {
            Close(reviewed);
        }

        return true;
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        base.Dispose();
        _db.Dispose();
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                var page = await _log.ReadAsync(_position, MaxBatch, stoppingToken);
                if (page.Count == 0)
                {
                    await _log.WaitForMoreAsync(_position, stoppingToken);
                    continue;
                }

                Take(page);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is SqliteException or IOException)
            {
                Stalled(e, RetryAfter.TotalSeconds);
                await Task.Delay(RetryAfter, _clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private void Take(IReadOnlyList<LoggedEntry> page)
    {
        lock (_gate)
        {
            using var transaction = _db.BeginTransaction();
            foreach (var logged in page)
            {
                switch (logged.Entry.Type)
                {
                    // Whose it is says the entry's origin, which is the certificate of the link; what the body says must agree.
                    case EmergencyTaken.EventType when Read(logged, ContractsJson.Default.EmergencyTaken) is { } taken && taken.Site == logged.Identity.Site:
                        _db.Execute(
                            """
                            INSERT OR IGNORE INTO emergency (site, id, who, reason, from_ms, until_ms) VALUES (@Site, @Id, @Who, @Reason, @FromMs, @UntilMs);
                            UPDATE emergency SET (reviewer, verdict, reviewed_ms) = (SELECT reviewer, verdict, reviewed_ms FROM review WHERE site = @Site AND id = @Id)
                            WHERE site = @Site AND id = @Id AND reviewer IS NULL;
                            """, taken);
                        Taken(taken.Site, taken.Id);
                        break;
                    case EmergencyReviewed.EventType when Read(logged, ContractsJson.Default.EmergencyReviewed) is { } reviewed
                        && (reviewed.Site == logged.Identity.Site || logged.Identity.Site == _log.Site):
                        Close(reviewed);
                        break;
                }
            }

            _db.Execute("INSERT INTO place VALUES (@epoch, @position) ON CONFLICT DO UPDATE SET position = excluded.position",
                new { epoch = _log.Epoch.ToString(), position = page[^1].Position });
            transaction.Commit();
            Volatile.Write(ref _position, page[^1].Position);
        }
    }

    /// <summary>The first review counts; one that comes before what it is about waits for it.</summary>
    private void Close(EmergencyReviewed reviewed) => _db.Execute(
        """
        INSERT OR IGNORE INTO review VALUES (@Site, @Id, @Reviewer, @Verdict, @AtMs);
        UPDATE emergency SET reviewer = @Reviewer, verdict = @Verdict, reviewed_ms = @AtMs WHERE site = @Site AND id = @Id AND reviewer IS NULL;
        """, reviewed);

    private EmergencyView[] Query(string where, object values)
    {
        lock (_gate)
        {
            return [.. _db.Query<EmergencyView>(
                $"SELECT id AS Id, site AS Site, who AS Who, reason AS Reason, from_ms AS FromMs, until_ms AS UntilMs, reviewer AS Reviewer, verdict AS Verdict FROM emergency WHERE {where}", values)];
        }
    }

    private static T? Read<T>(LoggedEntry logged, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) where T : class
    {
        try
        {
            return JsonSerializer.Deserialize(logged.Entry.Data.Span, type);
        }
        catch (JsonException)
        {
            // A site that writes nonsense does not stop the queue of the others.
            return null;
        }
    }

    [LoggerMessage(9050, LogLevel.Warning, "Somebody has taken emergency access at {Site} ({Id}); it waits for review.")]
    private partial void Taken(string site, string id);

    [LoggerMessage(9051, LogLevel.Error, "The queue of emergency access stands still for {Seconds} s.")]
    private partial void Stalled(Exception e, double seconds);
}
