using Npgsql;
using Yizhan.Drills;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.ProductionTests;

/// <summary>What a database server does to a centre: restarts, kill -9, broken connections, a second centre, a full disk.</summary>
[Trait("Clause", "D3.5")]
public sealed class PostgresFaultTests(PostgresServer server)
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_server_that_is_restarted_or_killed_under_load_loses_and_doubles_nothing(bool kill)
    {
        Assert.SkipWhen(LocalPostgres.Programs is null, "PostgreSQL 15 is not installed: apt-get install postgresql");
        await using var postgres = await LocalPostgres.StartAsync(Cancel);
        await using var store = PostgresStore.Open(postgres.ConnectionString);
        using var enough = new CancellationTokenSource();
        var acknowledged = 0;
        var producers = Enumerable.Range(0, 6).Select(p => Task.Run(async () =>
        {
            var receipts = new List<(string Id, Receipt Receipt)>();
            for (var i = 0; !enough.IsCancellationRequested; i++)
            {
                var id = $"p{p}/{i}";
                receipts.Add((id, await store.Log.AppendAsync(Given.Entry(id))));
                Interlocked.Increment(ref acknowledged);
            }

            return receipts;
        }, Cancel)).ToArray();
        for (var round = 0; round < 3; round++)
        {
            await MoreAsync(() => Volatile.Read(ref acknowledged), 200, producers);
            await (kill ? postgres.KillAsync() : postgres.StopServerAsync(Cancel));
            await postgres.StartServerAsync(Cancel);
        }

        await MoreAsync(() => Volatile.Read(ref acknowledged), 200, producers);
        await enough.CancelAsync();
        var all = (await Task.WhenAll(producers)).SelectMany(r => r).ToList();
        Assert.All(all, r => Assert.False(r.Receipt.AlreadyKnown));
        await store.ReopenAsync();
        var kept = (await store.Log.ReadAllAsync()).ToDictionary(e => e.Entry.Id, e => (e.Identity, e.Position));
        Assert.Equal(all.Count, kept.Count);
        Assert.All(all, r => Assert.Equal((r.Receipt.Identity, r.Receipt.Position), kept[r.Id]));
        Assert.Equal(Enumerable.Range(1, all.Count).Select(i => (long)i), kept.Values.Select(k => k.Identity.Sequence).Order());
        Assert.Null(store.Spool.Fault);
    }

    /// <summary>What is asked for ahead, while the group before is written, does not know that group.</summary>
    [Fact]
    public async Task The_same_facts_from_many_at_once_are_kept_once()
    {
        const int sites = 6, calls = 12, batch = 256;
        await using var store = PostgresStore.Open(server.ConnectionString);
        await Task.WhenAll(Enumerable.Range(0, 3 * sites).Select(n => Task.Run(async () =>
        {
            // A site that was restored, twice: the same facts under other epochs.
            var (site, epoch) = ($"site-{n % sites}", new Guid(Given.Bytes(16, $"epoch {n}")));
            for (var call = 0; call < calls; call++)
            {
                var first = call * batch;
                var mark = await store.Log.ReceiveAsync(
                    [.. Enumerable.Range(first + 1, batch).Select(i => new LoggedEntry(i, new EntryIdentity(site, epoch, Lane.Normal, i), Given.Entry($"e{i}")))], Cancel);
                Assert.Equal(first + batch, mark);
            }
        }, Cancel)));
        Assert.Null(store.Spool.Fault);
        Assert.Equal(sites * calls * batch, await store.NumberAsync("SELECT count(*) FROM entry"));
        Assert.Equal(3 * sites * calls * batch, await store.NumberAsync("SELECT sum(sequence) FROM mark"));
        var kept = await store.Log.ReadAllAsync();
        Assert.Equal(sites * calls * batch, kept.Select(e => (e.Identity.Site, e.Entry.Id)).Distinct().Count());
        Assert.All(kept.Where((_, i) => i % 97 == 0), e => Assert.Equal(Given.Bytes(40, e.Entry.Id), e.Entry.Data.ToArray()));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_commit_whose_answer_was_lost_is_looked_up_and_not_guessed(bool itHappened)
    {
        await using var line = new PostgresLine(server.ConnectionString);
        await using var store = PostgresStore.Open(line.ConnectionString);
        var blob = Given.Bytes(300_000, "b");
        await store.AppendWithBlobAsync("before", blob);
        line.BreakNextCommit(forwardIt: itHappened);
        var receipt = await store.AppendWithBlobAsync("in doubt", blob);
        Assert.Equal((1, itHappened ? 1 : 0), (line.Broken, line.Confirmed));
        Assert.False(receipt.AlreadyKnown);
        await store.Log.AppendAsync(Given.Entry("after"));
        Assert.Equal(["before", "in doubt", "after"], (await store.Log.ReadAllAsync()).Select(e => e.Entry.Id));
        Assert.Equal(3, await store.NumberAsync("SELECT groups FROM log"));
        Assert.Equal(2, await store.NumberAsync("SELECT names FROM blob"));

        // What a release frees is freed once, whichever way its commit went.
        await store.Log.MarkDeliveredAsync(Lane.Bulk, 2, Cancel);
        line.BreakNextCommit(forwardIt: itHappened);
        await store.Log.ReleaseAsync(Lane.Bulk, 2, Cancel);
        Assert.Equal(2, line.Broken);
        Assert.Equal(0, store.Spool.Segments.LiveBytes);
        Assert.Null(await store.Blobs.ReadAllAsync(Given.Ref(blob).Hash));
        Assert.Null(store.Spool.Fault);
    }

    [Fact]
    public async Task A_second_centre_on_one_database_does_not_start_and_is_told_who_has_it()
    {
        await using var store = PostgresStore.Open(server.ConnectionString);
        await store.Log.AppendAsync(Given.Entry("one"));
        var second = Directory.CreateTempSubdirectory("yizhan-second-").FullName;
        try
        {
            var options = With(store.Options, patienceSeconds: 1);
            var refused = Assert.Throws<PostgresHeldException>(() => { store.OpenSecond(Path.Combine(second, "log"), options); });
            Assert.Contains($"open in another centre: yizhan ", refused.Message, StringComparison.Ordinal);
            Assert.Contains($" pid {Environment.ProcessId} ", refused.Message, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(second, recursive: true);
        }

        Assert.Equal(2, (await store.Log.AppendAsync(Given.Entry("two"))).Position);
    }

    [Fact]
    public async Task A_writer_that_lost_its_lease_to_another_commits_nothing_any_more()
    {
        await using var store = PostgresStore.Open(server.ConnectionString);
        await store.Log.AppendAsync(Given.Entry("one"));

        // As a pooler that shares sessions would let it happen: the lock is no protection, the number is.
        await store.NumberAsync("UPDATE log SET fence = fence + 1, owner = 'yizhan elsewhere pid 1' RETURNING fence");
        var refused = await Assert.ThrowsAsync<IOException>(async () => await store.Log.AppendAsync(Given.Entry("two")));
        Assert.Contains("Another centre has taken over the log", refused.Message, StringComparison.Ordinal);
        Assert.Contains("yizhan elsewhere pid 1", refused.Message, StringComparison.Ordinal);
        Assert.Equal(1, await store.NumberAsync("SELECT count(*) FROM entry"));
        Assert.NotNull(store.Spool.Fault);
    }

    [Fact]
    public async Task A_session_that_an_administrator_ends_is_taken_again()
    {
        await using var store = PostgresStore.Open(server.ConnectionString);
        for (var i = 0; i < 5; i++)
        {
            await store.NumberAsync($"SELECT count(pg_terminate_backend({store.Journal.SessionId}))");
            Assert.Equal(i + 1, (await store.Log.AppendAsync(Given.Entry($"e{i}"))).Identity.Sequence);
        }
    }

    [Fact]
    public async Task A_server_that_lost_what_it_had_confirmed_is_not_written_to()
    {
        await using var store = PostgresStore.Open(server.ConnectionString);
        await store.Log.AppendAsync(Given.Entry("one"));
        await store.Log.AppendAsync(Given.Entry("two"));

        // What a standby would hold that was promoted before it had received the last group.
        await store.NumberAsync("UPDATE log SET groups = groups - 1 RETURNING groups");
        await store.NumberAsync($"SELECT count(pg_terminate_backend({store.Journal.SessionId}))");
        var refused = await Assert.ThrowsAsync<IOException>(async () => await store.Log.AppendAsync(Given.Entry("three")));
        Assert.Contains("lost what it had confirmed", refused.Message, StringComparison.Ordinal);
        Assert.Equal(2, await store.NumberAsync("SELECT count(*) FROM entry"));
        await store.NumberAsync("UPDATE log SET groups = groups + 1 RETURNING groups");
    }

    [Fact]
    public async Task Folder_and_database_that_do_not_belong_together_are_not_opened()
    {
        await using var store = PostgresStore.Open(server.ConnectionString);
        await store.AppendWithBlobAsync("one", Given.Bytes(1000, "b"));
        await store.Spool.DisposeAsync();
        var other = Directory.CreateTempSubdirectory("yizhan-other-").FullName;
        try
        {
            // An empty folder over a database that has a log.
            Assert.Contains("holds the log of another data folder", Assert.Throws<InvalidOperationException>(
                () => { store.OpenSecond(Path.Combine(other, "log")); }).Message, StringComparison.Ordinal);

            // A folder that has blobs over an empty database.
            var empty = With(store.Options, PostgresStore.NewSchema());
            Assert.Contains("holds no log, and this node's folder holds the blobs of one", Assert.Throws<InvalidOperationException>(
                () => { store.OpenSecond(store.LogFolder, empty); }).Message, StringComparison.Ordinal);

            // Another site's.
            Assert.Contains("holds the log of site 'site-a', not of 'site-b'", Assert.Throws<InvalidOperationException>(
                () => { store.OpenSecond(store.LogFolder, site: "site-b"); }).Message, StringComparison.Ordinal);

            // As another store.
            var sqlite = With(store.Options, store.Options.PostgresSchema, "sqlite");
            Assert.Contains("holds a log of the store 'postgres', and storage:store is 'sqlite'", Assert.Throws<InvalidOperationException>(
                () => { store.OpenSecond(store.LogFolder, sqlite); }).Message, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(other, recursive: true);
        }

        await store.ReopenAsync();
        Assert.Single(await store.Log.ReadAllAsync());
    }

    [Fact]
    public async Task A_server_that_would_not_survive_a_power_cut_is_refused()
    {
        await using var postgres = await StartOwnAsync();
        await RunAsync(postgres.ConnectionString, "ALTER SYSTEM SET fsync = off");
        await RunAsync(postgres.ConnectionString, "SELECT pg_reload_conf()");
        var refused = Assert.Throws<InvalidOperationException>(() => { PostgresStore.Open(postgres.ConnectionString); });
        Assert.Contains("PostgreSQL's fsync is off; on is needed", refused.Message, StringComparison.Ordinal);
        await RunAsync(postgres.ConnectionString, "ALTER SYSTEM RESET fsync");
        await RunAsync(postgres.ConnectionString, "ALTER ROLE yizhan SET synchronous_commit = off");
        await RunAsync(postgres.ConnectionString, "SELECT pg_reload_conf()");
        await using var store = PostgresStore.Open(postgres.ConnectionString);
        await store.Log.AppendAsync(Given.Entry("the connection asks for what it needs"));
    }

    [Fact]
    public async Task The_script_gives_the_centre_a_role_that_can_write_rows_and_nothing_else()
    {
        await using var postgres = await StartOwnAsync();
        for (var again = 0; again < 2; again++)
        {
            await RunAsync(postgres.ConnectionString, PostgresSchema.Script("event_log"));
        }

        var role = new NpgsqlConnectionStringBuilder(postgres.ConnectionString) { Username = "yizhan_event_log" }.ToString();
        await using (var store = PostgresStore.Open(role, configure: o => o.PostgresSchema = "event_log"))
        {
            await store.AppendWithBlobAsync("one", Given.Bytes(1000, "b"));
            await store.ReopenAsync();
            Assert.Single(await store.Log.ReadAllAsync());
        }

        foreach (var forbidden in new[] { "DROP TABLE event_log.entry", "CREATE TABLE event_log.more (x int)", "ALTER TABLE event_log.log ADD COLUMN x int", "TRUNCATE event_log.entry" })
        {
            Assert.Equal("42501", (await Assert.ThrowsAsync<PostgresException>(() => RunAsync(role, forbidden))).SqlState);
        }

        // A schema that is missing is the administrator's to make, and the message says how.
        var refused = Assert.Throws<InvalidOperationException>(() => { PostgresStore.Open(role, configure: o => o.PostgresSchema = "missing"); });
        Assert.Contains("run 'yizhan database sql | psql'", refused.Message, StringComparison.Ordinal);
        await RunAsync(postgres.ConnectionString, "INSERT INTO event_log.version (number) VALUES (99)");
        refused = Assert.Throws<InvalidOperationException>(() => { PostgresStore.Open(role, configure: o => o.PostgresSchema = "event_log"); });
        Assert.Contains("has version 99, this program knows", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_full_disk_of_the_server_is_said_and_survived()
    {
        var small = Directory.CreateTempSubdirectory("yizhan-pgsmall-").FullName;
        var mounted = OperatingSystem.IsLinux() && await Tests.Crash.LoopDisk.RunAsync("mount", "-t", "tmpfs", "-o", "size=24m,mode=777", "tmpfs", small) == 0;
        try
        {
            Assert.SkipUnless(mounted, "This user may not mount a tmpfs.");
            await using var postgres = await StartOwnAsync();
            await using var store = PostgresStore.Open(postgres.ConnectionString);
            await Tests.Crash.LoopDisk.RunAsync("chown", "postgres", small);
            await RunAsync(postgres.ConnectionString, $"CREATE TABLESPACE small LOCATION '{small}'");
            await File.WriteAllBytesAsync(Path.Combine(small, "ballast"), new byte[1024 * 1024], Cancel);
            await RunAsync(postgres.ConnectionString, $"ALTER TABLE {store.Options.PostgresSchema}.entry SET TABLESPACE small");
            var accepted = 0;
            await Assert.ThrowsAsync<SpoolFullException>(async () =>
            {
                for (var i = 0; i < 100; i++)
                {
                    await store.Log.AppendAsync(Given.Entry($"e{i}", Lane.Normal, 900_000));
                    accepted++;
                }
            });
            Assert.InRange(accepted, 10, 27);
            Assert.Null(store.Spool.Fault);
            Assert.Equal(accepted, (await store.Log.ReadAllAsync()).Count);

            // Room is made, and the sequence goes on without a gap.
            await store.Log.MarkDeliveredAsync(Lane.Normal, accepted, Cancel);
            await store.Log.ReleaseAsync(Lane.Normal, accepted, Cancel);
            File.Delete(Path.Combine(small, "ballast"));
            await RunAsync(postgres.ConnectionString, $"VACUUM {store.Options.PostgresSchema}.entry");
            Assert.Equal(accepted + 1, (await store.Log.AppendAsync(Given.Entry("again", Lane.Normal, 900_000))).Identity.Sequence);
            await store.ReopenAsync();
            Assert.Single(await store.Log.ReadAllAsync());
        }
        finally
        {
            if (mounted)
            {
                await Tests.Crash.LoopDisk.RunAsync("umount", small);
            }

            Directory.Delete(small);
        }
    }

    [Fact]
    public async Task A_log_that_nobody_can_reach_says_so_in_the_end()
    {
        await using var line = new PostgresLine(server.ConnectionString);
        await using var store = PostgresStore.Open(line.ConnectionString, configure: o => o.PostgresPatienceSeconds = 1);
        await store.Log.AppendAsync(Given.Entry("one"));
        line.Close();
        var failed = await Assert.ThrowsAsync<IOException>(async () => await store.Log.AppendAsync(Given.Entry("two")));
        Assert.Contains("PostgreSQL", failed.Message, StringComparison.Ordinal);
        Assert.NotNull(store.Spool.Fault);
    }

    [Fact]
    public void A_connection_file_that_is_none_is_named_and_not_repeated()
    {
        var file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, "Nonsense=secret-word");
            var refused = Assert.Throws<InvalidOperationException>(() => { PostgresStore.Open("x", configure: o => o.PostgresConnectionFile = file); });
            Assert.Contains(file, refused.ToString(), StringComparison.Ordinal);
            Assert.DoesNotContain("secret-word", refused.ToString(), StringComparison.Ordinal);
            refused = Assert.Throws<InvalidOperationException>(() => { PostgresStore.Open("x", configure: o => o.PostgresConnectionFile = null); });
            Assert.Contains("storage:postgresConnectionFile is not set", refused.Message, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static async Task<LocalPostgres> StartOwnAsync()
    {
        Assert.SkipWhen(LocalPostgres.Programs is null, "PostgreSQL 15 is not installed: apt-get install postgresql");
        return await LocalPostgres.StartAsync(Cancel);
    }

    private static StorageOptions With(StorageOptions options, string? schema = null, string store = "postgres", int patienceSeconds = 30) => new()
    {
        Store = store,
        FreeFloorBytes = 0,
        PostgresConnectionFile = options.PostgresConnectionFile,
        PostgresSchema = schema ?? options.PostgresSchema,
        SiteKeyFile = options.SiteKeyFile,
        PostgresPatienceSeconds = patienceSeconds,
    };

    private static async Task RunAsync(string connectionString, string sql)
    {
        await using var source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false });
        await using var command = source.CreateCommand(sql);
        await command.ExecuteNonQueryAsync(Cancel);
    }

    private static async Task MoreAsync(Func<int> count, int more, Task[] producers)
    {
        for (var aim = count() + more; count() < aim;)
        {
            if (producers.FirstOrDefault(p => p.IsFaulted) is { } failed)
            {
                await failed;
            }

            await Task.Delay(5, Cancel);
        }
    }
}
