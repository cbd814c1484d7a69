using System.Diagnostics;
using System.Text.Json;

namespace Yizhan.EndToEnd.Tests;

/// <summary>The <c>yizhan</c> command as a process, as its users start it.</summary>
internal static class YizhanCommand
{
    public static readonly string Program = Path.GetFullPath(
        Path.Combine(AppContext.BaseDirectory, "..", "..", "Cli", new DirectoryInfo(AppContext.BaseDirectory).Name, "Yizhan.Cli.dll"));

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>Runs it to its end; a test that is cancelled ends it.</summary>
    public static async Task<CommandOutcome> RunAsync(string[] arguments, IReadOnlyDictionary<string, string>? environment = null)
    {
        var start = new ProcessStartInfo("dotnet", [Program, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }

        using var process = Process.Start(start)
            ?? throw new InvalidOperationException("The command did not start.");
        try
        {
            var (output, error) = (process.StandardOutput.ReadToEndAsync(Cancel), process.StandardError.ReadToEndAsync(Cancel));
            await process.WaitForExitAsync(Cancel);
            return new CommandOutcome(process.ExitCode, await output, await error);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            throw;
        }
    }
}

/// <summary>How a command ended.</summary>
internal sealed record CommandOutcome(int ExitCode, string Output, string Error)
{
    /// <summary>The last line of the output.</summary>
    public JsonElement Json => Output.Trim().Split('\n')[^1] is { Length: > 0 } line
        ? JsonDocument.Parse(line).RootElement
        : throw new InvalidOperationException($"Exit code {ExitCode}, no output; errors: {Error}");
}
