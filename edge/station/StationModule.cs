using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Yizhan.Platform;
using Yizhan.Station.Certificates;
using Yizhan.Station.Configuration;
using Yizhan.Station.Updates;
using Yizhan.Storage;

namespace Yizhan.Station;

/// <summary>What a site runs: spool, back-fill to the centre (deployment <c>station</c>).</summary>
public sealed class StationModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "station";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
        builder.AddSettings<StationOptions, StationOptionsValidator>(Name);
        builder.AddEventLog();
        builder.Services.TryAddSingleton<Quarantine>();
        builder.Services.TryAddSingleton<SpoolMetrics>();
        builder.Services.TryAddSingleton<Retention>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Retention>());
        builder.Services.TryAddSingleton<ServiceHealthWatch>();
        builder.Services.AddSingleton<IHealthCheckPublisher>(services => services.GetRequiredService<ServiceHealthWatch>());
        builder.Services.Configure<HealthCheckPublisherOptions>(o => o.Period = TimeSpan.FromSeconds(15));
        builder.Services.TryAddSingleton<IdleGate>();
        builder.Services.AddHostedService(services => services.GetRequiredService<IdleGate>());
        builder.Services.TryAddSingleton<SiteConfiguration>();
        builder.Services.TryAddSingleton<LinkService>();
        builder.Services.AddHostedService(services => services.GetRequiredService<LinkService>());
        builder.Services.AddHostedService<ConfigurationService>();
        builder.Services.TryAddSingleton<SiteTrust>();
        builder.Services.AddHostedService<CertificateRenewal>();
        builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(0, StationJson.Default));
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
        SpoolEndpoints.Map(routes);
        UpdateEndpoints.Map(routes);
        routes.MapLogMaintenance();
    }
}
