using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Fleet.Models;

/// <summary>
/// What the sites say of their models, what the models found, and what the centre orders: made of the event log. An order is an event of the centre's log; it is delivered when the site's own log, which has it then, comes here.
/// </summary>
public sealed class ModelBook : LogBook
{
    private const int MaxFindings = 2000, MaxShown = 200, MaxOrders = 100;

    private long _lastOrder;

    /// <summary>Opens the book of a node.</summary>
    /// <exception cref="SqliteException">The file cannot be opened.</exception>
    public ModelBook(IOptions<NodeOptions> node, IEventLog log, TimeProvider clock, ILogger<ModelBook> logger)
        : base("fleet-models", node.Value.PathOf("fleet", "models.db"),
            """
            CREATE TABLE report (site TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
            CREATE TABLE finding (id INTEGER PRIMARY KEY, site TEXT NOT NULL, event_id TEXT NOT NULL, study TEXT NOT NULL, data BLOB NOT NULL, UNIQUE (site, event_id)) STRICT;
            CREATE INDEX finding_study ON finding (study);
            CREATE TABLE rollout_order (number INTEGER PRIMARY KEY, site TEXT NOT NULL, at_ms INTEGER NOT NULL, data BLOB NOT NULL, delivered INTEGER NOT NULL DEFAULT 0) STRICT;
            """, log, clock, logger) =>
        _lastOrder = Db.ExecuteScalar<long?>("SELECT max(number) FROM rollout_order") ?? 0;

    /// <summary>The last report of each site, with the orders that it has not got yet.</summary>
    public IReadOnlyList<ModelsReported> Reports()
    {
        lock (Gate)
        {
            var orders = Db.Query<byte[]>("SELECT data FROM rollout_order WHERE delivered = 0 AND at_ms >= @since ORDER BY number DESC LIMIT 1000", new { since = OldestMs() })
                .Select(data => JsonSerializer.Deserialize(data, ContractsJson.Default.RolloutOrder)!).ToLookup(o => o.Site, StringComparer.Ordinal);
            return [.. Db.Query<byte[]>("SELECT data FROM report ORDER BY site")
                .Select(data => JsonSerializer.Deserialize(data, ContractsJson.Default.ModelsReported)!).Select(r => r with { Orders = [.. orders[r.Site]] })];
        }
    }

    /// <summary>The newest results, or those of a study, newest first.</summary>
    public IReadOnlyList<SiteAnalysis> Findings(string? study)
    {
        lock (Gate)
        {
            return [.. Db.Query<(string Site, byte[] Data)>(
                "SELECT site, data FROM finding WHERE @study IS NULL OR study = @study ORDER BY id DESC LIMIT @MaxShown", new { study, MaxShown })
                .Select(f => new SiteAnalysis(f.Site, JsonSerializer.Deserialize(f.Data, ContractsJson.Default.AnalysisFinished)!))];
        }
    }

    /// <summary>Orders for a site after a number, oldest first. What was not fetched within <see cref="RolloutOrder.Life"/> is void.</summary>
    public IReadOnlyList<RolloutOrder> Orders(string site, long after)
    {
        lock (Gate)
        {
            return [.. Db.Query<byte[]>(
                "SELECT data FROM rollout_order WHERE site = @site AND number > @after AND delivered = 0 AND at_ms >= @since ORDER BY number LIMIT @MaxOrders",
                new { site, after, since = OldestMs(), MaxOrders }).Select(data => JsonSerializer.Deserialize(data, ContractsJson.Default.RolloutOrder)!)];
        }
    }

