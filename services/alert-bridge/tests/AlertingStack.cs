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
/// refuse what the documented contracts of PagerDuty, Slack and SMTP refuse. What is scraped, and which bridge is told, is the test's.
/// </summary>
internal sealed partial class AlertingStack : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-alerting-").FullName;
    private readonly List<Process> _processes = [];
    private readonly WebApplication _web;

    private AlertingStack()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        _web = builder.Build();
        _web.Urls.Add("http://127.0.0.1:0");
        _web.MapGet("/metrics", () => string.Concat(Figures.Select(f => f.Value() is { } v ? FormattableString.Invariant($"{f.Key} {v}\n") : "")));
        _web.MapPost("/v2/enqueue", Page);
        _web.MapPost("/services/slack", Slack);
        _web.MapPost("/heartbeat", () => Results.Ok());
    }

    /// <summary>Why a test cannot run here; null when it can.</summary>
    public static string? Missing { get; } = File.Exists("/usr/bin/prometheus") && File.Exists("/usr/bin/prometheus-alertmanager")
        ? null : "prometheus and prometheus-alertmanager are not installed; ./check installs them.";

    /// <summary>Series that <see cref="Web"/> shows at /metrics.</summary>
    public ConcurrentDictionary<string, Func<double?>> Figures { get; } = [];

    /// <summary>Events that PagerDuty took.</summary>
    public ConcurrentQueue<JsonNode> Pages { get; } = [];

    /// <summary>Messages that Slack took.</summary>
    public ConcurrentQueue<JsonNode> SlackMessages { get; } = [];

    /// <summary>Mail that was taken.</summary>
    public MailSink Mail { get; } = new();

    /// <summary>Host and port of the sinks and of <see cref="Figures"/>.</summary>
    public string Web => new Uri(_web.Urls.First()).Authority;

    private string Prometheus { get; set; } = "";

    private string Alertmanager { get; set; } = "";

    /// <summary>Starts all of it.</summary>
    /// <param name="bridge">Address of a node with the alert bridge.</param>
    /// <param name="tokenPath">Token that it asks for.</param>
    /// <param name="scrapes">Entries of <c>scrape_configs</c>, given this stack.</param>
    /// <param name="window">What the windows of a day become.</param>
    /// <param name="shorten">What else is shortened in the rules.</param>
    public static async Task<AlertingStack> StartAsync(Uri bridge, string tokenPath, Func<AlertingStack, string> scrapes, string window, Func<string, string>? shorten = null)
    {
        var stack = new AlertingStack();
        await stack._web.StartAsync();
        var (web, infra) = ($"http://{stack.Web}", Path.Combine(Root(), "infra", "observability"));
        var (prometheus, alertmanager) = (FreePorts.Next(), FreePorts.Next());
        (stack.Prometheus, stack.Alertmanager) = ($"http://127.0.0.1:{prometheus}", $"http://127.0.0.1:{alertmanager}");

        // The times of the rules, of the groups and of the windows; everything else is what is delivered.
        var rules = Time().Replace(File.ReadAllText(Path.Combine(infra, "rules", "yizhan.rules.yaml")), "for: 1s").Replace("[1d]", $"[{window}]", StringComparison.Ordinal).Replace("interval: 30s", "interval: 1s", StringComparison.Ordinal);
        stack.Write("rules.yaml", shorten?.Invoke(rules) ?? rules);
        stack.Write("prometheus.yml", $$"""
            global: {scrape_interval: 1s, evaluation_interval: 1s}
            rule_files: ["{{stack._folder}}/rules.yaml"]
            alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:{{alertmanager}}"]}]}]}
            scrape_configs: [{{scrapes(stack)}}]
            """);
        var routing = Regex.Replace(File.ReadAllText(Path.Combine(infra, "alertmanager", "alertmanager.yml")).Replace("/etc/alertmanager/secrets/yizhan-token", tokenPath, StringComparison.Ordinal), "/etc/alertmanager/secrets/", stack._folder + "/")
            .Replace("group_wait: 30s", "group_wait: 1s", StringComparison.Ordinal).Replace("group_interval: 5m", "group_interval: 2s", StringComparison.Ordinal)
            .Replace("mail.example.org:587\"", $"127.0.0.1:{stack.Mail.Port}\"\n  smtp_require_tls: false\n  pagerduty_url: {web}/v2/enqueue", StringComparison.Ordinal)
            .Replace("http://127.0.0.1:8080/", bridge.ToString(), StringComparison.Ordinal)
            .Replace("https://heartbeat.example.org/yizhan", web + "/heartbeat", StringComparison.Ordinal);
        routing = string.Join('\n', routing.Split('\n').Where(l => !l.Contains("smtp_auth", StringComparison.Ordinal)));
        stack.Write("alertmanager.yml", routing);
        stack.Write("slack-url", web + "/services/slack");
        stack.Write("pagerduty-routing-key", "0123456789abcdef0123456789abcdef");
        stack.Write("heartbeat-token", "h");
        stack.Start("/usr/bin/prometheus-alertmanager", $"--config.file={stack._folder}/alertmanager.yml", $"--storage.path={stack._folder}/am", $"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address=");
        stack.Start("/usr/bin/prometheus", $"--config.file={stack._folder}/prometheus.yml", $"--storage.tsdb.path={stack._folder}/tsdb", $"--web.listen-address=127.0.0.1:{prometheus}");
        return stack;
    }

    /// <summary>Whether a query gives anything.</summary>
    public async Task<bool> HasAsync(string expression) => (await QueryAsync(expression)).Count > 0;

    /// <summary>Samples of an instant query; none while Prometheus does not answer yet.</summary>
    public async Task<IReadOnlyList<JsonNode>> QueryAsync(string expression)
    {
        using var http = new HttpClient();
        try
        {
            var answer = JsonNode.Parse(await http.GetStringAsync(new Uri($"{Prometheus}/api/v1/query?query={Uri.EscapeDataString(expression)}")));
            return [.. answer!["data"]!["result"]!.AsArray().OfType<JsonNode>()];
        }
        catch (HttpRequestException)
        {
            return [];
        }
    }

    /// <summary>Alerts that are not told, since another one says enough.</summary>
    public async Task<string> InhibitedAsync()
    {
        using var http = new HttpClient();
        return await http.GetStringAsync(new Uri($"{Alertmanager}/api/v2/alerts?active=false&silenced=false&unprocessed=false&inhibited=true"));
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var process in _processes)
        {
            process.Kill();
            await process.WaitForExitAsync();
            process.Dispose();
        }

        await _web.DisposeAsync();
        Mail.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>The folder that holds <c>infra</c>.</summary>
    public static string Root()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "Yizhan.slnx")))
        {
            folder = folder.Parent!;
        }

        return folder.FullName;
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

        Pages.Enqueue(body);
        return Results.Json(new { status = "success", dedup_key = (string?)body["dedup_key"] }, statusCode: 202);
    }

    private async Task<IResult> Slack(HttpRequest request)
    {
        var body = (await JsonNode.ParseAsync(request.Body))!;
        if (body["text"] is null && body["attachments"] is not JsonArray { Count: > 0 })
        {
            return Results.Text("invalid_payload", statusCode: 400);
        }

        SlackMessages.Enqueue(body);
        return Results.Text("ok");
    }

    private void Start(string program, params string[] arguments)
    {
        var process = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", $"exec \"$0\" \"$@\" >>{_folder}/{Path.GetFileName(program)}.log 2>&1", program, .. arguments]))!;
        _processes.Add(process);
    }

    private void Write(string name, string text) => File.WriteAllText(Path.Combine(_folder, name), text);

    [GeneratedRegex("for: [0-9]+[smhd]")]
    private static partial Regex Time();

    /// <summary>A mail server that takes everything: as much of SMTP (RFC 5321) as one client that sends needs.</summary>
    public sealed class MailSink : IDisposable
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
