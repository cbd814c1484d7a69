using System.Globalization;
using System.Text;
using Yizhan.Link;
using Yizhan.Storage;

namespace Yizhan.Station.Tests;

/// <summary>Days without a line, in virtual time. The logs, the disk and the code are the real ones.</summary>
public sealed class OutageTests(ITestOutputHelper output)
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Clause", "D4.6")]
    [Trait("Clause", "D8.2")]
    public async Task After_24_hours_without_a_line_everything_arrives_once_and_in_order_on_every_lane()
    {
        const int Seed = 24;
        await using var simulation = new Simulation(Seed, (intake, clock, random) => new SimulatedLink(intake, clock, random)
        {
            LostAnswers = 0.02,
            Twice = 0.05,
            BytesPerSecond = 1_000_000,
        });
        simulation.Link.Set(up: false);
        var random = new Random(Seed);
        var accepted = Enum.GetValues<Lane>().ToDictionary(lane => lane, _ => new List<string>());
        var blobs = new List<(BlobRef Blob, string Id)>();
        for (var minute = 0; minute < 24 * 60; minute++)
        {
            var entries = new List<Entry>();
            Add(Lane.Normal, 4);
            Add(Lane.Telemetry, 2);
            Add(Lane.Urgent, minute % 15 == 0 ? 1 : 0);
            await using var writer = simulation.EdgeBlobs.Begin(Lane.Bulk);
            var pixels = new byte[random.Next(1, 200_000)];
            random.NextBytes(pixels);
            await writer.WriteAsync(pixels, Cancel);
            var blob = await writer.CompleteAsync(Cancel);
            entries.Add(New(Lane.Bulk) with { Blobs = [blob] });
            blobs.Add((blob, entries[^1].Id));
            foreach (var receipt in await simulation.EdgeLog.AppendAsync(entries, Cancel))
            {
                Assert.False(receipt.AlreadyKnown);
            }

            entries.ForEach(e => accepted[e.Lane].Add(e.Id));
            simulation.Clock.Advance(TimeSpan.FromMinutes(1));

            void Add(Lane lane, int count) => entries.AddRange(Enumerable.Range(0, count).Select(i => New(lane, i)));
            Entry New(Lane lane, int i = 0) => new(
                lane, "test.fact.v1", $"{lane}/{minute}/{i}", "", simulation.Clock.GetUtcNow().ToUnixTimeMilliseconds(),
                Encoding.UTF8.GetBytes($"{{\"minute\":{minute}}}"));
        }

        Assert.Equal(0, simulation.CentreLog.LastPosition);
        simulation.Link.Set(up: true);
        var took = await simulation.UntilAsync(simulation.Delivered, TimeSpan.FromMilliseconds(100));

        var arrived = new List<LoggedEntry>();
        while (await simulation.CentreLog.ReadAsync(arrived.Count == 0 ? 0 : arrived[^1].Position, 1000, Cancel) is { Count: > 0 } more)
        {
            arrived.AddRange(more);
        }

        output.WriteLine($"figures: 24 h without a line, back-fill took {took:h\\:mm\\:ss} of virtual time; {simulation.Link.AnswersLost} answers lost, {simulation.Link.SentTwice} requests delivered twice.");
        output.WriteLine("figures: lane       accepted delivered      lost duplicates");
        foreach (var (lane, ids) in accepted)
        {
            var there = arrived.Where(e => e.Identity.Lane == lane).ToList();
            var lost = ids.Except(there.Select(e => e.Entry.Id)).Count();
            var duplicates = there.Count - there.DistinctBy(e => e.Entry.Id).Count();
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"figures: {lane,-10} {ids.Count,8} {there.Count,9} {lost,9} {duplicates,10}"));
            Assert.Equal(ids, there.Select(e => e.Entry.Id));
            Assert.Equal(Enumerable.Range(1, ids.Count).Select(i => (long)i), there.Select(e => e.Identity.Sequence));
        }

        foreach (var (blob, id) in blobs)
        {
            await using var reader = await simulation.CentreBlobs.OpenAsync(blob.Hash, Cancel);
            Assert.True(reader is not null, $"The blob of {id} is not at the centre.");
        }

        Assert.True(simulation.Link.AnswersLost > 0 && simulation.Link.SentTwice > 0, "The line was too good to prove anything.");
    }

    [Fact]
    [Trait("Clause", "D4.6")]
    public async Task An_urgent_entry_overtakes_a_bulk_backlog_within_one_run_of_chunks_at_64_kbit_per_second()
    {
        await using var simulation = new Simulation(1, (intake, clock, random) => new SimulatedLink(intake, clock, random)
        {
            BytesPerSecond = 8_000,
            LatencyMs = 200,
        });
        var pixels = new byte[4 * 1024 * 1024];
        new Random(1).NextBytes(pixels);
        await using (var writer = simulation.EdgeBlobs.Begin(Lane.Bulk))
        {
            await writer.WriteAsync(pixels, Cancel);
            var blob = await writer.CompleteAsync(Cancel);
            await simulation.EdgeLog.AppendAsync([Fact(Lane.Bulk) with { Blobs = [blob] }], Cancel);
        }

        // The window is found out on the way: let it settle.
        await simulation.UntilAsync(() => simulation.Link.Entered.Count(e => e == "run") >= 10, TimeSpan.FromMilliseconds(100));
        Assert.InRange(simulation.Link.InFlight, 0, IBlobStore.ChunkBytes + 1024);
        var runs = simulation.Link.Entered.Count(e => e == "run");
        await simulation.EdgeLog.AppendAsync([Fact(Lane.Urgent)], Cancel);
        await simulation.UntilAsync(() => simulation.EdgeLog.Usage(Lane.Urgent).Entries == 0, TimeSpan.FromMilliseconds(100));

        var urgent = simulation.Link.Entered.IndexOf(nameof(Lane.Urgent));
        Assert.InRange(simulation.Link.Entered.Take(urgent).Count(e => e == "run") - runs, 0, 1);
        Assert.NotEqual(0, simulation.EdgeLog.Usage(Lane.Bulk).Entries);
    }

    [Fact]
    public async Task Bulk_never_starves_while_normal_entries_keep_coming()
    {
        await using var simulation = new Simulation(2, (intake, clock, random) => new SimulatedLink(intake, clock, random)
        {
            // Slow enough that one unit at a time is under way: then the share decides alone.
            BytesPerSecond = 50_000,
        });
        var data = Encoding.UTF8.GetBytes($"\"{new string('x', 30_000)}\"");
        await simulation.EdgeLog.AppendAsync(
            [.. Enumerable.Range(0, 400).Select(i => new Entry(Lane.Normal, "t.v1", $"n/{i}", "", 0, data))], Cancel);
        await simulation.EdgeLog.AppendAsync(
            [.. Enumerable.Range(0, 100).Select(i => new Entry(Lane.Bulk, "t.v1", $"b/{i}", "", 0, data))], Cancel);

        await simulation.UntilAsync(() => simulation.EdgeLog.Usage(Lane.Bulk).Entries == 0, TimeSpan.FromMilliseconds(200));

        // 100 entries of bulk at weight 4 beside 8: about 200 of the 400 normal ones left in that time, and not all.
        Assert.InRange(simulation.EdgeLog.Delivered(Lane.Normal), 120, 330);
    }

    [Fact]
    public async Task A_lane_that_is_told_to_wait_waits_that_long_and_the_others_go_on()
    {
        await using var simulation = new Simulation(3, (intake, clock, random) => new SimulatedLink(intake, clock, random));
        var refusedAt = new List<DateTimeOffset>();
        simulation.Link.Refuse = what =>
        {
            if (what != nameof(Lane.Bulk))
            {
                return null;
            }

            refusedAt.Add(simulation.Clock.GetUtcNow());
            return refusedAt.Count <= 2 ? new LinkProblem(507, "Full.", RetryAfterSeconds: 30) : null;
        };
        await simulation.EdgeLog.AppendAsync([Fact(Lane.Bulk)], Cancel);
        await simulation.UntilAsync(() => simulation.Shipper.ErrorOf(Lane.Bulk) is not null, TimeSpan.FromMilliseconds(1));
        await simulation.EdgeLog.AppendAsync([Fact(Lane.Normal)], Cancel);
        await simulation.UntilAsync(() => simulation.EdgeLog.Usage(Lane.Normal).Entries == 0, TimeSpan.FromMilliseconds(1));
        Assert.Single(refusedAt);
        Assert.StartsWith("507", simulation.Shipper.ErrorOf(Lane.Bulk), StringComparison.Ordinal);

        await simulation.UntilAsync(simulation.Delivered, TimeSpan.FromMilliseconds(100));
        Assert.Equal(3, refusedAt.Count);

        // Not sooner. How much later says how busy this machine is: its clock goes on while the threads wait for their turn.
        Assert.All(refusedAt.Zip(refusedAt.Skip(1)), pair => Assert.True((pair.Second - pair.First).TotalSeconds >= 30, $"{pair}"));

        // What people see follows the log: the loop applies it after the mark is durable.
        await simulation.UntilAsync(() => simulation.Shipper.ErrorOf(Lane.Bulk) is null, TimeSpan.FromMilliseconds(100));
    }

    private static Entry Fact(Lane lane) => new(lane, "test.fact.v1", $"{lane}/1", "", 0, "{}"u8.ToArray());
}
