namespace Yizhan.Storage.Tests.Contract;

/// <summary>What every event log promises to those who append and read.</summary>
public abstract class EventLogContract : IAsyncLifetime
{
    private StoreFixture _store = null!;

    private IEventLog Log => _store.Log;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _store = await CreateAsync();

    public async ValueTask DisposeAsync()
    {
        await _store.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    protected abstract Task<StoreFixture> CreateAsync();

    [Fact]
    public async Task An_entry_comes_back_as_it_was_given()
    {
        var blob = Given.Bytes(100, "b");
        var receipt = await _store.AppendWithBlobAsync("one", blob, Lane.Urgent);
        await _store.ReopenAsync();

        var logged = Assert.Single(await Log.ReadAllAsync());
        Assert.Equal(receipt.Identity, logged.Identity);
        Assert.Equal(receipt.Position, logged.Position);
        var given = Given.Entry("one", Lane.Urgent, 40, Given.Ref(blob));
        Assert.Equal(given.Data.ToArray(), logged.Entry.Data.ToArray());
        Assert.Equal(given with { Data = default, Blobs = [] }, logged.Entry with { Data = default, Blobs = [] });
        Assert.Equal(given.Blobs, logged.Entry.Blobs);
    }

    [Fact]
    public async Task An_entry_without_trace_key_or_data_comes_back_so()
    {
        await Log.AppendAsync(new Entry(Lane.Normal, "t", "i", "", -1, default));
        await _store.ReopenAsync();
        var entry = Assert.Single(await Log.ReadAllAsync()).Entry;
        Assert.Null(entry.TraceParent);
        Assert.Empty(entry.Key);
        Assert.Equal(0, entry.Data.Length);
        Assert.Equal(-1, entry.TimeMs);
    }

    [Fact]
    public async Task Each_lane_counts_from_one_without_gaps_and_goes_on_after_reopening()
    {
        for (var round = 0; round < 2; round++)
        {
            await Log.AppendAsync([Given.Entry($"a{round}", Lane.Bulk), Given.Entry($"b{round}", Lane.Urgent), Given.Entry($"c{round}", Lane.Bulk)], Cancel);
            await _store.ReopenAsync();
        }

        var all = await Log.ReadAllAsync();
        Assert.Equal([1, 2, 3, 4], all.Where(e => e.Identity.Lane == Lane.Bulk).Select(e => e.Identity.Sequence));
        Assert.Equal([1, 2], all.Where(e => e.Identity.Lane == Lane.Urgent).Select(e => e.Identity.Sequence));
        Assert.All(all, e => Assert.Equal((StoreFixture.Site, Log.Epoch), (e.Identity.Site, e.Identity.Epoch)));
        Assert.Equal(all.Select(e => e.Position).Order().Distinct(), all.Select(e => e.Position));
    }

    [Fact]
    public async Task The_same_id_is_kept_once_and_answered_with_the_first_receipt()
    {
        var first = await Log.AppendAsync(Given.Entry("same"));
        Assert.False(first.AlreadyKnown);
        await _store.ReopenAsync();
        var call = await Log.AppendAsync([Given.Entry("same", Lane.Bulk), Given.Entry("new"), Given.Entry("new")], Cancel);

        Assert.Equal(first with { AlreadyKnown = true }, call[0]);
        Assert.False(call[1].AlreadyKnown);
        Assert.Equal(call[1] with { AlreadyKnown = true }, call[2]);
        Assert.Equal(["same", "new"], (await Log.ReadAllAsync()).Select(e => e.Entry.Id));
        Assert.Equal(2, call[1].Identity.Sequence);
    }

    [Fact]
    public async Task Concurrent_producers_get_gapless_sequences_and_one_entry_for_an_id_that_all_send()
    {
        var receipts = await Task.WhenAll(Enumerable.Range(0, 400).Select(i => Task.Run(() => Log.AppendAsync(Given.Entry($"id{i / 2}")), Cancel)));
        Assert.Equal(200, receipts.Count(r => !r.AlreadyKnown));
        Assert.Equal(Enumerable.Range(1, 200).Select(i => (long)i), receipts.Where(r => !r.AlreadyKnown).Select(r => r.Identity.Sequence).Order());
        Assert.Equal(200, (await Log.ReadAllAsync()).Count);
    }

    [Fact]
    public async Task A_call_is_appended_whole_or_not_at_all()
    {
        var absent = Given.Ref(Given.Bytes(10, "absent"));
        var refused = await Assert.ThrowsAsync<BlobMissingException>(
            async () => await Log.AppendAsync([Given.Entry("fine"), Given.Entry("broken", Lane.Normal, 40, absent)], Cancel));
        Assert.Equal(absent, refused.Blob);
        Assert.Empty(await Log.ReadAllAsync());

        // Neither burns a sequence, and the log goes on.
        Assert.Equal(1, (await Log.AppendAsync(Given.Entry("fine"))).Identity.Sequence);
    }

    [Fact]
    public async Task What_breaks_the_bounds_of_an_entry_is_refused()
    {
        await Assert.ThrowsAsync<ArgumentException>(async () => await Log.AppendAsync(Given.Entry(new string('x', 201))));
        await Assert.ThrowsAsync<ArgumentException>(async () => await Log.AppendAsync(Given.Entry("")));
        await Assert.ThrowsAsync<ArgumentException>(async () => await Log.AppendAsync(Given.Entry("big", Lane.Normal, Entry.MaxDataBytes + 1)));
        await Assert.ThrowsAsync<ArgumentException>(async () => await Log.AppendAsync(Given.Entry("lane", (Lane)9)));
        await Log.AppendAsync(Given.Entry(new string('驿', 200), Lane.Normal, Entry.MaxDataBytes));
        Assert.Single(await Log.ReadAllAsync());
    }

    [Fact]
    public async Task Reading_goes_forward_in_pages()
    {
        await Log.AppendAsync([.. Enumerable.Range(0, 10).Select(i => Given.Entry($"e{i}", (Lane)(i % 4)))], Cancel);
        var first = await Log.ReadAsync(0, 4, Cancel);
        var second = await Log.ReadAsync(first[^1].Position, 100, Cancel);
        Assert.Equal(4, first.Count);
        Assert.Equal(Enumerable.Range(0, 10).Select(i => $"e{i}"), first.Concat(second).Select(e => e.Entry.Id));
        Assert.Empty(await Log.ReadAsync(second[^1].Position, 100, Cancel));
    }

    [Fact]
    public async Task Reading_a_lane_stops_at_either_bound_but_gives_at_least_one()
    {
        await Log.AppendAsync([.. Enumerable.Range(1, 6).Select(i => Given.Entry($"e{i}", Lane.Bulk, 1000)), Given.Entry("other", Lane.Urgent)], Cancel);
        Assert.Equal(["e3", "e4"], (await Log.ReadLaneAsync(Lane.Bulk, 2, 2, long.MaxValue, Cancel)).Select(e => e.Entry.Id));
        Assert.Equal(["e1", "e2", "e3"], (await Log.ReadLaneAsync(Lane.Bulk, 0, 100, 3500, Cancel)).Select(e => e.Entry.Id));
        Assert.Equal(["e6"], (await Log.ReadLaneAsync(Lane.Bulk, 5, 100, 1, Cancel)).Select(e => e.Entry.Id));
        Assert.Empty(await Log.ReadLaneAsync(Lane.Bulk, 6, 100, 1, Cancel));
    }

    [Fact]
    public async Task Waiting_ends_with_the_next_entry_and_not_before()
    {
        var position = (await Log.AppendAsync(Given.Entry("first"))).Position;
        await Log.WaitForMoreAsync(position - 1, Cancel);
        var waits = Enumerable.Range(0, 8).Select(_ => Log.WaitForMoreAsync(position, Cancel)).ToArray();
        await Log.MarkDeliveredAsync(Lane.Normal, 1, Cancel);
        Assert.All(waits, w => Assert.False(w.IsCompleted));
        await Log.AppendAsync(Given.Entry("second"));
        await Task.WhenAll(waits).WaitAsync(TimeSpan.FromMinutes(1), Cancel);
        Assert.Single(await Log.ReadAsync(position, 10, Cancel));
    }

    [Fact]
    public async Task Waiting_can_be_given_up()
    {
        using var stop = new CancellationTokenSource();
        var wait = Log.WaitForMoreAsync(0, stop.Token);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => wait);
    }

