using Yizhan.Simulation;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests.Crash;

/// <summary>
/// The power goes at every single disk operation of a workload that rolls, releases and recycles files, under each idea of what a disk keeps. After each
/// cut the log is opened again, checked, used, cut again while it recovers, and checked again.
/// </summary>
public sealed class PowerCutTests
{
    private const string Folder = "/simulated";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static TheoryData<PowerCut> Cuts() => new(Enum.GetValues<PowerCut>());

    [Theory]
    [MemberData(nameof(Cuts))]
    public async Task Whenever_the_power_goes_what_was_acknowledged_is_there(PowerCut cut)
    {
        var whole = await RunAsync(int.MaxValue);
        Assert.InRange(whole.Disk.Operations, 60, 2000);
        for (var at = 1; at <= whole.Disk.Operations; at++)
        {
            var run = await RunAsync(at);
            for (var seed = 0; seed < (cut == PowerCut.KeepsSome ? 4 : 1); seed++)
            {
                var disk = run.Disk.AfterPowerCut(cut, (at * 10) + seed);
                try
                {
                    await CheckAsync(disk, run.Ledger);
                }
                catch (Exception e)
                {
                    throw new InvalidOperationException($"Cut at operation {at} ({whole.Disk.Trace[at - 1]}), {cut}, seed {seed}: {e.Message}", e);
                }
            }
        }
    }

