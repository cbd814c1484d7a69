using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Fleet.Models;

/// <summary>
/// What the sites say of their models, what the models found, and what the centre orders: made of the event log, with its place there in one transaction. An order is an event of
/// the centre's log; it is delivered when the site's own log, which has it then, comes here.
/// </summary>
public sealed partial class ModelBook : BackgroundService, ILogConsumer
{
    private const int MaxBatch = 256, MaxFindings = 2000, MaxShown = 200, MaxOrders = 100;

    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(2);

    private readonly IEventLog _log;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly SqliteConnection _db;
    private readonly Lock _gate = new();
    private long _position;
    private long _lastOrder;

    /// <summary>Opens the book of a node.</summary>
    /// <exception cref="SqliteException">The file cannot be opened.</exception>
    public ModelBook(IOptions<NodeOptions> node, IEventLog log, TimeProvider clock, ILogger<ModelBook> logger)
    {
        (_log, _clock, _logger) = (log, clock, logger);
        _db = SqliteFile.OpenWriter(
            node.Value.PathOf("fleet", "models.db"),
            """
            CREATE TABLE report (site TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
            CREATE TABLE finding (id INTEGER PRIMARY KEY, site TEXT NOT NULL, event_id TEXT NOT NULL, study TEXT NOT NULL, data BLOB NOT NULL, UNIQUE (site, event_id)) STRICT;
            CREATE INDEX finding_study ON finding (study);
            CREATE TABLE rollout_order (number INTEGER PRIMARY KEY, site TEXT NOT NULL, at_ms INTEGER NOT NULL, data BLOB NOT NULL, delivered INTEGER NOT NULL DEFAULT 0) STRICT;
            CREATE TABLE place (epoch TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT;
            """);
        _position = _db.ExecuteScalar<long?>("SELECT position FROM place WHERE epoch = @epoch", new { epoch = log.Epoch.ToString() }) ?? 0;
        _lastOrder = _db.ExecuteScalar<long?>("SELECT max(number) FROM rollout_order") ?? 0;
    }

    /// <inheritdoc/>
    public string Name => "fleet";

    /// <inheritdoc/>
    public ValueTask<long> ReadThroughAsync(CancellationToken cancellationToken) => new(Volatile.Read(ref _position));

    /// <summary>The last report of each site, with the orders that it has not got yet.</summary>
    public IReadOnlyList<ModelsReported> Reports()
    {
        lock (_gate)
        {
            var orders = _db.Query<byte[]>("SELECT data FROM rollout_order WHERE delivered = 0 AND at_ms >= @since ORDER BY number DESC LIMIT 1000", new { since = OldestMs() })
                .Select(data => JsonSerializer.Deserialize(data, ContractsJson.Default.RolloutOrder)!).ToLookup(o => o.Site, StringComparer.Ordinal);
            return [.. _db.Query<byte[]>("SELECT data FROM report ORDER BY site")
                .Select(data => JsonSerializer.Deserialize(data, ContractsJson.Default.ModelsReported)!).Select(r => r with { Orders = [.. orders[r.Site]] })];
        }
    }

    /// <summary>The newest results, or those of a study, newest first.</summary>
    public IReadOnlyList<SiteAnalysis> Findings(string? study)
    {
        lock (_gate)
        {
            return [.. _db.Query<(string Site, byte[] Data)>(
                "SELECT site, data FROM finding WHERE @study IS NULL OR study = @study ORDER BY id DESC LIMIT @MaxShown", new { study, MaxShown })
                .Select(f => new SiteAnalysis(f.Site, JsonSerializer.Deserialize(f.Data, ContractsJson.Default.AnalysisFinished)!))];
        }
    }

