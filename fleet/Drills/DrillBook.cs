using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Fleet.Drills;

/// <summary>The drills that every node has recorded: made of the event log.</summary>
public sealed partial class DrillBook : LogBook
{
    private const int KeptRuns = 200;
    private const int ShownRuns = 10;

    private readonly ILogger _logger;
    private readonly TimeSpan _every;

    /// <summary>Opens the book of a node.</summary>
    /// <exception cref="SqliteException">The file cannot be opened.</exception>
    public DrillBook(IOptions<NodeOptions> node, IOptions<FleetOptions> options, IEventLog log, TimeProvider clock, ILogger<DrillBook> logger)
        : base("fleet-drills", node.Value.PathOf("fleet", "drills.db"),
            """
            CREATE TABLE IF NOT EXISTS run (
                id TEXT PRIMARY KEY, site TEXT NOT NULL, kind TEXT NOT NULL, against TEXT NOT NULL, passed INTEGER NOT NULL, finished_ms INTEGER NOT NULL,
                lost INTEGER NOT NULL, duplicates INTEGER NOT NULL, rto_seconds REAL, rpo_entries INTEGER, summary TEXT NOT NULL, report TEXT NOT NULL
            ) STRICT;
            CREATE INDEX IF NOT EXISTS run_of_kind ON run (kind, finished_ms);
            """, log, clock, logger) =>
        (_logger, _every) = (logger, TimeSpan.FromDays(options.Value.DrillEveryDays));

    /// <summary>Every kind of drill with its newest runs.</summary>
    public IReadOnlyList<DrillView> Kinds()
    {
        var now = Clock.GetUtcNow().ToUnixTimeMilliseconds();
        lock (Gate)
        {
            return [.. DrillKinds.All.Select(kind =>
            {
                var runs = Db.Query<RunRow>(
                    """
                    SELECT id AS Id, site AS Site, against AS Against, passed AS Passed, finished_ms AS FinishedMs, lost AS Lost, duplicates AS Duplicates,
                           rto_seconds AS RtoSeconds, rpo_entries AS RpoEntries, summary AS Summary
                    FROM run WHERE kind = @kind ORDER BY finished_ms DESC, id DESC LIMIT @ShownRuns
                    """, new { kind, ShownRuns }).Select(r => r.ToRun()).ToArray();
                var success = LastSuccess_NeedsLock(kind);
                var due = success is { } last ? last + (long)_every.TotalMilliseconds : (long?)null;
                var state = runs is [] ? "never" : !runs[0].Passed ? "failed" : due is null || due < now ? "overdue" : "passed";
                return new DrillView(kind, state, success, due, runs);
            })];
        }
    }

    /// <summary>The report of a run, as it was recorded; null when there is none of that id.</summary>
    public DrillFinished? Report(string id)
    {
        lock (Gate)
        {
            return Db.ExecuteScalar<string?>("SELECT report FROM run WHERE id = @id", new { id }) is { } json
                ? JsonSerializer.Deserialize(json, ContractsJson.Default.DrillFinished)
                : null;
        }
    }

    /// <summary>For each kind: when one passed last (Unix milliseconds; 0 for never), and whether the newest run passed (null without one).</summary>
    internal IReadOnlyList<(string Kind, long LastSuccessMs, bool? Passed)> Figures()
    {
        lock (Gate)
        {
            return [.. DrillKinds.All.Select(kind => (
                kind, LastSuccess_NeedsLock(kind) ?? 0,
                Db.ExecuteScalar<long?>("SELECT passed FROM run WHERE kind = @kind ORDER BY finished_ms DESC, id DESC LIMIT 1", new { kind }) is { } passed ? passed == 1 : (bool?)null))];
        }
    }

    private long? LastSuccess_NeedsLock(string kind) => Db.ExecuteScalar<long?>("SELECT max(finished_ms) FROM run WHERE kind = @kind AND passed = 1", new { kind });

    private protected override void Take(LoggedEntry logged)
    {
        if (logged.Entry.Type != DrillFinished.EventType || Read(logged, ContractsJson.Default.DrillFinished) is not { } report || !DrillKinds.All.Contains(report.Kind))
        {
            return;
        }

        // The time is the site's own, but never of the future: that would hide that one is overdue.
        Db.Execute(
            """
            INSERT OR IGNORE INTO run (id, site, kind, against, passed, finished_ms, lost, duplicates, rto_seconds, rpo_entries, summary, report)
            VALUES (@Id, @site, @Kind, @Against, @Passed, @finished, @Lost, @Duplicates, @RtoSeconds, @RpoEntries, @Summary, @json);
            DELETE FROM run WHERE kind = @Kind AND id NOT IN (SELECT id FROM run WHERE kind = @Kind ORDER BY passed DESC, finished_ms DESC LIMIT 1)
                AND id NOT IN (SELECT id FROM run WHERE kind = @Kind ORDER BY finished_ms DESC LIMIT @KeptRuns);
            """, new
            {
                report.Id,
                site = logged.Identity.Site,
                report.Kind,
                report.Against,
                Passed = report.Passed ? 1 : 0,
                finished = Math.Min(report.FinishedMs, Clock.GetUtcNow().ToUnixTimeMilliseconds()),
                report.Lost,
                report.Duplicates,
                report.RtoSeconds,
                report.RpoEntries,
                report.Summary,
                json = System.Text.Encoding.UTF8.GetString(logged.Entry.Data.Span),
                KeptRuns,
            });
        Recorded(report.Id, logged.Identity.Site, report.Passed);
    }

    [LoggerMessage(9060, LogLevel.Information, "The drill {Id}, recorded at {Site}: passed {Passed}.")]
    private partial void Recorded(string id, string site, bool passed);

    private sealed class RunRow
    {
        public string Id { get; init; } = "";

        public string Site { get; init; } = "";

        public string Against { get; init; } = "";

        public long Passed { get; init; }

        public long FinishedMs { get; init; }

        public long Lost { get; init; }

        public long Duplicates { get; init; }

        public double? RtoSeconds { get; init; }

        public long? RpoEntries { get; init; }

        public string Summary { get; init; } = "";

        public DrillRun ToRun() => new(Id, Site, Against, Passed == 1, FinishedMs, Lost, Duplicates, RtoSeconds, RpoEntries, Summary);
    }
}
