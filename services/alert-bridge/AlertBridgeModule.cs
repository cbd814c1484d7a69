using Microsoft.Extensions.DependencyInjection.Extensions;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.AlertBridge;

/// <summary>Alerts to Feishu and Jira (deployment <c>alert-bridge</c>).</summary>
public sealed class AlertBridgeModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "alert-bridge";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
        builder.AddSettings<AlertBridgeOptions, AlertBridgeOptionsValidator>(Name);
        builder.AddEventLog();
        // The address of a Feishu bot is its secret, and the client's own log would have it.
        builder.Services.AddHttpClient(Name, http => http.Timeout = Timeout.InfiniteTimeSpan).RemoveAllLoggers();
        builder.Services.TryAddSingleton<Outbox>();
        builder.Services.TryAddSingleton<Destinations>();
        builder.Services.TryAddSingleton<Courier>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Courier>());
        builder.Services.AddHealthChecks().AddCheck<Courier>(Name);
        builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(0, BridgeJson.Default));
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes) => BridgeEndpoints.Map(routes);
}
