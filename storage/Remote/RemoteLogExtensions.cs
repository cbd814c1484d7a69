using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Yizhan.Platform;
using Yizhan.Platform.Flows;

namespace Yizhan.Storage;

/// <summary>How a node gets the event log of another process: <c>storage:store</c> is <c>remote</c>.</summary>
internal static class RemoteLogExtensions
{
    public static bool IsRemote(IHostApplicationBuilder builder) => builder.Configuration["storage:store"] == "remote";

    public static IHostApplicationBuilder AddRemoteLog(this IHostApplicationBuilder builder)
    {
        if (builder.Services.Any(s => s.ServiceType == typeof(StorageExtensions.OwnsLog)))
        {
            throw new SettingException("storage:store is 'remote', and this node owns the log: accepted are sqlite, segments and postgres. A module that maintains the log cannot work on another process's.");
        }

        if (builder.Services.Any(s => s.ServiceType == typeof(LogLine)))
        {
            return builder;
        }

        builder.AddSettings<StorageOptions, StorageOptionsValidator>("storage");
        builder.Services.AddSingleton<IValidateOptions<StorageOptions>, RemoteUrlValidator>();
        builder.AddFullAnswers();

        // The properties of a log answer at once, so it is connected to before anybody has it. Not on the caller's context: there is none at a start.
        builder.Services.AddSingleton(services => Task.Run(() => ConnectAsync(services)).GetAwaiter().GetResult());
        builder.Services.AddSingleton<RemoteBlobs>();
        builder.Services.AddSingleton<RemoteLog>();
        builder.Services.AddSingleton<IEventLog>(services => services.GetRequiredService<RemoteLog>());
        builder.Services.AddSingleton<IBlobStore>(services => services.GetRequiredService<RemoteBlobs>());
        builder.Services.AddSingleton<ILogTurns, RemoteTurns>();
        builder.Services.AddHostedService<ConnectAtStart>();
        builder.Services.AddHealthChecks().AddCheck<LineHealth>("storage");
        return builder;
    }

    private static async Task<LogLine> ConnectAsync(IServiceProvider services)
    {
        var (node, options) = (services.GetRequiredService<IOptions<NodeOptions>>().Value, services.GetRequiredService<IOptions<StorageOptions>>().Value);
        var folder = Path.Combine(Path.GetFullPath(node.DataFolder), "log");
        if (Spool.StoreIn(folder) is { } held)
        {
            throw new SettingException($"storage:store is 'remote', and {folder} holds a log of the store '{held}', which nobody would read any more: "
                + "take the setting away, or give the node a new node:dataFolder once everything in that log is where it should be.");
        }

        var tls = services.GetService<ServiceTls>()
            ?? throw new SettingException("storage:store is 'remote', and section service-tls is missing: the owner of the log is asked with certificates at both ends.");
        var handler = tls.Client(options.RemoteService);
        handler.ConnectTimeout = TimeSpan.FromSeconds(5);
        handler.MaxConnectionsPerServer = options.RemoteConnections;
        var restart = services.GetRequiredService<NodeRestart>();
        var line = await LogLine.ConnectAsync(
            handler, new Uri($"{options.RemoteUrl!.TrimEnd('/')}/{options.RemoteService}/log/shared/"), TimeSpan.FromSeconds(options.RemotePatienceSeconds), _ => restart.Request(),
            services.GetRequiredService<TimeProvider>(), services.GetRequiredService<ILogger<LogLine>>(), CancellationToken.None);
        if (node.SiteId == line.State.Site)
        {
            return line;
        }

        var site = line.State.Site;
        await line.DisposeAsync();
        throw new SettingException($"node:siteId is '{node.SiteId}', and the log at {options.RemoteUrl} is of the site '{site}': services that share a log are of one site.");
    }

    /// <summary>What an attribute cannot say.</summary>
    private sealed class RemoteUrlValidator : IValidateOptions<StorageOptions>
    {
        public ValidateOptionsResult Validate(string? name, StorageOptions options) =>
            Uri.TryCreate(options.RemoteUrl, UriKind.Absolute, out var address) && address.Scheme == Uri.UriSchemeHttps ? ValidateOptionsResult.Success
            : ValidateOptionsResult.Fail($"storage:remoteUrl is '{options.RemoteUrl}'; with storage:store 'remote' accepted is the address of the service that owns the log, such as https://fleet.platform.svc:8081.");
    }

    /// <summary>Being constructed connects, so that a log that cannot be had stops the start.</summary>
    private sealed class ConnectAtStart(RemoteLog log) : IHostedService
    {
        private readonly RemoteLog _log = log;

        public Task StartAsync(CancellationToken cancellationToken)
        {
            ArgumentNullException.ThrowIfNull(_log);
            return Task.CompletedTask;
        }

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    /// <summary>Degraded while the owner is away, which passes; unhealthy when it has another log.</summary>
    private sealed class LineHealth(LogLine line) : IHealthCheck
    {
        public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken) => Task.FromResult(
            line.Problem is not { } problem ? HealthCheckResult.Healthy()
            : line.IsOtherLog ? HealthCheckResult.Unhealthy(problem) : HealthCheckResult.Degraded(problem));
    }
}
