using System.Diagnostics;
using System.Globalization;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests.Crash;

/// <summary>A real process is killed while it works; what it was told is durable must be there.</summary>
public abstract class KillTests(string kind)
{
    private const int Chunk = IBlobStore.ChunkBytes;

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
        private readonly Dictionary<string, int> _entries = [];
        private readonly Dictionary<string, long> _chunks = [];
        private long _delivered, _released;

        public int Acknowledged => _entries.Count;

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
                Note(line);
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
            var all = await store.Log.ReadAllAsync();
            Assert.Equal(all.Count, all.Select(e => e.Entry.Id).Distinct().Count());
            Assert.True(store.Log.Delivered(Lane.Bulk) >= _delivered);
            foreach (var lane in Enum.GetValues<Lane>())
            {
                var sequences = all.Where(e => e.Identity.Lane == lane).Select(e => e.Identity.Sequence).ToArray();
                Assert.Equal(Enumerable.Range(0, sequences.Length).Select(i => sequences[0] + i), sequences);
                Assert.True(lane == Lane.Bulk ? (sequences.Length == 0 || sequences[0] <= Math.Max(1, _released + 1)) : sequences.Length == 0 || sequences[0] == 1);
            }

            var kept = all.ToDictionary(e => e.Entry.Id);
            foreach (var (id, length) in _entries)
            {
                if (kept.TryGetValue(id, out var entry))
                {
                    Assert.Equal(length == 0 ? [] : [Given.Ref(Given.Bytes(length, id))], entry.Entry.Blobs);
                }
                else
                {
                    // Only bulk is released, in sequence.
                    Assert.True(id.Split('.')[1] is "0" or "1" or "2", $"{id} was acknowledged and is lost.");
                }
            }

            // Nothing beyond what was said to be released may be gone.
            var bulkGone = _entries.Keys.Count(id => !kept.ContainsKey(id));
            Assert.True(bulkGone <= _released, $"{bulkGone} are gone, {_released} were released.");
            foreach (var blob in all.SelectMany(e => e.Entry.Blobs))
            {
                Assert.Equal(blob, Given.Ref((await store.Blobs.ReadAllAsync(blob.Hash))!));
            }

            foreach (var (id, chunks) in _chunks)
            {
                var missing = await store.Blobs.MissingAsync(Given.Ref(Given.Bytes((3 * Chunk) + 5, id)), TestContext.Current.CancellationToken);
                Assert.All(missing, range => Assert.True(range.Offset >= chunks, $"Chunk of {id} at {range.Offset} was acknowledged and is missing."));
            }
        }

        public ValueTask DisposeAsync()
        {
            Directory.Delete(_folder, recursive: true);
            return default;
        }

        private void Note(string line)
        {
            var words = line.Split(' ');
            switch (words[0])
            {
                case "entry":
                    _entries.Add(words[1], int.Parse(words[2], CultureInfo.InvariantCulture));
                    break;
                case "chunk":
                    _chunks[words[1]] = long.Parse(words[2], CultureInfo.InvariantCulture) + Chunk;
                    break;
                case "delivered":
                    _delivered = long.Parse(words[1], CultureInfo.InvariantCulture);
                    break;
                case "released":
                    _released = Math.Max(_released, long.Parse(words[1], CultureInfo.InvariantCulture));
                    break;
            }
        }
    }
}

public sealed class SqliteKillTests() : KillTests("sqlite");

public sealed class SegmentsKillTests() : KillTests("segments");
