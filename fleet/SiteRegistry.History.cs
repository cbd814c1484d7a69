using Dapper;
using Yizhan.Contracts;

namespace Yizhan.Fleet;

/// <summary>What waited at each site lately: one line a minute for a day, one a quarter of an hour for a week, at most 2112 lines of a site.</summary>
public sealed partial class SiteRegistry
{
    /// <summary>How far it goes back, in hours.</summary>
    public const int HistoryHours = 7 * 24;

    private const long MinuteMs = 60_000;
    private const long DayMinutes = 24 * 60;
    private const long CoarseMinutes = 15;

    private const string HistoryTable = """
        CREATE TABLE IF NOT EXISTS figure (
            site       TEXT    NOT NULL,
            minute     INTEGER NOT NULL,
            entries    INTEGER NOT NULL,
            bytes      INTEGER NOT NULL,
            oldest_age INTEGER,
            hours      REAL,
            PRIMARY KEY (site, minute)
        ) STRICT, WITHOUT ROWID;
        """;

    private readonly Dictionary<string, long> _remembered = new(StringComparer.Ordinal);

    /// <summary>What waited at a site in the last hours, the oldest first; nothing of a site that never reported.</summary>
    public IReadOnlyList<SiteFigures> History(string site, int hours)
    {
        var from = (_clock.GetUtcNow().ToUnixTimeMilliseconds() / MinuteMs) - (hours * 60L);
        lock (_writer)
        {
            return [.. _db.Query<(long Minute, long Entries, long Bytes, long? Oldest, double? Hours)>(
                "SELECT minute, entries, bytes, oldest_age, hours FROM figure WHERE site = @site AND minute > @from ORDER BY minute", new { site, from })
                .Select(row => new SiteFigures(row.Minute * MinuteMs, row.Entries, row.Bytes, row.Oldest, row.Hours))];
        }
    }

    private void Remember_NeedsLock(SiteStatus status, long nowMs)
    {
        var minute = nowMs / MinuteMs;
        if (_remembered.TryGetValue(status.SiteId, out var last) && last == minute)
        {
            return;
        }

        _remembered[status.SiteId] = minute;
        var oldest = status.Lanes.Min(lane => lane.OldestMs);
        _db.Execute(
            """
            INSERT INTO figure VALUES (@site, @minute, @entries, @bytes, @oldestAge, @hours) ON CONFLICT DO NOTHING;
            DELETE FROM figure WHERE site = @site AND (minute <= @minute - @week OR (minute <= @minute - @day AND minute % @coarse <> 0));
            """,
            new
            {
                site = status.SiteId,
                minute,
                entries = status.Lanes.Sum(lane => lane.Entries),
                bytes = status.Lanes.Sum(lane => lane.Bytes),
                // By the site's own clock, so that a clock that is wrong does not make ages wrong.
                oldestAge = oldest is { } ms ? Math.Max(0, status.SentMs - ms) : (long?)null,
                hours = status.Spool?.OutageHours,
                week = HistoryHours * 60L,
                day = DayMinutes,
                coarse = CoarseMinutes,
            });
    }
}
