using System.IO.Enumeration;
using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.AiInfer.Repository;
using Yizhan.AiInfer.Rollout;
using Yizhan.Contracts;
using Yizhan.Platform.Bundles;
using Yizhan.Storage;

namespace Yizhan.AiInfer.Clinical;

/// <summary>
/// Follows the event log. A series that nothing was added to for a while is compared with the site's rules, and an analysis is owed for each that fits. What was read, and
/// what is owed, are in one transaction. Orders of the centre about rollouts come by the same way. Without rules it reads nothing, and of several processes on one log only the one whose turn it is.
/// </summary>
internal sealed partial class StudyFollower(
    AnalysisDatabase database, DicomWebClient gateway, ModelRepository repository, RolloutDesk rollouts, AnalysisRunner runner, AnalysisTurn turn, IEventLog log, IOptions<AiInferOptions> options,
    TimeProvider clock, ILogger<StudyFollower> logger) : BackgroundService, ILogConsumer
{
    private const int MaxBatch = 256;

    private static readonly TimeSpan Look = TimeSpan.FromSeconds(1);

    // A scanner that sends must not cost a transaction for each slice.
    private static readonly TimeSpan Breath = TimeSpan.FromMilliseconds(200);

    // How long a series that is due and not in the archive yet is looked for in each breath; after that, in each look.
    private static readonly TimeSpan Indexing = TimeSpan.FromSeconds(5);

    private readonly AiInferOptions _options = options.Value;
    private readonly ILogger _logger = logger;
    private readonly string _feed = AnalysisDatabase.FeedOf(log.Epoch);

    /// <inheritdoc/>
    public string Name => "ai-infer";

    /// <inheritdoc/>
    public ValueTask<long> ReadThroughAsync(CancellationToken cancellationToken) => new(_options.Rules.Count == 0 ? log.LastPosition : database.Cursor(_feed) ?? 0);

    /// <summary>Notes where reading begins before the node has started, so that nothing that arrives after that is missed.</summary>
    public override Task StartAsync(CancellationToken cancellationToken)
    {
        if (_options.Rules.Count > 0)
        {
            database.Do(c => c.Execute("INSERT INTO cursor (feed, position) VALUES (@_feed, @last) ON CONFLICT (feed) DO NOTHING", new { _feed, last = log.LastPosition }));
        }

        return base.StartAsync(cancellationToken);
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_options.Rules.Count == 0)
        {
            return;
        }

        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await turn.WaitAsync(stoppingToken);
                var number = turn.Number;
                await ReadAsync(number, stoppingToken);

                // What another process had ended before this turn began has been read: nothing is done twice from here on.
                runner.MayRun(number);
                await DecideAsync(number, stoppingToken);
                await PauseAsync(stoppingToken);
            }
            catch (Exception e) when (e is IOException or SqliteException or HttpRequestException or TurnLostException or TaskCanceledException && !stoppingToken.IsCancellationRequested)
            {
                Stalled(e.Message);
                await Task.Delay(Look, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
        }
    }

    /// <summary>Until the log has more or a series is due: an urgent finding should not wait for a tick of ours.</summary>
    private async Task PauseAsync(CancellationToken cancellationToken)
    {
        await Task.Delay(Breath, clock, cancellationToken);
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var quietMs = _options.QuietSeconds * 1000L;
        var next = database.Do(c => c.QueryFirstOrDefault<long?>(
            "SELECT min(last_ms) FROM series WHERE decided = 0 AND last_ms > @since", new { since = now - quietMs - (long)Indexing.TotalMilliseconds }));
        var left = next is { } lastMs ? TimeSpan.FromMilliseconds(Math.Clamp(lastMs + quietMs - now, 0, (long)Look.TotalMilliseconds)) : Look;
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await Task.WhenAny(log.WaitForMoreAsync(database.Cursor(_feed) ?? 0, enough.Token), Task.Delay(left, clock, enough.Token));
        await enough.CancelAsync();
    }

    private async Task ReadAsync(int number, CancellationToken cancellationToken)
    {
        var position = database.Cursor(_feed)!.Value;
        while (await log.ReadAsync(position, MaxBatch, cancellationToken) is { Count: > 0 } entries)
        {
            position = entries[^1].Position;
            foreach (var order in entries.Where(e => e.Entry.Type == RolloutOrder.EventType).Select(e => JsonSerializer.Deserialize(e.Entry.Data.Span, ContractsJson.Default.RolloutOrder)!))
            {
                turn.Require(number);
                await rollouts.ObeyAsync(order, cancellationToken);
            }

            foreach (var result in entries.Where(e => e.Entry.Type == AnalysisFinished.EventType && e.Identity.Site == log.Site))
            {
                runner.Know(result.Entry);
            }

            Advance(
                entries.Where(e => e.Entry.Type == InstanceStored.EventType)
                    .Select(e => (Stored: JsonSerializer.Deserialize(e.Entry.Data.Span, ContractsJson.Default.InstanceStored)!, e.Entry.TraceParent, e.Position))
                    .Where(e => IsImage(e.Stored)),
                position, number);
        }
    }

    /// <summary>What a model makes is not analysed again.</summary>
    private static bool IsImage(InstanceStored stored) =>
        !stored.SopClassUid.StartsWith("1.2.840.10008.5.1.4.1.1.66", StringComparison.Ordinal) && !stored.SopClassUid.StartsWith("1.2.840.10008.5.1.4.1.1.88", StringComparison.Ordinal);

    private void Advance(IEnumerable<(InstanceStored Stored, string? TraceParent, long Position)> instances, long position, int number) => database.Do(c =>
    {
        if (number != turn.Number)
        {
            // Another turn began meanwhile, and with it another place to read from.
            throw new TurnLostException();
        }

        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        foreach (var (series, traceParent, at) in instances.GroupBy(i => i.Stored.SeriesInstanceUid).Select(images => (images.First().Stored, images.First().TraceParent, images.Last().Position)))
        {
            c.Execute(
                """
                INSERT INTO series (series_uid, study_uid, last_ms, decided, trace_parent, position) VALUES (@SeriesInstanceUid, @StudyInstanceUid, @now, 0, @traceParent, @at)
                ON CONFLICT (series_uid) DO UPDATE SET last_ms = @now, decided = 0, trace_parent = coalesce(@traceParent, trace_parent), position = @at
                """,
                new { series.SeriesInstanceUid, series.StudyInstanceUid, now, traceParent, at });
        }

        c.Execute("INSERT INTO cursor (feed, position) VALUES (@_feed, @position) ON CONFLICT (feed) DO UPDATE SET position = @position", new { _feed, position });
    });

    private async Task DecideAsync(int number, CancellationToken cancellationToken)
    {
        var quiet = clock.GetUtcNow().ToUnixTimeMilliseconds() - _options.QuietSeconds * 1000L;
        var due = database.Do(c => c.Query<(string Series, string Study, long LastMs, string? TraceParent)>(
            "SELECT series_uid, study_uid, last_ms, trace_parent FROM series WHERE decided = 0 AND last_ms <= @quiet ORDER BY last_ms LIMIT 64", new { quiet }).ToList());
        foreach (var (series, study, lastMs, traceParent) in due)
        {
            if (await gateway.FindAsync(study, series, cancellationToken) is not { } attributes)
            {
                // The archive has not indexed it yet, or a person has to decide whose it is.
                continue;
            }

            var models = _options.Rules.Where(rule => Fits(rule, attributes)).Select(rule => rule.Model).Distinct(StringComparer.Ordinal).ToArray();
            database.Do(c =>
            {
                if (number != turn.Number || c.Execute("UPDATE series SET decided = 1 WHERE series_uid = @series AND last_ms = @lastMs", new { series, lastMs }) == 0)
                {
                    return;
                }

                foreach (var model in models)
                {
                    c.Execute(
                        """
                        INSERT INTO analysis (study_uid, series_uid, model, state, attempts, not_before_ms, trace_parent)
                        VALUES (@study, @series, @model, 'owed', coalesce((SELECT attempts FROM begun WHERE series_uid = @series AND model = @model), 0), 0, @traceParent)
                        """,
                        new { study, series, model, traceParent });
                    c.Execute("DELETE FROM begun WHERE series_uid = @series AND model = @model", new { series, model });
                }
            });
            if (models.Length > 0)
            {
                runner.Wake();
                Owed(series, string.Join(", ", models));
            }
        }
    }

    private bool Fits(AnalysisRule rule, SeriesAttributes series)
    {
        ClinicalSettings? bundle = null;
        try
        {
            bundle = repository.Versions(rule.Model) is [.., var newest] ? repository.Bundle(rule.Model, newest).Settings.Clinical : null;
        }
        catch (BundleRefusedException)
        {
            // The analysis is owed all the same: its result says why there is none.
        }

        var modality = rule.Modality ?? bundle?.Modality;
        var parts = rule.BodyPart is { } part ? [part] : bundle?.BodyParts ?? [];
        return (modality is null || modality == series.Modality)
            && (parts.Count == 0 || parts.Contains(series.BodyPart ?? "", StringComparer.OrdinalIgnoreCase))
            && (rule.SeriesDescription is not { } pattern || FileSystemName.MatchesSimpleExpression(pattern, series.Description ?? ""));
    }

    [LoggerMessage(4020, LogLevel.Information, "Series {Series} is to be analysed by {Models}.")]
    private partial void Owed(string series, string models);

    [LoggerMessage(4021, LogLevel.Warning, "New series cannot be looked at; trying again: {Reason}")]
    private partial void Stalled(string reason);
}
