using System.Collections.Concurrent;
using System.Diagnostics;
using Microsoft.Data.Sqlite;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests;

/// <summary>Online backups of a folder that is worked on, what is restored from them, and what verification finds.</summary>
public sealed class BackupTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-backup-").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Data => Path.Combine(_folder, "data");

    private string Backups => Path.Combine(_folder, "backups");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("sqlite")]
    [InlineData("segments")]
    [Trait("Clause", "D4.6")]
    public async Task A_backup_under_load_is_whole_and_has_everything_that_was_acknowledged_before_it(string kind)
    {
        await using var store = LocalStore.Open(kind, folder: Path.Combine(Data, "log"));
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var acknowledged = new ConcurrentDictionary<string, (ContentHash Hash, long Sequence)>();
        var producers = Enumerable.Range(0, 3).Select(p => Task.Run(() => ProduceAsync(store, p, acknowledged, stop.Token), Cancel)).ToArray();
        var releasing = Task.Run(() => ReleaseAsync(store, stop.Token), Cancel);
        for (var round = 1; round <= 3; round++)
        {
            while (acknowledged.Count < round * 40)
            {
                await Task.Delay(1, Cancel);
            }

            var before = acknowledged.ToArray();
            await BackUpAsync(store);
            var released = store.Log.Released(Lane.Bulk);

            var restored = Path.Combine(_folder, $"restored{round}");
            Restore.Run(Backups, restored);
            await using var copy = LocalStore.Open(kind, folder: Path.Combine(restored, "log"));
            Assert.NotEqual(store.Log.Epoch, copy.Log.Epoch);
            var report = await VerifyAsync(copy);
            Assert.True(report.Ok, string.Join('\n', report.Damaged));
            var there = (await copy.Log.ReadAllAsync()).Select(e => e.Entry.Id).ToHashSet();
            Assert.NotEmpty(there);

            // Released ones were proven elsewhere: all others are here, each with its bytes.
            Assert.All(before.Where(b => !there.Contains(b.Key)), b => Assert.InRange(b.Value.Sequence, 1, released));
            foreach (var id in there.Where(acknowledged.ContainsKey))
            {
                await using var blob = await copy.Blobs.OpenAsync(acknowledged[id].Hash, Cancel);
                Assert.NotNull(blob);
            }
        }

        await stop.CancelAsync();
        await Task.WhenAll([.. producers, releasing]);
        Assert.Null(store.Spool.Fault);
    }

    [Theory]
    [InlineData("sqlite")]
    [InlineData("segments")]
    public async Task A_second_backup_copies_only_what_is_new_and_the_first_stays_whole(string kind)
    {
        await using var store = LocalStore.Open(kind, folder: Path.Combine(Data, "log"));
        for (var i = 0; i < 12; i++)
        {
            await store.AppendWithBlobAsync($"a{i}", Given.Bytes(1_000_000, $"a{i}"));
        }

        var first = await BackUpAsync(store);
        await store.ReopenAsync();
        await store.AppendWithBlobAsync("b", Given.Bytes(500_000, "b"));
        var second = await BackUpAsync(store);
        Assert.InRange(second.CopiedBytes, 500_000, 6_000_000);
        Assert.True(second.Bytes > 2 * second.CopiedBytes);

        // What both share must not change under the first: release and write over everything in between.
        await store.Log.MarkDeliveredAsync(Lane.Bulk, 13, Cancel);
        await store.Log.ReleaseAsync(Lane.Bulk, 13, Cancel);
        await store.ReopenAsync();
        for (var i = 0; i < 12; i++)
        {
            await store.AppendWithBlobAsync($"c{i}", Given.Bytes(1_000_000, $"c{i}"));
        }

        await BackUpAsync(store);
        foreach (var (backup, count) in new[] { (first, 12), (second, 13) })
        {
            var to = Path.Combine(_folder, Path.GetFileName(backup.Folder));
            Restore.Run(backup.Folder, to);
            await using var copy = LocalStore.Open(kind, folder: Path.Combine(to, "log"));
            Assert.True((await VerifyAsync(copy)).Ok);
            Assert.Equal(count, (await copy.Log.ReadAllAsync()).Count);
        }
    }

    [Theory]
    [InlineData("sqlite")]
    [InlineData("segments")]
    public async Task A_file_whose_end_was_used_again_is_not_taken_for_the_one_that_was_copied(string kind)
    {
        await using var store = LocalStore.Open(kind, folder: Path.Combine(Data, "log"));
        await store.AppendWithBlobAsync("stays", Given.Bytes(500_000, "stays"), Lane.Normal);
        await store.AppendWithBlobAsync("goes", Given.Bytes(500_000, "goes"));
        await BackUpAsync(store);
        await store.Log.MarkDeliveredAsync(Lane.Bulk, 1, Cancel);
        await store.Log.ReleaseAsync(Lane.Bulk, 1, Cancel);
        await store.ReopenAsync();
        await store.AppendWithBlobAsync("comes", Given.Bytes(500_000, "comes"));
        await BackUpAsync(store);

        Restore.Run(Backups, Path.Combine(_folder, "to"));
        await using var copy = LocalStore.Open(kind, folder: Path.Combine(_folder, "to", "log"));
        var report = await VerifyAsync(copy);
        Assert.True(report.Ok, string.Join('\n', report.Damaged));
        Assert.Equal(["stays", "comes"], (await copy.Log.ReadAllAsync()).Select(e => e.Entry.Id));
    }

    [Fact]
    [System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
    public async Task What_is_beside_the_log_is_in_the_backup_and_a_private_file_stays_private()
    {
        Directory.CreateDirectory(Path.Combine(Data, "service", "tree"));
        await File.WriteAllTextAsync(Path.Combine(Data, "service", "tree", "checkpoint"), "note", Cancel);
        var key = Path.Combine(Data, "service", "key.pem");
        await File.WriteAllTextAsync(key, "secret", Cancel);
        File.SetUnixFileMode(key, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        using var live = SqliteFile.OpenWriter(Path.Combine(Data, "service", "index.db"), "CREATE TABLE a (x)");
        using var insert = new SqliteCommand("INSERT INTO a VALUES (7)", live);
        insert.ExecuteNonQuery();

        await using (var store = LocalStore.Open("sqlite", folder: Path.Combine(Data, "log")))
        {
            await BackUpAsync(store);
        }

        var to = Path.Combine(_folder, "to");
        Restore.Run(Backups, to);
        Assert.Equal("note", await File.ReadAllTextAsync(Path.Combine(to, "service", "tree", "checkpoint"), Cancel));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(to, "service", "key.pem")));
        using var restored = SqliteFile.OpenReader(Path.Combine(to, "service", "index.db"));
        using var select = new SqliteCommand("SELECT x FROM a", restored);
        Assert.Equal(7L, select.ExecuteScalar());
        Assert.False(File.Exists(Path.Combine(to, "service", "index.db-wal.tmp")));
    }

    [Fact]
    public async Task A_backup_that_was_broken_off_is_none_and_a_damaged_one_is_named()
    {
        await using var store = LocalStore.Open("sqlite", folder: Path.Combine(Data, "log"));
        await store.AppendWithBlobAsync("a", Given.Bytes(500_000, "a"));
        var good = await BackUpAsync(store);
        Directory.CreateDirectory(Path.Combine(Backups, "000002", "log"));
        Assert.Equal(good.Folder, Backup.Newest(Backups).Folder);

        var segment = Directory.GetFiles(Path.Combine(good.Folder, "log", "segments")).Single();
        using (var file = File.OpenWrite(segment))
        {
            file.Position = 100_000;
            file.WriteByte(1);
            file.WriteByte(2);
        }

        var damaged = Assert.Throws<InvalidDataException>(() => Restore.Run(Backups, Path.Combine(_folder, "to")));
        Assert.Contains(Path.GetFileName(segment), damaged.Message, StringComparison.Ordinal);

        // What was begun can never start with the old epoch.
        Assert.True(File.Exists(Path.Combine(_folder, "to", "log", Spool.RestoredMarker)));
        Assert.Contains("not empty", Assert.Throws<IOException>(() => Restore.Run(Backups, Path.Combine(_folder, "to"))).Message, StringComparison.Ordinal);
        Assert.Contains("no complete backup", Assert.Throws<InvalidDataException>(() => Restore.Run(_folder, Path.Combine(_folder, "x"))).Message, StringComparison.Ordinal);

        // The next one removes what was broken off.
        await BackUpAsync(store);
        Assert.False(Directory.Exists(Path.Combine(Backups, "000002")));
    }

    [Fact]
    [Trait("Clause", "D8.1")]
    public async Task A_copy_elsewhere_is_verified_without_restoring_it_and_what_is_wrong_is_named()
    {
        await using var store = LocalStore.Open("segments", folder: Path.Combine(Data, "log"));
        await store.AppendWithBlobAsync("a", Given.Bytes(500_000, "a"));
        var made = await BackUpAsync(store);
        var copy = Path.Combine(_folder, "off-site");
        foreach (var file in Directory.GetFiles(made.Folder, "*", SearchOption.AllDirectories))
        {
            var to = Path.Combine(copy, Path.GetRelativePath(made.Folder, file));
            Directory.CreateDirectory(Path.GetDirectoryName(to)!);
            File.Copy(file, to);
        }

        BackupCheck Check(string? pinned) => Restore.Verify(copy, pinned, null, null, Cancel);
        Assert.Empty(Check(made.ManifestSha256).Problems);
        Assert.Equal((made.Files, made.Bytes), (Check(null).Manifest!.Files.Count, Check(null).Bytes));

        // One byte, one byte less, one file less, one file more: each is named, and all of them together.
        var segment = Directory.GetFiles(Path.Combine(copy, "log", "segments")).First();
        var key = Directory.GetFiles(Path.Combine(copy, "log", "keys")).Single();
        using (var file = File.OpenWrite(segment))
        {
            file.Position = 100_000;
            file.Write("not what was written"u8);
        }

        Assert.Equal([$"'log/segments/{Path.GetFileName(segment)}' is damaged: its SHA-256 is not what the manifest says."], Check(made.ManifestSha256).Problems);
        using (var file = File.OpenWrite(segment))
        {
            file.SetLength(file.Length - 1);
        }

        File.Delete(key);
        File.WriteAllText(Path.Combine(copy, "log", "extra"), "x");
        Assert.Equal(
            [$"'log/keys/{Path.GetFileName(key)}' is missing.", "'log/extra' is not of this backup."],
            Check(made.ManifestSha256).Problems.Where(p => !p.Contains("bytes; the manifest says", StringComparison.Ordinal)));
        Assert.Equal(3, Check(made.ManifestSha256).Problems.Count);

        // Who writes files can write a manifest that fits them: only the pinned digest tells.
        Directory.Delete(copy, recursive: true);
        await store.AppendWithBlobAsync("b", Given.Bytes(100_000, "b"));
        Directory.Move((await BackUpAsync(store)).Folder, copy);
        Assert.Empty(Check(null).Problems);
        Assert.Contains("it is another backup, or somebody has changed it", Assert.Single(Check(made.ManifestSha256).Problems), StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Clause", "D8.1")]
    public async Task The_newest_backup_before_a_time_is_restored()
    {
        await using var store = LocalStore.Open("sqlite", folder: Path.Combine(Data, "log"));
        for (var hour = 0; hour < 3; hour++)
        {
            await store.AppendWithBlobAsync($"h{hour}", Given.Bytes(1000, $"h{hour}"));
            await BackUpAsync(store);
            store.Clock.Advance(TimeSpan.FromHours(1));
        }

        var began = store.Clock.GetUtcNow() - TimeSpan.FromHours(3);
        Restore.Run(Backups, Path.Combine(_folder, "to"), before: began + TimeSpan.FromMinutes(90));
        await using var copy = LocalStore.Open("sqlite", folder: Path.Combine(_folder, "to", "log"));
        Assert.Equal(["h0", "h1"], (await copy.Log.ReadAllAsync()).Select(e => e.Entry.Id));
        Assert.Contains("begun before", Assert.Throws<InvalidDataException>(() => Restore.Run(Backups, Path.Combine(_folder, "x"), before: began)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("sqlite")]
    [InlineData("segments")]
    public async Task A_copy_by_rsync_to_a_second_disk_can_be_restored(string kind)
    {
        Assert.SkipUnless(File.Exists("/usr/bin/rsync"), "rsync is not installed.");
        await using var store = LocalStore.Open(kind, folder: Path.Combine(Data, "log"));
        var second = Path.Combine(_folder, "second-disk");
        for (var round = 0; round < 2; round++)
        {
            await store.AppendWithBlobAsync($"r{round}", Given.Bytes(700_000, $"r{round}"));
            await BackUpAsync(store);

            // The command of docs/operations/backup.md.
            using var rsync = Process.Start("/usr/bin/rsync", ["-aHS", "--delete", Backups + "/", second + "/"]);
            await rsync.WaitForExitAsync(Cancel);
            Assert.Equal(0, rsync.ExitCode);
        }

        Directory.Delete(Backups, recursive: true);
        Restore.Run(second, Path.Combine(_folder, "to"));
        await using var copy = LocalStore.Open(kind, folder: Path.Combine(_folder, "to", "log"));
        Assert.True((await VerifyAsync(copy)).Ok);
        Assert.Equal(["r0", "r1"], (await copy.Log.ReadAllAsync()).Select(e => e.Entry.Id));
    }

    [Theory]
    [InlineData("sqlite")]
    [InlineData("segments")]
    public async Task Verification_names_the_damaged_entry_and_the_damaged_blob_with_the_entry_that_needs_it(string kind)
    {
        await using var store = LocalStore.Open(kind, folder: Path.Combine(Data, "log"), encrypt: false);
        var bytes = Given.Bytes(300_000, "image");
        await store.AppendWithBlobAsync("whole", Given.Bytes(300_000, "other"));
        await store.AppendWithBlobAsync("image", bytes);
        await store.Log.AppendAsync(Given.Entry("text", Lane.Normal) with { Data = "{\"needle\":1}"u8.ToArray() });
        Assert.True((await VerifyAsync(store)).Ok);

        Damage(Directory.GetFiles(Path.Combine(Data, "log", "segments"), "*.seg"), bytes.AsSpan(100_000, 64));
        if (kind == "segments")
        {
            Damage(Directory.GetFiles(Path.Combine(Data, "log", "segments"), "*.seg"), "{\"needle\":1}"u8);
        }
        else
        {
            using var db = new SqliteConnection($"Data Source={Path.Combine(Data, "log", "log.db")};Pooling=False");
            db.Open();
            using var update = new SqliteCommand("UPDATE entry SET data = CAST('{\"needle\":2}' AS BLOB) WHERE id = 'text'", db);
            Assert.Equal(1, update.ExecuteNonQuery());
        }

        var report = await VerifyAsync(store);
        Assert.Equal(2, report.Damaged.Count);
        var blob = Assert.Single(report.Damaged, d => d.Kind == "blob");
        Assert.Equal((Given.Ref(bytes).Hash.ToString(), "image"), (blob.Name, blob.EntryId));
        Assert.Contains("fails its checksum", blob.Reason, StringComparison.Ordinal);
        var entry = Assert.Single(report.Damaged, d => d.Kind == "entry");
        Assert.Contains("Entry 3 is damaged", entry.Reason, StringComparison.Ordinal);
        Assert.Equal(2, report.Entries);
    }

    [Fact]
    public async Task The_database_is_in_the_shape_that_litestream_copies()
    {
        // litestream holds a read transaction open, copies the pages of the write-ahead log, and checkpoints by itself.
        await using var store = LocalStore.Open("sqlite", folder: Path.Combine(Data, "log"));
        store.Options.CheckpointedBy = "litestream";
        await store.ReopenAsync();
        var path = Path.Combine(Data, "log", "log.db");
        using var litestream = new SqliteConnection($"Data Source={path};Pooling=False");
        litestream.Open();
        Assert.Equal("wal", Scalar(litestream, "PRAGMA journal_mode"));
        Assert.Equal("normal", Scalar(litestream, "PRAGMA locking_mode"));
        Scalar(litestream, "CREATE TABLE IF NOT EXISTS _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)");
        var data = new byte[60_000];
        for (var i = 0; i < 700; i++)
        {
            await store.Log.AppendAsync([.. Enumerable.Range(0, 2).Select(j => Given.Entry($"{i}.{j}", Lane.Normal) with { Data = data })], Cancel);
        }

        // Far beyond the size at which SQLite would checkpoint by itself, nothing was taken out of the log behind litestream's back.
        Assert.InRange(new FileInfo(path + "-wal").Length, 40_000L * 1024, long.MaxValue);

        // A reader that holds its moment for long stops nobody.
        Scalar(litestream, "BEGIN; SELECT count(*) FROM _litestream_seq");
        await store.Log.AppendAsync(Given.Entry("meanwhile", Lane.Normal));
        Scalar(litestream, "ROLLBACK");
        Assert.Equal("0", Scalar(litestream, "PRAGMA wal_checkpoint(TRUNCATE)"));
        Assert.Equal(0, new FileInfo(path + "-wal").Length);

        // Database and log as files, as a replica restores them.
        await store.Log.AppendAsync(Given.Entry("last", Lane.Normal));
        var replica = Path.Combine(_folder, "replica.db");
        File.Copy(path, replica);
        File.Copy(path + "-wal", replica + "-wal");
        using var restored = new SqliteConnection($"Data Source={replica};Pooling=False");
        restored.Open();
        Assert.Equal("ok", Scalar(restored, "PRAGMA integrity_check"));
        Assert.Equal("1402", Scalar(restored, "SELECT count(*) FROM entry"));
    }

    private static string Scalar(SqliteConnection connection, string sql)
    {
        using var command = new SqliteCommand(sql, connection);
        return $"{command.ExecuteScalar()}";
    }

    private static async Task<VerifyReport> VerifyAsync(LocalStore store) =>
        await new Verifier(store.Spool.Journal, store.Log, store.Blobs, null, null).RunAsync(Cancel);

    private async Task<BackupReport> BackUpAsync(LocalStore store) =>
        (await new Backup(store.Spool, Data, store.Clock).RunAsync(Backups, 7, Cancel)).Report;

    private static async Task ProduceAsync(LocalStore store, int producer, ConcurrentDictionary<string, (ContentHash, long)> acknowledged, CancellationToken stop)
    {
        for (var i = 0; !stop.IsCancellationRequested && i < 2000; i++)
        {
            var bytes = Given.Bytes(20_000 + (i % 7 * 40_000), $"{producer}.{i}");
            var receipt = await store.AppendWithBlobAsync($"{producer}.{i}", bytes);
            acknowledged[$"{producer}.{i}"] = (Given.Ref(bytes).Hash, receipt.Identity.Sequence);
        }
    }

    /// <summary>As a site under pressure does: the older half is proven and goes.</summary>
    private static async Task ReleaseAsync(LocalStore store, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            var through = (store.Log.Delivered(Lane.Bulk) + store.Log.Usage(Lane.Bulk).Entries) / 2;
            if (through > store.Log.Delivered(Lane.Bulk))
            {
                await store.Log.MarkDeliveredAsync(Lane.Bulk, through, Cancel);
                await store.Log.ReleaseAsync(Lane.Bulk, through, Cancel);
            }

            await Task.Delay(1, Cancel);
        }
    }

    /// <summary>Flips a bit of the first occurrence.</summary>
    private static void Damage(string[] files, ReadOnlySpan<byte> needle)
    {
        foreach (var path in files)
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            var all = new byte[file.Length];
            file.ReadExactly(all);
            if (all.AsSpan().IndexOf(needle) is var at and >= 0)
            {
                file.Position = at;
                file.WriteByte((byte)(all[at] ^ 1));
                return;
            }
        }

        Assert.Fail("It is in no file.");
    }
}
