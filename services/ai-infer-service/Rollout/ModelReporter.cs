using System.Text.Json;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.AiInfer.Clinical;
using Yizhan.AiInfer.Repository;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Platform.Bundles;
using Yizhan.Storage;

namespace Yizhan.AiInfer.Rollout;

/// <summary>Tells the centre, when something has changed, which models are here, which version gets which studies, and how each does. Where there are no bundles it says nothing.</summary>
internal sealed partial class ModelReporter(
    ModelRepository repository, RolloutDesk rollouts, AnalysisDatabase database, AnalysisTurn turn, IEventLog log, IOptions<AiInferOptions> options, IOptions<NodeOptions> node, TimeProvider clock,
    ILogger<ModelReporter> logger) : BackgroundService
{
    /// <summary>Models of a report, and changes of each.</summary>
    private const int MaxModels = 64, MaxChanges = 5;

    private readonly ILogger _logger = logger;

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(options.Value.ReportSeconds), clock);
        var told = "";
        do
        {
            try
            {
                var models = Models();
                var text = JsonSerializer.Serialize(new ModelsReported(node.Value.SiteId, 0, models), ContractsJson.Default.ModelsReported);
                if (text == told || models.Count == 0 || !turn.IsMine)
                {
                    continue;
                }

                var report = new ModelsReported(node.Value.SiteId, clock.GetUtcNow().ToUnixTimeMilliseconds(), models);
                await log.AppendAsync(
                    [new Entry(Lane.Normal, ModelsReported.EventType, $"models:{log.Epoch:N}:{report.AtMs}", "models", report.AtMs, JsonSerializer.SerializeToUtf8Bytes(report, ContractsJson.Default.ModelsReported))],
                    stoppingToken);
                told = text;
            }
            catch (Exception e) when (e is SqliteException or IOException or SpoolFullException)
            {
                NotTold(e.Message);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken).AsTask().ContinueWith(t => t.IsCompletedSuccessfully && t.Result, TaskScheduler.Default));
    }

    /// <summary>What the centre would be told now.</summary>
    public ModelsReported Report() => new(node.Value.SiteId, clock.GetUtcNow().ToUnixTimeMilliseconds(), Models());

    private List<ModelReport> Models() => [.. repository.Index().GroupBy(h => h.Name, StringComparer.Ordinal).Take(MaxModels).Select(model =>
    {
        var view = rollouts.View(model.Key);
        return new ModelReport(
            model.Key, options.Value.Rules.Any(r => r.Model == model.Key), view.Stable, view.Candidate, view.Percent, view.Stopped,
            [.. model.Select(Version)], [.. view.History.Take(MaxChanges)]);
    })];

    private VersionReport Version(HeldView held)
    {
        var (figures, drift) = database.Do(c => (Guard.FiguresOf(c, held.Name, held.Version, options.Value.Guard), Guard.DriftOf(c, held.Name, held.Version, options.Value.Guard)));
        var clinical = false;
        try
        {
            clinical = repository.Bundle(held.Name, held.Version).Settings.ClinicalUse;
        }
        catch (BundleRefusedException)
        {
            // What is no bundle any more is for no use at all; its state says so.
        }

        return new VersionReport(
            held.Version, held.State, held.Runner?.Engine.RunsOn, clinical, figures.Series, figures.Failed, figures.MedianMs is { } ms ? Math.Round(ms, 1) : null,
            drift.Inputs is { } inputs ? Math.Round(inputs.Index, 3) : null, drift.Results is { } results ? Math.Round(results.Index, 3) : null);
    }

    [LoggerMessage(4044, LogLevel.Warning, "The centre is not told of the models; trying again: {Reason}")]
    private partial void NotTold(string reason);
}
