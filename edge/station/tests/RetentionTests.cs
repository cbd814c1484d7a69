using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Link;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Station.Tests;

/// <summary>What a site gives up, when, and what it never gives up.</summary>
public sealed class RetentionTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-retention-").FullName;
    private readonly FakeTimeProvider _clock = new();
    private readonly Consumer _consumer = new();
    private WebApplication _node = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private IEventLog Log => _node.Services.GetRequiredService<IEventLog>();

    private IBlobStore Blobs => _node.Services.GetRequiredService<IBlobStore>();

    private Quarantine Quarantine => _node.Services.GetRequiredService<Quarantine>();

    private Retention Retention => _node.Services.GetRequiredService<Retention>();

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _node.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData("sqlite")]
    [InlineData("segments")]
    [Trait("Clause", "D4.6")]
    public async Task What_the_centre_has_confirmed_goes_after_its_time_and_its_space_returns(string store)
    {
        Open(store, "--storage:keepDeliveredHours=24");
        await FillAsync(1, 20);
        var used = Log.Space.UsedBytes;
        await ConfirmAsync(20);
        await RunAsync(TimeSpan.FromHours(23));
        Assert.Equal(0, Log.Released(Lane.Bulk));

        await RunAsync(TimeSpan.FromHours(2));
        Assert.Equal(20, Log.Released(Lane.Bulk));

        // One more entry in a fresh file lets the old ones go in the store that keeps groups in them.
        await FillAsync(21, 1);
        Assert.InRange(Log.Space.UsedBytes, 0, used / 4);
    }

    [Fact]
    public async Task What_the_centre_has_not_confirmed_stays_however_old_it_is_and_however_full_the_disk()
    {
        Open("sqlite", "--storage:keepDeliveredHours=0", "--storage:quotaBytes=16777216", "--storage:keepDeliveredPercent=10");
        await FillAsync(1, 14);
        await ConfirmAsync(5);
        await RunAsync(TimeSpan.FromDays(4000));
        Assert.Equal(5, Log.Released(Lane.Bulk));
        Assert.Equal(9, (await Log.ReadLaneAsync(Lane.Bulk, 5, 100, long.MaxValue, Cancel)).Count);
    }

    [Fact]
    public async Task When_the_room_is_short_the_oldest_proven_entries_go_first_and_no_more_than_needed()
    {
        Open("sqlite", "--storage:quotaBytes=33554432", "--storage:keepDeliveredPercent=60");
        await FillAsync(1, 29);
        await ConfirmAsync(29);
        await Retention.RunOnceAsync(Cancel);
        Assert.InRange(Log.Released(Lane.Bulk), 8, 24);
        Assert.InRange(Log.Space.UsedBytes, 0, 33554432 * 6 / 10);
        var kept = await Log.ReadLaneAsync(Lane.Bulk, 0, 100, long.MaxValue, Cancel);
        Assert.Equal(29, kept[^1].Identity.Sequence);
        Assert.Equal(Log.Released(Lane.Bulk) + 1, kept[0].Identity.Sequence);
    }

    [Fact]
    public async Task Nothing_goes_that_no_backup_of_the_centre_covers()
    {
        Open("sqlite", "--storage:keepDeliveredHours=0");
        await FillAsync(1, 10);
        await ConfirmAsync(10, safe: 4);
        await Retention.RunOnceAsync(Cancel);
        Assert.Equal(4, Log.Released(Lane.Bulk));

        // It is remembered over a restart, when the centre cannot be asked.
        await _node.DisposeAsync();
        Open("sqlite", "--storage:keepDeliveredHours=0");
        await Retention.RunOnceAsync(Cancel);
        Assert.Equal(4, Log.Released(Lane.Bulk));
    }

    [Fact]
    public async Task A_centre_that_was_restored_takes_its_confirmation_back()
    {
        Open("sqlite", "--storage:keepDeliveredHours=0");
        await FillAsync(1, 10);
        await Log.MarkDeliveredAsync(Lane.Bulk, 10, Cancel);
        Note(10, null);
        Note(3, null);
        await Retention.RunOnceAsync(Cancel);
        Assert.Equal(3, Log.Released(Lane.Bulk));
    }

    [Fact]
    public async Task Nothing_passes_an_entry_in_quarantine()
    {
        Open("sqlite", "--storage:keepDeliveredHours=0");
        await FillAsync(1, 10);
        var poison = (await Log.ReadLaneAsync(Lane.Bulk, 5, 1, 1, Cancel))[0];
        _node.Services.GetRequiredService<Quarantine>().Add(poison, "test", 0);
        await ConfirmAsync(10);
        await Retention.RunOnceAsync(Cancel);
        Assert.Equal(5, Log.Released(Lane.Bulk));
    }

    [Fact]
    public async Task An_entry_in_quarantine_moves_on_when_it_holds_up_many_and_is_never_sent_as_itself()
    {
        Open("sqlite", "--storage:keepDeliveredHours=0");
        await FillAsync(1, 30);
        var poison = (await Log.ReadLaneAsync(Lane.Bulk, 5, 1, 1, Cancel))[0];
        Quarantine.Add(poison, "test", 7);
        await ConfirmAsync(30);
        await Retention.RunOnceAsync(Cancel);
        Assert.Equal(30, Log.Released(Lane.Bulk));
        var there = Assert.Single(Quarantine.Items(Log.Epoch));
        Assert.Equal((31L, "b/6", "test", 7L), (there.Sequence, there.Id, there.Reason, there.QuarantinedMs));

        // What was noted is lost, as by a crash right after the append; and then not.
        var moved = (await Log.ReadLaneAsync(Lane.Bulk, 30, 1, 1, Cancel))[0];
        Assert.Equal(poison.Entry.Blobs, moved.Entry.Blobs);
        Assert.NotNull(await Blobs.OpenAsync(moved.Entry.Blobs[0].Hash, Cancel));
        Assert.Equal(LinkTombstone.EventType, Quarantine.Outgoing(moved, 0).Type);
        Assert.Equal(LinkTombstone.EventType, Quarantine.Outgoing(moved with { Identity = moved.Identity with { Sequence = 77 } }, 0).Type);

        // Nothing is behind it: it stays where it is.
        await _node.DisposeAsync();
        Open("sqlite", "--storage:keepDeliveredHours=0");
        await ConfirmAsync(31);
        await Retention.RunOnceAsync(Cancel);
        await Retention.RunOnceAsync(Cancel);
        Assert.Equal((30, 31), (Log.Released(Lane.Bulk), Log.Usage(Lane.Bulk).AcceptedEntries));
    }

    [Fact]
    public async Task Nothing_goes_that_a_consumer_has_still_to_read()
    {
        Open("sqlite", "--storage:keepDeliveredHours=0");
        await FillAsync(1, 10);
        await ConfirmAsync(10);
        _consumer.ReadThrough = (await Log.ReadLaneAsync(Lane.Bulk, 6, 1, 1, Cancel))[0].Position;
        await Retention.RunOnceAsync(Cancel);
        Assert.Equal(7, Log.Released(Lane.Bulk));
    }

    [Fact]
    public async Task The_time_that_counts_is_the_time_that_the_node_ran()
    {
        Open("sqlite", "--storage:keepDeliveredHours=24");
        await FillAsync(1, 3);
        await ConfirmAsync(3);
        await RunAsync(TimeSpan.FromHours(20));

        // Off for a year, back with the clock of a board whose battery is empty, then set right by NTP: none of it is running time.
        await _node.DisposeAsync();
        _clock.SetUtcNow(_clock.GetUtcNow().AddYears(1));
        Open("sqlite", "--storage:keepDeliveredHours=24");
        await Retention.RunOnceAsync(Cancel);
        Assert.Equal(0, Log.Released(Lane.Bulk));

        await RunAsync(TimeSpan.FromHours(5));
        Assert.Equal(3, Log.Released(Lane.Bulk));
    }

    private async Task FillAsync(int first, int count)
    {
        for (var i = first; i < first + count; i++)
        {
            var bytes = new byte[1_000_000];
            new Random(i).NextBytes(bytes);
            await using var writer = Blobs.Begin(Lane.Bulk);
            await writer.WriteAsync(bytes, Cancel);
            var blob = await writer.CompleteAsync(Cancel);
            await Log.AppendAsync([new Entry(Lane.Bulk, "test.v1", $"b/{i}", "", 0, "{}"u8.ToArray()) { Blobs = [blob] }], Cancel);
        }
    }

    private async Task ConfirmAsync(long through, long? safe = null)
    {
        await Log.MarkDeliveredAsync(Lane.Bulk, through, Cancel);
        Note(through, safe);
    }

    private void Note(long mark, long? safe) =>
        Retention.Note(new LinkMarks(Log.Epoch, [0, 0, mark, 0], safe is { } s ? [0, 0, s, 0] : null));

    /// <summary>Lets the node run for a time, with a look in each hour.</summary>
    private async Task RunAsync(TimeSpan time)
    {
        var step = time > TimeSpan.FromDays(10) ? time / 4 : TimeSpan.FromHours(1);
        for (var passed = TimeSpan.Zero; passed < time; passed += step)
        {
            await Retention.RunOnceAsync(Cancel);
            _clock.Advance(step);
        }

        await Retention.RunOnceAsync(Cancel);
    }

    private void Open(string store, params string[] settings) => _node = new ServiceHost([
        "--node:siteId=lakeside", $"--node:dataFolder={_folder}", "--web:url=http://127.0.0.1:0", "--log:level=error", "--storage:freeFloorBytes=0",
        "--storage:segmentBytes=4194304", $"--storage:store={store}", .. settings])
        .Add<StationModule>()
        .With(services => services.AddSingleton<TimeProvider>(_clock).AddSingleton<ILogConsumer>(_consumer)).Build();

    private sealed class Consumer : ILogConsumer
    {
        public long ReadThrough { get; set; } = long.MaxValue;

        public string Name => "test";

        public ValueTask<long> ReadThroughAsync(CancellationToken cancellationToken) => new(ReadThrough);
    }
}
