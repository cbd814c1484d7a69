using System.Diagnostics.Metrics;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Inventory.Ledger;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Inventory.Collect;

/// <summary>
/// Runs each source of this site when it is due and says how it went, as an event: the watermark that P3 watches. Only a complete run that found something moves
/// the time of the last success; a partial one, a failed one and one that found nothing do not.
/// </summary>
internal sealed partial class CollectionService(
    SourceReaders readers, LedgerWriter ledger, LedgerQueries queries, IEventLog log, IOptions<NodeOptions> node, IOptions<InventoryOptions> options, TimeProvider clock,
    ILogger<CollectionService> logger) : BackgroundService
{
    private readonly string _site = node.Value.SiteId;
    private readonly ILogger _logger = logger;

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var sources = options.Value.Sources.Append(new SourceOptions { Name = SourceOptions.NodeName, Kind = SourceOptions.NodeName, EveryMinutes = 360 }).ToList();

        // Before the first run: what a run says of a source is not to be taken for what is left of an earlier setting.
        await ForgetRemovedAsync(sources, stoppingToken);
        await Task.WhenAll(sources.Select(source => FollowAsync(source, stoppingToken)));
    }

    /// <summary>Runs a source once and records how it went.</summary>
    internal async Task<SourceCollected> RunAsync(SourceOptions source, CancellationToken cancellationToken)
    {
        var sink = new Sink(source, _site, ledger, queries, log, clock);
        var (outcome, problem) = await CollectAsync(source, sink, cancellationToken);

        // What its last run said has to be known.
        await ledger.CaughtUpAsync(cancellationToken);
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var run = new SourceCollected(
            source.Name, source.Kind, now, outcome, problem.Length > 1000 ? problem[..1000] : problem, sink.Movements, sink.Assets,
            outcome == "complete" ? now : queries.LastSuccessMs(_site, source.Name) ?? now, source.EveryMinutes);
        await AppendAsync(run, cancellationToken);
        if (outcome is "failed" or "partial")
        {
            NotComplete(source.Name, outcome, run.Problem);
        }

        return run;
    }

    private async Task<(string Outcome, string Problem)> CollectAsync(SourceOptions source, Sink sink, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(options.Value.MaxRunMinutes), clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, limit.Token);
        try
        {
            var found = await readers.ReadAsync(source, sink, either.Token);
            return sink.Problem.Length > 0 ? ("partial", sink.Problem) : found ? ("complete", "") : ("nothing", "");
        }
        catch (OperationCanceledException) when (limit.IsCancellationRequested)
        {
            return ("failed", $"It took longer than {options.Value.MaxRunMinutes} minutes.");
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            // Whatever a source's program makes of its day, the others are collected, and this one's watermark stays where it is.
            return ("failed", e.Message);
        }
    }

    private async Task FollowAsync(SourceOptions source, CancellationToken cancellationToken)
    {
        await Task.Yield();
        using var timer = new PeriodicTimer(TimeSpan.FromMinutes(source.EveryMinutes), clock);
        do
        {
            try
            {
                await ledger.CaughtUpAsync(cancellationToken);
                await RunAsync(source, cancellationToken);
            }
            catch (Exception e) when (e is IOException && !cancellationToken.IsCancellationRequested)
            {
                NotSaid(e, source.Name);
            }
        }
        while (await timer.WaitForNextTickAsync(cancellationToken));
    }

    /// <summary>A source that is not configured any more must not look as if it had failed.</summary>
    private async Task ForgetRemovedAsync(List<SourceOptions> sources, CancellationToken cancellationToken)
    {
        await ledger.CaughtUpAsync(cancellationToken);
        foreach (var gone in queries.Sources(_site, Page.All).Where(s => sources.All(c => c.Name != s.Last.Source)))
        {
            try
            {
                await AppendAsync(gone.Last with { Outcome = "removed", EndedMs = clock.GetUtcNow().ToUnixTimeMilliseconds() }, cancellationToken);
            }
            catch (IOException e)
            {
                // It is forgotten at the next start; what is configured is collected all the same.
                NotSaid(e, gone.Last.Source);
            }
        }
    }

    private async Task AppendAsync(SourceCollected run, CancellationToken cancellationToken) => await log.AppendAsync(
        [new Entry(Lane.Normal, SourceCollected.EventType, $"inventory/collected/{Guid.CreateVersion7(clock.GetUtcNow()):N}", "inventory", run.EndedMs,
            JsonSerializer.SerializeToUtf8Bytes(run, ContractsJson.Default.SourceCollected))], cancellationToken);

    [LoggerMessage(6010, LogLevel.Warning, "Source {Source} was collected with outcome {Outcome}: {Problem}")]
    private partial void NotComplete(string source, string outcome, string problem);

    [LoggerMessage(6011, LogLevel.Error, "How source {Source} went could not be recorded.")]
    private partial void NotSaid(Exception exception, string source);
}

/// <summary>When each source of each site was last collected completely, meter <c>Yizhan.Inventory</c>.</summary>
internal sealed class CollectionMetrics : IHostedService, IDisposable
{
    private readonly Meter _meter;

    public CollectionMetrics(LedgerQueries queries, IMeterFactory meters)
    {
        _meter = meters.Create("Yizhan.Inventory");
        _meter.CreateObservableGauge(
            "yizhan.inventory.last_success_timestamp",
            () => queries.Sources(null, Page.All).Select(s => new Measurement<double>(s.Last.LastSuccessMs / 1000.0, new("site", s.Site), new("source", s.Last.Source))),
            "s", "When a source was last collected completely, Unix time; until the first time, when it was first tried.");
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public void Dispose() => _meter.Dispose();
}
