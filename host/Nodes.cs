using Yizhan.AiInfer;
using Yizhan.AlertBridge;
using Yizhan.Audit;
using Yizhan.Auth;
using Yizhan.Console;
using Yizhan.EmrAdapter;
using Yizhan.Fleet;
using Yizhan.Inventory;
using Yizhan.MqttBridge;
using Yizhan.NmtAsr;
using Yizhan.PacsGw;
using Yizhan.Platform;
using Yizhan.Station;

namespace Yizhan.Host;

/// <summary>Which modules make a node. Each module of the centre is also a Deployment in <c>infra/k8s/base</c>, but the alert bridge, which is where Alertmanager is.</summary>
internal static class Nodes
{
    /// <summary>The regional centre.</summary>
    public static ServiceHost Centre(string[] settings) => new ServiceHost(settings)
        .Add<FleetModule>()
        .Add<PacsGwModule>()
        .Add<NmtAsrModule>()
        .Add<EmrAdapterModule>()
        .Add<AuditModule>()
        .Add<AuthModule>()
        .Add<InventoryModule>()
        .Add<AlertBridgeModule>()
        .Add<ConsoleModule>();

    /// <summary>A site: everything that has to work while the line is down.</summary>
    public static ServiceHost Edge(string[] settings) => new ServiceHost(settings)
        .Add<StationModule>()
        .Add<MqttBridgeModule>()
        .Add<PacsGwModule>()
        .Add<AiInferModule>()
        .Add<NmtAsrModule>()
        .Add<EmrAdapterModule>()
        .Add<AuditModule>()
        .Add<InventoryModule>()
        .Add<SiteConsoleModule>();
}
