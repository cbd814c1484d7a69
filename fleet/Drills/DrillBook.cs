using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Fleet.Drills;

/// <summary>The drills that every node has recorded: made of the event log, with its place there in one transaction.</summary>
public sealed partial class DrillBook : BackgroundService, ILogConsumer
{
    private const int MaxBatch = 256;
    private const int KeptRuns = 200;
    private const int ShownRuns = 10;

    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(2);

    private readonly IEventLog _log;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly TimeSpan _every;
    private readonly SqliteConnection _db;
    private readonly Lock _gate = new();
    private long _position;

    /// <summary>Opens the book of a node.</summary>
    /// <exception cref="SqliteException">The file cannot be opened.</exception>
    public DrillBook(IOptions<NodeOptions> node, IOptions<FleetOptions> options, IEventLog log, TimeProvider clock, ILogger<DrillBook> logger)
    {
        (_log, _clock, _logger, _every) = (log, clock, logger, TimeSpan.FromDays(options.Value.DrillEveryDays));
        _db = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = node.Value.PathOf("fleet", "drills.db") }.ToString());
        _db.Open();
        _db.Execute("""
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            CREATE TABLE IF NOT EXISTS run (
                id TEXT PRIMARY KEY, site TEXT NOT NULL, kind TEXT NOT NULL, against TEXT NOT NULL, passed INTEGER NOT NULL, finished_ms INTEGER NOT NULL,
                lost INTEGER NOT NULL, duplicates INTEGER NOT NULL, rto_seconds REAL, rpo_entries INTEGER, summary TEXT NOT NULL, report TEXT NOT NULL
            ) STRICT;
            CREATE INDEX IF NOT EXISTS run_of_kind ON run (kind, finished_ms);
            CREATE TABLE IF NOT EXISTS place (epoch TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT;
            """);
        _position = _db.ExecuteScalar<long?>("SELECT position FROM place WHERE epoch = @epoch", new { epoch = log.Epoch.ToString() }) ?? 0;
    }

    /// <inheritdoc/>
    public string Name => "fleet-drills";

    /// <inheritdoc/>
    public ValueTask<long> ReadThroughAsync(CancellationToken cancellationToken) => new(Volatile.Read(ref _position));

    /// <summary>Every kind of drill with its newest runs.</summary>
    public IReadOnlyList<DrillView> Kinds()
    {
        var now = _clock.GetUtcNow().ToUnixTimeMilliseconds();
        lock (_gate)
        {
            return [.. DrillKinds.All.Select(kind =>
            {
                var runs = _db.Query<RunRow>(
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
        lock (_gate)
        {
            return _db.ExecuteScalar<string?>("SELECT report FROM run WHERE id = @id", new { id }) is { } json
                ? JsonSerializer.Deserialize(json, ContractsJson.Default.DrillFinished)
                : null;
        }
    }

    /// <summary>For each kind: when one passed last (Unix milliseconds; 0 for never), and whether the newest run passed (null without one).</summary>
    internal IReadOnlyList<(string Kind, long LastSuccessMs, bool? Passed)> Figures()
    {
        lock (_gate)
        {
            return [.. DrillKinds.All.Select(kind => (
                kind, LastSuccess_NeedsLock(kind) ?? 0,
                _db.ExecuteScalar<long?>("SELECT passed FROM run WHERE kind = @kind ORDER BY finished_ms DESC, id DESC LIMIT 1", new { kind }) is { } passed ? passed == 1 : (bool?)null))];
        }
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        base.Dispose();
        lock (_gate)
        {
            _db.Dispose();
        }
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

                Take(page, stoppingToken);
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

    private long? LastSuccess_NeedsLock(string kind) => _db.ExecuteScalar<long?>("SELECT max(finished_ms) FROM run WHERE kind = @kind AND passed = 1", new { kind });

    private void Take(IReadOnlyList<LoggedEntry> page, CancellationToken stoppingToken)
    {
        lock (_gate)
        {
            stoppingToken.ThrowIfCancellationRequested();
            using var transaction = _db.BeginTransaction();
            foreach (var logged in page.Where(e => e.Entry.Type == DrillFinished.EventType))
            {
                if (Read(logged) is not { } report || !DrillKinds.All.Contains(report.Kind))
                {
                    continue;
                }

                // Of whose log it is says the link's certificate. The time is the site's own, but never of the future: that would hide that one is overdue.
                _db.Execute(
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
                        finished = Math.Min(report.FinishedMs, _clock.GetUtcNow().ToUnixTimeMilliseconds()),
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

            _db.Execute("INSERT INTO place VALUES (@epoch, @position) ON CONFLICT DO UPDATE SET position = excluded.position",
                new { epoch = _log.Epoch.ToString(), position = page[^1].Position });
            transaction.Commit();
            Volatile.Write(ref _position, page[^1].Position);
        }
    }

    private static DrillFinished? Read(LoggedEntry logged)
    {
        try
        {
            return JsonSerializer.Deserialize(logged.Entry.Data.Span, ContractsJson.Default.DrillFinished);
        }
        catch (JsonException)
        {
            // A site that writes nonsense does not stop the book of the others.
            return null;
        }
    }

    [LoggerMessage(9060, LogLevel.Information, "The drill {Id}, recorded at {Site}: passed {Passed}.")]
    private partial void Recorded(string id, string site, bool passed);

    [LoggerMessage(9061, LogLevel.Error, "The book of drills stands still for {Seconds} s.")]
    private partial void Stalled(Exception e, double seconds);

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
