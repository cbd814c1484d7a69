using System.Diagnostics;
using System.Runtime.InteropServices;
using Yizhan.Platform;

namespace Yizhan.Drills;

/// <summary>One node of the platform as a process of its own: the host program with settings, its output in a file.</summary>
public sealed class HostProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly Task _output;
    private readonly string _logPath;
    private bool _disposed;

    private HostProcess(Process process, Task output, string logPath, Uri web)
    {
        _process = process;
        _output = output;
        _logPath = logPath;
        Web = web;
    }

    /// <summary>The node's web address.</summary>
    public Uri Web { get; }

    /// <summary>Path of the host program: beside this one after a publish, in the build's output otherwise.</summary>
    public static string ProgramPath { get; } = FindProgram();

    /// <summary>Starts a node and returns when it answers its health check.</summary>
    /// <param name="arguments">What the host program is called with.</param>
    /// <param name="web">Where the node will listen.</param>
    /// <param name="logPath">Its output is appended to this file.</param>
    /// <param name="cancellationToken">Stops the node again.</param>
    /// <exception cref="InvalidOperationException">It ended or did not answer in 5 minutes; the message holds the end of its log.</exception>
    public static Task<HostProcess> StartAsync(string[] arguments, Uri web, string logPath, CancellationToken cancellationToken) =>
        StartAsync(arguments, web, logPath, network: null, environment: null, cancellationToken);

    /// <summary>The same in a network of its own.</summary>
    /// <param name="arguments">What the host program is called with.</param>
    /// <param name="web">Where the node will listen, on the loopback of its network.</param>
    /// <param name="logPath">Its output is appended to this file.</param>
    /// <param name="network">Its network; null for this process's.</param>
    /// <param name="cancellationToken">Stops the node again.</param>
    /// <exception cref="InvalidOperationException">It ended or did not answer in 5 minutes; the message holds the end of its log.</exception>
    public static Task<HostProcess> StartAsync(
        string[] arguments, Uri web, string logPath, NetworkNamespace? network, CancellationToken cancellationToken) =>
        StartAsync(arguments, web, logPath, network, environment: null, cancellationToken);

    /// <summary>The same with variables of its environment, such as a preloaded library that gives it a clock of its own.</summary>
    /// <param name="arguments">What the host program is called with.</param>
    /// <param name="web">Where the node will listen.</param>
    /// <param name="logPath">Its output is appended to this file.</param>
    /// <param name="environment">Variables besides ours.</param>
    /// <param name="cancellationToken">Stops the node again.</param>
    /// <exception cref="InvalidOperationException">It ended or did not answer in 5 minutes; the message holds the end of its log.</exception>
    public static Task<HostProcess> StartAsync(
        string[] arguments, Uri web, string logPath, IReadOnlyDictionary<string, string> environment, CancellationToken cancellationToken) =>
        StartAsync(arguments, web, logPath, network: null, environment, cancellationToken);

    private static async Task<HostProcess> StartAsync(
        string[] arguments, Uri web, string logPath, NetworkNamespace? network, IReadOnlyDictionary<string, string>? environment, CancellationToken cancellationToken)
    {
        string[] command = network is null ? Program : ["ip", "netns", "exec", network.Name, .. Program];
        var start = new ProcessStartInfo(command[0], [.. command[1..], .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }

        var process = Process.Start(start) ?? throw new InvalidOperationException($"'{string.Join(' ', Program)}' could not be started.");
        process.StandardInput.Close();
        var log = TextWriter.Synchronized(new StreamWriter(logPath, append: true) { AutoFlush = true });
        var output = Task.WhenAll(CopyAsync(process.StandardOutput, log), CopyAsync(process.StandardError, log))
            .ContinueWith(_ => log.Dispose(), TaskScheduler.Default);
        var node = new HostProcess(process, output, logPath, web);
        try
        {
            await node.WaitUntilHealthyAsync(network, cancellationToken);
            return node;
        }
        catch
        {
            await node.DisposeAsync();
            throw;
        }
    }

    /// <summary>Waits for the node to end by itself; its exit code.</summary>
    public async Task<int> WaitForExitAsync(CancellationToken cancellationToken)
    {
        await _process.WaitForExitAsync(cancellationToken);
        return _process.ExitCode;
    }

    /// <summary>The process, to be measured.</summary>
    public Process Process => _process;

    /// <summary>SIGKILL: nothing is flushed, closed or said goodbye to.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync(CancellationToken.None);
    }

    /// <summary>SIGTERM, and SIGKILL when that has not helped in a minute. May be called again.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        if (!_process.HasExited)
        {
            _ = Terminate(_process.Id, 15);
            using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(1));
            try
            {
                await _process.WaitForExitAsync(patience.Token);
            }
            catch (OperationCanceledException)
            {
                await KillAsync();
            }
        }

        await _output;
        _process.Dispose();
    }

    private async Task WaitUntilHealthyAsync(NetworkNamespace? network, CancellationToken cancellationToken)
    {
        using var http = network?.HttpClient(Web) ?? new HttpClient { BaseAddress = Web };
        http.Timeout = TimeSpan.FromSeconds(20);
        for (var attempt = 0; attempt < 3000; attempt++)
        {
            if (_process.HasExited)
            {
                break;
            }

            try
            {
                using var answer = await http.GetAsync("/healthz", cancellationToken);
                if (answer.IsSuccessStatusCode)
                {
                    return;
                }
            }
            catch (Exception e) when (e is HttpRequestException or TaskCanceledException && !cancellationToken.IsCancellationRequested)
            {
                // Not listening yet.
            }

            await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System, cancellationToken);
        }

        var state = _process.HasExited ? $"ended with code {_process.ExitCode}" : "did not answer its health check in 5 minutes";
        throw new InvalidOperationException($"The node at {Web} {state}. The end of {_logPath}:\n{Tail()}");
    }

    private string Tail()
    {
        using var file = new StreamReader(new FileStream(_logPath, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        return string.Join('\n', file.ReadToEnd().Split('\n').TakeLast(15));
    }

    private static async Task CopyAsync(StreamReader from, TextWriter to)
    {
        while (await from.ReadLineAsync() is { } line)
        {
            await to.WriteLineAsync(line);
        }
    }

    /// <summary>Runs one of the host's commands to its end and passes on what it prints; returns its exit code.</summary>
    /// <param name="command">The command.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="cancellationToken">Kills it.</param>
    public static async Task<int> RunToEndAsync(string command, IEnumerable<string> arguments, CancellationToken cancellationToken)
    {
        using var process = Process.Start(new ProcessStartInfo(Program[0], [.. Program[1..], command, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true })
            ?? throw new InvalidOperationException("The host did not start.");
        try
        {
            await Task.WhenAll(CopyAsync(process.StandardOutput, Console.Out), CopyAsync(process.StandardError, Console.Error));
            await process.WaitForExitAsync(cancellationToken);
            return process.ExitCode;
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            throw;
        }
    }

    /// <summary>How it is called: by <c>dotnet</c>, or by itself where it was published with its runtime, as in the image of the command.</summary>
    private static string[] Program => ChildProgram.Command(ProgramPath);

    private static string FindProgram()
    {
        var beside = Path.Combine(AppContext.BaseDirectory, "Yizhan.Host.dll");
        var configuration = new DirectoryInfo(AppContext.BaseDirectory).Name;
        var built = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "Host", configuration, "Yizhan.Host.dll"));
        return File.Exists(built) ? built : beside;
    }

    [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static extern int Terminate(int pid, int signal);
}
