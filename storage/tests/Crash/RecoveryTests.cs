using Yizhan.Simulation;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests.Crash;

/// <summary>What the recovery of the segments journal relies on, each in the one course of events in which it matters.</summary>
public sealed class RecoveryTests
{
    private const string Folder = "/simulated";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>
    /// The group is whole and the blob that it names is not; later the file that followed is gone, and the digest too: nothing but the strike says that the
    /// group never was.
    /// </summary>
    [Fact]
    public async Task A_group_that_was_struck_out_stays_so_when_the_next_file_is_gone_and_the_digest_is_lost()
    {
        var disk = await TornAsync();
        await using (Open(disk))
        {
            // The second file has nothing but the state.
        }

        for (var start = 0; start < 2; start++)
        {
            // The third has it too, and the second goes.
            await using var spool = Open(disk);
            for (var commit = 0; commit < 3; commit++)
            {
                await spool.Blobs.ReleaseOrphansAsync(DateTimeOffset.UnixEpoch, Cancel);
            }
        }

        Assert.DoesNotContain("0000000002.seg", disk.List(Folder));
        disk.Delete($"{Folder}/0000000001.digest");
        await using var last = Open(disk);
        Assert.Equal(["kept"], (await last.Log.ReadAllAsync()).Select(e => e.Entry.Id));
    }

    /// <summary>
    /// A file system that keeps the bytes of a hole; pieces of blobs that nobody named; and a write that failed, so that the header of one of these pieces
    /// stays between new groups. A search that believes it passes over them. Without keys: a start with them has a key of its own, and so a file of its own.
    /// </summary>
    [Fact]
    public async Task What_a_crash_left_behind_the_last_group_is_never_written_on_to()
    {
        var disk = new SimulatedDisk { KeepsHoles = true };
        var spool = Open(disk, seals: false);
        await spool.Log.AppendAsync([Given.Entry("first")], Cancel);
        foreach (var length in new[] { 100, 200_000 })
        {
            var writer = spool.Blobs.Begin(Lane.Bulk);
            await writer.WriteAsync(Given.Bytes(length, "unnamed"), Cancel);
            await writer.CompleteAsync(Cancel);
        }

        disk = disk.AfterPowerCut(PowerCut.KeepsAll, 0);
        spool = Open(disk, seals: false);
        await using (var failing = spool.Blobs.Begin(Lane.Bulk))
        {
            await failing.WriteAsync(Given.Bytes(100, "failing"), Cancel);
            disk.FailAt = disk.Operations + 1;
            await Assert.ThrowsAsync<IOException>(async () => await failing.CompleteAsync(Cancel));
        }

        await spool.Log.AppendAsync([Given.Entry("second")], Cancel);
        await spool.Log.AppendAsync([Given.Entry("third")], Cancel);
        await using var last = Open(disk.AfterPowerCut(PowerCut.LosesAll, 0), seals: false);
        Assert.Equal(["first", "second", "third"], (await last.Log.ReadAllAsync()).Select(e => e.Entry.Id));
    }

    /// <summary>The file that says that a blob was given up must stay as long as the one that says that it came.</summary>
    [Fact]
    public async Task A_blob_that_was_given_up_stays_away_while_the_file_that_brought_it_lives()
    {
        var disk = new SimulatedDisk();
        var (spool, given) = await GivenUpAsync(disk);
        await using var last = Open(disk.AfterPowerCut(PowerCut.LosesAll, 0));
        Assert.Null(await last.Blobs.OpenAsync(given, Cancel));
        Assert.Equal(["n1", "n2"], (await last.Log.ReadAllAsync()).Where(e => e.Entry.Lane == Lane.Normal).Select(e => e.Entry.Id));
        await spool.DisposeAsync();
    }

