using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Yizhan.Platform;

/// <summary>Stops a node that is disposed while it runs, before its services are: no database is closed under the loop that writes to it.</summary>
/// <remarks>
/// <see cref="BackgroundService.Dispose"/> asks its loop to end and does not wait for it. Services are disposed in the opposite order of their making, and a host
/// makes its hosted services in the order of their registration: this one is registered last, so it is disposed before all that a module works with.
/// </remarks>
internal sealed class StopBeforeDispose(IServiceProvider services) : IHostedService, IAsyncDisposable
{
    private static readonly TimeSpan Most = TimeSpan.FromSeconds(30);

    private IHost? _running;

    public Task StartAsync(CancellationToken cancellationToken)
    {
        _running = services.GetRequiredService<IHost>();
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken)
    {
        _running = null;
        return Task.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        if (_running is { } running)
        {
            await running.StopAsync(Most);
        }
    }
}