    [Fact]
    public async Task What_is_delivered_is_remembered_and_never_goes_back()
    {
        await Log.AppendAsync([.. Enumerable.Range(0, 5).Select(i => Given.Entry($"e{i}"))], Cancel);
        await Log.MarkDeliveredAsync(Lane.Normal, 3, Cancel);
        await Log.MarkDeliveredAsync(Lane.Normal, 2, Cancel);
        await _store.ReopenAsync();
        Assert.Equal(3, Log.Delivered(Lane.Normal));
        Assert.Equal(0, Log.Delivered(Lane.Bulk));
        await Assert.ThrowsAnyAsync<ArgumentException>(async () => await Log.MarkDeliveredAsync(Lane.Normal, 6, Cancel));
        Assert.Equal(3, Log.Delivered(Lane.Normal));
    }

    [Fact]
    public async Task Usage_counts_what_waits_with_its_blobs_also_after_reopening()
    {
        Assert.Equal((0L, 0L, (long?)null), Waiting(Lane.Bulk));
        await _store.AppendWithBlobAsync("1", Given.Bytes(5000, "x"));
        await _store.AppendWithBlobAsync("22", Given.Bytes(3000, "y"));
        await Log.AppendAsync(Given.Entry("333", Lane.Bulk, 10));
        Assert.Equal((3L, 5000 + 40 + 3000 + 40 + 10, 1_700_000_000_001L), Waiting(Lane.Bulk));
        Assert.Equal((0L, 0L, (long?)null), Waiting(Lane.Normal));

        await Log.MarkDeliveredAsync(Lane.Bulk, 1, Cancel);
        await _store.ReopenAsync();
        Assert.Equal((2L, 3000 + 40 + 10, 1_700_000_000_002L), Waiting(Lane.Bulk));

        await Log.MarkDeliveredAsync(Lane.Bulk, 3, Cancel);
        Assert.Equal((0L, 0L, (long?)null), Waiting(Lane.Bulk));
        await Log.AppendAsync(Given.Entry("4444", Lane.Bulk, 10));
        Assert.Equal((1L, 10L, 1_700_000_000_004L), Waiting(Lane.Bulk));
    }

