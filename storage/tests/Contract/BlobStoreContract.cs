namespace Yizhan.Storage.Tests.Contract;

/// <summary>What every blob store promises to those who write, transfer and read.</summary>
public abstract class BlobStoreContract : IAsyncLifetime
{
    private const int Chunk = IBlobStore.ChunkBytes;

    private StoreFixture _store = null!;

    private IBlobStore Blobs => _store.Blobs;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _store = await CreateAsync();

    public async ValueTask DisposeAsync()
    {
        await _store.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    protected abstract Task<StoreFixture> CreateAsync();

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(Chunk)]
    [InlineData(525_000)]
    [InlineData(1024 * 1024)]
    [InlineData((3 * 1024 * 1024) + 17)]
    public async Task A_written_blob_reads_back_byte_for_byte_also_after_reopening(int length)
    {
        var bytes = Given.Bytes(length, "w");
        await _store.AppendWithBlobAsync("e", bytes);
        Assert.Equal(bytes, await Blobs.ReadAllAsync(Given.Ref(bytes).Hash));
        await _store.ReopenAsync();
        Assert.Equal(bytes, await Blobs.ReadAllAsync(Given.Ref(bytes).Hash));
        Assert.Empty(await Blobs.MissingAsync(Given.Ref(bytes), Cancel));
    }

    [Fact]
    public async Task Any_range_of_a_blob_can_be_read()
    {
        var bytes = Given.Bytes((2 * 1024 * 1024) + 5000, "r");
        await _store.AppendWithBlobAsync("e", bytes);
        await using var reader = (await Blobs.OpenAsync(Given.Ref(bytes).Hash, Cancel))!;
        Assert.Equal(bytes.Length, reader.Length);
        int[] offsets = [0, 1, Chunk - 1, Chunk, 1024 * 1024 - 7, 1024 * 1024, bytes.Length - 1, bytes.Length, bytes.Length + 5];
        int[] lengths = [1, 100, Chunk, Chunk + 1, 300_000, 2_000_000];
        foreach (var (offset, length) in offsets.SelectMany(o => lengths.Select(l => (o, l))))
        {
            var buffer = new byte[length];
            var read = await reader.ReadAsync(offset, buffer, Cancel);
            Assert.Equal(bytes.Skip(offset).Take(length), buffer.Take(read));
            Assert.Equal(Math.Clamp(bytes.Length - offset, 0, length), read);
        }
    }

    [Fact]
    public async Task Many_writers_at_once_each_get_their_own_bytes()
    {
        await Task.WhenAll(Enumerable.Range(0, 12).Select(i => Task.Run(
            async () => await _store.AppendWithBlobAsync($"e{i}", Given.Bytes(300_000 + (i * 100_000), $"b{i}")), Cancel)));
        await _store.ReopenAsync();
        for (var i = 0; i < 12; i++)
        {
            var bytes = Given.Bytes(300_000 + (i * 100_000), $"b{i}");
            Assert.Equal(bytes, await Blobs.ReadAllAsync(Given.Ref(bytes).Hash));
        }
    }

    [Fact]
    public async Task A_blob_exists_only_once_an_entry_names_it()
    {
        var bytes = Given.Bytes(1000, "n");
        await using (var writer = Blobs.Begin(Lane.Bulk))
        {
            await writer.WriteAsync(bytes, Cancel);
            await writer.CompleteAsync(Cancel);
            Assert.Null(await Blobs.ReadAllAsync(Given.Ref(bytes).Hash));
        }

        await Assert.ThrowsAsync<BlobMissingException>(async () => await _store.Log.AppendAsync(Given.Entry("late", Lane.Bulk, 40, Given.Ref(bytes))));
    }

    [Fact]
    public async Task A_name_with_the_wrong_length_is_refused()
    {
        var bytes = Given.Bytes(1000, "l");
        await _store.AppendWithBlobAsync("e", bytes);
        var wrong = Given.Ref(bytes) with { Length = 999 };
        await Assert.ThrowsAsync<BlobMissingException>(async () => await _store.Log.AppendAsync(Given.Entry("f", Lane.Bulk, 40, wrong)));
        await Assert.ThrowsAsync<ArgumentException>(async () => await Blobs.MissingAsync(wrong, Cancel));
    }

