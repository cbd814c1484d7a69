using System.Collections.Concurrent;
using System.Runtime.InteropServices;
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
    private readonly Dictionary<(string Site, Guid Epoch, int Lane), LinkTaken> _noted = [];

    // The epoch of each site that is the only one in the table. Used by the writer.
    private readonly Dictionary<string, Guid> _epochs = new(StringComparer.Ordinal);
    private TaskCompletionSource _write = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _writing;
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

    /// <summary>
    /// Remembers the last entry that was taken of a site's lane; only the newest epoch of a site is of interest. Completes once it is written. Whoever finds nobody writing
    /// writes for all who came meanwhile, in one transaction: a commit of the log answers a hundred sites at once.
    /// </summary>
    /// <exception cref="SqliteException">It could not be written.</exception>
    public Task TookAsync(string site, Guid epoch, int lane, LinkTaken taken)
    {
        Task written;
        lock (_noted)
        {
            ref var newest = ref CollectionsMarshal.GetValueRefOrAddDefault(_noted, (site, epoch, lane), out _);
            newest = newest is null || taken.Sequence > newest.Sequence ? taken : newest;
            written = _write.Task;
            if (_writing)
            {
                return written;
            }

            _writing = true;
        }

        WriteNoted();
        return written;
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

    /// <summary>Writes what was noted. What is noted meanwhile is another's turn, so that the caller's own answer does not wait for it.</summary>
    private void WriteNoted()
    {
        KeyValuePair<(string Site, Guid Epoch, int Lane), LinkTaken>[] noted;
        TaskCompletionSource write;
        lock (_noted)
        {
            noted = [.. _noted];
            _noted.Clear();
            (write, _write) = (_write, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        }

        try
        {
            lock (_writer)
            {
                Write_NeedsLock(noted);
            }

            write.SetResult();
        }
        catch (Exception e)
        {
            // Each of those who wait has it thrown.
            write.SetException(e);
        }

        lock (_noted)
        {
            _writing = _noted.Count > 0;
            if (_writing)
            {
                ThreadPool.UnsafeQueueUserWorkItem(static registry => registry.WriteNoted(), this, preferLocal: false);
            }
        }
    }

    private void Write_NeedsLock(KeyValuePair<(string Site, Guid Epoch, int Lane), LinkTaken>[] noted)
    {
        try
        {
            using var transaction = _db.BeginTransaction();
            using var insert = _db.CreateCommand();
            insert.Transaction = transaction;
            insert.CommandText = """
                INSERT INTO taken VALUES ($site, $epoch, $lane, $sequence, $id)
                ON CONFLICT DO UPDATE SET sequence = excluded.sequence, id = excluded.id WHERE excluded.sequence > taken.sequence
                """;
            var (ofSite, ofEpoch, ofLane, sequence, id) = (Parameter("$site"), Parameter("$epoch"), Parameter("$lane"), Parameter("$sequence"), Parameter("$id"));
            foreach (var ((site, epoch, lane), taken) in noted)
            {
                (ofSite.Value, ofEpoch.Value, ofLane.Value, sequence.Value, id.Value) = (site, epoch.ToString(), lane, taken.Sequence, taken.Id);
                insert.ExecuteNonQuery();
                if (!_epochs.TryGetValue(site, out var only) || only != epoch)
                {
                    _db.Execute("DELETE FROM taken WHERE site = @site AND epoch <> @epoch", new { site, epoch = epoch.ToString() }, transaction);
                    _epochs[site] = epoch;
                }
            }

            transaction.Commit();
            SqliteParameter Parameter(string name) => insert.Parameters.Add(new SqliteParameter { ParameterName = name });
        }
        catch
        {
            _epochs.Clear();
            throw;
        }
    }

    private sealed record Seen(SiteStatus Status, long ContactMs, long ReportedMs);
}
