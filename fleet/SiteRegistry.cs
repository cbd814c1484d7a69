using System.Collections.Concurrent;
using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Link;
using Yizhan.Platform;

namespace Yizhan.Fleet;

/// <summary>The sites that ever reported, what each said last and when it was last heard. Answers come from memory.</summary>
/// <remarks>
/// Kept in <c>fleet/sites.db</c> so that a restarted centre still knows whom it misses. A lost last report is replaced
/// within seconds by the next one: synchronous=NORMAL is enough here, and only here.
/// </remarks>
public sealed partial class SiteRegistry : IDisposable
{
    private readonly ConcurrentDictionary<string, Seen> _sites = new(StringComparer.Ordinal);
    private readonly SqliteConnection _db;
    private readonly Lock _writer = new();
    private readonly TimeProvider _clock;
    private readonly TimeSpan _online;
    private volatile TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Opens the registry of a node.</summary>
    /// <exception cref="SqliteException">The file cannot be opened.</exception>
    public SiteRegistry(IOptions<NodeOptions> node, IOptions<FleetOptions> options, TimeProvider clock)
    {
        _clock = clock;
        _online = TimeSpan.FromSeconds(options.Value.OnlineSeconds);
        _db = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = node.Value.PathOf("fleet", "sites.db") }.ToString());
        _db.Open();
        _db.Execute("""
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = NORMAL;
            CREATE TABLE IF NOT EXISTS site (
                id         TEXT    PRIMARY KEY,
                status     TEXT    NOT NULL,
                contact_ms INTEGER NOT NULL
            ) STRICT;
            CREATE TABLE IF NOT EXISTS taken (
                site     TEXT    NOT NULL,
                epoch    TEXT    NOT NULL,
                lane     INTEGER NOT NULL,
                sequence INTEGER NOT NULL,
                id       TEXT    NOT NULL,
                PRIMARY KEY (site, epoch, lane)
            ) STRICT;
            """);
        _db.Execute(HistoryTable);
        foreach (var (id, status, contactMs) in _db.Query<(string, string, long)>("SELECT id, status, contact_ms FROM site"))
        {
            _sites[id] = new Seen(JsonSerializer.Deserialize(status, ContractsJson.Default.SiteStatus)!, contactMs, contactMs);
        }
    }

    /// <summary>All sites by id, with their state now.</summary>
    public IReadOnlyList<SiteView> Sites()
    {
        var nowMs = _clock.GetUtcNow().ToUnixTimeMilliseconds();
        return [.. _sites.Values
            .Select(seen => new SiteView(
                seen.Status, seen.ContactMs, Online: Math.Abs(nowMs - seen.ContactMs) <= _online.TotalMilliseconds, Wanted(seen.Status.SiteId), seen.ReportedMs))
            .OrderBy(view => view.Status.SiteId, StringComparer.Ordinal)];
    }

    /// <summary>Which release a site should run; set by who knows.</summary>
    internal Func<string, string?> Wanted { get; set; } = _ => null;

    /// <summary>Completes with the next report of any site.</summary>
    public Task Changed => _changed.Task;

    /// <summary>Notes that a known site was heard. A site that never reported stays unknown until it does, moments later.</summary>
    public void Contact(string siteId)
    {
        var nowMs = _clock.GetUtcNow().ToUnixTimeMilliseconds();
        if (_sites.TryGetValue(siteId, out var seen))
        {
            _sites.TryUpdate(siteId, seen with { ContactMs = nowMs }, seen);
        }
    }

    /// <summary>Notes what a site said.</summary>
    public void Report(SiteStatus status)
    {
        var nowMs = _clock.GetUtcNow().ToUnixTimeMilliseconds();
        lock (_writer)
        {
            _sites[status.SiteId] = new Seen(status, nowMs, nowMs);
            _db.Execute(
                """
                INSERT INTO site VALUES (@id, @status, @nowMs)
                ON CONFLICT (id) DO UPDATE SET status = excluded.status, contact_ms = excluded.contact_ms
                """,
                new { id = status.SiteId, status = JsonSerializer.Serialize(status, ContractsJson.Default.SiteStatus), nowMs });
            Remember_NeedsLock(status, nowMs);
        }

        Interlocked.Exchange(ref _changed, new(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
    }

    /// <summary>Remembers the last entry that was taken of a site's lane. Only the newest epoch of a site is of interest.</summary>
    public void Took(string site, Guid epoch, int lane, LinkTaken taken)
    {
        lock (_writer)
        {
            _db.Execute(
                """
                INSERT INTO taken VALUES (@site, @epoch, @lane, @Sequence, @Id)
                ON CONFLICT DO UPDATE SET sequence = excluded.sequence, id = excluded.id WHERE excluded.sequence > taken.sequence;
                DELETE FROM taken WHERE site = @site AND epoch <> @epoch;
                """,
                new { site, epoch = epoch.ToString(), lane, taken.Sequence, taken.Id });
        }
    }

    /// <summary>What was remembered of a site's lanes; null for a lane of which nothing is.</summary>
    public LinkTaken?[] Taken(string site, Guid epoch)
    {
        var taken = new LinkTaken?[4];
        lock (_writer)
        {
            foreach (var (lane, sequence, id) in _db.Query<(long, long, string)>(
                "SELECT lane, sequence, id FROM taken WHERE site = @site AND epoch = @epoch", new { site, epoch = epoch.ToString() }))
            {
                taken[lane] = new LinkTaken(sequence, id);
            }
        }

        return taken;
    }

    /// <inheritdoc/>
    public void Dispose() => _db.Dispose();

    private sealed record Seen(SiteStatus Status, long ContactMs, long ReportedMs);
}
