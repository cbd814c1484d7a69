using System.Diagnostics;

namespace Yizhan.MqttBridge.Tests;

/// <summary>Debian's mosquitto, mosquitto_pub and mosquitto_sub.</summary>
internal static class Tool
{
    private static readonly string[] Folders = ["/usr/bin", "/usr/sbin"];

    /// <summary>Skips the test where they are not installed.</summary>
    public static void Need(params ReadOnlySpan<string> programs)
    {
        foreach (var program in programs)
        {
            Assert.SkipUnless(
                Array.Exists(Folders, folder => File.Exists(Path.Combine(folder, program))),
                $"{program} is not installed (Debian: mosquitto, mosquitto-clients).");
        }
    }

    /// <summary>Runs one to its end, with lines as its input.</summary>
    public static async Task<(int ExitCode, string Output)> RunAsync(string program, string[] arguments, IEnumerable<string>? input = null)
    {
        using var process = Start(program, arguments);
        var output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        var errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        foreach (var line in input ?? [])
        {
            await process.StandardInput.WriteLineAsync(line);
        }

        process.StandardInput.Close();
        try
        {
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            throw;
        }

        return (process.ExitCode, await output + await errors);
    }

    public static Process Start(string program, string[] arguments) => Process.Start(
        new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;
}
