using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Flows;

namespace Yizhan.EndToEnd.Tests;

/// <summary>
/// The Deployments of the centre as processes on the loopback: each program with the arguments and the environment of its rendered manifest, in which only
/// addresses and folders are others, and certificates of the project's own authority.
/// </summary>
internal sealed partial class ApartCentre : IAsyncDisposable
{
    private static readonly string Root = FindRoot();

    private readonly string _folder;
    private readonly Dictionary<string, Deployment> _deployments;
    private readonly Dictionary<string, (int Own, int Web)> _ports;
    private readonly Dictionary<string, Process> _running = [];
    private readonly Dictionary<string, Task> _logs = [];
    private readonly EmbeddedCa _ca;
    private readonly Dictionary<string, string> _more;

    private ApartCentre(string folder, Dictionary<string, Deployment> deployments, string flows)
    {
        (_folder, _deployments) = (folder, deployments);
        _ports = deployments.Keys.ToDictionary(name => name, _ => (FreePorts.Next(), FreePorts.Next()));
        _ca = EmbeddedCa.Open(In("ca"), TimeProvider.System);
        File.WriteAllText(In("flows.yaml"), flows);
        foreach (var service in deployments.Keys.Append("prometheus").Append("stranger"))
        {
            _ca.IssueService("platform", service, "localhost").WriteTo(In("pki", service + ".crt"), In("pki", service + ".key"));
        }

        _ca.IssueSite("site-1").WriteTo(In("pki", "site.crt"), In("pki", "site.key"));

        // What an installation sets beside the manifests: its peers and systems, and here ports that are free.
        _more = new()
        {
            ["YIZHAN_pacs-gw__dicomPort"] = $"{Dicom}",
            ["YIZHAN_pacs-gw__peers__0__aeTitle"] = "STORESCU",
            ["YIZHAN_fleet__linkPort"] = $"{Link}",
            ["YIZHAN_fleet__enrolmentPort"] = "0",
            ["YIZHAN_fleet__caFolder"] = In("ca"),
            ["YIZHAN_emr-adapter__hl7__port"] = "0",
            ["YIZHAN_emr-adapter__studyQuietMs"] = "500",
            ["YIZHAN_emr-adapter__systems__0__name"] = "his",
            ["YIZHAN_emr-adapter__systems__0__driver"] = "fhir",
            ["YIZHAN_emr-adapter__systems__0__url"] = $"http://127.0.0.1:{FreePorts.Next()}/fhir",
            ["YIZHAN_emr-adapter__systems__0__orders"] = "false",
        };
    }

    /// <summary>Names of the Deployments of the centre.</summary>
    public IReadOnlyCollection<string> Services => _deployments.Keys;

    /// <summary>Where modalities of the region send to.</summary>
    public int Dicom { get; } = FreePorts.Next();

    /// <summary>Where sites call.</summary>
    public int Link { get; } = FreePorts.Next();

    /// <summary>Reads the manifests; starts nothing.</summary>
    public static async Task<ApartCentre> PrepareAsync(string folder, CancellationToken cancellationToken)
    {
        var files = Directory.GetFiles(Path.Combine(Root, "infra", "k8s", "base"), "*.yaml");
        using var python = Process.Start(new ProcessStartInfo(
            "python3", ["-c", "import json, sys, yaml; print(json.dumps([o for f in sys.argv[1:] for o in yaml.safe_load_all(open(f)) if o]))", .. files])
        { RedirectStandardOutput = true })!;
        var objects = JsonDocument.Parse(await python.StandardOutput.ReadToEndAsync(cancellationToken)).RootElement.EnumerateArray().ToArray();
        JsonElement Data(string name) => objects.First(o => Kind(o) == "ConfigMap" && Name(o) == name && o.GetProperty("metadata").GetProperty("namespace").GetString() == "platform").GetProperty("data");
        var site = Data("site");
        var services = new Dictionary<string, Deployment>();
        foreach (var deployment in objects.Where(o => Kind(o) == "Deployment" && o.GetProperty("metadata").GetProperty("namespace").GetString() == "platform"))
        {
            var container = deployment.GetProperty("spec").GetProperty("template").GetProperty("spec").GetProperty("containers")[0];
            var environment = container.GetProperty("env").EnumerateArray().ToDictionary(
                variable => variable.GetProperty("name").GetString()!,
                variable => variable.TryGetProperty("value", out var value) ? value.GetString()!
                    : site.GetProperty(variable.GetProperty("valueFrom").GetProperty("configMapKeyRef").GetProperty("key").GetString()!).GetString()!);
            var arguments = container.TryGetProperty("args", out var args) ? args.EnumerateArray().Select(arg => arg.GetString()!).ToArray() : [];
            services.Add(Name(deployment), new Deployment(ProgramOf(Name(deployment)), arguments, environment));
        }

        return new ApartCentre(folder, services, Data("flows").GetProperty("flows.yaml").GetString()!);

        static string Kind(JsonElement o) => o.GetProperty("kind").GetString()!;
        static string Name(JsonElement o) => o.GetProperty("metadata").GetProperty("name").GetString()!;
    }

    /// <summary>Starts all of them at once, as a cluster does, and waits until each says that it is ready.</summary>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        foreach (var service in Services)
        {
            Start(service);
        }