    [Fact]
    public async Task The_same_bytes_are_kept_once_whoever_writes_them()
    {
        await _store.LimitAsync(1024 * 1024 * 1024);
        var bytes = Given.Bytes(700_000, "d");
        await _store.AppendWithBlobAsync("first", bytes);
        var room = _store.Log.Usage(Lane.Bulk).RoomBytes;
        await Task.WhenAll(Enumerable.Range(0, 6).Select(i => Task.Run(async () => await _store.AppendWithBlobAsync($"again{i}", bytes), Cancel)));
        Assert.InRange(room - _store.Log.Usage(Lane.Bulk).RoomBytes, 0, 300_000);
        Assert.Equal(bytes, await Blobs.ReadAllAsync(Given.Ref(bytes).Hash));
        Assert.Equal(7, (await _store.Log.ReadAllAsync()).Count);
    }

    [Fact]
    public async Task Chunks_arrive_in_any_order_and_twice_and_only_the_rest_is_missing()
    {
        var bytes = Given.Bytes((10 * Chunk) + 123, "t");
        var blob = Given.Ref(bytes);
        Assert.Equal([new ByteRange(0, bytes.Length)], await Blobs.MissingAsync(blob, Cancel));
        Assert.False(await Put(blob, bytes, 8 * Chunk, (2 * Chunk) + 123));
        Assert.False(await Put(blob, bytes, 2 * Chunk, 3 * Chunk));
        Assert.False(await Put(blob, bytes, 4 * Chunk, 2 * Chunk));
        Assert.Equal([new ByteRange(0, 2 * Chunk), new ByteRange(6 * Chunk, 2 * Chunk)], await Blobs.MissingAsync(blob, Cancel));
        Assert.Null(await Blobs.ReadAllAsync(blob.Hash));

        await _store.ReopenAsync();
        Assert.Equal([new ByteRange(0, 2 * Chunk), new ByteRange(6 * Chunk, 2 * Chunk)], await Blobs.MissingAsync(blob, Cancel));
        Assert.False(await Put(blob, bytes, 0, 2 * Chunk));
        Assert.True(await Put(blob, bytes, 6 * Chunk, 4 * Chunk));
        Assert.Empty(await Blobs.MissingAsync(blob, Cancel));
        Assert.True(await Put(blob, bytes, 6 * Chunk, 4 * Chunk));
        await _store.ReopenAsync();
        Assert.Equal(bytes, await Blobs.ReadAllAsync(blob.Hash));
    }

    [Fact]
    public async Task Chunks_over_many_connections_at_once_make_one_blob()
    {
        var bytes = Given.Bytes(40 * Chunk, "c");
        var blob = Given.Ref(bytes);
        var puts = Enumerable.Range(0, 40).Concat(Enumerable.Range(0, 40)).Select(i => Task.Run(() => Put(blob, bytes, i * Chunk, Chunk), Cancel));
        Assert.Contains(true, await Task.WhenAll(puts));
        Assert.Empty(await Blobs.MissingAsync(blob, Cancel));
        Assert.Equal(bytes, await Blobs.ReadAllAsync(blob.Hash));
    }

    [Theory]
    [InlineData(2 * Chunk)]
    [InlineData(Chunk)]
    public async Task Wrong_bytes_are_thrown_away_and_the_blob_starts_again(int atOnce)
    {
        var bytes = Given.Bytes(2 * Chunk, "h");
        var blob = Given.Ref(bytes);
        var wrong = bytes.ToArray();
        wrong[Chunk + 5] ^= 1;
        await Assert.ThrowsAsync<InvalidDataException>(async () =>
        {
            for (var at = 0; at < wrong.Length; at += atOnce)
            {
                await Put(blob, wrong, at, atOnce);
            }
        });
        Assert.Equal([new ByteRange(0, bytes.Length)], await Blobs.MissingAsync(blob, Cancel));
        Assert.Null(await Blobs.ReadAllAsync(blob.Hash));
        Assert.True(await Put(blob, bytes, 0, bytes.Length));
        Assert.Equal(bytes, await Blobs.ReadAllAsync(blob.Hash));
    }