    /// <summary>Once a file is given up, those that took something back from it go too; under its old name it would be believed again.</summary>
    [Fact]
    public async Task A_file_that_was_given_up_is_not_found_again()
    {
        var disk = new SimulatedDisk();
        var (spool, given) = await GivenUpAsync(disk);
        await spool.Log.MarkDeliveredAsync(Lane.Normal, 2, Cancel);
        await spool.Log.ReleaseAsync(Lane.Normal, 2, Cancel);
        for (var commit = 0; commit < 4; commit++)
        {
            await spool.Blobs.ReleaseOrphansAsync(DateTimeOffset.UnixEpoch, Cancel);
        }

        Assert.DoesNotContain("0000000003.seg", disk.List(Folder));
        await using var last = Open(disk.AfterPowerCut(PowerCut.LosesAll, 0));
        Assert.Null(await last.Blobs.OpenAsync(given, Cancel));
        Assert.DoesNotContain(await last.Log.ReadAllAsync(), e => e.Entry.Lane == Lane.Normal);
        await spool.DisposeAsync();
    }

    /// <summary>A spare that was about to become a file has both names after the cut. Used as a spare again, it would be two files at once.</summary>
    [Fact]
    public async Task A_spare_that_half_a_rename_left_under_two_names_is_never_two_files()
    {
        var disk = await HalfRenamedAsync();
        await using (var spool = Open(disk))
        {
            for (var blob = 0; blob < 20; blob++)
            {
                await BlobAsync(spool, $"b{blob}", 70_000);
            }
        }

        await using var last = Open(disk.AfterPowerCut(PowerCut.LosesAll, 0));
        var ids = (await last.Log.ReadAllAsync()).Select(e => e.Entry.Id).Where(id => id[0] == 'b');
        Assert.Equal(Enumerable.Range(0, 20).Select(blob => $"b{blob}"), ids);
        for (var blob = 0; blob < 20; blob++)
        {
            var bytes = Given.Bytes(70_000, $"b{blob}");
            Assert.Equal(bytes, await last.Blobs.ReadAllAsync(Given.Ref(bytes).Hash));
        }
    }

    /// <summary>
    /// The first flush of a new file failed: the kernel takes its header for clean, as all else in it, and the process ends. The next one reads the entry, out of
    /// the page cache, and says so to who sends it again.
    /// </summary>
    [Fact]
    public async Task The_header_of_a_file_whose_flush_failed_is_on_the_disk_before_its_entry_is_called_known()
    {
        const string File = "0000000002.seg";
        SimulatedDisk disk = null!;
        disk = new SimulatedDisk
        {
            // Behind it come its size, its header, its name, the entry, and the flush.
            Observe = step => disk.FailAt = step == $"create {File}" ? disk.Operations + 5 : disk.FailAt,
        };
        var spool = Open(disk);
        var count = 0;
        await Assert.ThrowsAnyAsync<IOException>(async () =>
        {
            for (; count < 100; count++)
            {
                await spool.Log.AppendAsync([Given.Entry($"e{count}", Lane.Normal, 30_000)], Cancel);
            }
        });
        Assert.Equal($"flush {File}", disk.Trace[disk.FailAt - 1]);

        var next = disk.AfterKill();
        var again = Open(next);
        Assert.True((await again.Log.AppendAsync([Given.Entry($"e{count}", Lane.Normal, 30_000)], Cancel))[0].AlreadyKnown);
        await using var last = Open(next.AfterPowerCut(PowerCut.LosesAll, 0));
        Assert.Equal(Enumerable.Range(0, count + 1).Select(i => $"e{i}"), (await last.Log.ReadAllAsync()).Select(e => e.Entry.Id));
    }

    /// <summary>
    /// The first two files have blobs and one small entry each. The blobs are given up in the third, the log goes on to the fourth; the entries hold the
    /// first two. Returns a blob that was given up.
    /// </summary>
    private static async Task<(Spool Spool, ContentHash Given)> GivenUpAsync(SimulatedDisk disk)
    {
        var spool = Open(disk);
        for (var file = 1; file <= 2; file++)
        {
            await spool.Log.AppendAsync([Given.Entry($"n{file}")], Cancel);
            for (var blob = 0; !disk.List(Folder).Contains($"000000000{file + 1}.seg"); blob++)
            {
                await BlobAsync(spool, $"b{file}/{blob}", 70_000);
            }
        }

        var delivered = spool.Log.Usage(Lane.Bulk).Entries;
        await spool.Log.MarkDeliveredAsync(Lane.Bulk, delivered, Cancel);
        await spool.Log.ReleaseAsync(Lane.Bulk, delivered, Cancel);
        for (var blob = 0; !disk.List(Folder).Contains("0000000004.seg"); blob++)
        {
            await BlobAsync(spool, $"b3/{blob}", 70_000);
        }

        var all = spool.Log.Usage(Lane.Bulk).Entries + delivered;
        await spool.Log.MarkDeliveredAsync(Lane.Bulk, all, Cancel);
        await spool.Log.ReleaseAsync(Lane.Bulk, all, Cancel);
        for (var commit = 0; commit < 4; commit++)
        {
            await spool.Blobs.ReleaseOrphansAsync(DateTimeOffset.UnixEpoch, Cancel);
        }

        return (spool, Given.Ref(Given.Bytes(70_000, "b1/0")).Hash);
    }