        foreach (var service in Services)
        {
            await ReadyAsync(service, cancellationToken);
        }
    }

    /// <summary>Starts one.</summary>
    public void Start(string service)
    {
        var deployment = _deployments[service];
        var start = new ProcessStartInfo("dotnet", [deployment.Program, .. deployment.Arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            WorkingDirectory = Path.GetDirectoryName(deployment.Program)!,
        };
        foreach (var (name, value) in deployment.Environment.Where(variable => variable.Key != "YIZHAN_telemetry__otlpUrl"))
        {
            start.Environment[name] = Here(service, value);
        }

        foreach (var (name, value) in _more.Where(variable => variable.Key.StartsWith($"YIZHAN_{service}__", StringComparison.Ordinal)))
        {
            start.Environment[name] = value;
        }

        var process = Process.Start(start)!;
        process.StandardInput.Close();
        _running[service] = process;
        var before = _logs.GetValueOrDefault(service, Task.CompletedTask);
        _logs[service] = Task.Run(async () =>
        {
            await before;
            var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
            await File.AppendAllTextAsync(In(service + ".log"), await output + await errors);
        }, CancellationToken.None);
    }

    /// <summary>Waits until a service is healthy.</summary>
    public async Task ReadyAsync(string service, CancellationToken cancellationToken)
    {
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{_ports[service].Own}/"), Timeout = TimeSpan.FromSeconds(30) };
        await Wait.UntilAsync(async () =>
        {
            if (_running[service].HasExited)
            {
                await _logs[service];
                Assert.Fail($"{service} ended with {_running[service].ExitCode}: {await File.ReadAllTextAsync(In(service + ".log"), cancellationToken)}");
            }

            try
            {
                return (await http.GetStringAsync("healthz", cancellationToken)) == "Healthy";
            }
            catch (Exception e) when (e is HttpRequestException or TaskCanceledException && !cancellationToken.IsCancellationRequested)
            {
                // Nine programs that start at once may leave one of them without an answer for long.
                await Task.Delay(200, cancellationToken);
                return false;
            }
        }, $"{service} is healthy");
    }

    /// <summary>SIGKILL: nothing is flushed, closed or said goodbye to.</summary>
    public async Task KillAsync(string service)
    {
        _running[service].Kill();
        await _running[service].WaitForExitAsync(CancellationToken.None);
    }

    /// <summary>A client of one service, with the certificate of another.</summary>
    public HttpClient Client(string from, string to) =>
        new(new ServiceTls(In("pki", from + ".crt"), In("pki", from + ".key"), _ca.RootFile, In("flows.yaml"), [from], TimeProvider.System).Client(to))
        {
            BaseAddress = new Uri($"https://localhost:{_ports[to].Web}/"),
            Timeout = TimeSpan.FromSeconds(100),
        };

    /// <summary>The loopback of a pod, and the token of who is in it.</summary>
    public HttpClient Inside(string service) => Platform.Identity.OperatorTokenHandler.Client(new Uri($"http://127.0.0.1:{_ports[service].Own}/"), In("data", service));

    /// <summary>Settings of a site of this centre.</summary>
    public string[] SiteSettings(int web, int dicom) =>
    [
        "edge", "--node:siteId=site-1", $"--node:dataFolder={In("data", "site-1")}", $"--web:url=http://127.0.0.1:{web}", $"--station:centreUrl=https://127.0.0.1:{Link}",
        $"--station:certificatePath={In("pki", "site.crt")}", $"--station:keyPath={In("pki", "site.key")}", $"--station:rootPath={_ca.RootFile}",
        $"--pacs-gw:dicomPort={dicom}", "--pacs-gw:peers:0:aeTitle=STORESCU",
    ];

    public string In(params string[] parts) => Path.Combine([_folder, .. parts]);

    public async ValueTask DisposeAsync()
    {
        foreach (var process in _running.Values)
        {
            if (!process.HasExited)
            {
                process.Kill();
                await process.WaitForExitAsync(CancellationToken.None);
            }

            process.Dispose();
        }

        await Task.WhenAll(_logs.Values);
        _ca.Dispose();
    }

    /// <summary>A value of a manifest, on this machine.</summary>
    private string Here(string service, string value)
    {
        var here = ServiceAddress().Replace(value, match => $"https://localhost:{_ports[match.Groups[1].Value].Web}")
            .Replace("http://127.0.0.1:8080;https://0.0.0.0:8081", $"http://127.0.0.1:{_ports[service].Own};https://127.0.0.1:{_ports[service].Web}", StringComparison.Ordinal)
            .Replace("/etc/yizhan/pki/tls", In("pki", service), StringComparison.Ordinal)
            .Replace("/etc/yizhan/root/root.crt", _ca.RootFile, StringComparison.Ordinal)
            .Replace("/etc/yizhan/flows/flows.yaml", In("flows.yaml"), StringComparison.Ordinal)
            .Replace("0.0.0.0", "127.0.0.1", StringComparison.Ordinal);
        return here == "/data" ? In("data", service) : here;
    }

    /// <summary>The program that the image of a Deployment has.</summary>
    private static string ProgramOf(string service)
    {
        var line = File.ReadLines(Path.Combine(Root, "infra", "services.yaml")).First(line => line.StartsWith($"  {service}: {{folder: ", StringComparison.Ordinal));
        var folder = Folder().Match(line).Groups[1].Value;
        var project = Path.GetFileNameWithoutExtension(Directory.GetFiles(Path.Combine(Root, folder), "*.csproj").Single());
        var program = Path.Combine(Root, "artifacts", "bin", project, "release", $"Yizhan.{project}.dll");
        return File.Exists(program) ? program : throw new FileNotFoundException("The program of a service is not built.", program);
    }

    private static string FindRoot()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Yizhan.slnx")))
        {
            folder = Path.GetDirectoryName(folder) ?? throw new DirectoryNotFoundException("The tree of the project is not above the tests.");
        }

        return folder;
    }

    [GeneratedRegex(@"https://([a-z-]+)\.platform\.svc:8081")]
    private static partial Regex ServiceAddress();

    [GeneratedRegex(@"folder: ([^,]+),")]
    private static partial Regex Folder();

    private sealed record Deployment(string Program, string[] Arguments, Dictionary<string, string> Environment);
}
