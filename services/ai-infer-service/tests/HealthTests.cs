using System.Diagnostics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Yizhan.AiInfer.Engine;
using Yizhan.AiInfer.Repository;
using Yizhan.Contracts;
using Yizhan.Fleet;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Station;
using static Yizhan.AiInfer.Tests.Node;

namespace Yizhan.AiInfer.Tests;

/// <summary>What the centre is told of a site's inference, over a real link: alert InferenceUnavailable stands on it.</summary>
public sealed class HealthTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-health-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    [Trait("Clause", "S3")]
    public async Task The_centre_hears_that_inference_works_and_that_it_does_not()
    {
        EmbeddedCa.Open(In("centre", "fleet", "ca"), TimeProvider.System).Dispose();
        await using var centre = new ServiceHost([
            $"--node:dataFolder={In("centre")}", "--web:url=http://127.0.0.1:0", "--log:level=error", "--storage:freeFloorBytes=0",
            "--fleet:linkPort=0", "--fleet:enrolmentPort=0"]).Add<FleetModule>().Build();
        await centre.StartAsync(Cancel);
        var ca = centre.Services.GetRequiredService<EmbeddedCa>();
        ca.IssueSite("lakeside").WriteTo(In("site.crt"), In("site.key"));
        var model = Path.Combine(TestBundle.Write(In("models"), "apart", "1", OnnxFile.PlusOne(), """{"isolation":"process"}"""), "models", "model.onnx");
        await using var site = new ServiceHost([
            "--node:siteId=lakeside", $"--node:dataFolder={In("site")}", "--web:url=http://127.0.0.1:0", "--log:level=critical", "--storage:freeFloorBytes=0",
            $"--station:centreUrl=https://127.0.0.1:{centre.Services.GetRequiredService<LinkListener>().EndPoint.Port}", $"--station:certificatePath={In("site.crt")}",
            $"--station:keyPath={In("site.key")}", $"--station:rootPath={ca.RootFile}", "--station:probeMs=100", "--station:heartbeatSeconds=1",
            $"--ai-infer:modelsFolder={In("models")}", "--ai-infer:allowUnsigned=true", "--ai-infer:load:0=apart"])
            .Add<StationModule>().Add<AiInferModule>()
            .With(s => s.PostConfigure<HealthCheckPublisherOptions>(o => (o.Delay, o.Period) = (TimeSpan.Zero, TimeSpan.FromSeconds(1)))).Build();
        await site.StartAsync(Cancel);
        using var http = Operator.Client(centre);
        await SaidAsync(http, ServiceHealth.Healthy);

        // The process dies, and its model is no model any more: it cannot be started again.
        var right = File.ReadAllBytes(model);
        File.WriteAllText(model, "no model");
        var engine = (WorkerEngine)site.Services.GetRequiredService<ModelRepository>().Find("apart", null, out _)!.Engine;
        Process.GetProcessById(engine.ProcessId!.Value).Kill();
        await SaidAsync(http, ServiceHealth.Unhealthy);

        File.WriteAllBytes(model, right);
        await SaidAsync(http, ServiceHealth.Healthy);

        Directory.Move(In("models"), In("elsewhere"));
        await SaidAsync(http, ServiceHealth.Unhealthy);
        await site.StopAsync(Cancel);
        await centre.StopAsync(Cancel);
    }

    [Fact]
    public async Task A_process_that_is_gone_is_started_again_before_anybody_asks()
    {
        await using var node = await StartAsync(
            models => TestBundle.Write(models, "apart", "1", OnnxFile.PlusOne(), """{"isolation":"process"}"""), "--ai-infer:load:0=apart");
        var engine = (WorkerEngine)node.Services.GetRequiredService<ModelRepository>().Find("apart", null, out _)!.Engine;
        using var process = Process.GetProcessById(engine.ProcessId!.Value);
        process.Kill();
        await process.WaitForExitAsync(Cancel);
        await Wait.UntilAsync(async () => (await node.Http.GetAsync("/healthz", Cancel)).IsSuccessStatusCode);
        Assert.NotEqual(process.Id, engine.ProcessId);
    }

    [Fact]
    public async Task A_model_that_the_settings_name_and_that_does_not_load_is_told()
    {
        await using var node = await StartAsync(models => TestBundle.Write(models, "bad", "1", "no model"u8.ToArray()), "--ai-infer:load:0=bad");
        Assert.Equal(503, (int)(await node.Http.GetAsync("/healthz", Cancel)).StatusCode);
        var report = await node.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync(Cancel);
        Assert.Contains("Model 'bad' 1 does not load", report.Entries["ai-infer"].Description, StringComparison.Ordinal);

        // What somebody took away on purpose is no fault.
        await using var other = await StartAsync(models => TestBundle.Write(models, "good", "1", OnnxFile.PlusOne()), "--ai-infer:load:0=good");
        Assert.Equal(200, (await other.PostAsync("/v2/repository/models/good/unload")).Status);
        Assert.Equal("Healthy", await other.Http.GetStringAsync("/healthz", Cancel));
    }

    private static Task SaidAsync(HttpClient http, string state) => Wait.UntilAsync(async () =>
    {
        var sites = System.Text.Json.JsonDocument.Parse(await http.GetStringAsync("/fleet/sites", Cancel)).RootElement;
        return sites.GetRawText().Contains($"\"name\":\"ai-infer\",\"state\":\"{state}\"", StringComparison.Ordinal);
    });

    private string In(params string[] parts) => Path.Combine([_folder, .. parts]);
}
