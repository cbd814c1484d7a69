using System.Diagnostics;
using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.AiInfer.Clinical.Dicom;
using Yizhan.AiInfer.Engine;
using Yizhan.AiInfer.Protocol;
using Yizhan.AiInfer.Repository;
using Yizhan.AiInfer.Rollout;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Platform;
using Yizhan.Platform.Bundles;
using Yizhan.Platform.Licences;
using Yizhan.Platform.Telemetry;
using Yizhan.Storage;

namespace Yizhan.AiInfer.Clinical;

/// <summary>
/// Does what is owed, one analysis at a time: retrieves, runs the version that the rollout chooses, stores segmentation and report at the gateway, then appends the result to the
/// event log. An attempt is counted before it begins, so a series that takes the process down with it is parked after three.
/// </summary>
internal sealed partial class AnalysisRunner(
    AnalysisDatabase database, DicomWebClient gateway, ModelRepository repository, RolloutDesk rollouts, LicenceGate licences, AnalysisTurn turn, IEventLog log, IOptions<AiInferOptions> options, IOptions<NodeOptions> node,
    TimeProvider clock, ILogger<AnalysisRunner> logger) : BackgroundService, IClinicalWork
{
    /// <summary>Attempts until an analysis waits for a person.</summary>
    public const int MaxAttempts = 3;

    private static readonly TimeSpan Look = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(30);

    private readonly ILogger _logger = logger;
    private readonly string _site = node.Value.SiteId;
    private volatile int _underWay;
    private long _begun;
    private volatile int _number;
    private volatile TaskCompletionSource _owed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <inheritdoc/>
    string IClinicalWork.Kind => "analysis";

    /// <inheritdoc/>
    int IClinicalWork.UnderWay => _underWay;

    /// <inheritdoc/>
    long IClinicalWork.Begun => Interlocked.Read(ref _begun);

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (options.Value.Rules.Count == 0)
        {
            return;
        }

        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                // Before the look, so that what is owed during it is not overlooked.
                var owed = _owed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                if (!await RunNextAsync(stoppingToken))
                {
                    await owed.Task.WaitAsync(Look, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
            }
            catch (Exception e) when (e is SqliteException or IOException)
            {
                Stalled(e, RetryAfter.TotalSeconds);
                await Task.Delay(RetryAfter, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    /// <summary>An analysis is owed: it is begun now and not at the next look.</summary>
    public void Wake() => _owed.TrySetResult();

    /// <summary>What was done before this turn of the process is known.</summary>
    public void MayRun(int number) => _number = number;

    /// <summary>A result is in the log: whoever made it, it is not published again.</summary>
    public void Know(Entry result) => database.Do(c => c.Execute(
        "INSERT INTO result (event_id, data) VALUES (@Id, @data) ON CONFLICT (event_id) DO NOTHING", new { result.Id, data = result.Data.ToArray() }));

    /// <summary>Does the next analysis; false when none is due.</summary>
    internal async Task<bool> RunNextAsync(CancellationToken cancellationToken)
    {
        var number = turn.Number;
        if (!turn.IsMine || number != _number)
        {
            return false;
        }

        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var owed = database.Do(c =>
        {
            c.Execute("UPDATE analysis SET state = 'parked', reason = 'It was begun three times and never ended.' WHERE state = 'owed' AND attempts >= @MaxAttempts", new { MaxAttempts });
            var next = c.QueryFirstOrDefault<Owed>(
                """
                SELECT a.id, a.study_uid AS study, a.series_uid AS series, a.model, a.trace_parent AS traceParent, coalesce(s.position, 0) AS position, @number AS turn
                FROM analysis AS a LEFT JOIN series AS s ON s.series_uid = a.series_uid WHERE a.state = 'owed' AND a.not_before_ms <= @now ORDER BY a.id LIMIT 1
                """,
                new { now, number });
            if (next is not null)
            {
                c.Execute("UPDATE analysis SET attempts = attempts + 1 WHERE id = @Id", new { next.Id });
            }

            return next;
        });
        if (owed is null)
        {
            return false;
        }

        // The trace of the image that came last goes on here, and through what is stored and appended.
        using var span = Tracing.Resume("analyse", ActivityKind.Consumer, owed.TraceParent);
        Interlocked.Increment(ref _begun);
        _underWay = 1;
        try
        {
            // The attempt counts in the next process, too.
            await turn.LeaveWordAsync(cancellationToken);
            await AnalyseAsync(owed, cancellationToken);
            database.Do(c => c.Execute("UPDATE analysis SET state = 'done' WHERE id = @Id", new { owed.Id }));
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            database.Do(c => c.Execute("UPDATE analysis SET attempts = attempts - 1 WHERE id = @Id", new { owed.Id }));
        }
        catch (TurnLostException)
        {
            // Whoever has the turn does it; when it comes back to this process, what is owed is read anew.
            database.Do(c => c.Execute("UPDATE analysis SET attempts = attempts - 1 WHERE id = @Id", new { owed.Id }));
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException or IOException or OverloadedException)
        {
            // The gateway, the log or the model is busy, not the series wrong: that costs no attempt.
            Later(owed.Series, e.Message);
            database.Do(c => c.Execute(
                "UPDATE analysis SET attempts = attempts - 1, not_before_ms = @at, reason = @Message WHERE id = @Id",
                new { owed.Id, e.Message, at = now + (long)RetryAfter.TotalMilliseconds }));
        }
        finally
        {
            _underWay = 0;
        }

        return true;
    }

    private async Task AnalyseAsync(Owed owed, CancellationToken cancellationToken)
    {
        if (licences.WhyNot(InferenceServer.FeatureOf(owed.Model)) is { } unlicensed)
        {
            // Said, not put off: whoever reads the study knows that no model has looked at it.
            await PublishAsync(owed, Empty(owed, "", "", "refused", unlicensed), [], cancellationToken);
            return;
        }

        var choice = rollouts.Choose(owed.Model, owed.Study);
        if (choice.Version is not { } version)
        {
            await PublishAsync(owed, Empty(owed, "", "", "refused", choice.Reason), [], cancellationToken);
            return;
        }

        SeriesImage? series = null;
        ModelBundle bundle;
        try
        {
            bundle = repository.Bundle(owed.Model, version);
        }
        catch (BundleRefusedException e)
        {
            rollouts.Note(new Outcome(owed.Model, version, owed.Series, false, 0, null, null), e.Message);
            await PublishAsync(owed, Empty(owed, version, "", "failed", e.Message), [], cancellationToken);
            return;
        }

        try
        {
            var clinical = bundle.Settings.Clinical ?? throw new SeriesRefusedException($"{owed.Model} {version} is not made for studies: its configs/yizhan.json has no 'clinical'.");
            series = SeriesReader.Read(await gateway.RetrieveAsync(owed.Study, owed.Series, cancellationToken), clinical.MinSlices);
            if (series.First.GetString(DicomTags.Modality) is var modality && modality != clinical.Modality)
            {
                throw new SeriesRefusedException($"The series is {modality}; {owed.Model} was made for {clinical.Modality}.");
            }

            var (analysis, producer) = await RunAsync(owed, version, series, cancellationToken);
            var segmentation = SegmentationWriter.Write(producer, analysis);
            var report = ReportWriter.Write(producer, analysis, segmentation);
            var captured = options.Value.Rules.LastOrDefault(r => r.Model == owed.Model && r.SecondaryCapture is not null)?.SecondaryCapture ?? clinical.SecondaryCapture;
            var patient = series.First.GetString(DicomTags.PatientID);
            await PublishAsync(
                owed,
                new AnalysisFinished(
                    owed.Study, owed.Series, patient, owed.Model, version, bundle.Digest, series.Digest, analysis.Findings.Count > 0 ? "findings" : "none",
                    analysis.LeftOut > 0 ? $"{analysis.LeftOut} smaller findings beyond {Analysis.MaxFindings} are left out." : null,
                    [.. analysis.Findings.Select(f => new AnalysisFinding(
                        f.Number, f.Segment.Label, Math.Round(f.VolumeMl, 4), Math.Round(f.Mean, 2), f.Segment.Type.Value, Observations.SystemOf(f.Segment.Type.Scheme), f.VolumeMl >= clinical.UrgentAboveMl))],
                    segmentation?.GetString(DicomTags.SOPInstanceUID), report.GetString(DicomTags.SOPInstanceUID), bundle.Settings.ClinicalUse,
                    analysis.Findings.Any(f => f.VolumeMl >= clinical.UrgentAboveMl),
                    Observations.Write(producer, analysis, clinical.UrgentAboveMl, patient), producer.At.ToUnixTimeMilliseconds()),
                segmentation is null ? [report] : [segmentation, report, .. captured ? CaptureWriter.Write(producer, analysis) : []],
                cancellationToken);
        }
        catch (SeriesRefusedException e)
        {
            await PublishAsync(owed, Empty(owed, version, bundle.Digest, "refused", e.Message) with { InputDigest = series?.Digest }, [], cancellationToken);
            return;
        }
        catch (Exception e) when (e is ModelFailedException or BundleRefusedException or OpenInference.InferenceFormatException)
        {
            await PublishAsync(owed, Empty(owed, version, bundle.Digest, "failed", e.Message) with { InputDigest = series?.Digest }, [], cancellationToken);
            return;
        }

        await CompareAsync(owed, choice.Compare, series, cancellationToken);
    }

    /// <summary>Versions that only watch: their results are compared and never leave this place.</summary>
    private async Task CompareAsync(Owed owed, IReadOnlyList<string> versions, SeriesImage series, CancellationToken cancellationToken)
    {
        foreach (var version in versions)
        {
            try
            {
                await RunAsync(owed, version, series, cancellationToken);
            }
            catch (Exception e) when (e is ModelFailedException or BundleRefusedException or SeriesRefusedException or OverloadedException or OpenInference.InferenceFormatException)
            {
                ShadowFailed(owed.Model, version, e.Message);
            }
        }
    }

    private async Task<(Analysis Analysis, Producer Producer)> RunAsync(Owed owed, string version, SeriesImage series, CancellationToken cancellationToken)
    {
        var started = clock.GetTimestamp();
        try
        {
            var runner = await repository.LoadAsync(owed.Model, version, cancellationToken);
            var bundle = repository.Bundle(owed.Model, version);
            var clinical = bundle.Settings.Clinical ?? throw new SeriesRefusedException($"{owed.Model} {version} is not made for studies.");
            var analysis = await Analysis.RunAsync(runner, Recipe.Parse(bundle.Inference), clinical, series, cancellationToken);
            rollouts.Note(new Outcome(owed.Model, version, owed.Series, true, clock.GetElapsedTime(started).TotalMilliseconds, analysis.TotalMl, analysis.InputMean), null);
            return (analysis, new Producer(bundle, series, _site, clock.GetUtcNow()));
        }
        catch (Exception e) when (e is ModelFailedException or BundleRefusedException or OpenInference.InferenceFormatException)
        {
            rollouts.Note(new Outcome(owed.Model, version, owed.Series, false, clock.GetElapsedTime(started).TotalMilliseconds, null, null), e.Message);
            throw;
        }
    }

    private AnalysisFinished Empty(Owed owed, string version, string digest, string outcome, string? reason) => new(
        owed.Study, owed.Series, null, owed.Model, version, digest, null, outcome, reason, [], null, null, false, false, [], clock.GetUtcNow().ToUnixTimeMilliseconds());

    /// <summary>Stores the objects, then appends result and audit record together. Each step can be repeated: equal results are one fact, and one that is in the log already is left alone.</summary>
    private async Task PublishAsync(Owed owed, AnalysisFinished result, IReadOnlyList<DicomDataset> objects, CancellationToken cancellationToken)
    {
        // What never was read has no digest; then it is the newest image of the series that says which result it is.
        var input = result.InputDigest ?? string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{log.Epoch:N}:{owed.Position}");
        var id = $"analysis:{result.Model}:{result.Version}:{result.ModelDigest}:{result.SeriesInstanceUid}:{input}";
        id = "analysis:" + Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(id)));
        if (database.Do(c => c.ExecuteScalar<long>("SELECT count(*) FROM result WHERE event_id = @id", new { id })) > 0)
        {
            Known(result.SeriesInstanceUid, result.Model, result.Version);
            return;
        }

        turn.Require((int)owed.Turn);
        if (objects.Count > 0)
        {
            await gateway.StoreAsync(objects, cancellationToken);
            turn.Require((int)owed.Turn);
        }

        var audit = new AuditRecord(
            "110100", "E", result.Outcome is "failed" ? 8 : 0, $"ai-infer {result.Model} {result.Version}", null, $"ai-infer@{_site}", $"study/{result.StudyInstanceUid}",
            $"{result.Outcome}: {result.Findings.Count} findings, model {result.ModelDigest}, input {result.InputDigest}{(result.Reason is null ? "" : "; " + result.Reason)}", result.TimeMs, result.PatientId);
        await log.AppendAsync(
            [
                new Entry(result.Urgent ? Lane.Urgent : Lane.Normal, AnalysisFinished.EventType, id, result.StudyInstanceUid, result.TimeMs,
                    JsonSerializer.SerializeToUtf8Bytes(result, ContractsJson.Default.AnalysisFinished)) { TraceParent = Tracing.Parent },
                new Entry(Lane.Normal, AuditRecord.EventType, "audit:" + id, audit.Entity, result.TimeMs, JsonSerializer.SerializeToUtf8Bytes(audit, ContractsJson.Default.AuditRecord)) { TraceParent = Tracing.Parent },
            ],
            cancellationToken);
        database.Do(c => c.Execute(
            "INSERT INTO result (event_id, data) VALUES (@id, @data) ON CONFLICT (event_id) DO NOTHING",
            new { id, data = JsonSerializer.SerializeToUtf8Bytes(result, ContractsJson.Default.AnalysisFinished) }));
        Finished(result.SeriesInstanceUid, result.Model, result.Version, result.Outcome, result.Findings.Count, result.Reason ?? "");
    }

    [LoggerMessage(4030, LogLevel.Information, "Series {Series} by {Model} {Version}: {Outcome}, {Findings} findings. {Reason}")]
    private partial void Finished(string series, string model, string version, string outcome, int findings, string reason);

    [LoggerMessage(4037, LogLevel.Information, "Series {Series} by {Model} {Version} gave the result that is there already.")]
    private partial void Known(string series, string model, string version);

    [LoggerMessage(4031, LogLevel.Warning, "The analysis of series {Series} has to wait: {Reason}")]
    private partial void Later(string series, string reason);

    [LoggerMessage(4032, LogLevel.Error, "Analyses cannot be done; trying again in {Seconds} s.")]
    private partial void Stalled(Exception exception, double seconds);

    [LoggerMessage(4033, LogLevel.Warning, "{Model} {Version}, which only watches, failed: {Reason}")]
    private partial void ShadowFailed(string model, string version, string reason);

    /// <summary>An analysis that is owed.</summary>
    private sealed record Owed(long Id, string Study, string Series, string Model, string? TraceParent, long Position, long Turn);
}