    /// <summary>A disk after a power cut that kept the last group and lost a part of the blob that it names.</summary>
    private static async Task<SimulatedDisk> TornAsync()
    {
        for (var seed = 0; seed < 200; seed++)
        {
            var disk = new SimulatedDisk();
            await using (var spool = Open(disk))
            {
                await spool.Log.AppendAsync([Given.Entry("kept")], Cancel);
                disk.CrashAt = disk.Operations + 3;
                await Assert.ThrowsAnyAsync<IOException>(() => BlobAsync(spool, "torn", 30_000));
                Assert.StartsWith("flush", disk.Trace[^1], StringComparison.Ordinal);
            }

            var after = disk.AfterPowerCut(PowerCut.KeepsSome, seed);
            var tried = disk.AfterPowerCut(PowerCut.KeepsSome, seed);
            await using (Open(tried))
            {
                if (tried.Trace.Exists(step => step.StartsWith("write 0000000001.seg", StringComparison.Ordinal) && step.EndsWith($"+{Record.HeaderBytes}", StringComparison.Ordinal)))
                {
                    return after;
                }
            }
        }

        throw new InvalidOperationException("No cut kept the group and lost the blob.");
    }

    /// <summary>A disk after a power cut in the middle of taking a spare: both names are there, and the header that makes it a file.</summary>
    private static async Task<SimulatedDisk> HalfRenamedAsync()
    {
        var (spare, file) = ("", "");
        SimulatedDisk disk = null!;
        disk = new SimulatedDisk
        {
            Observe = step =>
            {
                if (file.Length == 0 && step.Split(' ') is ["rename", var from, var to] && to.EndsWith(".seg", StringComparison.Ordinal))
                {
                    // Its size and its header are written; the flush of the name is where the power goes.
                    (spare, file, disk.CrashAt) = (from, to, disk.Operations + 3);
                }
            },
        };
        await Assert.ThrowsAnyAsync<IOException>(async () =>
        {
            await using var spool = Open(disk);
            for (var i = 1; i < 100; i++)
            {
                await BlobAsync(spool, $"gone{i}", 70_000);
                await spool.Log.MarkDeliveredAsync(Lane.Bulk, i, Cancel);
                await spool.Log.ReleaseAsync(Lane.Bulk, i, Cancel);
            }
        });
        for (var seed = 0; seed < 200; seed++)
        {
            var tried = disk.AfterPowerCut(PowerCut.KeepsSome, seed);
            if (!tried.List(Folder).Contains(spare) || !tried.List(Folder).Contains(file))
            {
                continue;
            }

            await using (Open(tried))
            {
                if (!tried.Trace.Contains($"delete {file}"))
                {
                    return disk.AfterPowerCut(PowerCut.KeepsSome, seed);
                }
            }
        }

        throw new InvalidOperationException($"No cut left {spare} and {file}.");
    }

    private static async Task BlobAsync(Spool spool, string id, int length)
    {
        await using var writer = spool.Blobs.Begin(Lane.Bulk);
        await writer.WriteAsync(Given.Bytes(length, id), Cancel);
        await spool.Log.AppendAsync([Given.Entry(id, Lane.Bulk, 60, await writer.CompleteAsync(Cancel))], Cancel);
    }

    private static Spool Open(SimulatedDisk disk, bool seals = true) => LocalStore.OpenSimulated(disk, Folder, seals);
}