    /// <summary>Orders a change at a site. It is durable, and in the audit log, when this returns; the site does it when it hears of it.</summary>
    /// <exception cref="ArgumentException">No such site, model or action, or no reason.</exception>
    public async Task<RolloutOrder> OrderAsync(string site, string model, string action, RolloutRequest request, string who, CancellationToken cancellationToken)
    {
        if (!RolloutOrder.Actions.Contains(action))
        {
            throw new ArgumentException($"'{action}' is no change of a rollout; accepted: {string.Join(", ", RolloutOrder.Actions)}.");
        }

        if (request.Reason.Trim().Length is 0 or > 500)
        {
            throw new ArgumentException("A reason of 1 to 500 characters is needed.");
        }

        var there = Reports().FirstOrDefault(r => r.Site == site)?.Models.FirstOrDefault(m => m.Model == model)
            ?? throw new ArgumentException($"Site '{site}' has reported no model '{model}'.");
        if (!there.InUse)
        {
            throw new ArgumentException($"No rule of '{site}' names '{model}', so there is nothing to roll out.");
        }

        if (action == "promote" && (there.Versions.All(v => v.Version != request.Version) || request.Percent is not (0 or 10 or 50 or 100)))
        {
            throw new ArgumentException($"{model} {request.Version} at {request.Percent} % cannot be ordered; accepted: versions {string.Join(", ", there.Versions.Select(v => v.Version))} at 0, 10, 50 or 100 %.");
        }

        var now = Clock.GetUtcNow().ToUnixTimeMilliseconds();
        RolloutOrder order;
        lock (Gate)
        {
            // By the time, so that a centre that lost this file goes on above what the sites know.
            order = new RolloutOrder(_lastOrder = Math.Max(now, _lastOrder + 1), site, model, action, request, who, now);
        }

        var record = new AuditRecord("110100", "U", 0, who, null, $"fleet@{Log.Site}", $"model/{model}", $"{action} {request.Version} {request.Percent} % ordered for {site}: {request.Reason}", now);
        await Log.AppendAsync(
            [
                new Entry(Lane.Urgent, RolloutOrder.EventType, $"rollout-order/centre/{order.Number}", $"model/{model}", now, JsonSerializer.SerializeToUtf8Bytes(order, ContractsJson.Default.RolloutOrder)),
                new Entry(Lane.Urgent, AuditRecord.EventType, $"rollout-order/audit/{order.Number}", record.Entity, now, JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord)),
            ],
            cancellationToken);
        return order;
    }

    private protected override void Take(LoggedEntry logged)
    {
        var site = logged.Identity.Site;
        switch (logged.Entry.Type)
        {
            case ModelsReported.EventType when Read(logged, ContractsJson.Default.ModelsReported) is { } report && report.Site == site:
                Db.Execute("INSERT INTO report VALUES (@site, @AtMs, @data) ON CONFLICT DO UPDATE SET at_ms = excluded.at_ms, data = excluded.data", new { site, report.AtMs, data = logged.Entry.Data.ToArray() });
                break;
            case AnalysisFinished.EventType when Read(logged, ContractsJson.Default.AnalysisFinished) is { } result:
                Db.Execute("INSERT INTO finding (site, event_id, study, data) VALUES (@site, @Id, @StudyInstanceUid, @data) ON CONFLICT DO NOTHING", new { site, logged.Entry.Id, result.StudyInstanceUid, data = logged.Entry.Data.ToArray() });
                break;
            case RolloutOrder.EventType when Read(logged, ContractsJson.Default.RolloutOrder) is { } order && site == Log.Site:
                Db.Execute("INSERT INTO rollout_order (number, site, at_ms, data) VALUES (@Number, @Site, @AtMs, @data) ON CONFLICT DO NOTHING", new { order.Number, order.Site, order.AtMs, data = logged.Entry.Data.ToArray() });
                break;
            case RolloutOrder.EventType when Read(logged, ContractsJson.Default.RolloutOrder) is { } order:
                Db.Execute("UPDATE rollout_order SET delivered = 1 WHERE number = @Number AND site = @site", new { order.Number, site });
                break;
        }
    }

    private protected override void Trim() => Db.Execute("DELETE FROM finding WHERE id <= (SELECT max(id) FROM finding) - @MaxFindings", new { MaxFindings });

    private long OldestMs() => (Clock.GetUtcNow() - RolloutOrder.Life).ToUnixTimeMilliseconds();
}
