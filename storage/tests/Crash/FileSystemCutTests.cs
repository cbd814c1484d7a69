using System.Diagnostics;
using System.Globalization;

namespace Yizhan.Storage.Tests.Crash;

/// <summary>
/// The power goes on real file systems, again and again on the same disk, while a real process works. ext4 also without the heuristic that flushes what it thinks
/// was forgotten, which hides missing flushes; XFS never had one. <c>./check power-cuts</c>: 34 cuts of each.
/// </summary>
public sealed class FileSystemCutTests(ITestOutputHelper output)
{
    private const int CutsOfADisk = 8;

    private static bool Long => Environment.GetEnvironmentVariable("YIZHAN_LONG") is not null;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("sqlite", "ext4", "")]
    [InlineData("segments", "ext4", "")]
    [InlineData("sqlite", "ext4", "noauto_da_alloc")]
    [InlineData("segments", "ext4", "noauto_da_alloc")]
    [InlineData("sqlite", "xfs", "")]
    [InlineData("segments", "xfs", "")]
    [Trait("Clause", "D4.6")]
    public async Task The_power_goes_on_a_real_file_system_and_what_was_acknowledged_is_there(string kind, string fileSystem, string options)
    {
        Assert.SkipUnless(Long, "It takes minutes; ./check power-cuts and ./check long run it.");
        var (seed, cuts, acknowledged, from) = (Environment.TickCount, 0, 0, Stopwatch.GetTimestamp());
        var random = new Random(seed);
        while (cuts < 34)
        {
            await using var disk = await MakeAsync(fileSystem, options);
            var books = new CrashBooks();
            for (var cut = 0; cut < CutsOfADisk && cuts < 34; cut++, cuts++)
            {
                await CutAsync(disk, kind, $"c{cut}", "none", random.Next(5, 500), books);
                await using var store = LocalStore.Open(kind, folder: Path.Combine(disk.Root, "spool"));
                await books.CheckAsync(store);
                await books.CheckItGoesOnAsync(store, $"on{cut}");
            }

            acknowledged += books.Count;
        }

        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"figures: power cuts, {fileSystem} {options}, {kind}: {cuts} cuts, {acknowledged} entries acknowledged, 0 lost, seed {seed}, {Stopwatch.GetElapsedTime(from).TotalSeconds:0} s"));
        Assert.True(acknowledged > 500, $"Only {acknowledged} entries were acknowledged.");
    }

    /// <summary>The same cut takes something when files are not flushed: it would notice if the code forgot to.</summary>
    [Theory]
    [InlineData("sqlite", "ext4", "noauto_da_alloc")]
    [InlineData("segments", "xfs", "")]
    public async Task What_is_not_flushed_is_gone_after_the_cut(string kind, string fileSystem, string options)
    {
        Assert.SkipUnless(Long, "It takes minutes; ./check power-cuts and ./check long run it.");
        await using var disk = await MakeAsync(fileSystem, options);
        var books = new CrashBooks();
        await CutAsync(disk, kind, "c", KillPoint.NeverFlush, 300, books);
        await Assert.ThrowsAnyAsync<Exception>(async () =>
        {
            await using var store = LocalStore.Open(kind, folder: Path.Combine(disk.Root, "spool"));
            await books.CheckAsync(store);
        });
    }

    private static async Task<LoopDisk> MakeAsync(string fileSystem, string options)
    {
        var disk = await LoopDisk.TryMakeAsync(fileSystem, options);
        Assert.SkipUnless(disk is not null, $"This machine makes or mounts no {fileSystem} on a loop device: root, a loop device and mkfs.{fileSystem} are needed.");
        return disk;
    }

    private static async Task CutAsync(LoopDisk disk, string kind, string run, string point, int lines, CrashBooks books)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardOutput = true };
        foreach (var argument in (string[])[CrashChild.Argument, kind, Path.Combine(disk.Root, "spool"), run, point, "1"])
        {
            start.ArgumentList.Add(argument);
        }

        using var writer = Process.Start(start)!;
        for (var line = 0; line < lines && await writer.StandardOutput.ReadLineAsync(Cancel) is { } said; line++)
        {
            books.Note(said);
        }

        Assert.False(writer.HasExited, "The writer ended by itself.");
        await disk.CutAsync(writer);

        // What it printed before it stood still was acknowledged before the power went.
        while (await writer.StandardOutput.ReadLineAsync(Cancel) is { } said)
        {
            books.Note(said);
        }
    }
}
