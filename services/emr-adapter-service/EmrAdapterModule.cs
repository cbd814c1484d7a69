using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Hl7;
using Yizhan.EmrAdapter.Orders;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.EmrAdapter.Sources;
using Yizhan.EmrAdapter.Terms;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter;

/// <summary>Orders, patients, results and notes between the EMR and the platform (deployment <c>emr-adapter</c>).</summary>
public sealed class EmrAdapterModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "emr-adapter";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
        builder.AddEventLog();
        builder.AddSettings<EmrAdapterOptions, EmrAdapterOptionsValidator>(Name);
        builder.Services.AddOptions<EmrAdapterOptions>().PostConfigure<IOptions<NodeOptions>>((options, node) =>
        {
            foreach (var system in options.Systems.Where(s => s.PasswordFile is { Length: > 0 }))
            {
                system.PasswordFile = Path.GetFullPath(Path.Combine(node.Value.DataFolder, "emr-adapter", system.PasswordFile!));
            }
        });
        builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(0, ContractsJson.Default));
        builder.Services.AddSingleton<EmrDatabase>();
        builder.Services.AddSingleton<EmrOutbox>();
        builder.Services.AddSingleton(services => new TermMaps(services.GetRequiredService<IOptions<EmrAdapterOptions>>(), services.GetRequiredService<EmrDatabase>()));
        builder.Services.AddSingleton<OrderBook>();
        builder.Services.AddSingleton<EmrDrivers>();
        builder.Services.AddSingleton<Hl7Intake>();
        builder.Services.AddSingleton<Preview>();
        builder.Services.AddSingleton(services =>
        {
            var metrics = new EmrMetrics();
            metrics.Observe([.. services.GetRequiredService<IOptions<EmrAdapterOptions>>().Value.Systems.Select(s => s.Name)], services.GetRequiredService<EmrOutbox>(), services.GetRequiredService<TimeProvider>());
            return metrics;
        });
        builder.Services.AddSingleton<EmrFollower>();
        builder.Services.AddSingleton<ILogConsumer>(services => services.GetRequiredService<EmrFollower>());

        // Started in this order and stopped in the other: nothing is taken that would not be followed.
        builder.Services.AddHostedService(services => services.GetRequiredService<EmrFollower>());
        builder.Services.AddSingleton<OutboxSender>();
        builder.Services.AddHostedService(services => services.GetRequiredService<OutboxSender>());
        builder.Services.AddSingleton<Intake>();
        builder.Services.AddSingleton<SourcePoller>();
        builder.Services.AddHostedService(services => services.GetRequiredService<SourcePoller>());
        builder.Services.AddSingleton<MllpListener>();
        builder.Services.AddHostedService(services => services.GetRequiredService<MllpListener>());
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes) => EmrEndpoints.Map(routes);
}