    [Theory]
    [InlineData(1, Chunk)]
    [InlineData(0, Chunk - 1)]
    [InlineData(Chunk, 2 * Chunk)]
    [InlineData(-Chunk, Chunk)]
    [InlineData(0, 0)]
    public async Task Bytes_that_are_not_whole_chunks_of_the_blob_are_refused(int offset, int length)
    {
        var bytes = Given.Bytes((2 * Chunk) + 10, "o");
        await Assert.ThrowsAsync<ArgumentException>(async () => await Blobs.PutAsync(Given.Ref(bytes), offset, new byte[length], Cancel));
    }

    [Fact]
    public async Task A_blob_in_transfer_and_written_here_is_whole()
    {
        var bytes = Given.Bytes(3 * Chunk, "p");
        var damaged = bytes.ToArray();
        damaged[7]++;
        await Put(Given.Ref(bytes), damaged, 0, Chunk);
        await _store.AppendWithBlobAsync("e", bytes);
        Assert.Empty(await Blobs.MissingAsync(Given.Ref(bytes), Cancel));
        Assert.Equal(bytes, await Blobs.ReadAllAsync(Given.Ref(bytes).Hash));
    }

    [Fact]
    public async Task A_blob_lives_as_long_as_an_entry_names_it_and_its_space_returns_then()
    {
        await _store.LimitAsync(1024 * 1024 * 1024);
        var bytes = Given.Bytes(900_000, "s");
        var blob = Given.Ref(bytes);
        await _store.AppendWithBlobAsync("one", bytes);
        await _store.AppendWithBlobAsync("two", bytes);
        var room = _store.Log.Usage(Lane.Bulk).RoomBytes;
        await _store.Log.MarkDeliveredAsync(Lane.Bulk, 2, Cancel);
        await _store.Log.ReleaseAsync(Lane.Bulk, 1, Cancel);
        Assert.NotNull(await Blobs.ReadAllAsync(blob.Hash));
        await _store.Log.ReleaseAsync(Lane.Bulk, 2, Cancel);
        Assert.Null(await Blobs.ReadAllAsync(blob.Hash));
        Assert.InRange(_store.Log.Usage(Lane.Bulk).RoomBytes - room, 800_000, 1_000_000);
        await _store.ReopenAsync();
        Assert.Null(await Blobs.ReadAllAsync(blob.Hash));
        await _store.AppendWithBlobAsync("three", bytes);
        Assert.Equal(bytes, await Blobs.ReadAllAsync(blob.Hash));
    }

    [Fact]
    public async Task A_pinned_blob_outlives_its_entries_until_the_last_pin_goes()
    {
        var bytes = Given.Bytes(100_000, "pin");
        var hash = Given.Ref(bytes).Hash;
        await _store.AppendWithBlobAsync("one", bytes);
        await Blobs.PinAsync([hash], "archive", Cancel);
        await Blobs.PinAsync([hash], "archive", Cancel);
        await Blobs.PinAsync([hash], "other", Cancel);
        await _store.Log.MarkDeliveredAsync(Lane.Bulk, 1, Cancel);
        await _store.Log.ReleaseAsync(Lane.Bulk, 1, Cancel);
        await _store.ReopenAsync();
        Assert.Equal(bytes, await Blobs.ReadAllAsync(hash));
        await Blobs.UnpinAsync([hash], "archive", Cancel);
        Assert.NotNull(await Blobs.ReadAllAsync(hash));
        await Blobs.UnpinAsync([hash], "nobody", Cancel);
        await Blobs.UnpinAsync([hash], "other", Cancel);
        Assert.Null(await Blobs.ReadAllAsync(hash));
        await Assert.ThrowsAsync<BlobMissingException>(async () => await Blobs.PinAsync([hash], "archive", Cancel));
    }

