using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Yizhan.Drills;

/// <summary>An S3 server on the loopback with its objects as files in a folder of its own: <c>s3rver</c>, as a process.</summary>
internal sealed class LocalS3 : IAsyncDisposable
{
    private const string Owner = "S3RVER";

    private readonly Process _process;

    private LocalS3(Process process, string folder, Uri url) => (_process, Folder, Url) = (process, folder, url);

    /// <summary>The bucket that is there.</summary>
    public const string Bucket = "yizhan";

    /// <summary>What it takes for credentials: <c>ACCESSKEY:SECRETKEY</c>. The server's own for everybody.</summary>
    public static string Credentials => string.Join(':', Owner, Owner);

    /// <summary>Where its objects are.</summary>
    public string Folder { get; }

    /// <summary>Its address.</summary>
    public Uri Url { get; }

    /// <summary>The program: of this tree after <c>npm ci</c> in <c>drills/peers</c>, or on the path; null when it is not installed.</summary>
    public static string? Program
    {
        get
        {
            for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
            {
                var ours = Path.Combine(at.FullName, "drills", "peers", "node_modules", ".bin", "s3rver");
                if (File.Exists(ours))
                {
                    return ours;
                }
            }

            return (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Select(folder => Path.Combine(folder, "s3rver")).FirstOrDefault(File.Exists);
        }
    }

    /// <summary>Starts it with an empty bucket.</summary>
    /// <exception cref="InvalidOperationException">It is not installed or did not answer; the message says what to do.</exception>
    public static async Task<LocalS3> StartAsync(CancellationToken cancellationToken)
    {
        var program = Program ?? throw new InvalidOperationException("The S3 server s3rver is not installed: apt-get install nodejs npm, then npm ci in drills/peers (./check does both).");
        var folder = Directory.CreateTempSubdirectory("yizhan-s3-").FullName;
        var port = FreePorts.Next();
        var url = new Uri(string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{port}"));
        var process = Process.Start(new ProcessStartInfo("sh", [
            "-c", "exec \"$0\" \"$@\" >/dev/null 2>&1 </dev/null", program, "-d", folder, "-a", "127.0.0.1", "-p", port.ToString(CultureInfo.InvariantCulture),
            "--silent", "--no-vhost-buckets", "--configure-bucket", Bucket,
        ]))!;
        var server = new LocalS3(process, folder, url);
        for (var attempt = 0; attempt < 300 && !process.HasExited; attempt++)
        {
            try
            {
                using var probe = new TcpClient();
                await probe.ConnectAsync(IPAddress.Loopback, port, cancellationToken);
                return server;
            }
            catch (SocketException)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System, cancellationToken);
            }
        }

        await server.DisposeAsync();
        throw new InvalidOperationException($"'{program}' did not answer at {url}.");
    }

    /// <summary>Files of the objects, by name.</summary>
    public IReadOnlyList<string> ObjectFiles() =>
        [.. Directory.EnumerateFiles(Path.Combine(Folder, Bucket), "*._S3rver_object", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
            await _process.WaitForExitAsync();
        }

        _process.Dispose();
        Directory.Delete(Folder, recursive: true);
    }
}
