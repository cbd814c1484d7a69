using Microsoft.Extensions.Diagnostics.HealthChecks;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.Station;

/// <summary>Keeps what the health checks of this node said last, for the report to the centre: an alert there must not need a way in to the site.</summary>
/// <param name="log">Its alarm does not wait for the next round of checks: a node that is being encrypted may not live so long.</param>
internal sealed class ServiceHealthWatch(LogMaintenance log) : IHealthCheckPublisher
{
    private const string Canary = "canary";

    private volatile IReadOnlyList<ServiceHealth>? _last;

    /// <summary>The last state of each check, by name; null until they have run.</summary>
    public IReadOnlyList<ServiceHealth>? Last() => log.Alarm is null
        ? _last
        : [.. (_last ?? []).Where(check => check.Name != Canary), new ServiceHealth(Canary, ServiceHealth.Unhealthy)];

    /// <inheritdoc/>
    public Task PublishAsync(HealthReport report, CancellationToken cancellationToken)
    {
        _last = [.. report.Entries
            .OrderBy(check => check.Key, StringComparer.Ordinal)
            .Select(check => new ServiceHealth(check.Key, StateOf(check.Value.Status)))];
        return Task.CompletedTask;
    }

    private static string StateOf(HealthStatus status) => status switch
    {
        HealthStatus.Healthy => ServiceHealth.Healthy,
        HealthStatus.Degraded => ServiceHealth.Degraded,
        _ => ServiceHealth.Unhealthy,
    };
}
