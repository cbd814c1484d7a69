using System.Diagnostics;

namespace Yizhan.Inventory.Tests;

/// <summary>A program of Debian's, run as a peer.</summary>
internal sealed class Peer : IDisposable
{
    private readonly Process _process;

    private Peer(Process process) => _process = process;

    /// <summary>Whether it is installed; a test that needs it is skipped else.</summary>
    public static void Need(string program, string package) =>
        Assert.SkipUnless(
            "/usr/bin:/usr/sbin:/bin:/sbin".Split(':').Any(folder => File.Exists(Path.Combine(folder, program))), $"{program} is not installed: apt-get install {package}");

    public static Peer Start(string program, IEnumerable<string> arguments, params (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        var process = Process.Start(start)!;
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return new Peer(process);
    }

    /// <summary>Runs a program to its end and gives what it printed.</summary>
    public static async Task<string> RunAsync(string program, IEnumerable<string> arguments, CancellationToken cancellationToken)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var errors = process.StandardError.ReadToEndAsync(cancellationToken);
        var output = await process.StandardOutput.ReadToEndAsync(cancellationToken);
        await process.WaitForExitAsync(cancellationToken);
        Assert.True(process.ExitCode == 0, $"{program} ended with {process.ExitCode}: {await errors}");
        return output;
    }

    /// <summary>Debian's snmpd with one user, on a port of its own.</summary>
    public static Peer Snmpd(string folder, int port, string authentication = "SHA-256")
    {
        Need("snmpd", "snmpd");
        var configuration = Path.Combine(folder, "snmpd.conf");
        File.WriteAllText(configuration, $"""
            createUser reader {authentication} "correct horse" AES "battery staple"
            rouser reader priv
            sysName pacs-switch-1
            sysDescr Ward switch

            """);
        return Start("/usr/sbin/snmpd", ["-f", "-C", "-c", configuration, $"udp:127.0.0.1:{port}"], ("SNMP_PERSISTENT_DIR", folder));
    }

    public void Dispose()
    {
        _process.Kill(entireProcessTree: true);
        _process.WaitForExit(TimeSpan.FromSeconds(20));
        _process.Dispose();
    }
}
