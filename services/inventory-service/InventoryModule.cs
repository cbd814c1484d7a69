using Yizhan.Contracts;
using Yizhan.Inventory.App;
using Yizhan.Inventory.Collect;
using Yizhan.Inventory.Equipment;
using Yizhan.Inventory.Ledger;
using Yizhan.Inventory.Scan;
using Yizhan.Inventory.Work;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Inventory;

/// <summary>Stock and equipment of every site, and when it was last heard of (deployment <c>inventory</c>).</summary>
public sealed class InventoryModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "inventory";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
        builder.AddEventLog();
        builder.AddSettings<InventoryOptions, InventoryOptionsValidator>(Name);
        builder.Services.AddSingleton<LedgerFile>();
        builder.Services.AddSingleton<LedgerQueries>();
        builder.Services.AddSingleton<LedgerWriter>();
        builder.Services.AddSingleton<ILogConsumer>(services => services.GetRequiredService<LedgerWriter>());
        builder.Services.AddHostedService(services => services.GetRequiredService<LedgerWriter>());
        builder.Services.AddMetrics();
        builder.Services.AddSingleton<Forecast>();
        builder.Services.AddSingleton<History>();
        builder.Services.AddSingleton<RestClient>();
        builder.Services.AddSingleton<DropFolder>();
        builder.Services.AddSingleton<StockFiles>();
        builder.Services.AddSingleton<AgentFiles>();
        builder.Services.AddSingleton<FhirPull>();
        builder.Services.AddSingleton<OpenMrsPull>();
        builder.Services.AddSingleton<Passive>();
        builder.Services.AddSingleton<SnmpPoll>();
        builder.Services.AddSingleton<RedfishPoll>();
        builder.Services.AddSingleton<DicomEcho>();
        builder.Services.AddSingleton<NodeSelf>();
        builder.Services.AddSingleton<SourceReaders>();
        builder.Services.AddSingleton<MqttFollower>();
        builder.Services.AddSingleton<ILogConsumer>(services => services.GetRequiredService<MqttFollower>());
        builder.Services.AddHostedService(services => services.GetRequiredService<MqttFollower>());
        builder.Services.AddSingleton<CollectionService>();
        builder.Services.AddHostedService(services => services.GetRequiredService<CollectionService>());
        builder.Services.AddHostedService<CollectionMetrics>();
        builder.Services.AddHealthChecks().AddCheck<LedgerWriter>(Name);
        builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(0, ContractsJson.Default));
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
        LedgerEndpoints.Map(routes);
        ScanEndpoints.Map(routes);
        EquipmentEndpoints.Map(routes);
        WorkEndpoints.Map(routes);
        AppEndpoints.Map(routes);
    }
}
