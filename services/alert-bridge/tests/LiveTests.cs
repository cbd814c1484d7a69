using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Yizhan.AlertBridge.Tests;

/// <summary>
/// The rules and the routing of <c>infra/observability</c> in a real Prometheus and a real Alertmanager, with their times shortened; at the ends sinks that
/// refuse what the documented contracts of PagerDuty, Slack, Feishu, Jira and SMTP refuse. The figures are this test's, so that it can break things.
/// </summary>
public sealed partial class LiveTests : IAsyncDisposable
{
    private static readonly string Infra = Path.Combine(Root(), "infra", "observability");

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-alerting-").FullName;
    private readonly ConcurrentDictionary<string, Func<double?>> _figures = [];
    private readonly ConcurrentQueue<JsonNode> _pages = [];
    private readonly ConcurrentQueue<JsonNode> _slack = [];
    private readonly List<Process> _processes = [];
    private WebApplication? _web;

    [Fact]
    [Trait("Clause", "D6.3")]
    [Trait("Clause", "D6.4")]
    [Trait("Clause", "D6.5")]
    public async Task Dead_inference_wakes_somebody_bad_dictation_tells_the_team_and_a_silent_source_is_one_ticket_each_until_it_ends()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/prometheus") && File.Exists("/usr/bin/prometheus-alertmanager"), "prometheus and prometheus-alertmanager are not installed; ./check installs them.");
        await using var bridge = await Bridge.StartAsync();
        using var mail = new MailSink();
        await StartAsync(bridge, mail);
        var (inference, errors, collected, dead) = (1.0, 0.0, Now, 1.0);
        var clock = Stopwatch.StartNew();
        _figures["yizhan_site_online{site=\"hill\"}"] = () => 1;
        _figures["yizhan_site_online{site=\"dale\"}"] = () => dead;
        _figures["yizhan_site_service_up{site=\"hill\",service=\"ai-infer\"}"] = () => inference;
        _figures["yizhan_site_spool_quarantined{site=\"dale\"}"] = () => 1 - dead;
        _figures["yizhan_asr_word_errors_total{site=\"hill\",dialect=\"hakka\"}"] = () => clock.Elapsed.TotalSeconds * errors;
        _figures["yizhan_asr_reference_words_total{site=\"hill\",dialect=\"hakka\"}"] = () => clock.Elapsed.TotalSeconds * 100;
        _figures["yizhan_inventory_last_success_timestamp_seconds{site=\"hill\",source=\"agent\"}"] = () => collected;
        await Wait.UntilAsync(() => QueryAsync("count(yizhan_site_online) == 2"), "Prometheus has the figures");

        (inference, errors, collected) = (0, 50, Now - (13 * 3600));
        await Wait.UntilAsync(() => _pages.Any(p => (string?)p["event_action"] == "trigger"), "the page");
        var page = _pages.First();
        Assert.Equal(
            ("critical", "hill: inference has been unavailable for 5 minutes", "hill", "InferenceUnavailable"),
            ((string?)page["payload"]!["severity"], (string?)page["payload"]!["summary"], (string?)page["payload"]!["group"], (string?)page["payload"]!["class"]));

        await Wait.UntilAsync(() => _slack.Any(m => m.ToJsonString().Contains("WordErrorRateHigh", StringComparison.Ordinal)), "Slack");
        await Wait.UntilAsync(() => bridge.Feishu.Texts.Any(t => t.Contains("hakka 听写错误率超过 20%", StringComparison.Ordinal)), "Feishu");
        await Wait.UntilAsync(() => mail.Messages.Any(m => m.Contains("WordErrorRateHigh", StringComparison.Ordinal)), "mail");
        await Wait.UntilAsync(() => bridge.Jira.Tickets.Count == 1, "the ticket");
        Assert.Equal("[P3] InventoryCollectionFailing hill", (string?)bridge.Jira.Tickets[0].Fields["summary"]);

        (inference, errors, collected) = (1, 0, Now);
        await Wait.UntilAsync(() => _pages.Any(p => (string?)p["event_action"] == "resolve" && (string?)p["dedup_key"] == (string?)page["dedup_key"]), "the end of the page");
        await Wait.UntilAsync(() => bridge.Jira.Tickets[0].Done, "the closed ticket");
        Assert.Single(bridge.Jira.Tickets);
        await Wait.UntilAsync(() => bridge.Feishu.Texts.Any(t => t.StartsWith("已恢复", StringComparison.Ordinal) && t.Contains("WordErrorRateHigh", StringComparison.Ordinal)), "the end in Feishu");

