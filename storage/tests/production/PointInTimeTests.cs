using System.Globalization;
using Npgsql;
using Yizhan.Drills;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.ProductionTests;

/// <summary>The server is lost with all that it had, and comes back out of the bucket as it was at a moment; the site sends what is missing since.</summary>
[Trait("Clause", "D8.1")]
public sealed class PointInTimeTests(PostgresServer server, S3Server s3) : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-pitr-").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_lost_database_is_as_it_was_at_a_moment_and_the_site_sends_the_rest_equal_by_hash(bool folderToo)
    {
        await using var site = PostgresStore.Open(server.ConnectionString, "site-b");
        var bucket = Bucket(folderToo ? "all-lost/" : "server-lost/");
        await using var first = await StartWithArchiveAsync(bucket);
        await using var centre = PostgresStore.Open(first.ConnectionString, "centre", s3.Settings());
        var sent = new List<(string Id, byte[] Blob)>();
        await AcceptAsync(site, sent, "before the base backup", 4);
        await SendAsync(site, centre);
        await centre.Mover.RunOnceAsync(Cancel);

        var (code, output) = await RunAsync("backup", ["--connection-file", centre.Options.PostgresConnectionFile!, "--data", centre.Folder, "--site-key", centre.Options.SiteKeyFile!, "--work", _folder, "--json"], bucket);
        Assert.True(code == 0, output);
        await AcceptAsync(site, sent, "before the moment", 3);
        await SendAsync(site, centre);
        var upTo = sent.Count;
        var moment = await MomentAsync(first.ConnectionString);
        await AcceptAsync(site, sent, "after the moment", 3);
        await SendAsync(site, centre);
        await ArchivedAsync(first.ConnectionString);

        // The machine with the server is gone; with the folder, only the site key is left, which was in the safe.
        await centre.CloseAsync();
        await first.KillAsync();
        Directory.Delete(Path.Combine(first.Folder, "data"), recursive: true);
        var data = Path.Combine(_folder, "data");
        if (folderToo)
        {
            Directory.Delete(centre.LogFolder, recursive: true);
        }

        await using var second = await LocalPostgres.StartAsync(Cancel, async to =>
        {
            (code, output) = await RunAsync("restore", ["--to", to, "--before", moment.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture), "--program", Program, .. folderToo ? ["--data", data, "--site-key", centre.Options.SiteKeyFile!] : Array.Empty<string>()], bucket);
            Assert.True(code == 0, output);
        });
        while (await NumberAsync(second.ConnectionString, "SELECT pg_is_in_recovery()::int") == 1)
        {
            await Task.Delay(50, Cancel);
        }

        if (folderToo)
        {
            Directory.Move(Path.Combine(data, "log"), centre.LogFolder);
            Assert.False(File.Exists(Path.Combine(data, "storage", "site.key")), "The key that opens all others left the machine.");
        }

        await centre.OpenAgainAsync(second.ConnectionString, restored: true);
        var mark = await centre.Log.HighWaterMarkAsync("site-b", site.Log.Epoch, Lane.Bulk, Cancel);
        var there = (await centre.Log.ReadAllAsync()).Select(e => e.Entry.Id).ToHashSet(StringComparer.Ordinal);
        Assert.DoesNotContain(there, id => id.StartsWith("after the moment", StringComparison.Ordinal));
        if (folderToo)
        {
            // What was on the lost disk alone is asked for again; what the bucket had is there.
            Assert.InRange(mark, 1, upTo - 1);
            Assert.InRange(there.Count, 1, upTo - 1);
        }
        else
        {
            Assert.Equal(upTo, mark);
            Assert.Equal(upTo, there.Count);
        }

        await SendAsync(site, centre);
        var all = await centre.Log.ReadAllAsync();
        Assert.Equal(sent.Select(s => s.Id).Order(StringComparer.Ordinal), all.Select(e => e.Entry.Id).Order(StringComparer.Ordinal));
        foreach (var (id, blob) in sent)
        {
            Assert.Equal(Given.Ref(blob).Hash, Assert.Single(all.Single(e => e.Entry.Id == id).Entry.Blobs).Hash);
            Assert.Equal(blob, await centre.Blobs.ReadAllAsync(Given.Ref(blob).Hash));
        }

        var verified = await new Verifier(centre.Journal, centre.Log, centre.Blobs, null, null).RunAsync(Cancel);
        Assert.True(verified.Ok);
        Assert.Null(centre.Spool.Fault);
        await centre.ReopenAsync();
        Assert.Equal(sent.Count, (await centre.Log.ReadAllAsync()).Count);
    }

    [Fact]
    public async Task What_services_keep_comes_back_with_the_database_and_the_bucket_shows_nothing_of_it()
    {
        var bucket = Bucket("truths/");
        await using var first = await StartWithArchiveAsync(bucket);
        await using var centre = PostgresStore.Open(first.ConnectionString, "centre", s3.Settings());
        var data = Path.Combine(centre.Folder, "data");
        Directory.CreateDirectory(Path.Combine(data, "log", "keys"));
        var database = Path.Combine(data, "auth", "auth.db");
        Directory.CreateDirectory(Path.GetDirectoryName(database)!);
        using var accounts = SqliteFile.OpenWriter(database, "CREATE TABLE person (name TEXT PRIMARY KEY) STRICT");
        accounts.Command("INSERT INTO person VALUES ('Wang XiaoDong')").Go();
        Write("auth/keys/signing/1.pem", "the signing key");
        Write("audit/tile/0/000", new string('t', 200_000));
        Write("audit/index/000.seg", "made again");
        Write("pacs-gw/archive.db", "made again");
        Write("log/log.db", "another store's");
        File.Copy(centre.Options.SiteKeyFile!, Path.Combine(data, "a-copy-of-the-site-key"));

        // Of a running node: what is committed and still beside the database is in it.
        var (code, output) = await RunAsync("backup", ["--connection-file", centre.Options.PostgresConnectionFile!, "--data", data, "--work", _folder, "--json"], bucket);
        Assert.True(code != 0 && output.Contains("site key", StringComparison.Ordinal), output);
        (code, output) = await RunAsync("backup", ["--connection-file", centre.Options.PostgresConnectionFile!, "--data", data, "--site-key", centre.Options.SiteKeyFile!, "--work", _folder, "--json"], bucket);
        Assert.True(code == 0, output);
        Assert.Empty(Directory.GetDirectories(_folder, "yizhan-base-*"));
        var stored = await s3.ObjectsAsync("truths/base/");
        Assert.Contains(stored, f => f.Contains("node.sealed", StringComparison.Ordinal));
        foreach (var key in stored)
        {
            var bytes = await s3.ReadAsync(key);
            Assert.True(bytes.AsSpan().IndexOf("Wang XiaoDong"u8) < 0 && bytes.AsSpan().IndexOf("the signing key"u8) < 0, key);
        }

        var (server, restored) = (Path.Combine(_folder, "server"), Path.Combine(_folder, "restored"));
        string[] to = ["--to", server, "--data", restored, "--program", Program];
        (code, output) = await RunAsync("restore", to, bucket);
        Assert.True(code != 0 && output.Contains("--site-key", StringComparison.Ordinal), output);
        var other = Path.Combine(_folder, "other.key");
        SiteKeyFile.Open(other, create: true);
        (code, output) = await RunAsync("restore", [.. to, "--site-key", other], bucket);
        Assert.True(code != 0 && output.Contains("was sealed for", StringComparison.Ordinal), output);
        Assert.False(Directory.Exists(restored));
        (code, output) = await RunAsync("restore", [.. to, "--site-key", centre.Options.SiteKeyFile!], bucket);
        Assert.True(code == 0, output);
        Assert.Equal(
            ["audit/tile/0/000", "auth/auth.db", "auth/keys/signing/1.pem", "log/restored"],
            Directory.EnumerateFiles(restored, "*", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(restored, f)).Order(StringComparer.Ordinal));
        using var back = SqliteFile.OpenReader(Path.Combine(restored, "auth", "auth.db"));
        Assert.Equal("Wang XiaoDong", back.Command("SELECT name FROM person").Single());
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(restored, "auth/keys/signing/1.pem")));
        }

        void Write(string path, string text)
        {
            var full = Path.Combine(data, path);
            Directory.CreateDirectory(Path.GetDirectoryName(full)!);
            File.WriteAllText(full, text);
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(full, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(64 * 1024)]
    [InlineData(200_000)]
    public async Task A_sealed_file_is_opened_whole_or_not_at_all(int length)
    {
        var (plain, shut, opened) = (Path.Combine(_folder, "plain"), Path.Combine(_folder, "sealed"), Path.Combine(_folder, "opened"));
        var key = SiteKeyFile.Open(Path.Combine(_folder, "its.key"), create: true);
        await File.WriteAllBytesAsync(plain, Given.Bytes(length, "sealed"), Cancel);
        SealedFile.Seal(key, plain, shut);
        SealedFile.Open(key, shut, opened);
        Assert.Equal(await File.ReadAllBytesAsync(plain, Cancel), await File.ReadAllBytesAsync(opened, Cancel));

        var whole = await File.ReadAllBytesAsync(shut, Cancel);
        var begin = whole.Length - length - (DataKey.TagBytes * Math.Max(1, (length + 65535) / 65536));
        var cuts = new[] { whole.Length - 1, begin, begin + 65536 + DataKey.TagBytes }.Where(at => at < whole.Length).Distinct();
        foreach (var bytes in cuts.Select(at => whole[..at]).Append([.. whole[..^1], (byte)(whole[^1] ^ 1)]).Append([.. whole, 0]))
        {
            await File.WriteAllBytesAsync(shut, bytes, Cancel);
            Assert.Throws<InvalidDataException>(() => SealedFile.Open(key, shut, opened));
        }
    }

    [Fact]
    public async Task A_file_of_the_log_is_kept_once_and_never_written_over()
    {
        using var archive = new PostgresArchive(Bucket("once/"), TimeProvider.System);
        var file = Path.Combine(_folder, "000000010000000000000007");
        await File.WriteAllBytesAsync(file, Given.Bytes(9_000_000, "wal"), Cancel);
        Assert.False(await archive.GetWalAsync("000000010000000000000007", file + ".back", Cancel));
        await archive.PutWalAsync(file, Cancel);
        await archive.PutWalAsync(file, Cancel);
        Assert.True(await archive.GetWalAsync("000000010000000000000007", file + ".back", Cancel));
        Assert.Equal(await File.ReadAllBytesAsync(file, Cancel), await File.ReadAllBytesAsync(file + ".back", Cancel));

        await File.WriteAllBytesAsync(file, Given.Bytes(9_000_000, "of another server"), Cancel);
        var refused = await Assert.ThrowsAsync<InvalidDataException>(() => archive.PutWalAsync(file, Cancel));
        Assert.Contains("does another server write to this prefix?", refused.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<ArgumentException>(() => archive.GetWalAsync("../other", file, Cancel));
    }

    [Fact]
    public async Task A_recovery_is_stopped_and_not_ended_when_the_bucket_is_away_or_gives_other_bytes()
    {
        var options = Bucket("away/");
        using var archive = new PostgresArchive(options, TimeProvider.System);
        var file = Path.Combine(_folder, "000000010000000000000001");
        await File.WriteAllBytesAsync(file, Given.Bytes(100_000, "wal"), Cancel);
        await archive.PutWalAsync(file, Cancel);
        var back = Path.Combine(_folder, "back");
        Assert.Equal(0, (await RunAsync("fetch", [Path.GetFileName(file), back], options)).Code);
        Assert.Equal(1, (await RunAsync("fetch", ["000000010000000000000002", back], options)).Code);

        var stored = Assert.Single(await s3.ObjectsAsync("away/wal/"));
        var bytes = await s3.ReadAsync(stored);
        bytes[5000] ^= 1;
        await s3.ChangeAsync(stored, bytes);
        var (code, output) = await RunAsync("fetch", [Path.GetFileName(file), back], options);
        Assert.Equal(150, code);
        Assert.Contains("has other bytes than were written", output, StringComparison.Ordinal);
        await using var line = new S3Line(s3.Url);
        line.Do(S3Line.Fault.Unavailable, int.MaxValue);
        options.S3Url = line.Url.ToString();
        (code, output) = await RunAsync("fetch", [Path.GetFileName(file), back], options);
        Assert.Equal(150, code);
        Assert.Contains("HTTP 503", output, StringComparison.Ordinal);
    }

    private static string Program => Path.Combine(AppContext.BaseDirectory, "..", "..", "Cli", "release", "Yizhan.Cli");

    /// <summary>The server's user reads the credentials.</summary>
    private StorageOptions Bucket(string prefix)
    {
        var credentials = Path.Combine(_folder, "credentials");
        File.WriteAllText(credentials, s3.Credentials);
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(_folder, (UnixFileMode)0b111_101_101);
        }

        return new StorageOptions { S3Url = s3.Url.ToString(), S3Bucket = s3.Bucket, S3CredentialsFile = credentials, S3Prefix = prefix };
    }

    private static string[] Arguments(StorageOptions bucket) =>
        ["--s3-url", bucket.S3Url!, "--s3-bucket", bucket.S3Bucket!, "--s3-credentials-file", bucket.S3CredentialsFile!, "--s3-prefix", bucket.S3Prefix];

    private static async Task<(int Code, string Output)> RunAsync(string verb, string[] arguments, StorageOptions bucket)
    {
        using var process = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo(Program, ["database", verb, .. arguments, .. Arguments(bucket)])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var errors = process.StandardError.ReadToEndAsync(Cancel);
        var output = await process.StandardOutput.ReadToEndAsync(Cancel) + await errors;
        await process.WaitForExitAsync(Cancel);
        return (process.ExitCode, output);
    }

    private static async Task<LocalPostgres> StartWithArchiveAsync(StorageOptions bucket)
    {
        Assert.SkipWhen(LocalPostgres.Programs is null, "PostgreSQL 15 is not installed: apt-get install postgresql");
        var postgres = await LocalPostgres.StartAsync(Cancel);
        var command = string.Join(' ', Arguments(bucket).Select(a => $"\"{a}\""));
        await ExecuteAsync(postgres.ConnectionString, "ALTER SYSTEM SET archive_mode = on");
        await ExecuteAsync(postgres.ConnectionString, $"ALTER SYSTEM SET archive_command = '{Program} database archive %p {command}'");
        await postgres.StopServerAsync(Cancel);
        await postgres.StartServerAsync(Cancel);
        return postgres;
    }

    private static async Task AcceptAsync(PostgresStore site, List<(string Id, byte[] Blob)> sent, string name, int count)
    {
        for (var i = 0; i < count; i++)
        {
            var blob = Given.Bytes(1_500_000 + i, $"{name}{i}");
            await site.AppendWithBlobAsync($"{name} {i}", blob);
            sent.Add(($"{name} {i}", blob));
        }
    }

    /// <summary>As a station does it: what of each blob the centre misses, then the entries behind its mark.</summary>
    private static async Task SendAsync(PostgresStore site, PostgresStore centre)
    {
        var epoch = site.Log.Epoch;
        while (await site.Log.ReadLaneAsync(Lane.Bulk, await centre.Log.HighWaterMarkAsync("site-b", epoch, Lane.Bulk, Cancel), 1, long.MaxValue, Cancel) is [var next])
        {
            foreach (var blob in next.Entry.Blobs)
            {
                var bytes = await site.Blobs.ReadAllAsync(blob.Hash);
                foreach (var missing in await centre.Blobs.MissingAsync(blob, Cancel))
                {
                    for (var at = missing.Offset; at < missing.Offset + missing.Length; at += IBlobStore.ChunkBytes)
                    {
                        await centre.Blobs.PutAsync(blob, at, bytes.AsMemory((int)at, (int)Math.Min(IBlobStore.ChunkBytes, missing.Offset + missing.Length - at)), Cancel);
                    }
                }
            }

            await centre.Log.ReceiveAsync([next], Cancel);
        }
    }

    private static async Task<DateTime> MomentAsync(string connectionString)
    {
        await using var source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false });
        await using var command = source.CreateCommand("SELECT clock_timestamp()");
        var moment = ((DateTime)(await command.ExecuteScalarAsync(Cancel))!).ToUniversalTime();
        await Task.Delay(20, Cancel);
        return moment;
    }

    private static async Task ArchivedAsync(string connectionString)
    {
        await using var source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false });
        await using var last = source.CreateCommand("SELECT pg_walfile_name(pg_switch_wal())");
        var wanted = (string)(await last.ExecuteScalarAsync(Cancel))!;
        while (true)
        {
            await using var archived = source.CreateCommand("SELECT coalesce(last_archived_wal, ''), coalesce(last_failed_wal, '') FROM pg_stat_archiver");
            await using var row = await archived.ExecuteReaderAsync(Cancel);
            await row.ReadAsync(Cancel);
            Assert.Equal("", row.GetString(1));
            if (string.CompareOrdinal(row.GetString(0), 0, wanted, 0, wanted.Length) >= 0)
            {
                return;
            }

            await Task.Delay(50, Cancel);
        }
    }

    private static async Task<long> NumberAsync(string connectionString, string sql)
    {
        await using var source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false });
        await using var command = source.CreateCommand(sql);
        return Convert.ToInt64(await command.ExecuteScalarAsync(Cancel), CultureInfo.InvariantCulture);
    }

    private static async Task ExecuteAsync(string connectionString, string sql)
    {
        await using var source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false });
        await using var command = source.CreateCommand(sql);
        await command.ExecuteNonQueryAsync(Cancel);
    }
}
