using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace Yizhan.Drills;

/// <summary>The machine's own PostgreSQL with a cluster in a folder of its own, on the loopback; as durable as it comes.</summary>
internal sealed class LocalPostgres : IAsyncDisposable
{
    private readonly string _programs;
    private readonly int _port;

    private LocalPostgres(string programs, string folder, int port) => (_programs, Folder, _port) = (programs, folder, port);

    /// <summary>Where its data and its log are.</summary>
    public string Folder { get; }

    /// <summary>How a client connects: as the superuser of this cluster.</summary>
    public string ConnectionString => string.Create(CultureInfo.InvariantCulture, $"Host=127.0.0.1;Port={_port};Username=yizhan;Database=postgres");

    /// <summary>Where the programs of the newest version are; null when none is installed.</summary>
    public static string? Programs => !Directory.Exists("/usr/lib/postgresql") ? null : Directory.GetDirectories("/usr/lib/postgresql")
        .Where(d => int.TryParse(Path.GetFileName(d), out var version) && version >= 15 && File.Exists(Path.Combine(d, "bin", "initdb")))
        .OrderBy(d => int.Parse(Path.GetFileName(d), CultureInfo.InvariantCulture)).Select(d => Path.Combine(d, "bin")).LastOrDefault();

    /// <summary>Makes a cluster and starts it.</summary>
    /// <param name="cancellationToken">Breaks it off.</param>
    /// <param name="fill">Fills the folder of the data instead, such as from a backup.</param>
    /// <exception cref="InvalidOperationException">PostgreSQL 15 or newer is not installed, or did not start; the message says what to do.</exception>
    public static async Task<LocalPostgres> StartAsync(CancellationToken cancellationToken, Func<string, Task>? fill = null)
    {
        var programs = Programs ?? throw new InvalidOperationException("PostgreSQL 15 or newer is not installed: apt-get install postgresql");

        // The server refuses to run as root, and its user may not look into the folders of others.
        var folder = Directory.CreateTempSubdirectory("yizhan-pg-").FullName;
        var server = new LocalPostgres(programs, folder, FreePorts.Next());
        try
        {
            if (fill is not null)
            {
                await fill(Path.Combine(folder, "data"));
            }

            if (Environment.IsPrivilegedProcess)
            {
                await RunAsync("chown", ["-R", "postgres:", folder], cancellationToken);
            }

            if (fill is null)
            {
                await server.RunToolAsync("initdb", ["-D", $"{folder}/data", "-A", "trust", "-U", "yizhan", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions"], cancellationToken);
            }

            await server.StartServerAsync(cancellationToken);
            return server;
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
    }

    /// <summary>Starts the server again after <see cref="StopServerAsync"/> or <see cref="KillAsync"/>.</summary>
    public Task StartServerAsync(CancellationToken cancellationToken) => RunToolAsync(
        "pg_ctl",
        [
            "-D", $"{Folder}/data", "-w", "-t", "60", "-l", $"{Folder}/log", "-o",
            $"-c listen_addresses=127.0.0.1 -p {_port} -c unix_socket_directories={Folder} -c max_wal_size=2GB -c shared_buffers=128MB", "start",
        ],
        cancellationToken);

    /// <summary>Ends it in good order, with its sessions broken off.</summary>
    public Task StopServerAsync(CancellationToken cancellationToken) => RunToolAsync("pg_ctl", ["-D", $"{Folder}/data", "-w", "-m", "fast", "stop"], cancellationToken);

    /// <summary>The process whose children are the sessions.</summary>
    public int ProcessId => int.Parse(File.ReadLines(Path.Combine(Folder, "data", "postmaster.pid")).First(), CultureInfo.InvariantCulture);

    /// <summary>SIGKILL to the server and all of its sessions, as a power cut would end them.</summary>
    public async Task KillAsync()
    {
        using var server = Process.GetProcessById(ProcessId);
        server.Kill(entireProcessTree: true);
        await server.WaitForExitAsync();
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (File.Exists(Path.Combine(Folder, "data", "postmaster.pid")))
        {
            try
            {
                await RunToolAsync("pg_ctl", ["-D", $"{Folder}/data", "-w", "-m", "immediate", "stop"], CancellationToken.None);
            }
            catch (InvalidOperationException)
            {
                // It was killed, and what it left is only a file.
            }
        }

        Directory.Delete(Folder, recursive: true);
    }

    private Task RunToolAsync(string tool, string[] arguments, CancellationToken cancellationToken) => Environment.IsPrivilegedProcess
        ? RunAsync("setpriv", ["--reuid=postgres", "--regid=postgres", "--clear-groups", Path.Combine(_programs, tool), .. arguments], cancellationToken)
        : RunAsync(Path.Combine(_programs, tool), arguments, cancellationToken);

    /// <summary>Output goes nowhere: the server that pg_ctl starts inherits it, and a pipe would never end.</summary>
    private static async Task RunAsync(string program, string[] arguments, CancellationToken cancellationToken)
    {
        Process? process;
        try
        {
            process = Process.Start(new ProcessStartInfo("sh", ["-c", "cd / && exec \"$0\" \"$@\" >/dev/null 2>&1 </dev/null", program, .. arguments]));
        }
        catch (Win32Exception e)
        {
            throw new InvalidOperationException($"'{program}' could not be started: {e.Message}", e);
        }

        using (process)
        {
            await process!.WaitForExitAsync(cancellationToken);
            if (process.ExitCode != 0)
            {
                throw new InvalidOperationException($"'{program} {string.Join(' ', arguments)}' ended with code {process.ExitCode}.");
            }
        }
    }
}
