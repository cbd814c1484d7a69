using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Fleet.Accounts;

/// <summary>Emergency access of all sites that waits for somebody to look at it: made of the event log.</summary>
/// <remarks>A review at the centre is an event of its own, so that the queue can be made again from the log alone.</remarks>
public sealed partial class EmergencyBook : LogBook
{
    private const int MaxVerdict = 200;

    // DICOM PS3.16 CID 400: Security Alert.
    private const string SecurityAlert = "110113";

    private readonly ILogger _logger;

    /// <summary>Opens the queue of a node.</summary>
    /// <exception cref="SqliteException">The file cannot be opened.</exception>
    public EmergencyBook(IOptions<NodeOptions> node, IEventLog log, TimeProvider clock, ILogger<EmergencyBook> logger)
        : base("fleet-emergencies", node.Value.PathOf("fleet", "emergencies.db"),
            """
            CREATE TABLE IF NOT EXISTS emergency (
                site TEXT NOT NULL, id TEXT NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL, from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL,
                reviewer TEXT, verdict TEXT, reviewed_ms INTEGER,
                PRIMARY KEY (site, id)
            ) STRICT;
            CREATE TABLE IF NOT EXISTS review (
                site TEXT NOT NULL, id TEXT NOT NULL, reviewer TEXT NOT NULL, verdict TEXT NOT NULL, reviewed_ms INTEGER NOT NULL,
                PRIMARY KEY (site, id)
            ) STRICT;
            """, log, clock, logger) =>
        _logger = logger;

    /// <summary>What waits, the oldest first, at most a thousand.</summary>
    public IReadOnlyList<EmergencyView> ToReview() => Query("reviewer IS NULL ORDER BY from_ms, id LIMIT 1000", new { });

    /// <summary>The newest of a site that somebody has looked at.</summary>
    public IReadOnlyList<EmergencyView> Reviewed(string site, int most) =>
        Query("site = @site AND reviewer IS NOT NULL ORDER BY reviewed_ms DESC, id LIMIT @most", new { site, most });

    /// <summary>For each site where some wait: how many, and since when.</summary>
    public IReadOnlyList<(string Site, long Count, long OldestMs)> Waiting()
    {
        lock (Gate)
        {
            return [.. Db.Query<(string, long, long)>("SELECT site, count(*), min(from_ms) FROM emergency WHERE reviewer IS NULL GROUP BY site")];
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

        var now = Clock.GetUtcNow().ToUnixTimeMilliseconds();
        var reviewed = new EmergencyReviewed(id, site, reviewer, verdict, now);
        var record = new AuditRecord(SecurityAlert, "E", 0, reviewer, null, $"fleet@{Log.Site}", $"emergency/{id}", $"reviewed for {site}: {verdict}", now);
        await Log.AppendAsync(
            [
                new Entry(Lane.Urgent, EmergencyReviewed.EventType, $"emergency/centre/{site}/{id}", $"emergency/{id}", now,
                    JsonSerializer.SerializeToUtf8Bytes(reviewed, ContractsJson.Default.EmergencyReviewed)),
                new Entry(Lane.Urgent, AuditRecord.EventType, $"emergency/audit/{site}/{id}", record.Entity, now,
                    JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord)),
            ], cancellationToken);
        lock (Gate)
        {
            Close(reviewed);
        }

        return true;
    }

    private protected override void Take(LoggedEntry logged)
    {
        switch (logged.Entry.Type)
        {
            case EmergencyTaken.EventType when Read(logged, ContractsJson.Default.EmergencyTaken) is { } taken && taken.Site == logged.Identity.Site:
                Db.Execute(
                    """
                    INSERT OR IGNORE INTO emergency (site, id, who, reason, from_ms, until_ms) VALUES (@Site, @Id, @Who, @Reason, @FromMs, @UntilMs);
                    UPDATE emergency SET (reviewer, verdict, reviewed_ms) = (SELECT reviewer, verdict, reviewed_ms FROM review WHERE site = @Site AND id = @Id)
                    WHERE site = @Site AND id = @Id AND reviewer IS NULL;
                    """, taken);
                Taken(taken.Site, taken.Id);
                break;
            case EmergencyReviewed.EventType when Read(logged, ContractsJson.Default.EmergencyReviewed) is { } reviewed
                && (reviewed.Site == logged.Identity.Site || logged.Identity.Site == Log.Site):
                Close(reviewed);
                break;
        }
    }

    /// <summary>The first review counts; one that comes before what it is about waits for it.</summary>
    private void Close(EmergencyReviewed reviewed) => Db.Execute(
        """
        INSERT OR IGNORE INTO review VALUES (@Site, @Id, @Reviewer, @Verdict, @AtMs);
        UPDATE emergency SET reviewer = @Reviewer, verdict = @Verdict, reviewed_ms = @AtMs WHERE site = @Site AND id = @Id AND reviewer IS NULL;
        """, reviewed);

    private EmergencyView[] Query(string where, object values)
    {
        lock (Gate)
        {
            return [.. Db.Query<EmergencyView>(
                $"SELECT id AS Id, site AS Site, who AS Who, reason AS Reason, from_ms AS FromMs, until_ms AS UntilMs, reviewer AS Reviewer, verdict AS Verdict FROM emergency WHERE {where}", values)];
        }
    }

    [LoggerMessage(9050, LogLevel.Warning, "Somebody has taken emergency access at {Site} ({Id}); it waits for review.")]
    private partial void Taken(string site, string id);
}
