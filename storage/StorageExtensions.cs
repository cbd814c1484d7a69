using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Yizhan.Platform;

namespace Yizhan.Storage;

/// <summary>How a module gets the event log of its node.</summary>
public static class StorageExtensions
{
    /// <summary>
    /// Registers <see cref="IEventLog"/> and <see cref="IBlobStore"/> of this node, from section <c>storage</c>, with their data below <c>log/</c> of
    /// the node's folder. They are opened when the host starts, so that a folder in use stops the start, and closed when it stops. May be called by several modules.
    /// </summary>
    /// <param name="builder">The node's.</param>
    /// <param name="ofSite">This is a site: it gives up what is delivered, so a new log gets the store whose index is in memory.</param>
    /// <param name="owns">The module cannot work on the log of another process: it maintains its own, and shares it (<see cref="SharedLog"/>).</param>
    /// <exception cref="SettingException">The store is <c>remote</c>, and the node owns its log or does not say where the other one is.</exception>
    public static IHostApplicationBuilder AddEventLog(this IHostApplicationBuilder builder, bool ofSite = false, bool owns = false)
    {
        if (owns || ofSite)
        {
            builder.Services.TryAddSingleton<OwnsLog>();
        }

        if (RemoteLogExtensions.IsRemote(builder))
        {
            return builder.AddRemoteLog();
        }

        if (ofSite)
        {
            builder.Services.Configure<StorageOptions>(options => options.NewStore = "segments");
        }

        if (builder.Services.Any(s => s.ServiceType == typeof(Spool)))
        {
            return builder;
        }

        builder.AddSettings<StorageOptions, StorageOptionsValidator>("storage");
        builder.Services.TryAddSingleton<IDisk, RealDisk>();
        builder.Services.AddSingleton(services =>
        {
            var node = services.GetRequiredService<IOptions<NodeOptions>>().Value;
            var spool = Spool.Open(
                Path.GetDirectoryName(node.PathOf("log", "lock"))!,
                node.SiteId,
                services.GetRequiredService<IOptions<StorageOptions>>().Value,
                services.GetRequiredService<IDisk>(),
                services.GetRequiredService<TimeProvider>(),
                services.GetRequiredService<ILogger<Committer>>());
            spool.Measured = services.GetRequiredService<CommitFigures>().Note;
            return spool;
        });
        builder.AddFullAnswers();
        builder.Services.AddMetrics();
        builder.Services.AddSingleton<SharedBlobs>();
        builder.Services.AddHostedService(services => services.GetRequiredService<SharedBlobs>());
        builder.Services.AddSingleton<CommitFigures>();
        builder.Services.AddSingleton<IEventLog>(services => services.GetRequiredService<Spool>().Log);
        builder.Services.AddSingleton<IBlobStore>(services => services.GetRequiredService<Spool>().Blobs);
        builder.Services.AddSingleton<ILogTurns, OwnTurns>();
        builder.Services.AddSingleton(services => new TurnBook(
            Path.GetDirectoryName(services.GetRequiredService<IOptions<NodeOptions>>().Value.PathOf("log", "lock"))!, services.GetRequiredService<IEventLog>(), services.GetRequiredService<TimeProvider>()));
        builder.Services.AddSingleton(services => new LogMaintenance(
            services.GetRequiredService<Spool>(),
            services.GetRequiredService<IOptions<NodeOptions>>().Value,
            services.GetRequiredService<IOptions<StorageOptions>>().Value,
            services.GetRequiredService<TimeProvider>()));
        builder.Services.AddSingleton<BackupMetrics>();
        builder.Services.AddHostedService<OpenAtStart>();
        builder.Services.AddSingleton<Scrub>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Scrub>());
        builder.Services.AddSingleton<Canaries>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Canaries>());
        builder.Services.AddSingleton(services => new SegmentMover(
            services.GetRequiredService<Spool>(), services.GetRequiredService<IOptions<StorageOptions>>().Value, services.GetRequiredService<TimeProvider>(),
            services.GetRequiredService<ILogger<SegmentMover>>()));
        builder.Services.AddHostedService(services => services.GetRequiredService<SegmentMover>());
        builder.Services.AddHealthChecks().AddCheck<SpoolHealth>("storage").AddCheck<Scrub>("scrub").AddCheck<Canaries>("canary").AddCheck<SegmentMover>("object-store");
        return builder;
    }

    internal static void AddFullAnswers(this IHostApplicationBuilder builder)
    {
        builder.Services.AddExceptionHandler<FullAnswers>();
        builder.Services.AddSingleton<IStartupFilter, FullAnswers>();
    }

    /// <summary>Says that a module of the node maintains the log.</summary>
    internal sealed class OwnsLog;

    /// <summary>Being constructed opens the log, and makes the gauges that nobody asks for by name.</summary>
    private sealed class OpenAtStart(Spool spool, BackupMetrics metrics) : IHostedService
    {
        private readonly Spool _spool = spool;
        private readonly BackupMetrics _metrics = metrics;

        public Task StartAsync(CancellationToken cancellationToken) =>
            _spool.Fault is { } fault ? Task.FromException(fault) : Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    /// <summary>Unhealthy once the disk has failed: only a restart helps.</summary>
    private sealed class SpoolHealth(Spool spool) : IHealthCheck
    {
        public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken) =>
            Task.FromResult(spool.Fault is { } fault ? HealthCheckResult.Unhealthy(fault.Message) : HealthCheckResult.Healthy());
    }
}
