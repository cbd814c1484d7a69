using System.Diagnostics;
using System.Net;
using System.Text.Json;
using Yizhan.Drills;

namespace Yizhan.Bench;

/// <summary>A DICOM receiver that is started afresh, on an empty folder, for each run.</summary>
internal sealed record Receiver(
    string Name, string AeTitle, Func<string, CancellationToken, Task<(Process Process, int Port, IAsyncDisposable Stop)>> StartAsync)
{
    public static Receiver[] All { get; } =
    [
        new("yizhan", LocalSite.AeTitle, StartYizhanAsync),
        new("yizhan traced", LocalSite.AeTitle, StartTracedAsync),
        new("orthanc", "ORTHANC", StartOrthancAsync),
        new("storescp", "STORESCP", StartStoreScpAsync),
    ];

    /// <summary>Starts the receiver, warms it up with other files, sends all files over so many associations, and stops it.</summary>
    public async Task<StoreResult> MeasureAsync(
        Sender sender, string input, string warmUp, int instances, int associations, string folder, CancellationToken cancellationToken)
    {
        var data = Path.Combine(folder, Name);
        if (Directory.Exists(data))
        {
            Directory.Delete(data, recursive: true);
        }

        Directory.CreateDirectory(data);
        var (process, port, stop) = await StartAsync(data, cancellationToken);
        await using (stop)
        {
            var files = Directory.GetFiles(input, "*.dcm").Order(StringComparer.Ordinal).ToArray();
            var shares = Enumerable.Range(0, associations).Select(n => files.Where((_, i) => i % associations == n).ToArray()).ToArray();
            await sender.SendAsync(port, AeTitle, Directory.GetFiles(warmUp, "*.dcm"), cancellationToken);
            var cpu = ProcessUse.Cpu(process);
            var from = Stopwatch.GetTimestamp();
            var stored = await Task.WhenAll(shares.Select(share => sender.SendAsync(port, AeTitle, share, cancellationToken)));
            var seconds = Stopwatch.GetElapsedTime(from).TotalSeconds;
            if (stored.Sum() != instances)
            {
                throw new InvalidOperationException($"{Name} took {stored.Sum()} of {instances} instances; a figure would be worthless.");
            }

            return new StoreResult(seconds, (ProcessUse.Cpu(process) - cpu).TotalSeconds, ProcessUse.PeakMemoryMb(process));
        }
    }

    private static async Task<(Process, int, IAsyncDisposable)> StartYizhanAsync(string folder, CancellationToken cancellationToken)
    {
        var site = LocalSite.Prepare(folder, LocalSite.DcmtkPeers, LocalPorts.Free());
        var node = await site.StartEdgeAsync(cancellationToken);
        return (node.Process, site.Ports.Dicom, node);
    }

    /// <summary>The same with a span for each association, instance and hop, pushed to a collector that throws everything away.</summary>
    private static async Task<(Process, int, IAsyncDisposable)> StartTracedAsync(string folder, CancellationToken cancellationToken)
    {
        var site = LocalSite.Prepare(folder, LocalSite.DcmtkPeers, LocalPorts.Free());
        var collector = new NullCollector(site.Ports.CentreLink);
        await File.AppendAllTextAsync(Path.Combine(folder, "edge.yaml"), $"telemetry:\n  otlpUrl: {collector.Url}\n", cancellationToken);
        var node = await site.StartEdgeAsync(cancellationToken);
        return (node.Process, site.Ports.Dicom, new Both(node, collector));
    }

    private static async Task<(Process, int, IAsyncDisposable)> StartOrthancAsync(string folder, CancellationToken cancellationToken)
    {
        var ports = LocalPorts.Free();
        var settings = Path.Combine(folder, "orthanc.json");
        await File.WriteAllTextAsync(settings, JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["StorageDirectory"] = Path.Combine(folder, "db"),
            ["IndexDirectory"] = Path.Combine(folder, "db"),
            ["DicomAet"] = "ORTHANC",
            ["DicomPort"] = ports.Dicom,
            ["HttpPort"] = ports.Edge,
            ["MaximumPduLength"] = 131072,
            ["SyncStorageArea"] = true,
            ["DicomAlwaysAllowStore"] = true,
            ["UnknownSopClassAccepted"] = true,
            ["Plugins"] = Array.Empty<string>(),
        }), cancellationToken);
        return await PeerProcess.StartAsync("Orthanc", [settings], ports.Dicom, cancellationToken);
    }

    private static Task<(Process, int, IAsyncDisposable)> StartStoreScpAsync(string folder, CancellationToken cancellationToken)
    {
        var port = LocalPorts.Free().Dicom;
        return PeerProcess.StartAsync("storescp", ["--fork", "-pdu", "131072", "-od", folder, $"{port}"], port, cancellationToken);
    }

    private sealed record Both(IAsyncDisposable First, IDisposable Second) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            await First.DisposeAsync();
            Second.Dispose();
        }
    }

    private sealed class NullCollector : IDisposable
    {
        private readonly HttpListener _listener = new();

        public NullCollector(int port)
        {
            Url = $"http://127.0.0.1:{port}";
            _listener.Prefixes.Add(Url + "/");
            _listener.Start();
            _ = ServeAsync();
        }

        public string Url { get; }

        public void Dispose() => _listener.Close();

        private async Task ServeAsync()
        {
            try
            {
                while (true)
                {
                    var call = await _listener.GetContextAsync();
                    await call.Request.InputStream.CopyToAsync(Stream.Null);
                    call.Response.Close();
                }
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
            {
            }
        }
    }
}
