namespace Yizhan.Cli;

/// <summary>The folder of one drill: gone afterwards, unless somebody wants it or something stopped that its logs explain.</summary>
internal static class DrillFolder
{
    /// <summary>Runs a drill in a new folder and turns what ends it early into an exit code.</summary>
    /// <param name="name">What the folder is called, before the process id.</param>
    /// <param name="keep">Whether it stays in any case.</param>
    /// <param name="drill">Gets the folder; true when it passed.</param>
    /// <param name="cancellationToken">Ctrl+C.</param>
    /// <returns>0 passed, 1 not, or it could not be run, 130 stopped.</returns>
    public static async Task<int> RunAsync(string name, bool keep, Func<string, Task<bool>> drill, CancellationToken cancellationToken)
    {
        var folder = Path.GetFullPath(Path.Combine(".yizhan", $"{name}-{Environment.ProcessId}"));
        try
        {
            return await drill(folder) ? 0 : 1;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            await Console.Error.WriteLineAsync("Stopped; nothing is left running.");
            return CommandLine.Stopped;
        }
        catch (InvalidOperationException e)
        {
            keep = true;
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}\nThe data and logs are in {folder}.");
            return CommandLine.Failed;
        }
        finally
        {
            if (!keep && Directory.Exists(folder))
            {
                Directory.Delete(folder, recursive: true);
            }
        }
    }
}
