using System.Diagnostics;
using System.Globalization;

namespace Yizhan.Storage.Tests.Crash;

/// <summary>A real process is killed while it works; what it was told is durable must be there.</summary>
public abstract class KillTests(string kind)
{
    public static TheoryData<string> Points() => new(KillPoint.Names);

    [Fact]
    public async Task Killed_at_random_moments_it_keeps_everything_it_acknowledged()
    {
        var seed = Environment.TickCount;
        TestContext.Current.TestOutputHelper!.WriteLine($"seed {seed}");
        var random = new Random(seed);
        await using var proof = new Proof(kind);
        for (var run = 0; run < 12; run++)
        {
            await proof.RunAsync($"r{run}", "none", 1, stopAfterLines: random.Next(1, 250));
            await proof.CheckAsync();
        }

        Assert.True(proof.Acknowledged > 100, $"Only {proof.Acknowledged} entries were acknowledged.");
    }

    [Theory]
    [MemberData(nameof(Points))]
    public async Task Killed_at_a_point_it_keeps_everything_it_acknowledged(string point)
    {
        await using var proof = new Proof(kind);
        foreach (var count in new[] { 2, 7 })
        {
            await proof.RunAsync($"{point}{count}", point, count, stopAfterLines: 600);
            await proof.CheckAsync();
        }
    }

    /// <summary>A folder, and what was acknowledged in it so far.</summary>
    private sealed class Proof(string kind) : IAsyncDisposable
    {
        private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-kill-").FullName;
        private readonly CrashBooks _books = new();

        public int Acknowledged => _books.Count;

        public async Task RunAsync(string run, string point, int count, int stopAfterLines)
        {
            var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardOutput = true, RedirectStandardError = true };
            foreach (var argument in (string[])[CrashChild.Argument, kind, _folder, run, point, count.ToString(CultureInfo.InvariantCulture)])
            {
                start.ArgumentList.Add(argument);
            }

            using var process = Process.Start(start)!;
            var error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            var lines = 0;

            // What it printed before it died was printed after the acknowledgement, so all of it counts, also what is still in the pipe.
            while (await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) is { } line)
            {
                _books.Note(line);
                if (++lines == stopAfterLines)
                {
                    process.Kill();
                }
            }

            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.True(process.ExitCode == 137, $"The child ended with {process.ExitCode} by itself: {await error}");
        }

        public async Task CheckAsync()
        {
            await using var store = LocalStore.Open(kind, folder: _folder);
            await _books.CheckAsync(store);
        }

        public ValueTask DisposeAsync()
        {
            Directory.Delete(_folder, recursive: true);
            return default;
        }
    }
}

public sealed class SqliteKillTests() : KillTests("sqlite");

public sealed class SegmentsKillTests() : KillTests("segments");
