using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Contracts;
using Yizhan.Inventory.Collect;
using static Yizhan.Inventory.Tests.Node;

namespace Yizhan.Inventory.Tests;

/// <summary>Medplum's FHIR router as the server that we read, and as the one that takes what we give: it refuses what is not as the definitions of R4 have it.</summary>
public sealed class MedplumTests : IDisposable
{
    private static readonly DateTimeOffset Now = new(2026, 3, 1, 8, 0, 0, TimeSpan.Zero);
    private readonly Folder _folder = new();
    private readonly FakeTimeProvider _clock = new(Now);

    public void Dispose() => _folder.Dispose();

    [Fact]
    [Trait("Clause", "S6")]
    public async Task Equipment_and_deliveries_of_the_server_are_collected_once()
    {
        using var server = await StartServerAsync();
        await using var node = await StartAsync(_folder["node"], _clock);
        var source = new SourceOptions { Name = "emr", Kind = "fhir", Url = server.Url, Location = "store" };
        await server.PostAsync("""{"resourceType":"Device","serialNumber":"SN-778812","manufacturer":"Acme","modelNumber":"I-3","deviceName":[{"name":"Injector","type":"user-friendly-name"}]}""");
        await server.PostAsync(Delivery("completed", 40));
        await server.PostAsync(Delivery("in-progress", 7));

        Assert.Equal("complete", (await RunAsync(node, source)).Outcome);
        Assert.Equal("complete", (await RunAsync(node, source)).Outcome);
        await node.Ledger.CaughtUpAsync(Cancel);
        Assert.Contains(node.Queries.Assets(Site, 10), a => a.Keys.Contains("serial:SN778812") && a.Last.Name == "Injector");
        Assert.Equal(("gtin:06901234567892", 40m, "store"), Assert.Single(node.Queries.Stock(new(Site), 10)) is var s ? (s.Item, s.Quantity, s.Location) : default);

        await server.PostAsync(Delivery("completed", 2));
        await RunAsync(node, source);
        Assert.Equal(42, Assert.Single(node.Queries.Stock(new(Site), 10)).Quantity);
    }

    [Fact]
    public async Task What_the_server_has_and_does_not_give_makes_the_run_partial()
    {
        using var server = await StartServerAsync();
        await using var node = await StartAsync(_folder["node"], _clock);
        for (var i = 0; i < 201; i++)
        {
            await server.PostAsync(Delivery("completed", 1));
        }

        // It gives 200 of them and no link to the rest.
        var run = await RunAsync(node, new SourceOptions { Name = "emr", Kind = "fhir", Url = server.Url });
        Assert.Equal("partial", run.Outcome);
        Assert.Contains("it has 201 and gave 200", run.Problem, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Clause", "S6")]
    public async Task The_server_takes_the_devices_and_deliveries_that_we_give()
    {
        using var server = await StartServerAsync();
        await using var node = await StartAsync(_folder["node"], _clock);
        await node.Ledger.DefineAsync(ItemOf("stent") with { Codes = ["gtin:06901234567892"] }, Cancel);
        await node.Ledger.RecordAsync(Batch("1", Move("receive", 2, item: "stent", lot: "A213B1") with { Expiry = "2027-12-31" }), Cancel);
        var asset = new AssetReported("ris", "1", Now.ToUnixTimeMilliseconds(), "modality", "CT-1", "Acme", "C-9", ["serial:SN-1", "mac:00163e000001"], ["10.0.0.9"], [new("firmware", "9.1")]);
        await Sink.ReportAsync(node.Events, asset, Cancel);
        await node.Ledger.CaughtUpAsync(Cancel);

        var taken = 0;
        foreach (var list in new[] { "fhir/Device", "fhir/SupplyDelivery" })
        {
            foreach (var entry in JsonNode.Parse(await node.Http.GetStringAsync(list, Cancel))!["entry"]!.AsArray())
            {
                await server.PostAsync(entry!["resource"]!.ToJsonString());
                taken++;
            }
        }

        Assert.InRange(taken, 3, 4);
        using var found = JsonDocument.Parse(await server.Http.GetStringAsync("Device?_count=100", Cancel));
        Assert.Contains(found.RootElement.List("entry"), e => e.Text("resource", "lotNumber") == "A213B1" && e.Text("resource", "udiCarrier", "deviceIdentifier") == "06901234567892");
        Assert.Contains(found.RootElement.List("entry"), e => e.Text("resource", "serialNumber") == "SN-1" && e.Text("resource", "version", "value") == "9.1");

        // It does refuse what is wrong.
        using var wrong = new StringContent("""{"resourceType":"SupplyDelivery","status":"completed","suppliedItem":{"quantity":{"value":"two"}}}""", Encoding.UTF8, "application/fhir+json");
        Assert.Equal(HttpStatusCode.BadRequest, (await server.Http.PostAsync("SupplyDelivery", wrong, Cancel)).StatusCode);
    }

    private static string Delivery(string status, int quantity) => $$$"""
        {"resourceType":"SupplyDelivery","status":"{{{status}}}","occurrenceDateTime":"2026-02-28T08:00:00Z",
         "suppliedItem":{"quantity":{"value":{{{quantity}}},"unit":"piece"},"itemCodeableConcept":{"coding":[{"system":"https://www.gs1.org/gtin","code":"06901234567892","display":"Stent"}]} } }
        """;

    private static async Task<SourceCollected> RunAsync(Node node, SourceOptions source) => await node.Service<CollectionService>().RunAsync(source, Cancel);

    private async Task<Server> StartServerAsync()
    {
        var script = Repository("services/emr-adapter-service/tests/peers/fhir-server.mjs");
        Assert.SkipUnless(Directory.Exists(Path.Combine(Path.GetDirectoryName(script)!, "node_modules")), "The peers from npm are not installed: ./check does that.");
        Peer.Need("node", "nodejs");
        var port = FreePorts.Next();
        var server = new Server(Peer.Start("/usr/bin/node", [script, $"{port}", _folder["journal"], "validate"]), port);
        await Wait.UntilAsync(() =>
        {
            try
            {
                using var probe = new TcpClient("127.0.0.1", port);
                return true;
            }
            catch (SocketException)
            {
                return false;
            }
        });
        return server;
    }

    private static string Repository(string path)
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent ?? throw new UnreachableException("No global.json above the test.");
        }

        return Path.Combine(directory.FullName, path);
    }

    private sealed class Server(Peer peer, int port) : IDisposable
    {
        public Uri Url { get; } = new($"http://127.0.0.1:{port}/fhir/");

        public HttpClient Http { get; } = new() { BaseAddress = new Uri($"http://127.0.0.1:{port}/fhir/") };

        public async Task PostAsync(string resource)
        {
            using var content = new StringContent(resource, Encoding.UTF8, "application/fhir+json");
            using var answer = await Http.PostAsync(JsonDocument.Parse(resource).RootElement.GetProperty("resourceType").GetString(), content, Cancel);
            Assert.True(answer.StatusCode == HttpStatusCode.Created, $"{resource}: {await answer.Content.ReadAsStringAsync(Cancel)}");
        }

        public void Dispose()
        {
            Http.Dispose();
            peer.Dispose();
        }
    }
}
