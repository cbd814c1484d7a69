using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Yizhan.Storage;

/// <summary>Reads all that is kept again and again, slowly, so that damage is known while another copy is still there.</summary>
internal sealed partial class Scrub(LogMaintenance log, IOptions<StorageOptions> options, TimeProvider clock, ILogger<Scrub> logger)
    : BackgroundService, IHealthCheck
{
    private static readonly TimeSpan Pause = TimeSpan.FromMinutes(10);

    private readonly ILogger _logger = logger;
    private volatile VerifyReport _last = new(0, 0, 0, []);

    /// <summary>What the last whole round found.</summary>
    public VerifyReport Last => _last;

    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) => Task.FromResult(
        _last.Ok ? HealthCheckResult.Healthy() : HealthCheckResult.Degraded($"{_last.Damaged.Count} entries or blobs are damaged: run yizhan spool verify."));

    /// <summary>One round at the rate that is set.</summary>
    public async Task RunOnceAsync(CancellationToken cancellationToken)
    {
        var rate = options.Value.ScrubMiBPerSecond * 1024.0 * 1024;
        var report = await log.VerifyAsync(
            async (bytes, cancel) => await Task.Delay(TimeSpan.FromSeconds(bytes / rate), clock, cancel), null, cancellationToken);
        foreach (var damage in report.Damaged.Except(_last.Damaged))
        {
            Damaged(damage.Kind, damage.Name, damage.EntryId ?? "-", damage.Reason);
        }

        _last = report;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (options.Value.ScrubMiBPerSecond == 0)
        {
            return;
        }

        try
        {
            while (true)
            {
                await Task.Delay(Pause, clock, stoppingToken);
                await RunOnceAsync(stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
        }
        catch (IOException e)
        {
            Stopped(e);
        }
    }

    [LoggerMessage(110, LogLevel.Critical, "The {Kind} {Name} is damaged (entry {EntryId}): {Reason}")]
    private partial void Damaged(string kind, string name, string entryId, string reason);

    [LoggerMessage(111, LogLevel.Error, "The disk failed while it was read through; it is not read through any more.")]
    private partial void Stopped(Exception exception);
}
