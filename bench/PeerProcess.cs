using System.Diagnostics;
using System.Net.Sockets;

namespace Yizhan.Bench;

/// <summary>A peer from outside as a process; disposing it ends it.</summary>
internal sealed class PeerProcess(Process process) : IAsyncDisposable
{
    /// <summary>Starts a program and returns once it listens on a port.</summary>
    /// <exception cref="InvalidOperationException">It ended or did not listen in 30 s.</exception>
    public static async Task<(Process Process, int Port, IAsyncDisposable Stop)> StartAsync(
        string program, string[] arguments, int port, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        // Debian's dcmtk leaves Nagle's algorithm on unless it is told otherwise, and waits 43 ms twice an instance.
        start.Environment["TCP_NODELAY"] = "1";
        var process = Process.Start(start) ?? throw new InvalidOperationException($"{program} could not be started.");
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        var peer = new PeerProcess(process);
        for (var attempt = 0; attempt < 300; attempt++)
        {
            try
            {
                using var probe = new TcpClient();
                await probe.ConnectAsync("127.0.0.1", port, cancellationToken);
                return (process, port, peer);
            }
            catch (SocketException) when (!process.HasExited)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System, cancellationToken);
            }
        }

        await peer.DisposeAsync();
        throw new InvalidOperationException($"{program} did not open port {port} in 30 s.");
    }

    public async ValueTask DisposeAsync()
    {
        if (!process.HasExited)
        {
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync();
        }

        process.Dispose();
    }
}
