using System.Diagnostics;
using System.Globalization;
using Yizhan.Simulation;

namespace Yizhan.Storage.Tests.Crash;

/// <summary>
/// The real process, its real system calls, and every disk that a power cut may leave: a recording is cut at each of its operations, and what is left is opened
/// by the real start. <c>./check tests</c> looks at some hundred images, <c>YIZHAN_LONG=1</c> at all of several recordings.
/// </summary>
public abstract class CrashImageTests(string kind, ITestOutputHelper output) : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("yizhan-recorded-").FullName;

    /// <summary>Where images are opened: their flushes need not be real.</summary>
    private static string Memory => Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath();

    private static bool Long => Environment.GetEnvironmentVariable("YIZHAN_LONG") is not null;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        Directory.Delete(_root, recursive: true);
        GC.SuppressFinalize(this);
    }

    [Fact]
    [Trait("Clause", "D4.6")]
    public async Task Whatever_a_power_cut_leaves_of_a_real_process_what_was_acknowledged_is_there()
    {
        var (images, calls, flushes, acknowledged, from) = (0, 0, 0, 0, Stopwatch.GetTimestamp());
        var seed = Long ? Environment.TickCount : 14;
        for (var round = 0; round < (Long ? 3 : 1); round++)
        {
            var recorded = new DiskImages(await RecordAsync(), _root);
            var moments = recorded.Moments.ToArray();
            var random = new SeededRandom((ulong)(seed + round));
            foreach (var moment in Long ? moments : [.. moments.Where(_ => random.Next(moments.Length) < 45)])
            {
                images += await CheckAsync(recorded, moment, random);
            }

            (calls, flushes) = (calls + recorded.Count.Changes, flushes + recorded.Count.Flushes);
            acknowledged += recorded.Said(int.MaxValue).Count(line => line.StartsWith("entry", StringComparison.Ordinal));
            Empty(_root);
        }

        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"figures: crash images, {kind}: {images} images of {calls} changes and {flushes} flushes of a real process under 2 models, {acknowledged} entries acknowledged, 0 lost, seed {seed}, {Stopwatch.GetElapsedTime(from).TotalSeconds:0} s"));
        Assert.InRange(images, 200, int.MaxValue);
        Assert.InRange(acknowledged, 40, int.MaxValue);
    }

    /// <summary>The same check finds what is missing when a flush is taken out of the recording, so it would find a flush that is missing in the code.</summary>
    [Theory]
    [InlineData("the files' flushes")]
    [InlineData("the folders' flushes")]
    public async Task A_flush_that_is_left_out_is_noticed(string what)
    {
        var without = what[4..11] == "folders" ? DiskCallKind.FlushFolder : DiskCallKind.FlushFile;
        var recorded = new DiskImages(await RecordAsync(), _root, call => call.Kind == without);
        var random = new SeededRandom(14);
        var moments = recorded.Moments.ToArray();
        var noticed = 0;
        for (var i = moments.Length / 2; i < moments.Length; i += Math.Max(1, moments.Length / 10))
        {
            try
            {
                await CheckAsync(recorded, moments[i], random);
            }
            catch (InvalidOperationException)
            {
                noticed++;
            }
        }

        Assert.InRange(noticed, 3, int.MaxValue);
    }

    private async Task<DiskRecording> RecordAsync()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && File.Exists("/usr/bin/strace"), "It needs strace, which records the system calls of a process.");
        var recording = new DiskRecording(_root);

        // The second process goes on after a kill: its recovery is recorded too.
        foreach (var (run, lines) in new[] { ("r0", Long ? 200 : 60), ("r1", Long ? 200 : 60) })
        {
            await recording.RecordAsync(Environment.ProcessPath!, [CrashChild.Argument, kind, _root, run, "none", "1"], lines, Cancel);
        }

        return recording;
    }

    /// <summary>All that may be found after the power went at one moment. Returns how many images that was.</summary>
    private async Task<int> CheckAsync(DiskImages recorded, int moment, SeededRandom random)
    {
        var images = 0;
        foreach (var model in Enum.GetValues<DiskModel>())
        {
            foreach (var kept in (Kept[])[.. Enum.GetValues<Kept>(), Kept.Some, Kept.Some])
            {
                var folder = Path.Combine(Memory, Path.GetRandomFileName());
                Directory.CreateDirectory(folder);
                try
                {
                    recorded.Write(folder, moment, model, kept, random);
                    var books = new CrashBooks();
                    foreach (var line in recorded.Said(moment))
                    {
                        books.Note(line);
                    }

                    await using (var store = LocalStore.Open(kind, folder: folder, configure: Small))
                    {
                        await books.CheckAsync(store);
                        await books.CheckItGoesOnAsync(store, "on");
                    }

                    // What a crash left must not come back once the log went on.
                    if (images % 4 == 0)
                    {
                        await using var again = LocalStore.Open(kind, folder: folder, configure: Small);
                        await books.CheckAsync(again);
                        await books.CheckItGoesOnAsync(again, "again");
                    }

                    images++;
                }
                catch (Exception e)
                {
                    throw new InvalidOperationException($"The power went at moment {moment}, {model}, {kept} kept: {e.Message}", e);
                }
                finally
                {
                    Directory.Delete(folder, recursive: true);
                }
            }
        }

        return images;
    }

    private static void Small(StorageOptions options) => options.BalloonBytes = 0;

    private static void Empty(string folder)
    {
        foreach (var inner in Directory.EnumerateDirectories(folder))
        {
            Directory.Delete(inner, recursive: true);
        }

        foreach (var file in Directory.EnumerateFiles(folder))
        {
            File.Delete(file);
        }
    }
}

public sealed class SqliteCrashImageTests(ITestOutputHelper output) : CrashImageTests("sqlite", output);

public sealed class SegmentsCrashImageTests(ITestOutputHelper output) : CrashImageTests("segments", output);
