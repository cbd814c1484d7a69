using Yizhan.Audit.Atna;
using Yizhan.Audit.Fhir;
using Yizhan.Audit.Witness;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Audit;

/// <summary>Tamper-evident record of every access and change (deployment <c>audit</c>).</summary>
public sealed class AuditModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "audit";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
        builder.AddEventLog();
        builder.AddSettings<AuditOptions, AuditOptionsValidator>("audit");
        builder.Services.AddSingleton<AuditConsumer>();
        builder.Services.AddSingleton<ILogConsumer>(services => services.GetRequiredService<AuditConsumer>());
        builder.Services.AddHostedService(services => services.GetRequiredService<AuditConsumer>());
        builder.Services.AddSingleton<AuditMetrics>();
        builder.Services.AddSingleton<AtnaListener>();
        builder.Services.AddHostedService(services => services.GetRequiredService<AtnaListener>());
        builder.Services.AddSingleton<AtnaForwarder>();
        builder.Services.AddHostedService(services => services.GetRequiredService<AtnaForwarder>());
        builder.Services.AddSingleton<WitnessEndpoints>();
        builder.Services.AddSingleton<WitnessClient>();
        builder.Services.AddHostedService(services => services.GetRequiredService<WitnessClient>());
        builder.Services.AddHealthChecks().AddCheck<WitnessClient>("audit-witness");
        builder.Services.AddSingleton<Retention>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Retention>());
        builder.Services.AddHealthChecks().AddCheck<AuditConsumer>("audit");
        builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Add(AuditJson.Default));
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.ServiceProvider.GetRequiredService<AuditMetrics>();
        RecordEndpoints.Map(routes);
        TreeEndpoints.Map(routes);
        SubjectEndpoints.Map(routes);
        FhirEndpoints.Map(routes);
        WitnessEndpoints.Map(routes);
    }
}
