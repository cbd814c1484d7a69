using System.Diagnostics;
using Yizhan.Platform.Identity;

namespace Yizhan;

/// <summary>A program as its image has it: published with its runtime, started with nothing on the path. <c>tests/published/run.sh</c> publishes; without it, tests that need one are skipped.</summary>
internal sealed class PublishedProgram : IAsyncDisposable
{
    private readonly Process _process;
    private readonly Task _output;
    private readonly List<string> _lines = [];

    private PublishedProgram(Process process) => (_process, _output) = (process, Task.WhenAll(ReadAsync(process.StandardOutput), ReadAsync(process.StandardError)));

    /// <summary>A client with the token of who is on the machine.</summary>
    public HttpClient Http { get; private set; } = null!;

    /// <summary>Starts a program on a folder and waits until it listens; skips the test where it is not published.</summary>
    public static async Task<PublishedProgram> StartAsync(string project, string folder, string[] arguments)
    {
        var published = Environment.GetEnvironmentVariable("YIZHAN_PUBLISHED");
        Assert.SkipWhen(string.IsNullOrEmpty(published), "No program is published with its runtime: run tests/published/run.sh.");
        var start = new ProcessStartInfo(
            Path.Combine(published!, project, "Yizhan." + project), [.. arguments, $"--node:dataFolder={folder}", "--node:siteId=site-a", "--web:url=http://127.0.0.1:0", "--storage:freeFloorBytes=0"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };

        // As in the image: no SDK, no runtime besides its own, no program of the system.
        start.Environment.Clear();
        start.Environment["PATH"] = "/nothing";
        var program = new PublishedProgram(Process.Start(start)!);
        try
        {
            Uri? web = null;
            await Wait.UntilAsync(
                async () =>
                {
                    Assert.False(program._process.HasExited, $"{project} ended:\n{program.Said}");
                    return (web = await OwnWeb.FindAsync(program._process)) is not null;
                },
                $"{project} answers");
            program.Http = OperatorTokenHandler.Client(web!, folder);
            program.Http.Timeout = TimeSpan.FromMinutes(5);
            return program;
        }
        catch
        {
            await program.DisposeAsync();
            throw;
        }
    }

    /// <summary>What it printed.</summary>
    public string Said
    {
        get
        {
            lock (_lines)
            {
                return string.Join('\n', _lines);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        Http?.Dispose();
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
        }

        await _process.WaitForExitAsync(CancellationToken.None);
        await _output;
        _process.Dispose();
    }

    private async Task ReadAsync(StreamReader from)
    {
        while (await from.ReadLineAsync() is { } line)
        {
            lock (_lines)
            {
                _lines.Add(line);
            }
        }
    }
}