    /// <summary>Orders for a site after a number, oldest first. What was not fetched within <see cref="RolloutOrder.Life"/> is void.</summary>
    public IReadOnlyList<RolloutOrder> Orders(string site, long after)
    {
        lock (_gate)
        {
            return [.. _db.Query<byte[]>(
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

        var now = _clock.GetUtcNow().ToUnixTimeMilliseconds();
        RolloutOrder order;
        lock (_gate)
        {
            // By the time, so that a centre that lost this file goes on above what the sites know.
            order = new RolloutOrder(_lastOrder = Math.Max(now, _lastOrder + 1), site, model, action, request, who, now);
        }

        var record = new AuditRecord("110100", "U", 0, who, null, $"fleet@{_log.Site}", $"model/{model}", $"{action} {request.Version} {request.Percent} % ordered for {site}: {request.Reason}", now);
        await _log.AppendAsync(
            [
                new Entry(Lane.Urgent, RolloutOrder.EventType, $"rollout-order/centre/{order.Number}", $"model/{model}", now, JsonSerializer.SerializeToUtf8Bytes(order, ContractsJson.Default.RolloutOrder)),
                new Entry(Lane.Urgent, AuditRecord.EventType, $"rollout-order/audit/{order.Number}", record.Entity, now, JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord)),
            ],
            cancellationToken);
        return order;
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
                if (await _log.ReadAsync(_position, MaxBatch, stoppingToken) is { Count: > 0 } page)
                {
                    Take(page);
                }
                else
                {
                    await _log.WaitForMoreAsync(_position, stoppingToken);
                }
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
                var (site, data) = (logged.Identity.Site, logged.Entry.Data.ToArray());
                switch (logged.Entry.Type)
                {
                    // Whose it is says the entry's origin, which is the certificate of the link; what the body says must agree.
                    case ModelsReported.EventType when Read(logged, ContractsJson.Default.ModelsReported) is { } report && report.Site == site:
                        _db.Execute("INSERT INTO report VALUES (@site, @AtMs, @data) ON CONFLICT DO UPDATE SET at_ms = excluded.at_ms, data = excluded.data", new { site, report.AtMs, data });
                        break;
                    case AnalysisFinished.EventType when Read(logged, ContractsJson.Default.AnalysisFinished) is { } result:
                        _db.Execute("INSERT INTO finding (site, event_id, study, data) VALUES (@site, @Id, @StudyInstanceUid, @data) ON CONFLICT DO NOTHING", new { site, logged.Entry.Id, result.StudyInstanceUid, data });
                        break;
                    case RolloutOrder.EventType when Read(logged, ContractsJson.Default.RolloutOrder) is { } order && site == _log.Site:
                        _db.Execute("INSERT INTO rollout_order (number, site, at_ms, data) VALUES (@Number, @Site, @AtMs, @data) ON CONFLICT DO NOTHING", new { order.Number, order.Site, order.AtMs, data });
                        break;
                    case RolloutOrder.EventType when Read(logged, ContractsJson.Default.RolloutOrder) is { } order:
                        _db.Execute("UPDATE rollout_order SET delivered = 1 WHERE number = @Number AND site = @site", new { order.Number, site });
                        break;
                }
            }

            _db.Execute("DELETE FROM finding WHERE id <= (SELECT max(id) FROM finding) - @MaxFindings", new { MaxFindings });
            _db.Execute("INSERT INTO place VALUES (@epoch, @position) ON CONFLICT DO UPDATE SET position = excluded.position", new { epoch = _log.Epoch.ToString(), position = page[^1].Position });
            transaction.Commit();
            Volatile.Write(ref _position, page[^1].Position);
        }
    }

    private long OldestMs() => (_clock.GetUtcNow() - RolloutOrder.Life).ToUnixTimeMilliseconds();

    private static T? Read<T>(LoggedEntry logged, JsonTypeInfo<T> type) where T : class
    {
        try
        {
            return JsonSerializer.Deserialize(logged.Entry.Data.Span, type);
        }
        catch (JsonException)
        {
            // A site that writes nonsense does not stop the book of the others.
            return null;
        }
    }

    [LoggerMessage(9060, LogLevel.Error, "The book of models stands still for {Seconds} s.")]
    private partial void Stalled(Exception e, double seconds);
}