    [Fact]
    public async Task Only_what_is_delivered_can_be_released_and_its_sequences_are_not_given_again()
    {
        await Log.AppendAsync([.. Enumerable.Range(0, 600).Select(i => Given.Entry($"e{i}"))], Cancel);
        await Log.MarkDeliveredAsync(Lane.Normal, 599, Cancel);
        await Assert.ThrowsAsync<InvalidOperationException>(async () => await Log.ReleaseAsync(Lane.Normal, 600, Cancel));
        Assert.Equal(600, (await Log.ReadAllAsync()).Count);

        var position = (await Log.ReadAllAsync())[^1].Position;
        await Log.ReleaseAsync(Lane.Normal, 598, Cancel);
        Assert.Equal([599, 600], (await Log.ReadAllAsync()).Select(e => e.Identity.Sequence));
        await Log.MarkDeliveredAsync(Lane.Normal, 600, Cancel);
        await Log.ReleaseAsync(Lane.Normal, 600, Cancel);
        Assert.Empty(await Log.ReadAllAsync());

        await _store.ReopenAsync();
        var next = await Log.AppendAsync(Given.Entry("after"));
        Assert.Equal(601, next.Identity.Sequence);
        Assert.True(next.Position > position);
        Assert.Equal(600, Log.Delivered(Lane.Normal));
        Assert.Equal(1, Log.Usage(Lane.Normal).Entries);
    }

    [Fact]
    public async Task A_restored_log_has_a_new_epoch_and_sends_what_it_keeps_again()
    {
        await Log.AppendAsync([.. Enumerable.Range(0, 5).Select(i => Given.Entry($"e{i}"))], Cancel);
        await Log.MarkDeliveredAsync(Lane.Normal, 3, Cancel);
        await Log.ReleaseAsync(Lane.Normal, 2, Cancel);
        var epoch = Log.Epoch;
        var before = await Log.ReadAllAsync();
        await _store.ReopenAsync();
        Assert.Equal(epoch, Log.Epoch);

        await _store.ReopenAsync(restored: true);
        Assert.NotEqual(epoch, Log.Epoch);
        Assert.Equal(0, Log.Delivered(Lane.Normal));
        Assert.Equal((3L, 3 * 40L), (Log.Usage(Lane.Normal).Entries, Log.Usage(Lane.Normal).Bytes));
        var lane = await Log.ReadLaneAsync(Lane.Normal, 0, 100, long.MaxValue, Cancel);
        Assert.Equal(["e2", "e3", "e4"], lane.Select(e => e.Entry.Id));
        Assert.Equal([1, 2, 3], lane.Select(e => e.Identity.Sequence));
        Assert.All(lane, e => Assert.Equal(Log.Epoch, e.Identity.Epoch));
        Assert.Equal(before.Select(e => e.Position), lane.Select(e => e.Position));
        Assert.Equal(4, (await Log.AppendAsync(Given.Entry("e5"))).Identity.Sequence);
        Assert.True((await Log.AppendAsync(Given.Entry("e4"))).AlreadyKnown);

        var now = Log.Epoch;
        await _store.ReopenAsync();
        Assert.Equal(now, Log.Epoch);
    }

    [Fact]
    public async Task A_cancelled_call_that_was_not_taken_appends_nothing()
    {
        using var stop = new CancellationTokenSource();
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await Log.AppendAsync([Given.Entry("late")], stop.Token));
        Assert.Empty(await Log.ReadAllAsync());
    }

    [Fact]
    public async Task An_entry_is_visible_to_readers_when_it_is_acknowledged()
    {
        for (var i = 0; i < 50; i++)
        {
            var receipt = await Log.AppendAsync(Given.Entry($"e{i}"));
            Assert.Equal($"e{i}", Assert.Single(await Log.ReadAsync(receipt.Position - 1, 10, Cancel)).Entry.Id);
        }
    }

    private (long, long, long?) Waiting(Lane lane) =>
        (Log.Usage(lane).Entries, Log.Usage(lane).Bytes, Log.Usage(lane).OldestMs);
}
