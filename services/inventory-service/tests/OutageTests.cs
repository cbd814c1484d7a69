using System.Net.Http.Json;
using System.Net.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Fleet;
using Yizhan.Inventory.Collect;
using Yizhan.Inventory.Ledger;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Station;
using Yizhan.Storage;
using static Yizhan.Inventory.Tests.Node;

namespace Yizhan.Inventory.Tests;

/// <summary>A site and a centre as they run in production, with a real link between them.</summary>
public sealed class OutageTests : IDisposable
{
    private readonly Folder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    [Trait("Clause", "S6")]
    public async Task A_sites_agent_inventory_SNMP_device_CSV_and_scan_are_in_the_centre_after_an_outage_once()
    {
        Peer.Need("fusioninventory-inventory", "fusioninventory-agent");
        var (linkPort, snmpPort) = (FreePorts.Next(), FreePorts.Next(ProtocolType.Udp));
        using var snmpd = Peer.Snmpd(_folder.Path, snmpPort);
        EmbeddedCa.Open(_folder["centre", "fleet", "ca"], TimeProvider.System).Dispose();
        var centre = await CentreAsync(linkPort);
        var root = centre.Services.GetRequiredService<EmbeddedCa>().RootFile;
        centre.Services.GetRequiredService<EmbeddedCa>().IssueSite(Site).WriteTo(_folder["site.crt"], _folder["site.key"]);
        await StopAsync(centre);

        // The line is down. Everything is collected, and each source twice.
        var edge = await EdgeAsync(linkPort, root);
        var collection = edge.Services.GetRequiredService<CollectionService>();
        Directory.CreateDirectory(_folder["agents"]);
        Directory.CreateDirectory(_folder["drop"]);
        var inventory = await Peer.RunAsync("/usr/bin/fusioninventory-inventory", ["--no-category=process,environment,software"], Cancel);
        File.WriteAllText(_folder["auth"], "correct horse");
        File.WriteAllText(_folder["priv"], "battery staple");
        SourceOptions[] sources =
        [
            new() { Name = "agents", Kind = "agent", Path = _folder["agents"], SettleSeconds = 0 },
            new() { Name = "pharmacy", Kind = "csv", Path = _folder["drop"], SettleSeconds = 0 },
            new() { Name = "switch", Kind = "snmp", Host = "127.0.0.1", Port = snmpPort, User = "reader", PasswordPath = _folder["auth"], PrivacyPasswordPath = _folder["priv"] },
        ];
        for (var round = 0; round < 2; round++)
        {
            File.WriteAllText(_folder["agents", "pc.xml"], inventory);
            File.WriteAllText(_folder["drop", "stock.csv"], "编码,名称,批号,有效期,数量,单位\nC1,碘海醇,L1,2027-12-31,24,瓶\n");
            foreach (var source in sources)
            {
                await Wait.UntilAsync(async () => (await collection.RunAsync(source, Cancel)).Outcome == "complete", $"{source.Name} complete");
            }

            await ScanAsync(edge);
        }

        // The process is killed and comes back, and so does the line; then the centre goes away once more in the middle.
        await StopAsync(edge);
        edge = await EdgeAsync(linkPort, root);
        centre = await CentreAsync(linkPort);
        await Wait.UntilAsync(() => Queries(centre).Assets(Site, 10).Count > 0);
        await StopAsync(centre);
        centre = await CentreAsync(linkPort);
        var log = edge.Services.GetRequiredService<IEventLog>();
        await ScanAsync(edge);
        await Wait.UntilAsync(() => log.Usage(Lane.Normal).Entries == 0);
        await centre.Services.GetRequiredService<LedgerWriter>().CaughtUpAsync(Cancel);

        var stock = Assert.Single(Queries(centre).Stock(new StockFilter(Site, "C1"), 10));
        Assert.Equal((24m, "L1", "2027-12-31", "碘海醇"), (stock.Quantity, stock.Lot, stock.Expiry, stock.Name));
        Assert.Equal(3, Assert.Single(Queries(centre).Stock(new StockFilter(Site, "stent"), 10)).Quantity);
        Assert.Single(Queries(centre).Movements(new StockFilter(Site, "C1"), long.MaxValue, 10));
        Assert.Single(Queries(centre).Movements(new StockFilter(Site, "stent"), long.MaxValue, 10));
        var assets = Queries(centre).Assets(Site, 10);
        Assert.Single(assets, a => a.Last.Source == "agents");
        Assert.Single(assets, a => a.Last is { Source: "switch", Name: "pacs-switch-1" });
        Assert.Equal(Queries(edge).Assets(Site, 10).Select(a => a.Id).Order(), assets.Select(a => a.Id).Order());
        Assert.Superset(new HashSet<string>(["agents", "pharmacy", "switch"]), Queries(centre).Sources(Site, 100).Select(s => s.Last.Source).ToHashSet());
        Assert.Empty(Queries(centre).Parked(10));
        await StopAsync(edge);
        await StopAsync(centre);
    }

    private static async Task ScanAsync(WebApplication edge)
    {
        using var http = Operator.Client(edge);
        await edge.Services.GetRequiredService<LedgerWriter>().DefineAsync(ItemOf("stent") with { Codes = ["gtin:06901234567892"] }, Cancel);
        var scan = new ScanRequest("]d2010690123456789217271231" + "10A213B1", "receive", 3, BatchId: "scan-1", EffectiveMs: 1_767_225_600_000);
        Assert.True((await http.PostAsJsonAsync("inventory/scans", scan, ContractsJson.Default.ScanRequest, Cancel)).IsSuccessStatusCode);
    }

    private static LedgerQueries Queries(WebApplication node) => node.Services.GetRequiredService<LedgerQueries>();

    private async Task<WebApplication> CentreAsync(int port)
    {
        var node = new ServiceHost([$"--node:dataFolder={_folder["centre"]}", "--web:url=http://127.0.0.1:0", "--log:level=error", $"--fleet:linkPort={port}"])
            .Add<FleetModule>().Add<InventoryModule>().Build();
        await node.StartAsync(Cancel);
        return node;
    }

    private async Task<WebApplication> EdgeAsync(int port, string root)
    {
        // The first three sources are this test's own runs; a node forgets what its settings do not name.
        var node = new ServiceHost([
            $"--node:siteId={Site}", $"--node:dataFolder={_folder["edge"]}", "--web:url=http://127.0.0.1:0", "--log:level=critical",
            $"--station:centreUrl=https://127.0.0.1:{port}", $"--station:certificatePath={_folder["site.crt"]}", $"--station:keyPath={_folder["site.key"]}",
            $"--station:rootPath={root}", "--station:probeMs=100",
            "--inventory:sources:0:name=agents", "--inventory:sources:0:kind=push", "--inventory:sources:1:name=pharmacy", "--inventory:sources:1:kind=push",
            "--inventory:sources:2:name=switch", "--inventory:sources:2:kind=push"])
            .Add<StationModule>().Add<InventoryModule>().Build();
        await node.StartAsync(Cancel);
        return node;
    }

    private static async Task StopAsync(WebApplication node)
    {
        await node.StopAsync(Cancel);
        await node.DisposeAsync();
    }
}
