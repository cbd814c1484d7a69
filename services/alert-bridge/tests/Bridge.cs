using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.AlertBridge.Tests;

/// <summary>A running alert bridge with its two sinks, in a temporary folder.</summary>
internal sealed class Bridge : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-alerts-").FullName;
    private WebApplication _app = null!;

    private Bridge()
    {
    }

    public FeishuSink Feishu { get; private set; } = null!;

    public JiraSink Jira { get; private set; } = null!;

    public HttpClient Http { get; private set; } = null!;

    public Outbox Outbox => _app.Services.GetRequiredService<Outbox>();

    public IEventLog Log => _app.Services.GetRequiredService<IEventLog>();

    public string TokenPath => Yizhan.Platform.Identity.LocalOperator.PathIn(Path.Combine(_folder, "node"));

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static async Task<Bridge> StartAsync(params string[] settings)
    {
        var bridge = new Bridge { Feishu = await FeishuSink.StartAsync(), Jira = await JiraSink.StartAsync() };
        await bridge.StartNodeAsync(settings);
        return bridge;
    }

    public async Task RestartAsync(params string[] settings)
    {
        await StopNodeAsync();
        await StartNodeAsync(settings);
    }

    /// <summary>Posts as Alertmanager does.</summary>
    public Task<HttpResponseMessage> PostAsync(string destination, JsonNode message) => Http.PostAsJsonAsync($"alert-bridge/{destination}", message, Cancel);

    public async Task<IReadOnlyList<string>> AuditedAsync() =>
        [.. (await Log.ReadAsync(0, 1000, Cancel)).Select(e => JsonNode.Parse(e.Entry.Data.Span)!["detail"]!.GetValue<string>())];

    /// <summary>A group of alerts as Alertmanager 0.25 posts it.</summary>
    public static JsonNode Message(string status, string group = "{}:{alertname=\"InventoryCollectionFailing\", site=\"hill\"}", int alerts = 1) => JsonNode.Parse($$"""
        {
          "receiver": "x", "status": "{{status}}", "groupKey": {{JsonValue.Create(group).ToJsonString()}}, "version": "4", "truncatedAlerts": 0,
          "groupLabels": {"alertname": "InventoryCollectionFailing", "site": "hill"},
          "commonLabels": {"alertname": "InventoryCollectionFailing", "site": "hill", "severity": "P3"},
          "commonAnnotations": {"runbook": "docs/operations/runbooks/InventoryCollectionFailing.md"},
          "externalURL": "http://alertmanager.example.org:9093",
          "alerts": [{{string.Join(',', Enumerable.Range(0, alerts).Select(i => $$"""
            {
              "status": "{{status}}", "labels": {"alertname": "InventoryCollectionFailing", "site": "hill", "source": "agent-{{i}}"},
              "annotations": {"summary": "hill: inventory source agent-{{i}} has not been read for 12 hours", "summary_zh": "hill:库存来源 agent-{{i}} 已 12 小时未成功采集"},
              "startsAt": "2026-11-20T01:02:03.123Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://p/graph", "fingerprint": "f{{i}}"
            }
            """))}}]
        }
        """)!;

    public async ValueTask DisposeAsync()
    {
        await StopNodeAsync();
        await Feishu.DisposeAsync();
        await Jira.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private async Task StartNodeAsync(string[] settings)
    {
        string File(string name, string text)
        {
            var path = Path.Combine(_folder, name);
            System.IO.File.WriteAllText(path, text + "\n");
            return path;
        }

        _app = new ServiceHost([
            "--web:url=http://127.0.0.1:0", $"--node:dataFolder={_folder}/node", "--alert-bridge:retryMs=20", "--alert-bridge:maxRetryMs=50",
            $"--alert-bridge:feishu:webhookUrlFile={File("feishu.url", Feishu.Url)}", $"--alert-bridge:feishu:secretFile={File("feishu.secret", FeishuSink.Secret)}",
            "--alert-bridge:feishu:messagesPerMinute=100", $"--alert-bridge:jira:url={Jira.Url}", "--alert-bridge:jira:project=OPS",
            $"--alert-bridge:jira:tokenFile={File("jira.token", JiraSink.Token)}", .. settings]).Add<AlertBridgeModule>().Build();
        await _app.StartAsync(Cancel);
        Http = Operator.Client(_app);
    }

    private async Task StopNodeAsync()
    {
        Http.Dispose();
        await _app.StopAsync();
        await _app.DisposeAsync();
    }
}
