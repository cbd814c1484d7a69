using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Fleet.Logs;

/// <summary>The newest warnings and errors of each site, as they came: made of the event log.</summary>
public sealed class SiteLogBook : LogBook
{
    /// <summary>Lines that are kept of a site.</summary>
    public const int KeptLines = 2000;

    private const long DayMs = 24 * 60 * 60 * 1000;

    /// <summary>Opens the book of a node.</summary>
    /// <exception cref="SqliteException">The file cannot be opened.</exception>
    public SiteLogBook(IOptions<NodeOptions> node, IEventLog log, TimeProvider clock, ILogger<SiteLogBook> logger)
        : base("fleet-logs", node.Value.PathOf("fleet", "logs.db"),
            """
            CREATE TABLE line (
                id INTEGER PRIMARY KEY, site TEXT NOT NULL, at_ms INTEGER NOT NULL, level TEXT NOT NULL, event INTEGER NOT NULL, source TEXT NOT NULL, text TEXT NOT NULL, count INTEGER NOT NULL
            ) STRICT;
            CREATE INDEX line_of_site ON line (site, id);
            CREATE TABLE dropped (site TEXT NOT NULL, at_ms INTEGER NOT NULL, lines INTEGER NOT NULL) STRICT;
            CREATE INDEX dropped_of_site ON dropped (site, at_ms);
            """, log, clock, logger)
    {
    }

    /// <summary>The newest lines of a site, the newest first.</summary>
    /// <param name="site">The site.</param>
    /// <param name="level">Only of this level; null: all.</param>
    /// <param name="most">So many at most.</param>
    public SiteLogView Of(string site, string? level, int most)
    {
        lock (Gate)
        {
            var lines = Db.Query<(long AtMs, string Level, long Id, string Source, string Text, long Count)>(
                "SELECT at_ms, level, event, source, text, count FROM line WHERE site = @site AND (@level IS NULL OR level = @level) ORDER BY id DESC LIMIT @most", new { site, level, most })
                .Select(l => new SiteLogLine(l.AtMs, l.Level, (int)l.Id, l.Source, l.Text, (int)l.Count)).ToArray();
            var dropped = Db.ExecuteScalar<long?>("SELECT sum(lines) FROM dropped WHERE site = @site AND at_ms > @since", new { site, since = Clock.GetUtcNow().ToUnixTimeMilliseconds() - DayMs });
            return new SiteLogView(lines, dropped ?? 0);
        }
    }

    private protected override void Take(LoggedEntry logged)
    {
        if (logged.Entry.Type != SiteLogged.EventType || Read(logged, ContractsJson.Default.SiteLogged) is not { } said)
        {
            return;
        }

        // A site keeps to its bounds; the book does not rely on it.
        var site = logged.Identity.Site;
        foreach (var line in said.Lines.Take(SiteLogged.MaxLines))
        {
            Db.Execute(
                "INSERT INTO line (site, at_ms, level, event, source, text, count) VALUES (@site, @AtMs, @Level, @Id, @Source, @text, @Count)",
                new { site, line.AtMs, line.Level, line.Id, line.Source, text = line.Text.Length <= SiteLogged.MaxText ? line.Text : line.Text[..SiteLogged.MaxText], line.Count });
        }

        if (said.Dropped > 0)
        {
            Db.Execute("INSERT INTO dropped VALUES (@site, @at, @lines)", new { site, at = logged.Entry.TimeMs, lines = said.Dropped });
        }

        Db.Execute(
            """
            DELETE FROM line WHERE site = @site AND id <= (SELECT id FROM line WHERE site = @site ORDER BY id DESC LIMIT 1 OFFSET @KeptLines);
            DELETE FROM dropped WHERE site = @site AND at_ms < @before;
            """, new { site, KeptLines, before = Clock.GetUtcNow().ToUnixTimeMilliseconds() - (7 * DayMs) });
    }
}