        // A dead line is one message; what else is wrong there waits until it is back.
        dead = 0;
        await Wait.UntilAsync(() => bridge.Feishu.Texts.Any(t => t.Contains("SiteOffline dale", StringComparison.Ordinal)), "the dead site");
        await Wait.UntilAsync(() => QueryAsync("ALERTS{alertname=\"EntriesInQuarantine\",alertstate=\"firing\"}"), "the alert behind it");
        await Wait.UntilAsync(async () => (await InhibitedAsync()).Contains("EntriesInQuarantine", StringComparison.Ordinal), "the inhibition");
        Assert.Single(bridge.Jira.Tickets);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var process in _processes)
        {
            process.Kill();
            await process.WaitForExitAsync();
            process.Dispose();
        }

        if (_web is not null)
        {
            await _web.DisposeAsync();
        }

        Directory.Delete(_folder, recursive: true);
    }

    private static double Now => DateTimeOffset.UtcNow.ToUnixTimeSeconds();

    private string Prometheus { get; set; } = "";

    private string Alertmanager { get; set; } = "";

    private async Task StartAsync(Bridge bridge, MailSink mail)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        _web = builder.Build();
        _web.Urls.Add("http://127.0.0.1:0");
        _web.MapGet("/metrics", () => string.Concat(_figures.Select(f => f.Value() is { } v ? FormattableString.Invariant($"{f.Key} {v}\n") : "")));
        _web.MapPost("/v2/enqueue", Page);
        _web.MapPost("/services/slack", Slack);
        _web.MapPost("/heartbeat", () => Results.Ok());
        await _web.StartAsync();
        var web = _web.Urls.First();
        var (prometheus, alertmanager) = (FreePort(), FreePort());
        (Prometheus, Alertmanager) = ($"http://127.0.0.1:{prometheus}", $"http://127.0.0.1:{alertmanager}");

        // The times of the rules, of the groups and of the windows; everything else is what is delivered.
        var rules = Time().Replace(File.ReadAllText(Path.Combine(Infra, "rules", "yizhan.rules.yaml")), "for: 1s").Replace("[1d]", "[20s]", StringComparison.Ordinal).Replace("interval: 30s", "interval: 1s", StringComparison.Ordinal);
        Write("rules.yaml", rules);
        Write("prometheus.yml", $$"""
            global: {scrape_interval: 1s, evaluation_interval: 1s}
            rule_files: ["{{_folder}}/rules.yaml"]
            alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:{{alertmanager}}"]}]}]}
            scrape_configs: [{job_name: yizhan-centre, static_configs: [{targets: ["{{new Uri(web).Authority}}"]}]}]
            """);
        var routing = Regex.Replace(File.ReadAllText(Path.Combine(Infra, "alertmanager", "alertmanager.yml")), "/etc/alertmanager/secrets/", _folder + "/")
            .Replace("group_wait: 30s", "group_wait: 1s", StringComparison.Ordinal).Replace("group_interval: 5m", "group_interval: 2s", StringComparison.Ordinal)
            .Replace("mail.example.org:587\"", $"127.0.0.1:{mail.Port}\"\n  smtp_require_tls: false\n  pagerduty_url: {web}/v2/enqueue", StringComparison.Ordinal)
            .Replace("http://127.0.0.1:8080/", bridge.Http.BaseAddress!.ToString(), StringComparison.Ordinal)
            .Replace("https://heartbeat.example.org/yizhan", web + "/heartbeat", StringComparison.Ordinal);
        routing = string.Join('\n', routing.Split('\n').Where(l => !l.Contains("smtp_auth", StringComparison.Ordinal)));
        Write("alertmanager.yml", routing);
        Write("slack-url", web + "/services/slack");
        Write("pagerduty-routing-key", "0123456789abcdef0123456789abcdef");
        Write("heartbeat-token", "h");
        Write("yizhan-token", "t");
        Start("/usr/bin/prometheus-alertmanager", $"--config.file={_folder}/alertmanager.yml", $"--storage.path={_folder}/am", $"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address=");
        Start("/usr/bin/prometheus", $"--config.file={_folder}/prometheus.yml", $"--storage.tsdb.path={_folder}/tsdb", $"--web.listen-address=127.0.0.1:{prometheus}");
    }

    /// <summary>PagerDuty's Events API v2.</summary>
    private async Task<IResult> Page(HttpRequest request)
    {
        var body = (await JsonNode.ParseAsync(request.Body))!;
        var wrong = (string?)body["routing_key"] is not { Length: 32 } ? "routing_key"
            : (string?)body["event_action"] is not ("trigger" or "acknowledge" or "resolve") ? "event_action"
            : (string?)body["dedup_key"] is not { Length: > 0 and <= 255 } ? "dedup_key"
            : (string?)body["event_action"] == "trigger" && (string?)body["payload"]?["summary"] is not { Length: > 0 and <= 1024 } ? "payload.summary"
            : (string?)body["event_action"] == "trigger" && (string?)body["payload"]?["severity"] is not ("critical" or "error" or "warning" or "info") ? "payload.severity"
            : (string?)body["event_action"] == "trigger" && (string?)body["payload"]?["source"] is not { Length: > 0 } ? "payload.source"
            : null;
        if (wrong is not null)
        {
            return Results.Json(new { status = "invalid event", errors = new[] { wrong } }, statusCode: 400);
        }

        _pages.Enqueue(body);
        return Results.Json(new { status = "success", dedup_key = (string?)body["dedup_key"] }, statusCode: 202);
    }

    private async Task<IResult> Slack(HttpRequest request)
    {
        var body = (await JsonNode.ParseAsync(request.Body))!;
        if (body["text"] is null && body["attachments"] is not JsonArray { Count: > 0 })
        {
            return Results.Text("invalid_payload", statusCode: 400);
        }

        _slack.Enqueue(body);
        return Results.Text("ok");
    }

    private async Task<bool> QueryAsync(string expression)
    {
        using var http = new HttpClient();
        try
        {
            var answer = JsonNode.Parse(await http.GetStringAsync(new Uri($"{Prometheus}/api/v1/query?query={Uri.EscapeDataString(expression)}")));
            return answer!["data"]!["result"]!.AsArray().Count > 0;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    private async Task<string> InhibitedAsync()
    {
        using var http = new HttpClient();
        return await http.GetStringAsync(new Uri($"{Alertmanager}/api/v2/alerts?active=false&silenced=false&unprocessed=false&inhibited=true"));
    }

    private void Start(string program, params string[] arguments)
    {
        var process = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", $"exec \"$0\" \"$@\" >>{_folder}/{Path.GetFileName(program)}.log 2>&1", program, .. arguments]))!;
        _processes.Add(process);
    }

    private void Write(string name, string text) => File.WriteAllText(Path.Combine(_folder, name), text);

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private static string Root()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "Yizhan.slnx")))
        {
            folder = folder.Parent!;
        }

        return folder.FullName;
    }

    [GeneratedRegex("for: [0-9]+[smhd]")]
    private static partial Regex Time();

    /// <summary>A mail server that takes everything: as much of SMTP (RFC 5321) as one client that sends needs.</summary>
    private sealed class MailSink : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);

        public MailSink()
        {
            _listener.Start();
            _ = AcceptAsync();
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        public ConcurrentQueue<string> Messages { get; } = [];

        public void Dispose() => _listener.Dispose();

        private async Task AcceptAsync()
        {
            try
            {
                while (true)
                {
                    _ = ServeAsync(await _listener.AcceptTcpClientAsync());
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
            }
        }

        private async Task ServeAsync(TcpClient client)
        {
            using var held = client;
            using var reader = new StreamReader(client.GetStream(), Encoding.UTF8);
            await using var writer = new StreamWriter(client.GetStream(), new UTF8Encoding(false)) { NewLine = "\r\n", AutoFlush = true };
            await writer.WriteLineAsync("220 sink");
            while (await reader.ReadLineAsync() is { } line)
            {
                if (line.StartsWith("DATA", StringComparison.OrdinalIgnoreCase))
                {
                    await writer.WriteLineAsync("354 go on");
                    var message = new StringBuilder();
                    while (await reader.ReadLineAsync() is { } part && part != ".")
                    {
                        message.AppendLine(part);
                    }

                    Messages.Enqueue(message.ToString());
                }

                await writer.WriteLineAsync(line.StartsWith("QUIT", StringComparison.OrdinalIgnoreCase) ? "221 bye" : "250 ok");
            }
        }
    }
}
