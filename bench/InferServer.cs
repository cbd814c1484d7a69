using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Yizhan.Platform.Bundles;
using Yizhan.Platform.Identity;

namespace Yizhan.Bench;

/// <summary>A server of models as a process of its own: ours, or <c>onnxruntime-node</c> behind <c>node:http</c>.</summary>
internal sealed class InferServer : IAsyncDisposable
{
    /// <summary>What is behind the name of a model whose requests are never joined to batches.</summary>
    public const string Single = "-single";

    private const string Node = "/usr/bin/node", Peer = "bench/infer";

    private static readonly string[] Models = ["body-part", "nodule"];

    private readonly Process _process;

    private InferServer(Process process, HttpClient http) => (_process, Http) = (process, http);

    /// <summary>A client of it, with a token where one is needed.</summary>
    public HttpClient Http { get; }

    /// <summary>Address of its gRPC; null for the peer, which has none.</summary>
    public string? GrpcUrl { get; private init; }

    /// <summary>Why there is no peer; null when there is one.</summary>
    public static string? WhyNoNode => !File.Exists(Node) ? "node is not installed (apt-get install nodejs npm)."
        : !Directory.Exists(Path.Combine(Peer, "node_modules", "onnxruntime-node")) ? $"it is not installed (npm ci --ignore-scripts in {Peer})."
        : null;

    /// <summary>Resident memory, MiB.</summary>
    public double ResidentMiB => File.ReadLines($"/proc/{_process.Id}/status")
        .Where(line => line.StartsWith("VmRSS:", StringComparison.Ordinal))
        .Select(line => double.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], CultureInfo.InvariantCulture) / 1024)
        .Single();

    /// <summary>Processor time so far.</summary>
    public TimeSpan Cpu => ProcessUse.Cpu(_process);

    /// <summary>Starts the program of the service <c>ai-infer</c>, with the bundles that ship and the same without batches.</summary>
    public static async Task<InferServer> StartOursAsync(string folder, CancellationToken cancellationToken)
    {
        var models = Path.Combine(folder, "models");
        Array.ForEach(Models, model => WithoutBatches(model, models));
        var (port, grpc) = (FreePort(), FreePort());

        // Beside this program's folder in the build's output.
        var program = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "AiInfer", new DirectoryInfo(AppContext.BaseDirectory).Name, "Yizhan.AiInfer.dll"));
        var server = await StartAsync(
            "dotnet",
            [
                program, $"--node:dataFolder={folder}", $"--web:url=http://127.0.0.1:{port}", "--log:level=error", "--storage:freeFloorBytes=0",
                $"--ai-infer:grpcEndPoint=127.0.0.1:{grpc}", $"--ai-infer:modelsFolder={models}", "--ai-infer:allowUnsigned=true",
            ],
            port, $"http://127.0.0.1:{grpc}", cancellationToken);
        server.Http.DefaultRequestHeaders.Authorization = new("Bearer", OperatorTokenHandler.Read(LocalOperator.PathIn(folder)));
        return server;
    }

    /// <summary>Starts the peer.</summary>
    public static Task<InferServer> StartNodeAsync(CancellationToken cancellationToken)
    {
        var port = FreePort();
        return StartAsync(
            Node, [Path.Combine(Peer, "server.mjs"), $"{port}", .. Models.Select(m => $"{m}={new InferCase(m, "x", [1, 1, 1, 1], []).File}")], port, null, cancellationToken);
    }

    /// <summary>Loads a model.</summary>
    public async Task LoadAsync(string model, CancellationToken cancellationToken)
    {
        using var answer = await Http.PostAsync($"v2/repository/models/{model}/load", null, cancellationToken);
        answer.EnsureSuccessStatusCode();
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private static async Task<InferServer> StartAsync(string program, string[] arguments, int port, string? grpcUrl, CancellationToken cancellationToken)
    {
        var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        var server = new InferServer(process, new HttpClient(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = new Uri($"http://127.0.0.1:{port}/") }) { GrpcUrl = grpcUrl };
        for (var attempt = 0; attempt < 6000 && !process.HasExited; attempt++)
        {
            try
            {
                using var answer = await server.Http.GetAsync("healthz", cancellationToken);
                if (answer.IsSuccessStatusCode)
                {
                    return server;
                }
            }
            catch (HttpRequestException)
            {
                // Not listening yet.
            }

            await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System, cancellationToken);
        }

        await server.DisposeAsync();
        throw new InvalidOperationException($"{program} {arguments[0]} did not answer on port {port}.");
    }

    private static void WithoutBatches(string model, string models)
    {
        var (from, name) = (Path.Combine(AppContext.BaseDirectory, "bundles", model, "1.0.0"), model + Single);
        var to = Path.Combine(models, name, "1.0.0");
        foreach (var file in Directory.GetFiles(from, "*", SearchOption.AllDirectories))
        {
            var target = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target, overwrite: true);
        }

        File.WriteAllText(Path.Combine(to, "configs", "yizhan.json"), """{ "runner": { "instances": 1, "maxBatch": 1 } }""");
        File.WriteAllBytes(Path.Combine(to, "manifest.json"), BundleManifest.Of(name, "1.0.0", to).ToBytes());
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
