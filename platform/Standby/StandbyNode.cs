using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Yizhan.Platform.Standby;

/// <summary>
/// A node that waits for the lease of its data folder (<c>node:standby</c>). Meanwhile it listens for probes only: it lives, and it is not ready. Whoever held the lease and ended has it no
/// more at that moment; one that stands still, on this machine, is ended first, so that it can never write beside its successor.
/// </summary>
internal sealed partial class StandbyNode(NodeOptions node, string url, Action<ILoggingBuilder> logging, TimeProvider clock)
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(250);

    /// <summary>Most that counts of the time between two looks at the leader's note.</summary>
    private static readonly TimeSpan LongestLook = 2 * Pause;

    private readonly string _folder = Path.GetDirectoryName(node.PathOf("log", "lease.lock"))!;
    private volatile string _state = "waits for the lease";

    /// <summary>Waits; null when the process is told to stop before.</summary>
    /// <exception cref="IOException">The address for probes cannot be had.</exception>
    public async Task<NodeLease?> LeadAsync()
    {
        if (NodeLease.TryTake(_folder) is { } free)
        {
            return free;
        }

        var app = Build();
        await using var disposed = app.ConfigureAwait(false);
        await app.StartAsync();
        var stopping = app.Lifetime.ApplicationStopping;
        var stall = TimeSpan.FromSeconds(node.StandbyStallSeconds);
        var (seen, told) = (NodeLease.Look(_folder), false);
        var (looked, silent) = (clock.GetTimestamp(), TimeSpan.Zero);
        Waiting(app.Logger, _folder, $"{seen.Holder}");
        while (!stopping.IsCancellationRequested)
        {
            if (NodeLease.TryTake(_folder) is { } lease)
            {
                Taken(app.Logger, _folder, $"{seen.Holder}");
                await app.StopAsync(CancellationToken.None);
                return lease;
            }

            // Only the time in which this process ran itself is held against the other: a machine that paused both, or that is too busy to run this one, says nothing about the leader.
            var now = NodeLease.Look(_folder);
            var passed = clock.GetElapsedTime(looked);
            looked = clock.GetTimestamp();
            silent += passed < LongestLook ? passed : LongestLook;
            if (now != seen)
            {
                (seen, silent, told) = (now, TimeSpan.Zero, false);
                _state = $"waits for {seen.Holder}, which leads";
            }
            else if (silent > stall)
            {
                if (seen.Holder?.TryEnd() == true)
                {
                    Ended(app.Logger, $"{seen.Holder}", stall.TotalSeconds);
                    silent = TimeSpan.Zero;
                }
                else if (!told)
                {
                    CannotEnd(app.Logger, $"{seen.Holder}");
                    (told, _state) = (true, $"waits for {seen.Holder}, which holds the lease, stands still, and cannot be ended from here: end it");
                }
            }

            await Task.Delay(Pause, clock, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        await app.StopAsync(CancellationToken.None);
        return null;
    }

    private WebApplication Build()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls(url.Split(';')[0]).ConfigureKestrel(kestrel => kestrel.AddServerHeader = false);
        logging(builder.Logging);
        var app = builder.Build();
        app.Run(context =>
        {
            // The same addresses as of a node that works, and nothing else: who asks for more goes to the one that leads.
            var lives = context.Request.Path.Value is "/healthz" or HealthPaths.Live;
            context.Response.StatusCode = lives ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable;
            context.Response.Headers.RetryAfter = "1";
            context.Response.ContentType = "text/plain; charset=utf-8";
            return context.Response.WriteAsync(lives ? "Standby" : $"Standby: this node {_state}.", context.RequestAborted);
        });
        return app;
    }

    [LoggerMessage(30, LogLevel.Information, "Standby: {Holder} leads in {Folder}; this node waits for its lease.")]
    private static partial void Waiting(ILogger logger, string folder, string holder);

    [LoggerMessage(31, LogLevel.Warning, "This node takes over {Folder} from {Holder}.")]
    private static partial void Taken(ILogger logger, string folder, string holder);

    [LoggerMessage(32, LogLevel.Error, "{Holder} held the lease and stood still for {Seconds} s; it was ended.")]
    private static partial void Ended(ILogger logger, string holder, double seconds);

    [LoggerMessage(33, LogLevel.Critical, "{Holder} holds the lease, stands still, and cannot be ended from here: end it, or nothing leads.")]
    private static partial void CannotEnd(ILogger logger, string holder);
}
