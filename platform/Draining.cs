using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace Yizhan.Platform;

/// <summary>
/// Between the wish to stop and the stop: the node says that it is not ready, goes on answering for <c>web:drainSeconds</c> while whoever sends it requests looks elsewhere, and lets go of
/// each connection with its answer. Then the listener closes, what is under way is answered, and the services stop.
/// </summary>
internal sealed class Draining(IOptions<WebOptions> options, TimeProvider clock) : IHostedLifecycleService, IStartupFilter
{
    private volatile bool _draining;

    /// <summary>Before every hosted service, the web server among them, is stopped.</summary>
    public async Task StoppingAsync(CancellationToken cancellationToken)
    {
        _draining = true;
        if (options.Value.DrainSeconds > 0)
        {
            await Task.Delay(TimeSpan.FromSeconds(options.Value.DrainSeconds), clock, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    public Action<IApplicationBuilder> Configure(Action<IApplicationBuilder> next) => app =>
    {
        app.Use((context, then) =>
        {
            if (_draining && context.Request.Protocol == "HTTP/1.1")
            {
                context.Response.Headers.Connection = "close";
            }

            if (_draining && context.Request.Path == HealthPaths.Ready)
            {
                context.Response.StatusCode = StatusCodes.Status503ServiceUnavailable;
                return context.Response.WriteAsync("Draining", context.RequestAborted);
            }

            return then(context);
        });
        next(app);
    };

    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