    [Fact]
    public async Task Ending_a_pin_leaves_a_blob_that_an_entry_names()
    {
        var bytes = Given.Bytes(10, "pe");
        await _store.AppendWithBlobAsync("one", bytes);
        await Blobs.PinAsync([Given.Ref(bytes).Hash], "archive", Cancel);
        await Blobs.UnpinAsync([Given.Ref(bytes).Hash], "archive", Cancel);
        Assert.Equal(bytes, await Blobs.ReadAllAsync(Given.Ref(bytes).Hash));
    }

    [Fact]
    public async Task A_reader_keeps_its_blob_readable_while_the_space_is_released()
    {
        var bytes = Given.Bytes(2_000_000, "reader");
        await _store.AppendWithBlobAsync("one", bytes);
        await using var reader = (await Blobs.OpenAsync(Given.Ref(bytes).Hash, Cancel))!;
        await _store.Log.MarkDeliveredAsync(Lane.Bulk, 1, Cancel);
        await _store.Log.ReleaseAsync(Lane.Bulk, 1, Cancel);
        for (var i = 0; i < 5; i++)
        {
            // What the space would be used for again.
            await _store.AppendWithBlobAsync($"next{i}", Given.Bytes(2_000_000, $"next{i}"));
        }

        var read = new byte[bytes.Length];
        Assert.Equal(bytes.Length, await reader.ReadAsync(0, read, Cancel));
        Assert.Equal(bytes, read);
    }

    [Fact]
    public async Task Orphans_go_when_asked_and_what_is_named_or_pinned_stays()
    {
        var named = Given.Bytes(Chunk, "named");
        var pinned = Given.Bytes(Chunk, "pinned");
        var orphan = Given.Bytes(Chunk, "orphan");
        var partial = Given.Bytes(2 * Chunk, "partial");
        foreach (var bytes in new[] { named, pinned, orphan })
        {
            Assert.True(await Put(Given.Ref(bytes), bytes, 0, Chunk));
        }

        await Put(Given.Ref(partial), partial, 0, Chunk);
        await _store.Log.AppendAsync(Given.Entry("e", Lane.Bulk, 40, Given.Ref(named)));
        await Blobs.PinAsync([Given.Ref(pinned).Hash], "archive", Cancel);

        await Blobs.ReleaseOrphansAsync(DateTimeOffset.UnixEpoch, Cancel);
        Assert.NotNull(await Blobs.ReadAllAsync(Given.Ref(orphan).Hash));
        await Blobs.ReleaseOrphansAsync(DateTimeOffset.MaxValue, Cancel);
        Assert.Null(await Blobs.ReadAllAsync(Given.Ref(orphan).Hash));
        Assert.Equal([new ByteRange(0, 2 * Chunk)], await Blobs.MissingAsync(Given.Ref(partial), Cancel));
        Assert.Equal(named, await Blobs.ReadAllAsync(Given.Ref(named).Hash));
        Assert.Equal(pinned, await Blobs.ReadAllAsync(Given.Ref(pinned).Hash));
    }

    [Fact]
    public async Task A_writer_that_is_given_up_leaves_its_room()
    {
        await _store.LimitAsync(1024 * 1024 * 1024);
        var room = _store.Log.Usage(Lane.Bulk).RoomBytes;
        for (var i = 0; i < 20; i++)
        {
            await using var writer = Blobs.Begin(Lane.Bulk);
            await writer.WriteAsync(Given.Bytes(1_500_000, $"g{i}"), Cancel);
            Assert.True(_store.Log.Usage(Lane.Bulk).RoomBytes < room);
            if (i % 2 == 0)
            {
                await writer.CompleteAsync(Cancel);
            }
        }

        Assert.Equal(room, _store.Log.Usage(Lane.Bulk).RoomBytes);
    }

    private async Task<bool> Put(BlobRef blob, byte[] bytes, int offset, int length) =>
        await Blobs.PutAsync(blob, offset, bytes.AsMemory(offset, length), Cancel);
}
