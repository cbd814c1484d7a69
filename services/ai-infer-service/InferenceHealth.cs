using Microsoft.Extensions.Diagnostics.HealthChecks;
using Yizhan.AiInfer.Engine;
using Yizhan.AiInfer.Repository;
using Yizhan.Platform.Bundles;

namespace Yizhan.AiInfer;

/// <summary>
/// Whether inference works here: the repository has what the settings name, every loaded model takes requests and its process is alive, and the engine loads
/// a model of the product from disk and answers. A site's station tells its centre (alert InferenceUnavailable).
/// </summary>
internal sealed class InferenceHealth(ModelRepository repository) : IHealthCheck
{
    /// <summary>Well below the time that all checks of a node have together.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

    /// <inheritdoc/>
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        if (repository.Fault() is { } fault)
        {
            return HealthCheckResult.Unhealthy(fault);
        }

        var index = repository.Index();
        foreach (var (name, runner) in index.Where(h => h.Runner is not null).Select(h => (h.Name, h.Runner!)))
        {
            if (!runner.Serves)
            {
                return HealthCheckResult.Unhealthy($"Model '{name}' {runner.Version} takes no requests from its queue any more.");
            }

            if (runner.Engine is WorkerEngine worker && await ProblemAsync(worker.ReviveAsync(), cancellationToken) is { } dead)
            {
                return HealthCheckResult.Unhealthy($"The process of model '{name}' {runner.Version} is gone: {dead}");
            }
        }

        return index.FirstOrDefault(h => h.Ships) is { } own && await ProblemAsync(Task.Run(() => AnswerAsync(own, cancellationToken), cancellationToken), cancellationToken) is { } broken
            ? HealthCheckResult.Unhealthy($"The engine does not answer with model '{own.Name}' {own.Version}: {broken}")
            : HealthCheckResult.Healthy();
    }

    private async Task AnswerAsync(HeldView own, CancellationToken cancellationToken)
    {
        var bundle = repository.Bundle(own.Name, own.Version);
        await using var engine = OnnxEngine.Load(bundle.ModelFile, threads: 1);
        await ModelTrial.AnswerAsync(bundle, engine, cancellationToken);
    }

    private static async Task<string?> ProblemAsync(Task work, CancellationToken cancellationToken)
    {
        try
        {
            await work.WaitAsync(Limit, cancellationToken);
            return null;
        }
        catch (Exception e) when (e is ModelFailedException or BundleRefusedException or IOException or ObjectDisposedException or System.ComponentModel.Win32Exception)
        {
            return e.Message;
        }
        catch (TimeoutException)
        {
            return $"nothing in {Limit.TotalSeconds:0} s";
        }
    }
}
