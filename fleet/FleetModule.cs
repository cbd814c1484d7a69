using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Fleet.Accounts;
using Yizhan.Fleet.Drills;
using Yizhan.Fleet.Enrolment;
using Yizhan.Fleet.Kafka;
using Yizhan.Fleet.Logs;
using Yizhan.Fleet.Models;
using Yizhan.Fleet.Releases;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Storage;

namespace Yizhan.Fleet;

/// <summary>The centre's view of its sites: registry and intake (deployment <c>fleet</c>).</summary>
public sealed class FleetModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "fleet";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
        builder.AddSettings<FleetOptions, FleetOptionsValidator>(Name);
        builder.AddSettings<KafkaOptions, KafkaOptionsValidator>("kafka");
        builder.AddEventLog(owns: true);
        builder.Services.TryAddSingleton<KafkaSink>();
        builder.Services.AddHostedService(services => services.GetRequiredService<KafkaSink>());
        builder.Services.AddHealthChecks().AddCheck<KafkaSink>("kafka");
        builder.Services.TryAddSingleton(OpenCa);
        builder.Services.TryAddSingleton<EnrolmentDesk>();
        builder.Services.TryAddSingleton<EmergencyBook>();
        builder.Services.AddSingleton<ILogConsumer>(services => services.GetRequiredService<EmergencyBook>());
        builder.Services.AddHostedService(services => services.GetRequiredService<EmergencyBook>());
        builder.Services.TryAddSingleton<ModelBook>();
        builder.Services.AddSingleton<ILogConsumer>(services => services.GetRequiredService<ModelBook>());
        builder.Services.AddHostedService(services => services.GetRequiredService<ModelBook>());
        builder.Services.TryAddSingleton<DrillBook>();
        builder.Services.AddSingleton<ILogConsumer>(services => services.GetRequiredService<DrillBook>());
        builder.Services.AddHostedService(services => services.GetRequiredService<DrillBook>());
        builder.Services.TryAddSingleton<DrillRunner>();
        builder.Services.AddHostedService(services => services.GetRequiredService<DrillRunner>());
        builder.Services.TryAddSingleton<SiteLogBook>();
        builder.Services.AddSingleton<ILogConsumer>(services => services.GetRequiredService<SiteLogBook>());
        builder.Services.AddHostedService(services => services.GetRequiredService<SiteLogBook>());
        builder.Services.TryAddSingleton<AccountDesk>();
        builder.Services.TryAddSingleton<SiteRegistry>();
        builder.Services.TryAddSingleton<FleetMetrics>();
        builder.Services.TryAddSingleton<SafePoint>();
        builder.Services.TryAddSingleton<ReleaseCentre>();
        builder.Services.AddHostedService(services => services.GetRequiredService<ReleaseCentre>());
        builder.Services.TryAddSingleton<LinkIntake>();
        builder.Services.TryAddSingleton<LinkListener>();
        builder.Services.AddHostedService(services => services.GetRequiredService<LinkListener>());
        builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(0, ContractsJson.Default));
        builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(1, EnrolmentJson.Default));
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
        // Nobody asks for it: its gauges are read by whoever listens to the meter.
        routes.ServiceProvider.GetRequiredService<FleetMetrics>();
        FleetEndpoints.Map(routes);
        routes.MapLogMaintenance();
        routes.MapSharedLog();
    }

    private static EmbeddedCa OpenCa(IServiceProvider services)
    {
        var folder = services.GetRequiredService<IOptions<FleetOptions>>().Value.CaFolder
            ?? services.GetRequiredService<IOptions<NodeOptions>>().Value.PathOf("fleet", "ca");
        return EmbeddedCa.Open(folder, services.GetRequiredService<TimeProvider>());
    }
}
