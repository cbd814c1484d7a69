using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Yizhan.Drills;

namespace Yizhan.Bench;

/// <summary>An archive under test, running: ours or Orthanc with its DICOMweb plugin.</summary>
/// <param name="Name">As in the table.</param>
/// <param name="AeTitle">Its AE title.</param>
/// <param name="DicomPort">Its DIMSE port on the loopback.</param>
/// <param name="DicomWeb">Its DICOMweb root, with a slash at the end.</param>
/// <param name="Process">To be measured.</param>
/// <param name="Stop">Ends it.</param>
internal sealed record PacsServer(
    string Name, string AeTitle, int DicomPort, Uri DicomWeb, Process Process, IAsyncDisposable Stop) : IAsyncDisposable
{
    /// <summary>AE title of the sink that both know as a C-MOVE destination.</summary>
    public const string SinkAeTitle = "BENCH-SINK";

    private const string DicomWebPlugin = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so";

    /// <summary>Requests over connections that are kept open.</summary>
    public HttpClient Http { get; init; } = new() { BaseAddress = DicomWeb, Timeout = TimeSpan.FromMinutes(5) };

    /// <summary>A site of ours on an empty folder, as a process of its own.</summary>
    public static async Task<PacsServer> StartYizhanAsync(string folder, int sinkPort, CancellationToken cancellationToken)
    {
        var site = LocalSite.Prepare(folder, [.. LocalSite.DcmtkPeers, $"{SinkAeTitle}@127.0.0.1:{sinkPort}"], LocalPorts.Free());
        var node = await site.StartEdgeAsync(cancellationToken);
        var http = site.EdgeClient();
        http.BaseAddress = new Uri(site.Ports.EdgeWeb, "pacs-gw/dicom-web/");
        http.Timeout = TimeSpan.FromMinutes(5);
        return new PacsServer("yizhan", LocalSite.AeTitle, site.Ports.Dicom, http.BaseAddress, node.Process, node) { Http = http };
    }

    /// <summary>Debian's Orthanc with SQLite, files synced as ours are, UTF-8 and no delay, on an empty folder.</summary>
    public static async Task<PacsServer> StartOrthancAsync(string folder, int sinkPort, CancellationToken cancellationToken)
    {
        if (!File.Exists(DicomWebPlugin))
        {
            throw new InvalidOperationException($"{DicomWebPlugin} is missing: install the Debian package orthanc-dicomweb.");
        }

        Directory.CreateDirectory(folder);
        var ports = LocalPorts.Free();
        var settings = Path.Combine(folder, "orthanc.json");
        await File.WriteAllTextAsync(settings, JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["StorageDirectory"] = Path.Combine(folder, "db"),
            ["IndexDirectory"] = Path.Combine(folder, "db"),
            ["DicomAet"] = "ORTHANC",
            ["DicomPort"] = ports.Dicom,
            ["HttpPort"] = ports.Edge,
            ["RemoteAccessAllowed"] = false,
            ["AuthenticationEnabled"] = false,
            ["DefaultEncoding"] = "Utf8",
            ["KeepAlive"] = true,
            ["TcpNoDelay"] = true,
            ["HttpCompressionEnabled"] = false,
            ["MaximumPduLength"] = 131072,
            ["SyncStorageArea"] = true,
            ["OverwriteInstances"] = false,
            ["DicomAlwaysAllowStore"] = true,
            ["DicomAlwaysAllowFind"] = true,
            ["DicomAlwaysAllowGet"] = true,
            ["DicomCheckModalityHost"] = false,
            ["DicomModalities"] = new Dictionary<string, object>
            {
                ["sink"] = new object[] { SinkAeTitle, "127.0.0.1", sinkPort },
                ["scu"] = new object[] { Scanner.AeTitle, "127.0.0.1", sinkPort },
            },
            ["Plugins"] = new[] { DicomWebPlugin },
            ["DicomWeb"] = new Dictionary<string, object> { ["Enable"] = true, ["Root"] = "/dicom-web/" },
        }), cancellationToken);
        var (process, port, stop) = await PeerProcess.StartAsync("Orthanc", [settings], ports.Dicom, cancellationToken);
        return new PacsServer("orthanc", "ORTHANC", port, new Uri($"http://127.0.0.1:{ports.Edge}/dicom-web/"), process, stop);
    }

    /// <summary>Resident memory now, in MB (10^6 bytes).</summary>
    public double ResidentMb() => File.ReadLines($"/proc/{Process.Id}/status")
        .Where(line => line.StartsWith("VmRSS:", StringComparison.Ordinal))
        .Select(line => double.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], CultureInfo.InvariantCulture) * 1024 / 1e6)
        .Single();

    /// <summary>A GET below the DICOMweb root whose body is read and thrown away.</summary>
    /// <returns>Bytes of the body.</returns>
    public async Task<long> GetAsync(string path, string accept, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(path, UriKind.Relative));
        request.Headers.TryAddWithoutValidation("Accept", accept);
        using var response = await Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        if (!response.IsSuccessStatusCode)
        {
            throw new InvalidOperationException(
                $"{Name} answered {(int)response.StatusCode} to {path}: {await response.Content.ReadAsStringAsync(cancellationToken)}");
        }

        await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
        var buffer = new byte[256 * 1024];
        var total = 0L;
        while (await body.ReadAsync(buffer, cancellationToken) is > 0 and var read)
        {
            total += read;
        }

        return total;
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await Stop.DisposeAsync();
    }
}
