using Yizhan.Contracts;
using Yizhan.Inventory.Ledger;
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
        builder.Services.AddHealthChecks().AddCheck<LedgerWriter>(Name);
        builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(0, ContractsJson.Default));
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes) => LedgerEndpoints.Map(routes);
}
