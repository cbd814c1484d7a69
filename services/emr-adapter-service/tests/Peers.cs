using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>Servers and clients from npm and Debian, as processes.</summary>
internal static class Peers
{
    private static readonly string Folder = Find();

    /// <summary>Starts one of the scripts of <c>tests/peers</c> and returns once it listens.</summary>
    public static async Task<Process> NodeAsync(string script, int port, params string[] arguments)
    {
        Assert.SkipUnless(Directory.Exists(Path.Combine(Folder, "node_modules")), "The peers from npm are not installed: ./check does that.");
        Assert.SkipUnless(File.Exists("/usr/bin/node"), "node is not installed.");
        var process = Process.Start(new ProcessStartInfo("/usr/bin/node", [Path.Combine(Folder, script), $"{port}", .. arguments]) { RedirectStandardOutput = true, WorkingDirectory = Folder })!;
        await Wait.UntilAsync(async () =>
        {
            Assert.False(process.HasExited, $"{script} ended.");
            try
            {
                using var probe = new TcpClient();
                await probe.ConnectAsync(IPAddress.Loopback, port, Node.Cancel);
                return true;
            }
            catch (SocketException)
            {
                return false;
            }
        }, $"{script} listens");
        return process;
    }

    /// <summary>Runs a program to its end.</summary>
    public static async Task<string> RunAsync(string program, params string[] arguments)
    {
        Assert.SkipUnless(File.Exists(program), $"{program} is not installed.");
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = Folder })!;
        var output = process.StandardOutput.ReadToEndAsync(Node.Cancel);
        var error = process.StandardError.ReadToEndAsync(Node.Cancel);
        await process.WaitForExitAsync(Node.Cancel);
        return await output + await error;
    }

    public static string Script(string name) => Path.Combine(Folder, name);

    private static string Find()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent ?? throw new DirectoryNotFoundException("No global.json above the test.");
        }

        return Path.Combine(directory.FullName, "services/emr-adapter-service/tests/peers");
    }
}

/// <summary>A FHIR server that can be killed and has everything again afterwards.</summary>
internal sealed class FhirServer : IAsyncDisposable
{
    private readonly string _journal = Path.GetTempFileName();
    private readonly HttpClient _http;
    private Process? _process;
    private bool _subscriptions;

    private FhirServer(int port)
    {
        Port = port;
        _http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}/fhir/") };
    }

    public int Port { get; }

    public string Url => $"http://127.0.0.1:{Port}/fhir";

    /// <summary>Starts one; with subscriptions it knocks when something changes.</summary>
    public static async Task<FhirServer> StartAsync(bool subscriptions = false)
    {
        var server = new FhirServer(FreePorts.Next()) { _subscriptions = subscriptions };
        await server.RestartAsync();
        return server;
    }

    public async Task RestartAsync() => _process = await Peers.NodeAsync("fhir-server.mjs", Port, [_journal, .. _subscriptions ? ["subscriptions"] : Array.Empty<string>()]);

    public async Task KillAsync()
    {
        if (_process is { } process)
        {
            process.Kill();
            await process.WaitForExitAsync(CancellationToken.None);
            process.Dispose();
            _process = null;
        }
    }

    /// <summary>Settings of a system with this driver.</summary>
    public string[] System(string driver = "fhir", int index = 0, string name = "emr") =>
        [$"--emr-adapter:systems:{index}:name={name}", $"--emr-adapter:systems:{index}:driver={driver}", $"--emr-adapter:systems:{index}:url={Url}", $"--emr-adapter:systems:{index}:pollMs=100",
            $"--emr-adapter:systems:{index}:since=2020-01-01T00:00:00Z", $"--emr-adapter:systems:{index}:timeoutMs=60000"];

    /// <summary>Creates a resource and returns it.</summary>
    public async Task<JsonObject> PostAsync(string type, string json)
    {
        using var content = new StringContent(json, Encoding.UTF8, "application/fhir+json");
        using var answer = await _http.PostAsync(type, content, Node.Cancel);
        var text = await answer.Content.ReadAsStringAsync(Node.Cancel);
        Assert.True(answer.IsSuccessStatusCode, text);
        return JsonNode.Parse(text)!.AsObject();
    }

    public async Task PutAsync(string type, JsonObject resource)
    {
        using var content = new StringContent(resource.ToJsonString(), Encoding.UTF8, "application/fhir+json");
        using var answer = await _http.PutAsync($"{type}/{resource["id"]}", content, Node.Cancel);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync(Node.Cancel));
    }

    /// <summary>All resources of a type.</summary>
    public async Task<IReadOnlyList<JsonObject>> AllAsync(string type)
    {
        var bundle = JsonNode.Parse(await _http.GetStringAsync($"{type}?_count=1000", Node.Cancel))!;
        return [.. (bundle["entry"]?.AsArray() ?? []).Select(e => e!["resource"]!.AsObject())];
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        _http.Dispose();
        File.Delete(_journal);
        File.Delete(_journal + ".requests");
    }
}
