using System.Diagnostics.Metrics;
using Dapper;
using Microsoft.Extensions.Options;
using Yizhan.AiInfer.Clinical;
using Yizhan.Platform;

namespace Yizhan.AiInfer.Rollout;

/// <summary>
/// How the versions of the models do at this site, meter <c>Yizhan.AiInfer</c>: time of an analysis, drift, and what was held without anybody asking (alerts ModelDrifting and
/// ModelHeld). Series are one for each model of the repository, so there are few; never an identifier of a patient or study.
/// </summary>
internal sealed class RolloutMetrics : IDisposable
{
    /// <summary>Models that have series; what a repository would hold beyond is left out.</summary>
    private const int MaxModels = 64;

    private readonly AnalysisDatabase _database;
    private readonly GuardOptions _limits;
    private readonly KeyValuePair<string, object?> _site;
    private readonly Meter _meter;
    private readonly Histogram<double> _duration;

    public RolloutMetrics(AnalysisDatabase database, IMeterFactory meters, IOptions<AiInferOptions> options, IOptions<NodeOptions> node)
    {
        _database = database;
        _limits = options.Value.Guard;
        _site = new("site", node.Value.SiteId);
        _meter = meters.Create("Yizhan.AiInfer");
        _duration = _meter.CreateHistogram<double>("yizhan.ai.analysis.duration", "s", "Time of one series from pre-processing to its findings, by model, version and result (ok, failed).");
        _meter.CreateObservableGauge<double>("yizhan.ai.drift", Drift, "1", "Population stability index of the newest series against the first that the version saw here, of inputs and of results.");
        _meter.CreateObservableGauge("yizhan.ai.held", Held, null, "1 while the model, or a version of it, is held without anybody asking.");
    }

    /// <summary>A series was analysed.</summary>
    public void Note(Outcome outcome) => _duration.Record(
        outcome.Ms / 1000, _site, new("model", outcome.Model), new("version", outcome.Version), new("result", outcome.Ok ? "ok" : "failed"));

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();

    private List<Measurement<double>> Drift() => _database.Do(c =>
    {
        var found = new List<Measurement<double>>();
        foreach (var (model, version) in c.Query<(string, string)>("SELECT model, stable FROM rollout ORDER BY model LIMIT @MaxModels", new { MaxModels }))
        {
            var (inputs, results) = Guard.DriftOf(c, model, version, _limits);
            foreach (var (of, drift) in new[] { ("inputs", inputs), ("results", results) })
            {
                if (drift is { } far)
                {
                    found.Add(new(far.Index, _site, new("model", model), new("version", version), new("of", of)));
                }
            }
        }

        return found;
    });

    // The last word on a model counts: whoever promotes or rolls back after the guard has decided.
    private List<Measurement<int>> Held() => _database.Do(c => c.Query<(string Model, string Who)>(
        """
        SELECT r.model, h.who FROM rollout r JOIN history h ON h.id = (SELECT max(id) FROM history WHERE model = r.model)
        ORDER BY r.model LIMIT @MaxModels
        """, new { MaxModels }).Select(m => new Measurement<int>(m.Who == RolloutDesk.GuardName ? 1 : 0, _site, new("model", m.Model))).ToList());
}
