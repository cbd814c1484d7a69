namespace Yizhan.Storage.Tests.Contract;

/// <summary>A full disk is said, not suffered.</summary>
public abstract class RoomContract : IAsyncLifetime
{
    private StoreFixture _store = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _store = await CreateAsync();

    public async ValueTask DisposeAsync()
    {
        await _store.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    protected abstract Task<StoreFixture> CreateAsync();

    [Fact]
    public async Task When_bulk_is_full_it_is_refused_and_urgent_entries_still_pass()
    {
        await _store.LimitAsync(64 * 1024 * 1024);
        var kept = await FillBulk();
        Assert.InRange(kept.Count, 30, 64);

        var full = Assert.Throws<SpoolFullException>(() => { _store.Blobs.Begin(Lane.Bulk); });
        Assert.Equal(Lane.Bulk, full.Lane);
        await Assert.ThrowsAsync<SpoolFullException>(async () => await _store.Blobs.PutAsync(
            Given.Ref(Given.Bytes(4_000_000, "put")), 0, Given.Bytes(4_000_000, "put"), Cancel));
        for (var i = 0; i < 200; i++)
        {
            await _store.Log.AppendAsync(Given.Entry($"urgent{i}", Lane.Urgent, 1000));
        }

        Assert.True((await _store.AppendWithBlobAsync("report", Given.Bytes(100_000, "report"), Lane.Urgent)).Identity.Sequence > 0);
        await _store.ReopenAsync();
        foreach (var blob in kept)
        {
            Assert.NotNull(await _store.Blobs.ReadAllAsync(blob));
        }
    }

    [Fact]
    public async Task A_full_spool_drains_by_itself_and_accepts_again()
    {
        await _store.LimitAsync(64 * 1024 * 1024);
        for (var round = 0; round < 3; round++)
        {
            await FillBulk($"r{round}");
            var last = (await _store.Log.ReadLaneAsync(Lane.Bulk, _store.Log.Delivered(Lane.Bulk), 1000, long.MaxValue, Cancel))[^1].Identity.Sequence;
            await _store.Log.MarkDeliveredAsync(Lane.Bulk, last, Cancel);
            await _store.Log.ReleaseAsync(Lane.Bulk, last, Cancel);
        }

        Assert.True(_store.Log.Usage(Lane.Bulk).RoomBytes > 40 * 1024 * 1024);
    }

    [Fact]
    public async Task Entries_alone_fill_their_lane_and_nothing_of_a_refused_call_is_kept()
    {
        await _store.LimitAsync(16 * 1024 * 1024);
        var accepted = 0;
        await Assert.ThrowsAsync<SpoolFullException>(async () =>
        {
            for (var i = 0; i < 100; i++)
            {
                await _store.Log.AppendAsync([Given.Entry($"a{i}", Lane.Telemetry, 400_000), Given.Entry($"b{i}", Lane.Telemetry, 400_000)], Cancel);
                accepted += 2;
            }
        });
        Assert.InRange(accepted, 10, 32);
        Assert.Equal(accepted, (await _store.Log.ReadAllAsync()).Count);
        await _store.Log.AppendAsync(Given.Entry("urgent", Lane.Urgent));
    }

    [Fact]
    public async Task A_writer_that_outgrows_the_room_is_told_and_leaves_nothing()
    {
        await _store.LimitAsync(16 * 1024 * 1024);
        var room = _store.Log.Usage(Lane.Bulk).RoomBytes;
        await using (var writer = _store.Blobs.Begin(Lane.Bulk))
        {
            await Assert.ThrowsAsync<SpoolFullException>(async () =>
            {
                for (var i = 0; i < 40; i++)
                {
                    await writer.WriteAsync(Given.Bytes(1_000_000, $"{i}"), Cancel);
                }
            });
        }

        Assert.Equal(room, _store.Log.Usage(Lane.Bulk).RoomBytes);
    }

    private async Task<List<ContentHash>> FillBulk(string prefix = "b")
    {
        var kept = new List<ContentHash>();
        try
        {
            for (var i = 0; i < 100; i++)
            {
                var bytes = Given.Bytes(1_000_000, $"{prefix}{i}");
                await _store.AppendWithBlobAsync($"{prefix}{i}", bytes);
                kept.Add(Given.Ref(bytes).Hash);
            }
        }
        catch (SpoolFullException)
        {
        }

        return kept;
    }
}
