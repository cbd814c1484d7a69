using System.Diagnostics.Metrics;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Contracts;
using Yizhan.Inventory.Collect;
using Yizhan.Inventory.Ledger;
using Yizhan.Storage;
using static Yizhan.Inventory.Tests.Node;

namespace Yizhan.Inventory.Tests;

/// <summary>The time that P3 watches moves with each complete collection and with nothing else.</summary>
public sealed class FreshnessTests : IDisposable
{
    private const string Bundle = """{"resourceType":"Bundle","entry":[ENTRIES],"link":[LINK]}""";
    private const string Device = """{"resource":{"resourceType":"Device","id":"d1","meta":{"versionId":"1"},"serialNumber":"SN-778812","deviceName":[{"name":"Injector"}]}}""";
    private static readonly DateTimeOffset Start = new(2026, 3, 1, 8, 0, 0, TimeSpan.Zero);
    private static readonly string Csv = "编码,名称,批号,有效期,数量,单位\nC1,造影剂,L1,2027-12-31,5,瓶\n";
    private readonly Folder _folder = new();
    private readonly FakeTimeProvider _clock = new(Start);

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("the folder is gone")]
    [InlineData("nothing was dropped")]
    [InlineData("only a file that is still being written")]
    [InlineData("the file is cut off")]
    [InlineData("the file is cut off in quotes")]
    [InlineData("a column is missing")]
    [InlineData("a quantity is no number")]
    [InlineData("the bytes are no text")]
    [InlineData("the workbook is none")]
    [InlineData("a movement is impossible")]
    [InlineData("a report from the future")]
    [Trait("Clause", "S6")]
    public async Task A_drop_folder_goes_stale_when(string way)
    {
        Directory.CreateDirectory(_folder["drop"]);
        await using var node = await StartAsync(_folder["node"], _clock);
        var source = new SourceOptions { Name = "pharmacy", Kind = "csv", Path = _folder["drop"] };
        Drop("1.csv", Csv);
        Assert.Equal("complete", (await RunAsync(node, source)).Outcome);
        await StaysAsync(node, "pharmacy", Start);

        _clock.Advance(TimeSpan.FromHours(13));
        switch (way)
        {
            case "the folder is gone":
                Directory.Move(_folder["drop"], _folder["away"]);
                break;
            case "only a file that is still being written":
                Drop("2.csv", Csv);
                File.SetLastWriteTimeUtc(_folder["drop", "2.csv"], _clock.GetUtcNow().UtcDateTime.AddSeconds(-1));
                break;
            case "the file is cut off":
                Drop("2.csv", Csv + "C1,造影剂,L1,2027-");
                break;
            case "the file is cut off in quotes":
                Drop("2.csv", Csv + "C1,\"造影");
                break;
            case "a column is missing":
                Drop("2.csv", "编码,批号\nC1,L1\n");
                break;
            case "a quantity is no number":
                Drop("2.csv", Csv + "C1,造影剂,L1,2027-12-31,many,瓶\n");
                break;
            case "the bytes are no text":
                File.WriteAllBytes(_folder["drop", "2.csv"], [.. "item,quantity\n"u8, 0xFF, 0xFF, 0xFF, .. ",1\n"u8]);
                Settle("2.csv");
                break;
            case "the workbook is none":
                Drop("2.xlsx", "not a zip");
                break;
            case "a movement is impossible":
                Drop("2.csv", "编码,批号,数量,类型\nC1,L1,6,issue\n");
                break;
            case "a report from the future":
                Drop("2.csv", $"编码,批号,数量,time\nC1,L1,6,{_clock.GetUtcNow().AddHours(1):O}\n");
                break;
        }

        var failed = await RunAsync(node, source);
        Assert.NotEqual("complete", failed.Outcome);
        Assert.Equal(way is "nothing was dropped" or "only a file that is still being written", failed.Problem.Length == 0);
        await StaysAsync(node, "pharmacy", Start);
        Assert.Equal(5, node.Balance());

        if (way == "the folder is gone")
        {
            Directory.Move(_folder["away"], _folder["drop"]);
        }

        foreach (var bad in Directory.GetFiles(_folder["drop"], "2.*"))
        {
            File.Delete(bad);
        }

        Drop("3.csv", Csv.Replace(",5,", ",4,", StringComparison.Ordinal));
        Assert.Equal("complete", (await RunAsync(node, source)).Outcome);
        await StaysAsync(node, "pharmacy", _clock.GetUtcNow());
        Assert.Equal(4, node.Balance());
    }

    [Theory]
    [InlineData("the server answers 500")]
    [InlineData("the server wants a password")]
    [InlineData("the answer is no JSON")]
    [InlineData("the second page fails")]
    [InlineData("the next page is another server's")]
    [InlineData("the search is answered with an outcome")]
    [InlineData("the server speaks DSTU2")]
    [InlineData("the server is gone")]
    [InlineData("the server has nothing")]
    public async Task A_FHIR_server_goes_stale_when(string way)
    {
        await using var node = await StartAsync(_folder["node"], _clock);
        var server = await StubServer.StartAsync();
        var source = new SourceOptions { Name = "emr", Kind = "fhir", Url = server.Url };
        server.Answers["/metadata"] = (200, """{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}""");
        server.Answers["/SupplyDelivery?_count=200"] = (200, Page(""));
        server.Answers["/Device?_count=200"] = (200, Page(Device));
        Assert.Equal("complete", (await RunAsync(node, source)).Outcome);
        await StaysAsync(node, "emr", Start);

        _clock.Advance(TimeSpan.FromHours(13));
        switch (way)
        {
            case "the server answers 500":
                server.Answers["/Device?_count=200"] = (500, "{}");
                break;
            case "the server wants a password":
                server.Answers["/metadata"] = (401, "{}");
                break;
            case "the answer is no JSON":
                server.Answers["/Device?_count=200"] = (200, "<html>");
                break;
            case "the second page fails":
                server.Answers["/Device?_count=200"] = (200, Page(Device, $"{server.Url}Device?page=2"));
                break;
            case "the next page is another server's":
                server.Answers["/Device?_count=200"] = (200, Page(Device, "http://192.0.2.1/Device?page=2"));
                break;
            case "the search is answered with an outcome":
                server.Answers["/Device?_count=200"] = (200, Page(Device + """,{"resource":{"resourceType":"OperationOutcome","issue":[{"diagnostics":"index is being built"}]}}"""));
                break;
            case "the server speaks DSTU2":
                server.Answers["/metadata"] = (200, """{"fhirVersion":"1.0.2"}""");
                break;
            case "the server is gone":
                await server.DisposeAsync();
                break;
            case "the server has nothing":
                server.Answers["/Device?_count=200"] = (200, Page(""));
                break;
        }

        Assert.NotEqual("complete", (await RunAsync(node, source)).Outcome);
        await StaysAsync(node, "emr", Start);
        await server.DisposeAsync();
    }

    [Theory]
    [InlineData("""{"results":[{"stockItemUuid":"u1","quantity":3,"batchNumber":"B"}],"totalCount":2}""", "partial")]
    [InlineData("""{"results":[{"stockItemUuid":"u1","quantity":-3}],"totalCount":1}""", "partial")]
    [InlineData("""{"error":{"message":"no privilege"}}""", "failed")]
    [InlineData("""{"results":[]}""", "nothing")]
    public async Task OpenMRS_goes_stale_when_it_answers(string body, string outcome)
    {
        await using var node = await StartAsync(_folder["node"], _clock);
        await using var server = await StubServer.StartAsync();
        var source = new SourceOptions { Name = "stock", Kind = "rest", Url = server.Url };
        const string path = "/ws/rest/v1/stockmanagement/stockiteminventory?v=default&groupBy=LocationStockItemBatchNo&totalCount=true&startIndex=0&limit=100";
        server.Answers[path] = (200, """{"results":[{"stockItemUuid":"u1","drugName":"Iohexol","quantity":7,"quantityUoM":"vial","batchNumber":"B","expiration":"2027-01-31T00:00:00.000+0000","partyName":"Pharmacy"}],"totalCount":1}""");
        Assert.Equal(("complete", 1L), (await RunAsync(node, source)) is var run ? (run.Outcome, run.Movements) : default);
        var stock = Assert.Single(node.Queries.Stock(new StockFilter(Site), 10));
        Assert.Equal(("openmrs:u1", "B", "2027-01-31", "Pharmacy", 7m, "vial"), (stock.Item, stock.Lot, stock.Expiry, stock.Location, stock.Quantity, stock.Unit));

        _clock.Advance(TimeSpan.FromHours(13));
        server.Answers[path] = (200, body);
        Assert.Equal(outcome, (await RunAsync(node, source)).Outcome);
        await StaysAsync(node, "stock", Start);
    }

    [Fact]
    public async Task A_source_that_never_came_is_as_old_as_its_first_attempt_and_one_that_was_removed_is_not_stale_but_gone()
    {
        await using (var node = await StartAsync(_folder["node"], _clock))
        {
            var source = new SourceOptions { Name = "agents", Kind = "agent", Path = _folder["nowhere"] };
            Assert.Equal("failed", (await RunAsync(node, source)).Outcome);
            _clock.Advance(TimeSpan.FromHours(13));
            Assert.Equal("failed", (await RunAsync(node, source)).Outcome);
            await StaysAsync(node, "agents", Start);
        }

        await using var again = await StartAsync(_folder["node"], _clock);
        await Wait.UntilAsync(() => again.Queries.Sources(Site, 100).All(s => s.Last.Source != "agents"));
    }

    [Fact]
    public async Task Broken_inventories_and_silent_or_senseless_devices_are_not_collected()
    {
        Directory.CreateDirectory(_folder["agents"]);
        var mqtt = new SourceOptions { Name = "fridges", Kind = "mqtt", EventType = "site.fridge.v1" };
        await using var node = await StartAsync(
            _folder["node"], _clock, settings: ["--inventory:sources:0:name=fridges", "--inventory:sources:0:kind=mqtt", "--inventory:sources:0:eventType=site.fridge.v1"]);
        await node.DefineAsync();
        var agents = new SourceOptions { Name = "agents", Kind = "agent", Path = _folder["agents"] };
        File.WriteAllText(_folder["agents", "a.json"], """{"deviceid":"x","content":{"hardw""");
        File.SetLastWriteTimeUtc(_folder["agents", "a.json"], _clock.GetUtcNow().UtcDateTime.AddMinutes(-1));
        Assert.Equal("partial", (await RunAsync(node, agents)).Outcome);

        Assert.Equal("nothing", (await RunAsync(node, mqtt)).Outcome);
        await SayAsync("1", """{"item":"gloves","quantity":7,"lot":"L1"}""");
        await Wait.UntilAsync(() => node.Balance() == 7);
        await Wait.UntilAsync(async () => (await RunAsync(node, mqtt)).Outcome == "complete");
        await SayAsync("2", """{"temperature":4.1}""");
        await Wait.UntilAsync(async () => (await RunAsync(node, mqtt)).Outcome == "complete");
        await node.Ledger.CaughtUpAsync(Cancel);
        Assert.Contains(node.Queries.Assets(Site, 10), a => a.Keys.Contains("agent:mqtt/fridges/f1"));
        await SayAsync("3", """{"item":"gloves","quantity":"some"}""");
        await Wait.UntilAsync(async () => (await RunAsync(node, mqtt)).Outcome == "partial");

        Task SayAsync(string id, string payload) => SayToAsync(node, $"mqtt/{id}", payload);
    }

    [Fact]
    public async Task What_a_device_counted_counts_once_in_a_restored_log_and_when_it_is_sent_again()
    {
        string[] settings = ["--inventory:sources:0:name=cabinet", "--inventory:sources:0:kind=mqtt", "--inventory:sources:0:eventType=site.fridge.v1"];
        const string Restored = "restored", Received = """{"item":"gloves","quantity":5,"lot":"L1","kind":"receive"}""";
        await using (var node = await StartAsync(_folder["node"], _clock, settings: settings))
        {
            await node.DefineAsync();
            await SayToAsync(node, "mqtt/1", Received);
            await SayToAsync(node, $"{Entry.ReplayPrefix}x/Normal/1", Received);
            await SayToAsync(node, $"{Entry.MovedPrefix}x/Normal/1", Received);
            await SayToAsync(node, "mqtt/2", Received);
            await ReadAsync(node);
            Assert.Equal(10, node.Balance());
        }

        File.WriteAllText(_folder["node", "log", Restored], "");
        await using var restored = await StartAsync(_folder["node"], _clock, settings: settings);
        await ReadAsync(restored);
        Assert.False(File.Exists(_folder["node", "log", Restored]));
        Assert.Equal(10, restored.Balance());

        async Task ReadAsync(Node node)
        {
            var follower = node.Service<IEnumerable<ILogConsumer>>().Single(c => c.Name == "inventory-mqtt");
            var last = node.Events.LastPosition;
            await Wait.UntilAsync(async () => await follower.ReadThroughAsync(Cancel) >= last);
            await node.Ledger.CaughtUpAsync(Cancel);
        }
    }

    private async Task SayToAsync(Node node, string id, string payload) => await node.Events.AppendAsync(
        [new Entry(Lane.Normal, "site.fridge.v1", id, "", _clock.GetUtcNow().ToUnixTimeMilliseconds(), JsonSerializer.SerializeToUtf8Bytes(
            new DeviceMessage("fridge/1", "f1", JsonDocument.Parse(payload).RootElement, null), ContractsJson.Default.DeviceMessage))], Cancel);

    [Fact]
    public async Task A_run_that_never_ends_has_failed_after_its_time()
    {
        await using var node = await StartAsync(_folder["node"], _clock);
        using var silent = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        silent.Start();
        var source = new SourceOptions { Name = "emr", Kind = "fhir", Url = new Uri($"http://{silent.LocalEndpoint}/") };
        var run = RunAsync(node, source);
        await Wait.UntilAsync(() =>
        {
            _clock.Advance(TimeSpan.FromMinutes(10));
            return run.IsCompleted;
        });
        Assert.Contains("30 minutes", (await run).Problem, StringComparison.Ordinal);
    }

    private static string Page(string entries, string? next = null) => Bundle.Replace("ENTRIES", entries, StringComparison.Ordinal)
        .Replace("LINK", next is null ? "" : $$"""{"relation":"next","url":"{{next}}"}""", StringComparison.Ordinal);

    private static Task<SourceCollected> RunAsync(Node node, SourceOptions source) => node.Service<CollectionService>().RunAsync(source, Cancel);

    private void Drop(string name, string text)
    {
        File.WriteAllText(_folder["drop", name], text, new UTF8Encoding(true));
        Settle(name);
    }

    private void Settle(string name) => File.SetLastWriteTimeUtc(_folder["drop", name], _clock.GetUtcNow().UtcDateTime.AddMinutes(-1));

    [Fact]
    public async Task The_names_and_labels_of_the_metrics_are_those_that_alerts_and_dashboards_ask_for()
    {
        await using var node = await StartAsync(_folder["node"], _clock);
        await Wait.UntilAsync(() => node.Queries.Sources(Site, 10).Count > 0);
        var shown = await node.Http.GetStringAsync("/metrics", Cancel);
        var names = shown.Split('\n').Where(l => l.StartsWith("yizhan_inventory_", StringComparison.Ordinal))
            .Select(l => System.Text.RegularExpressions.Regex.Replace(l.Split('}')[0], "=\"[^\"]*\"", "") + "}").Distinct().Order(StringComparer.Ordinal);
        Assert.Equal(["yizhan_inventory_last_success_timestamp_seconds{otel_scope_name,site,source}"], names);
    }

    private static async Task StaysAsync(Node node, string source, DateTimeOffset success)
    {
        await node.Ledger.CaughtUpAsync(Cancel);
        Assert.Equal(success.ToUnixTimeMilliseconds() / 1000.0, Metric(node, source));
    }

    private static double Metric(Node node, string source)
    {
        var values = new List<double>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Name == "yizhan.inventory.last_success_timestamp" && instrument.Meter.Scope == node.Service<IMeterFactory>())
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            },
        };
        listener.SetMeasurementEventCallback<double>((_, value, tags, _) =>
        {
            if (tags.ToArray().Contains(new("source", source)) && tags.ToArray().Contains(new("site", Site)))
            {
                values.Add(value);
            }
        });
        listener.Start();
        listener.RecordObservableInstruments();
        return Assert.Single(values);
    }
}
