using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.AiInfer.Rollout;
using Yizhan.Contracts;
using Yizhan.Fleet;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Station;
using Yizhan.Storage;
using static Yizhan.AiInfer.Tests.Node;

namespace Yizhan.AiInfer.Tests;

/// <summary>Models of a site as the centre sees them, and what it orders, over a real link.</summary>
public sealed class CentreTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-centre-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    [Trait("Clause", "S3")]
    public async Task The_centre_sees_models_and_findings_of_a_site_and_its_orders_are_done_there_once()
    {
        await using var archive = await Archive.StartAsync();
        EmbeddedCa.Open(In("centre", "fleet", "ca"), TimeProvider.System).Dispose();
        await using var centre = new ServiceHost([
            $"--node:dataFolder={In("centre")}", "--web:url=http://127.0.0.1:0", "--log:level=error", "--storage:freeFloorBytes=0",
            $"--fleet:linkPort={FreePorts.Next()}", $"--fleet:enrolmentPort={FreePorts.Next()}"]).Add<FleetModule>().Build();
        await centre.StartAsync(Cancel);
        var door = centre.Services.GetRequiredService<LinkListener>();
        var ca = centre.Services.GetRequiredService<EmbeddedCa>();
        ca.IssueSite("lakeside").WriteTo(In("site.crt"), In("site.key"));
        TestBundle.Write(In("models"), "block", "1", OnnxFile.Plus(0, [-1, 1, -1, -1]), SmallSeries.Settings, inference: SmallSeries.Inference);
        TestBundle.Write(In("models"), "block", "2", OnnxFile.Plus(0, [-1, 1, -1, -1]), SmallSeries.Settings, inference: SmallSeries.Inference);
        await using var site = new ServiceHost([
            "--node:siteId=lakeside", $"--node:dataFolder={In("site")}", "--web:url=http://127.0.0.1:0", "--log:level=critical", "--storage:freeFloorBytes=0",
            $"--station:centreUrl=https://127.0.0.1:{door.EndPoint.Port}", $"--station:certificatePath={In("site.crt")}",
            $"--station:keyPath={In("site.key")}", $"--station:rootPath={ca.RootFile}", "--station:probeMs=100", "--station:heartbeatSeconds=1", "--station:ordersPollSeconds=1",
            $"--ai-infer:modelsFolder={In("models")}", "--ai-infer:allowUnsigned=true", "--ai-infer:rules:0:model=block", "--ai-infer:quietSeconds=0", "--ai-infer:reportSeconds=1",
            $"--ai-infer:dicomWebUrl={archive.Url}"])
            .Add<StationModule>().Add<AiInferModule>().Build();
        await site.StartAsync(Cancel);
        using var http = Operator.Client(centre);

        // Models and results come by themselves.
        var block = await SeenAsync(http, (m, _) => m.Versions.Count == 2);
        Assert.Equal((true, "1", null, null), (block.InUse, block.Stable, block.Candidate, block.Stopped));
        await archive.AddAsync(site.Services, SmallSeries.Create());
        IReadOnlyList<SiteAnalysis> findings = [];
        await Wait.UntilAsync(async () => (findings = (await http.GetFromJsonAsync("fleet/findings", ContractsJson.Default.IReadOnlyListSiteAnalysis, Cancel))!).Count > 0);
        Assert.Equal(("lakeside", "findings", 3.2), (findings[0].Site, findings[0].Result.Outcome, findings[0].Result.Findings[0].VolumeMl));
        Assert.Contains("\"Observation\"", findings[0].Result.Observations[0], StringComparison.Ordinal);
        Assert.Empty((await http.GetFromJsonAsync("fleet/findings?study=9", ContractsJson.Default.IReadOnlyListSiteAnalysis, Cancel))!);
        var measured = await SeenAsync(http, (m, _) => m.Versions[0].Series == 1);
        Assert.Equal(0, measured.Versions[0].Failed);
        Assert.True(measured.Versions[0].MedianMs > 0);

        // An order is done at the site, by whom and why, and the next report says so.
        Assert.Equal(HttpStatusCode.Accepted, (await OrderAsync(http, "promote", new RolloutRequest("a first look", "2", 10))).Status);
        block = await SeenAsync(http, (m, orders) => m.Candidate == "2" && orders == 0);
        Assert.Equal(10, block.Percent);
        Assert.Equal(("promote", "2", "a first look"), (block.History[0].Action, block.History[0].Version, block.History[0].Reason));
        Assert.EndsWith(" at the centre", block.History[0].Who, StringComparison.Ordinal);

        // While the line is down the order waits, and is said to wait.
        await door.StopAsync(Cancel);
        Assert.Equal(HttpStatusCode.Accepted, (await OrderAsync(http, "hold", new RolloutRequest("too many false ones"))).Status);
        block = await SeenAsync(http, (_, orders) => orders == 1);
        Assert.Equal("2", block.Candidate);
        await door.StartAsync(Cancel);
        block = await SeenAsync(http, (m, orders) => m.Candidate is null && orders == 0);
        Assert.Equal(("hold", "2"), (block.History[0].Action, block.History[0].Version));

        // What the site cannot do it says, too.
        await OrderAsync(http, "rollback", new RolloutRequest("by mistake"));
        block = await SeenAsync(http, (m, _) => m.History[0].Action == "refused");
        Assert.Contains("there is nothing to go back to", block.History[0].Reason, StringComparison.Ordinal);

        // An order that comes twice is done once.
        var desk = site.Services.GetRequiredService<RolloutDesk>();
        var order = new RolloutOrder(7, "lakeside", "block", "promote", new RolloutRequest("again", "2", 50), "li", 0);
        await desk.ObeyAsync(order, Cancel);
        await desk.HoldAsync("block", false, "site", "not here", Cancel);
        var before = desk.View("block").History.Count;
        await desk.ObeyAsync(order, Cancel);
        Assert.Equal((before, null), (desk.View("block").History.Count, desk.View("block").Candidate));

        // Both ends have it in their audit log.
        foreach (var (node, who) in new[] { (centre.Services, "ordered for lakeside: a first look"), (site.Services, "promote 2 10 %: a first look") })
        {
            var records = (await node.GetRequiredService<IEventLog>().ReadAsync(0, 1000, Cancel)).Where(e => e.Entry.Type == AuditRecord.EventType)
                .Select(e => JsonSerializer.Deserialize(e.Entry.Data.Span, ContractsJson.Default.AuditRecord)!);
            Assert.Contains(records, r => r.Detail?.Contains(who, StringComparison.Ordinal) == true);
        }

        await site.StopAsync(Cancel);
        await centre.StopAsync(Cancel);
    }

    [Theory]
    [InlineData("promote", "", "1", 10, "A reason of 1 to 500")]
    [InlineData("delete", "why", "1", 10, "'delete' is no change of a rollout; accepted: promote, hold, rollback")]
    [InlineData("promote", "why", "3", 10, "accepted: versions 1 at 0, 10, 50 or 100 %")]
    [InlineData("promote", "why", "1", 30, "block 1 at 30 %")]
    [InlineData("hold", "why", null, null, "No rule of 'lakeside' names 'idle'", "idle")]
    [InlineData("hold", "why", null, null, "has reported no model 'other'", "other")]
    public async Task An_order_that_cannot_be_is_refused_with_the_reason(string action, string reason, string? version, int? percent, string expected, string model = "block")
    {
        await using var centre = new ServiceHost([
            $"--node:dataFolder={In("centre")}", "--node:siteId=lakeside", "--web:url=http://127.0.0.1:0", "--log:level=error", "--storage:freeFloorBytes=0",
            "--fleet:linkPort=0", "--fleet:enrolmentPort=0"]).Add<FleetModule>().Build();
        await centre.StartAsync(Cancel);
        var version1 = new VersionReport("1", "READY", null, false, 0, 0, null, null, null);
        var report = new ModelsReported("lakeside", 1, [new("block", true, "1", null, 0, null, [version1], []), new("idle", false, "1", null, 0, null, [version1], [])]);
        await centre.Services.GetRequiredService<IEventLog>().AppendAsync(
            [new Entry(Lane.Normal, ModelsReported.EventType, "models:1", "models", 1, JsonSerializer.SerializeToUtf8Bytes(report, ContractsJson.Default.ModelsReported))], Cancel);
        using var http = Operator.Client(centre);
        await Wait.UntilAsync(async () => (await http.GetFromJsonAsync("fleet/models", ContractsJson.Default.IReadOnlyListModelsReported, Cancel))!.Count == 1);
        var (status, text) = await OrderAsync(http, action, new RolloutRequest(reason, version, percent), model);
        Assert.Equal((HttpStatusCode)422, status);
        Assert.Contains(expected, text, StringComparison.Ordinal);
        await centre.StopAsync(Cancel);
    }

    private string In(params string[] parts) => Path.Combine([_folder, .. parts]);

    private static async Task<(HttpStatusCode Status, string Text)> OrderAsync(HttpClient http, string action, RolloutRequest request, string model = "block")
    {
        using var answer = await http.PostAsync($"fleet/models/lakeside/{model}/{action}", JsonContent.Create(request, ContractsJson.Default.RolloutRequest), Cancel);
        return (answer.StatusCode, await answer.Content.ReadAsStringAsync(Cancel));
    }

    /// <summary>Waits until the centre's view of the model is so; with it the number of orders that are on their way.</summary>
    private static async Task<ModelReport> SeenAsync(HttpClient http, Func<ModelReport, int, bool> expected)
    {
        ModelReport? seen = null;
        await Wait.UntilAsync(async () =>
        {
            var report = (await http.GetFromJsonAsync("fleet/models", ContractsJson.Default.IReadOnlyListModelsReported, Cancel))!.SingleOrDefault(r => r.Site == "lakeside");
            seen = report?.Models.SingleOrDefault(m => m.Model == "block");
            return seen is not null && expected(seen, report!.Orders!.Count);
        });
        return seen!;
    }
}