    [Fact]
    public async Task The_power_may_go_again_at_every_operation_of_the_recovery()
    {
        var whole = await RunAsync(int.MaxValue);
        for (var at = 5; at <= whole.Disk.Operations; at += 7)
        {
            var run = await RunAsync(at);
            for (var second = 1; second < 12; second++)
            {
                var disk = run.Disk.AfterPowerCut(PowerCut.KeepsSome, at);
                disk.CrashAt = second;
                await IgnoringThePowerCut(async () =>
                {
                    await using var spool = Open(disk);
                });
                await CheckAsync(disk.AfterPowerCut(PowerCut.KeepsSome, second), run.Ledger);
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_an_ended_process_left_in_the_page_cache_is_on_the_disk_before_anything_follows_it(bool flushFailed)
    {
        var whole = await RunAsync(int.MaxValue);
        for (var at = 1; at <= whole.Disk.Operations; at++)
        {
            var disk = flushFailed ? new SimulatedDisk { FailAt = at } : new SimulatedDisk { CrashAt = at };
            var ledger = new Ledger();
            await IgnoringThePowerCut(async () =>
            {
                await using var spool = Open(disk);
                await WorkAsync(spool, ledger);
            });
            var next = disk.AfterKill();
            await using (var spool = Open(next))
            {
                await Blob(spool, "later", 1000);
                ledger.Acknowledge("later", 1000);

                // The power goes before the log could be closed.
                await CheckAsync(next.AfterPowerCut(PowerCut.LosesAll, at), ledger);
            }
        }
    }

    [Fact]
    public async Task After_an_error_of_the_disk_nothing_more_is_accepted_and_nothing_acknowledged_is_lost()
    {
        var whole = await RunAsync(int.MaxValue);
        var stopped = 0;
        for (var at = 1; at <= whole.Disk.Operations; at++)
        {
            var disk = new SimulatedDisk { FailAt = at };
            var ledger = new Ledger();
            try
            {
                await using var spool = Open(disk);
                await IgnoringThePowerCut(() => WorkAsync(spool, ledger));
                if (spool.Fault is not null)
                {
                    stopped++;
                    await Assert.ThrowsAnyAsync<IOException>(async () => await spool.Log.AppendAsync([Given.Entry("late")], Cancel));
                    Assert.ThrowsAny<IOException>(() => { spool.Blobs.Begin(Lane.Urgent); });

                    // What was acknowledged can still be read.
                    Assert.NotNull(await spool.Log.ReadAsync(0, 100, Cancel));
                }
            }
            catch (IOException e) when (e.Message.Contains("Injected", StringComparison.Ordinal))
            {
            }

            await CheckAsync(disk.AfterPowerCut(PowerCut.LosesAll, at), ledger);
        }

        Assert.True(stopped > 10, $"{stopped} failures stopped the log.");
    }

    [Fact]
    public async Task A_full_disk_refuses_and_goes_on_once_there_is_room()
    {
        var disk = new SimulatedDisk { Capacity = 2 * 1024 * 1024 };
        await using var spool = Open(disk);
        var accepted = new List<string>();
        await Assert.ThrowsAsync<SpoolFullException>(async () =>
        {
            for (var i = 0; i < 100; i++)
            {
                await Blob(spool, $"b{i}", 70_000);
                accepted.Add($"b{i}");
            }
        });
        Assert.InRange(accepted.Count, 5, 28);
        await spool.Log.MarkDeliveredAsync(Lane.Bulk, accepted.Count, Cancel);
        await spool.Log.ReleaseAsync(Lane.Bulk, accepted.Count, Cancel);
        await Blob(spool, "again", 70_000);
        Assert.Equal(["again"], (await spool.Log.ReadAllAsync()).Select(e => e.Entry.Id));
    }

    [Fact]
    public async Task What_a_recycled_file_held_in_its_earlier_life_is_not_found_again()
    {
        var disk = new SimulatedDisk();
        await using var spool = Open(disk);
        for (var i = 1; i <= 300; i++)
        {
            await spool.Log.AppendAsync([Given.Entry($"e{i}", Lane.Normal)], Cancel);
            if (i % 50 == 0)
            {
                await spool.Log.MarkDeliveredAsync(Lane.Normal, i, Cancel);
                await spool.Log.ReleaseAsync(Lane.Normal, i - 10, Cancel);
            }

            if (i % 10 == 0)
            {
                await using var again = Open(disk.AfterPowerCut(PowerCut.LosesAll, i));
                var released = Math.Max(0, (i / 50 * 50) - 10);
                Assert.Equal(Enumerable.Range(released + 1, i - released).Select(n => (long)n), (await again.Log.ReadAllAsync()).Select(e => e.Identity.Sequence));
            }
        }

        Assert.Contains(disk.Trace, step => step.StartsWith("rename", StringComparison.Ordinal) && step.EndsWith(".seg", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_damaged_group_in_the_middle_is_not_passed_over()
    {
        var disk = new SimulatedDisk();
        await using (var spool = Open(disk))
        {
            for (var i = 0; i < 5; i++)
            {
                await spool.Log.AppendAsync([Given.Entry($"e{i}", Lane.Normal, 500)], Cancel);
            }
        }

        disk.Rot("0000000001.seg", SegmentFiles.FileHeaderBytes + (2 * Record.Alignment) + Record.HeaderBytes + 188);
        Assert.Contains("damaged", Assert.Throws<InvalidDataException>(() => { Open(disk); }).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_damaged_blob_is_named_when_it_is_read_and_the_rest_goes_on()
    {
        var disk = new SimulatedDisk();
        var bytes = Given.Bytes(300_000, "rot");
        await using (var spool = Open(disk))
        {
            await Blob(spool, "rot", 300_000);
            await Blob(spool, "fine", 300_000);
        }

        disk.Rot("0000000001.seg", SegmentFiles.FileHeaderBytes + Record.Alignment + Record.HeaderBytes + 200_000);
        await using var again = Open(disk);
        var hash = Given.Ref(bytes).Hash;
        var damaged = await Assert.ThrowsAsync<InvalidDataException>(async () => await again.Blobs.ReadAllAsync(hash));
        Assert.Contains(hash.ToString(), damaged.Message, StringComparison.Ordinal);
        Assert.NotNull(await again.Blobs.ReadAllAsync(Given.Ref(Given.Bytes(300_000, "fine")).Hash));
        Assert.Equal(2, (await again.Log.ReadAllAsync()).Count);
    }

    private static Spool Open(SimulatedDisk disk) => LocalStore.OpenSimulated(disk, Folder);

    private static async Task<(SimulatedDisk Disk, Ledger Ledger)> RunAsync(int crashAt)
    {
        var disk = new SimulatedDisk { CrashAt = crashAt };
        var ledger = new Ledger();
        await IgnoringThePowerCut(async () =>
        {
            await using var spool = Open(disk);
            await WorkAsync(spool, ledger);
        });
        return (disk, ledger);
    }

    /// <summary>Several files are filled, emptied and used again.</summary>
    private static async Task WorkAsync(Spool spool, Ledger ledger)
    {
        for (var i = 0; i < 14; i++)
        {
            var (id, length) = ($"b{i}", 70_000 + i);
            await Blob(spool, id, length);
            ledger.Acknowledge(id, length);
            await spool.Log.AppendAsync([Given.Entry($"n{i}", Lane.Normal), Given.Entry($"u{i}", Lane.Urgent)], Cancel);
            ledger.Acknowledge($"n{i}", 0);
            ledger.Acknowledge($"u{i}", 0);
            if (i == 2)
            {
                var part = Given.Bytes(200_000, "chunks");
                ledger.Chunks = -1;
                await spool.Blobs.PutAsync(Given.Ref(part), 0, part.AsMemory(0, 2 * IBlobStore.ChunkBytes), Cancel);
                ledger.Chunks = 2 * IBlobStore.ChunkBytes;
            }

            if (i == 3)
            {
                await spool.Blobs.PinAsync([Given.Ref(Given.Bytes(70_001, "b1")).Hash], "archive", Cancel);
                ledger.Pinned = Given.Ref(Given.Bytes(70_001, "b1"));
            }

            if (i % 4 == 3)
            {
                await spool.Log.MarkDeliveredAsync(Lane.Bulk, i, Cancel);
                ledger.Delivered = i;

                // Noted first: from here on it may be gone.
                ledger.Released = i - 1;
                await spool.Log.ReleaseAsync(Lane.Bulk, i - 1, Cancel);
            }
        }
    }

    private static async Task Blob(Spool spool, string id, int length)
    {
        await using var writer = spool.Blobs.Begin(Lane.Bulk);
        await writer.WriteAsync(Given.Bytes(length, id), Cancel);
        await spool.Log.AppendAsync([Given.Entry(id, Lane.Bulk, 60, await writer.CompleteAsync(Cancel))], Cancel);
    }

    private static async Task CheckAsync(SimulatedDisk disk, Ledger ledger)
    {
        // The second time after the log went on: what a crash left must not come back.
        for (var round = 0; round < 2; round++)
        {
            await using var spool = Open(disk);
            var all = await spool.Log.ReadAllAsync();
            Assert.Equal(all.Count, all.Select(e => e.Entry.Id).Distinct().Count());
            foreach (var lane in Enum.GetValues<Lane>())
            {
                var sequences = all.Where(e => e.Identity.Lane == lane).Select(e => e.Identity.Sequence).ToArray();
                Assert.Equal(Enumerable.Range(0, sequences.Length).Select(i => sequences[0] + i), sequences);
                Assert.True(sequences.Length == 0 || sequences[0] <= (lane == Lane.Bulk ? ledger.Released + 1 : 1));
            }

            var kept = all.ToDictionary(e => e.Entry.Id);
            foreach (var (id, length) in ledger.Entries)
            {
                var released = id[0] == 'b' && id.Length < 4 && int.Parse(id[1..], System.Globalization.CultureInfo.InvariantCulture) < ledger.Released;
                Assert.True(released || kept.ContainsKey(id), $"{id} was acknowledged and is lost.");
            }

            foreach (var entry in all)
            {
                foreach (var blob in entry.Entry.Blobs)
                {
                    Assert.Equal(blob, Given.Ref((await spool.Blobs.ReadAllAsync(blob.Hash))!));
                }
            }

            Assert.True(spool.Log.Delivered(Lane.Bulk) >= ledger.Delivered);
            if (ledger.Pinned is { } pinned)
            {
                Assert.Equal(pinned, Given.Ref((await spool.Blobs.ReadAllAsync(pinned.Hash))!));
            }

            var chunks = Given.Ref(Given.Bytes(200_000, "chunks"));
            Assert.True(ledger.Chunks <= 0 || (await spool.Blobs.MissingAsync(chunks, Cancel))[0].Offset >= ledger.Chunks);
            if (round == 0)
            {
                await Blob(spool, $"again{disk.Operations}", 10_000);
                await spool.Log.AppendAsync([Given.Entry($"next{disk.Operations}", Lane.Normal)], Cancel);
            }
        }
    }

    private static async Task IgnoringThePowerCut(Func<Task> work)
    {
        try
        {
            await work();
        }
        catch (IOException)
        {
        }
    }

    /// <summary>What the log has acknowledged.</summary>
    private sealed class Ledger
    {
        public Dictionary<string, int> Entries { get; } = [];

        public long Delivered { get; set; }

        public long Released { get; set; }

        public BlobRef? Pinned { get; set; }

        public long Chunks { get; set; }

        public void Acknowledge(string id, int length) => Entries.Add(id, length);
    }
}
