namespace Yizhan.Storage.Tests.Contract;

/// <summary>What makes "once in effect" possible: what one log accepted, another receives.</summary>
public abstract class ReceiveContract : IAsyncLifetime
{
    private StoreFixture _edge = null!, _centre = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _edge = await CreateAsync();
        _centre = await _edge.AnotherAsync("centre");
    }

    public async ValueTask DisposeAsync()
    {
        await _edge.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    protected abstract Task<StoreFixture> CreateAsync();

    [Fact]
    public async Task Entries_keep_the_identity_of_their_first_log_and_move_its_mark()
    {
        var sent = await Accept(3);
        Assert.Equal(3, await _centre.Log.ReceiveAsync(sent, Cancel));
        await _centre.ReopenAsync();
        Assert.Equal(3, await Mark());
        Assert.Equal(sent.Select(e => e.Identity), (await _centre.Log.ReadAllAsync()).Select(e => e.Identity));
        Assert.Equal(sent.Select(e => e.Entry.Id), (await _centre.Log.ReadAllAsync()).Select(e => e.Entry.Id));
        Assert.Equal(0, await _centre.Log.HighWaterMarkAsync(StoreFixture.Site, _edge.Log.Epoch, Lane.Urgent, Cancel));
        Assert.Equal(0, _centre.Log.Usage(Lane.Bulk).Entries);
        Assert.Empty(await _centre.Log.ReadLaneAsync(Lane.Bulk, 0, 10, long.MaxValue, Cancel));
    }

    [Fact]
    public async Task A_retransmission_changes_nothing_and_its_new_part_is_taken()
    {
        var sent = await Accept(6);
        await _centre.Log.ReceiveAsync(sent[..4], Cancel);
        Assert.Equal(4, await _centre.Log.ReceiveAsync(sent[..4], Cancel));
        Assert.Equal(4, await _centre.Log.ReceiveAsync(sent[1..3], Cancel));
        Assert.Equal(6, await _centre.Log.ReceiveAsync(sent[2..], Cancel));
        Assert.Equal(sent.Select(e => e.Identity), (await _centre.Log.ReadAllAsync()).Select(e => e.Identity));
    }

    [Fact]
    public async Task Concurrent_retransmissions_are_taken_once()
    {
        var sent = await Accept(50);
        await Task.WhenAll(Enumerable.Range(0, 20).Select(i => Task.Run(async () => await _centre.Log.ReceiveAsync(sent, Cancel), Cancel)));
        Assert.Equal(sent.Select(e => e.Identity), (await _centre.Log.ReadAllAsync()).Select(e => e.Identity));
    }

    [Fact]
    public async Task After_a_gap_nothing_is_taken_and_the_answer_says_where_to_go_on()
    {
        var sent = await Accept(5);
        await _centre.Log.ReceiveAsync(sent[..2], Cancel);
        Assert.Equal(2, await _centre.Log.ReceiveAsync(sent[3..], Cancel));
        Assert.Equal(2, (await _centre.Log.ReadAllAsync()).Count);
    }

    [Fact]
    public async Task Batches_with_gaps_of_two_lanes_or_of_this_very_log_are_refused()
    {
        var sent = await Accept(3);
        await Refused([sent[0], sent[2]]);
        await Refused([sent[0], sent[1] with { Identity = sent[1].Identity with { Epoch = Guid.CreateVersion7() } }]);
        await Refused([sent[0] with { Identity = sent[0].Identity with { Lane = Lane.Urgent } }]);
        await Refused([sent[0] with { Identity = sent[0].Identity with { Sequence = 0 } }]);
        await Refused([]);
        await Refused([sent[0] with { Identity = sent[0].Identity with { Epoch = _centre.Log.Epoch } }]);
        Assert.Empty(await _centre.Log.ReadAllAsync());

        async Task Refused(LoggedEntry[] batch) => await Assert.ThrowsAsync<ArgumentException>(async () => await _centre.Log.ReceiveAsync(batch, Cancel));
    }

    [Fact]
    public async Task An_entry_waits_for_its_blob()
    {
        var bytes = Given.Bytes(100_000, "blob");
        await _edge.AppendWithBlobAsync("with", bytes);
        var sent = (await _edge.Log.ReadLaneAsync(Lane.Bulk, 0, 10, long.MaxValue, Cancel)).ToArray();
        var missing = await Assert.ThrowsAsync<BlobMissingException>(async () => await _centre.Log.ReceiveAsync(sent, Cancel));
        Assert.Equal(Given.Ref(bytes), missing.Blob);
        Assert.Equal(0, await Mark());

        await _centre.Blobs.PutAsync(Given.Ref(bytes), 0, bytes.AsMemory(0, IBlobStore.ChunkBytes), Cancel);
        await Assert.ThrowsAsync<BlobMissingException>(async () => await _centre.Log.ReceiveAsync(sent, Cancel));
        await _centre.Blobs.PutAsync(Given.Ref(bytes), 0, bytes, Cancel);
        Assert.Equal(1, await _centre.Log.ReceiveAsync(sent, Cancel));
        await _centre.ReopenAsync();
        Assert.Equal(bytes, await _centre.Blobs.ReadAllAsync(Given.Ref(bytes).Hash));
    }

    [Fact]
    public async Task A_restored_site_sends_again_under_its_new_epoch_and_nothing_doubles()
    {
        await _centre.Log.ReceiveAsync(await Accept(3), Cancel);
        await _edge.ReopenAsync(restored: true);
        await _edge.Log.AppendAsync(Given.Entry("new", Lane.Bulk));
        var again = (await _edge.Log.ReadLaneAsync(Lane.Bulk, 0, 10, long.MaxValue, Cancel)).ToArray();
        Assert.Equal(4, await _centre.Log.ReceiveAsync(again, Cancel));
        Assert.Equal(["e0", "e1", "e2", "new"], (await _centre.Log.ReadAllAsync()).Select(e => e.Entry.Id));
        Assert.Equal(4, await Mark());
    }

    [Fact]
    public async Task Two_sites_may_use_the_same_ids()
    {
        var other = await _edge.AnotherAsync("site-b");
        await other.Log.AppendAsync(Given.Entry("e0", Lane.Bulk));
        await _centre.Log.ReceiveAsync(await Accept(1), Cancel);
        await _centre.Log.ReceiveAsync([.. await other.Log.ReadLaneAsync(Lane.Bulk, 0, 10, long.MaxValue, Cancel)], Cancel);
        await _centre.Log.AppendAsync(Given.Entry("e0", Lane.Bulk));
        Assert.Equal([StoreFixture.Site, "site-b", "centre"], (await _centre.Log.ReadAllAsync()).Select(e => e.Identity.Site));
    }

    private async Task<LoggedEntry[]> Accept(int count)
    {
        await _edge.Log.AppendAsync([.. Enumerable.Range(0, count).Select(i => Given.Entry($"e{i}", Lane.Bulk))], Cancel);
        return [.. await _edge.Log.ReadLaneAsync(Lane.Bulk, 0, 1000, long.MaxValue, Cancel)];
    }

    private async Task<long> Mark() => await _centre.Log.HighWaterMarkAsync(StoreFixture.Site, _edge.Log.Epoch, Lane.Bulk, Cancel);
}
