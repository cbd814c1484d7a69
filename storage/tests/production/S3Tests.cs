using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.ProductionTests;

/// <summary>The contract with PostgreSQL and S3: each reopening moves what is full and keeps nothing of it here.</summary>
[Trait("Clause", "D3.5")]
public sealed class S3BlobStoreTests(PostgresServer server, S3Server s3) : BlobStoreContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(PostgresStore.Open(server.ConnectionString, configure: s3.Settings()));
}

[Trait("Clause", "D3.5")]
public sealed class S3EventLogTests(PostgresServer server, S3Server s3) : EventLogContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(PostgresStore.Open(server.ConnectionString, configure: s3.Settings()));
}

[Trait("Clause", "D3.5")]
public sealed class S3ReceiveTests(PostgresServer server, S3Server s3) : ReceiveContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(PostgresStore.Open(server.ConnectionString, configure: s3.Settings()));
}

/// <summary>Segment files in the object store, and what a bad one does.</summary>
[Trait("Clause", "D3.5")]
public sealed class S3Tests(PostgresServer server, S3Server s3)
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Full_files_go_to_the_object_store_and_are_read_from_there_also_after_a_restart()
    {
        await using var store = PostgresStore.Open(server.ConnectionString, configure: s3.Settings());
        var blobs = await FillAsync(store, 12);
        var before = Segments(store).Count;
        Assert.Equal(before - 1, await store.Mover.RunOnceAsync(Cancel));
        Assert.Equal(0, await store.Mover.RunOnceAsync(Cancel));
        await store.Log.AppendAsync(Given.Entry("closes what was given up"));
        Assert.True(Segments(store).Count < before, "No local file was given up.");
        Assert.Equal(before - 1, (await ObjectsAsync(store)).Count);
        await CheckAsync(store, blobs);
        await store.ReopenAsync();
        await CheckAsync(store, blobs);
        Assert.True((await new Verifier(store.Journal, store.Log, store.Blobs, null, null).RunAsync(Cancel)).Ok);

        // What went away is not counted against the room here, and numbers of files are not given twice.
        Assert.True(store.Log.Space.UsedBytes < 8_000_000);
        await CheckAsync(store, [.. blobs, .. await FillAsync(store, 6, "more")]);
    }

    [Fact]
    public async Task What_is_released_is_deleted_there_too()
    {
        await using var store = PostgresStore.Open(server.ConnectionString, configure: s3.Settings());
        await FillAsync(store, 12);
        await store.Mover.RunOnceAsync(Cancel);
        Assert.NotEmpty(await ObjectsAsync(store));
        await store.Log.MarkDeliveredAsync(Lane.Bulk, 12, Cancel);
        await store.Log.ReleaseAsync(Lane.Bulk, 12, Cancel);
        await store.Mover.RunOnceAsync(Cancel);
        Assert.Empty(await ObjectsAsync(store));
        Assert.Equal(0, await store.NumberAsync("SELECT count(*) FROM away"));
    }

    [Fact]
    public async Task Local_copies_stay_while_there_is_room()
    {
        await using var store = PostgresStore.Open(server.ConnectionString, configure: s3.Settings(keepLocalPercent: 90));
        var blobs = await FillAsync(store, 12);
        var before = Segments(store).Count;
        await store.Mover.RunOnceAsync(Cancel);
        Assert.Equal(before, Segments(store).Count);
        await store.ReopenAsync();
        await CheckAsync(store, blobs);

        // The file that was written to before; what is there already is not sent again.
        Assert.Equal(1, await store.Mover.RunOnceAsync(Cancel));
    }

    [Theory]
    [InlineData(S3Line.Fault.Unavailable)]
    [InlineData(S3Line.Fault.Truncated)]
    [InlineData(S3Line.Fault.Changed)]
    public async Task A_fault_that_passes_is_not_noticed_by_who_reads(object fault)
    {
        await using var line = new S3Line(s3.Url);
        await using var store = PostgresStore.Open(server.ConnectionString, configure: s3.Settings(line.Url));
        var blobs = await FillAsync(store, 6);
        if ((S3Line.Fault)fault == S3Line.Fault.Unavailable)
        {
            line.Do((S3Line.Fault)fault, 2);
        }

        Assert.True(await store.Mover.RunOnceAsync(Cancel) > 0);
        line.Do((S3Line.Fault)fault, 1);
        await CheckAsync(store, blobs);
        Assert.Equal(0, line.Left);
    }

    [Fact]
    public async Task An_object_store_that_is_away_stops_neither_the_log_nor_loses_a_file()
    {
        await using var line = new S3Line(s3.Url);
        await using var store = PostgresStore.Open(server.ConnectionString, configure: s3.Settings(line.Url));
        var blobs = await FillAsync(store, 6);
        line.Do(S3Line.Fault.Unavailable, int.MaxValue);
        var failed = await Assert.ThrowsAsync<BlobAwayException>(() => store.Mover.RunOnceAsync(Cancel));
        Assert.Contains("HTTP 503 SlowDown", failed.Message, StringComparison.Ordinal);
        await CheckAsync(store, [.. blobs, .. await FillAsync(store, 6, "while away")]);
        line.Do(S3Line.Fault.Unavailable, 0);
        Assert.True(await store.Mover.RunOnceAsync(Cancel) > 0);
        line.Do(S3Line.Fault.Unavailable, int.MaxValue);
        await Assert.ThrowsAsync<BlobAwayException>(() => CheckAsync(store, blobs));
        Assert.Null(store.Spool.Fault);
        line.Do(S3Line.Fault.Unavailable, 0);
        await CheckAsync(store, blobs);
    }

    [Fact]
    public async Task A_copy_that_does_not_read_back_is_not_relied_on()
    {
        await using var line = new S3Line(s3.Url);
        await using var store = PostgresStore.Open(server.ConnectionString, configure: s3.Settings(line.Url));
        var blobs = await FillAsync(store, 6);
        line.Do(S3Line.Fault.Changed, 1);
        var refused = await Assert.ThrowsAsync<InvalidDataException>(() => store.Mover.RunOnceAsync(Cancel));
        Assert.Contains("gave other bytes back", refused.Message, StringComparison.Ordinal);
        Assert.Equal(0, await store.NumberAsync("SELECT count(*) FROM away"));
        await CheckAsync(store, blobs);
        Assert.True(await store.Mover.RunOnceAsync(Cancel) > 0);
        await CheckAsync(store, blobs);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Bytes_that_were_changed_or_cut_off_in_the_store_are_found_and_named(bool cut)
    {
        await using var store = PostgresStore.Open(server.ConnectionString, configure: s3.Settings());
        var blobs = await FillAsync(store, 6);
        await store.Mover.RunOnceAsync(Cancel);
        var key = (await ObjectsAsync(store))[0];
        var bytes = await s3.ReadAsync(key);
        bytes[1_000_000] ^= 1;
        await s3.ChangeAsync(key, cut ? bytes[..1_000_000] : bytes);
        var report = await new Verifier(store.Journal, store.Log, store.Blobs, null, null).RunAsync(Cancel);
        Assert.False(report.Ok);
        Assert.Null(store.Spool.Fault);
        var bad = 0;
        foreach (var blob in blobs)
        {
            try
            {
                Assert.Equal(blob, await store.Blobs.ReadAllAsync(Given.Ref(blob).Hash));
            }
            catch (Exception e) when (e is InvalidDataException or BlobAwayException)
            {
                bad++;
            }
        }

        Assert.InRange(bad, 1, 5);
    }

    [Fact]
    public async Task Settings_that_cannot_work_stop_the_start_with_their_names()
    {
        Assert.Contains("storage:s3Bucket and storage:s3CredentialsFile", Assert.Throws<InvalidOperationException>(
            () => { PostgresStore.Open(server.ConnectionString, configure: o => o.S3Url = "http://127.0.0.1:1"); }).Message, StringComparison.Ordinal);
        var settings = s3.Settings();
        Assert.Contains("must hold one line: ACCESSKEY:SECRETKEY", Assert.Throws<InvalidOperationException>(() =>
        {
            PostgresStore.Open(server.ConnectionString, configure: o =>
            {
                settings(o);
                File.WriteAllText(o.S3CredentialsFile!, "nonsense");
            });
        }).Message, StringComparison.Ordinal);
        Assert.Contains("of the store 'sqlite': only postgres", Assert.Throws<InvalidOperationException>(() =>
        {
            PostgresStore.Open(server.ConnectionString, configure: o =>
            {
                settings(o);
                o.Store = "sqlite";
            });
        }).Message, StringComparison.Ordinal);
        await Task.CompletedTask;
    }

    private static async Task<List<byte[]>> FillAsync(PostgresStore store, int count, string name = "b")
    {
        var blobs = new List<byte[]>();
        for (var i = 0; i < count; i++)
        {
            blobs.Add(Given.Bytes(1_500_000 + i, $"{name}{i}"));
            await store.AppendWithBlobAsync($"{name}{i}", blobs[^1]);
        }

        return blobs;
    }

    private static async Task CheckAsync(PostgresStore store, List<byte[]> blobs)
    {
        foreach (var blob in blobs)
        {
            Assert.Equal(blob, await store.Blobs.ReadAllAsync(Given.Ref(blob).Hash));
        }
    }

    private static List<string> Segments(PostgresStore store) => [.. Directory.EnumerateFiles(Path.Combine(store.LogFolder, "segments"), "*.seg")];

    private Task<List<string>> ObjectsAsync(PostgresStore store) => s3.ObjectsAsync(store.Options.S3Prefix);
}
