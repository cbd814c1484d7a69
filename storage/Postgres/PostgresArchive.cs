using System.Diagnostics;
using System.Formats.Tar;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Npgsql;

namespace Yizhan.Storage;

/// <summary>
/// Base backups and write-ahead log of a centre's PostgreSQL in a bucket elsewhere: enough to put the database back as it was at any moment since the first of them.
/// Entries in it are as sealed as they are in the database; the keys of days and what services keep beside the log go with each base backup, the site key that opens them never does.
/// </summary>
/// <remarks>
/// <c>wal/NAME</c>, <c>base/NAME/base.tar</c>, <c>base/NAME/backup_manifest</c>, <c>base/NAME/node.sealed</c>, <c>base/NAME/log/...</c>, and <c>base/catalog.json</c>, which says what there is: a bucket
/// is never listed. Every object says its SHA-256, and what is fetched is compared with it.
/// </remarks>
/// <param name="options">The settings <c>s3Url</c>, <c>s3Bucket</c>, <c>s3Region</c>, <c>s3Prefix</c>, <c>s3CredentialsFile</c> and <c>s3LockDays</c>.</param>
/// <param name="clock">For the lock of objects.</param>
public sealed class PostgresArchive(StorageOptions options, TimeProvider clock) : IDisposable
{
    private const string Catalog = "base/catalog.json";

    /// <summary>What services keep beside the log: a tar, sealed for the site key.</summary>
    private const string Node = "node.sealed";

    private readonly S3Store _store = new(options, clock);

    /// <summary>
    /// Keeps a finished file of the write-ahead log: PostgreSQL's <c>archive_command</c>. It is in the bucket, read back, when this returns; the server keeps its own until
    /// then. The same file again changes nothing.
    /// </summary>
    /// <exception cref="InvalidDataException">Another file of this name is there: two servers write to one place.</exception>
    /// <exception cref="BlobAwayException">The bucket does not answer; the server tries again.</exception>
    public async Task PutWalAsync(string path, CancellationToken cancellationToken)
    {
        var key = KeyOf($"wal/{Name(Path.GetFileName(path))}");
        var hash = await File.ReadAllBytesAsync(path, cancellationToken).ConfigureAwait(false);
        var own = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(hash));
        if (await _store.FindAsync(key, cancellationToken).ConfigureAwait(false) is { } there)
        {
            if (there.Sha256 == own && there.Length == hash.Length)
            {
                return;
            }

            throw new InvalidDataException(
                $"{key} is in the bucket with other bytes ({there.Length}, SHA-256 {there.Sha256}) than {path} has ({hash.Length}, {own}): does another server write to this prefix? It was left as it is.");
        }

        await _store.PutFileAsync(key, path, cancellationToken).ConfigureAwait(false);
        if (Convert.ToHexStringLower(await _store.HashAsync(key, hash.Length, cancellationToken).ConfigureAwait(false)) != own)
        {
            await _store.DeleteAsync(key, cancellationToken).ConfigureAwait(false);
            throw new BlobAwayException($"The bucket gave other bytes back than it was given for {key}.");
        }
    }

    /// <summary>Fetches a file of the write-ahead log: PostgreSQL's <c>restore_command</c>. False when the bucket has none of that name, which is how a recovery finds its end.</summary>
    public Task<bool> GetWalAsync(string name, string to, CancellationToken cancellationToken) => _store.TryGetFileAsync(KeyOf($"wal/{Name(name)}"), to, cancellationToken);

    /// <summary>Makes a base backup with <c>pg_basebackup</c> and brings it to the bucket.</summary>
    /// <param name="connectionFile">A file with one line, as <c>storage:postgresConnectionFile</c>; its role may replicate.</param>
    /// <param name="dataFolder">The centre's data folder: the keys of its days and what services keep there go along; null: nothing does.</param>
    /// <param name="siteKeyFile">The site key, for which the services' files are sealed; null: the one in the data folder.</param>
    /// <param name="workFolder">Where there is room for one backup meanwhile.</param>
    /// <param name="cancellationToken">Breaks it off; what is in the bucket then is in no catalog.</param>
    /// <exception cref="InvalidOperationException">The database archives nothing, <c>pg_basebackup</c> failed, or there is no site key; the message says which and why.</exception>
    public async Task<BaseBackup> BackupAsync(string connectionFile, string? dataFolder, string? siteKeyFile, string workFolder, CancellationToken cancellationToken)
    {
        var siteKey = dataFolder is null ? null : SiteKeyFile.Open(siteKeyFile ?? Path.Combine(dataFolder, Backup.SiteKeyPath), create: false);
        var connection = new NpgsqlConnectionStringBuilder((await File.ReadAllTextAsync(connectionFile, cancellationToken).ConfigureAwait(false)).Trim()) { Pooling = false };
        var began = await AskAsync(connection, "SELECT clock_timestamp()", cancellationToken).ConfigureAwait(false);
        if ((string)await ScalarAsync(connection, "SELECT current_setting('archive_mode')", cancellationToken).ConfigureAwait(false) == "off")
        {
            throw new InvalidOperationException("PostgreSQL's archive_mode is off: a base backup without the log behind it cannot be restored. Set archive_mode and archive_command first.");
        }

        const string failing = "SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)::int FROM pg_stat_archiver";
        if ((int)await ScalarAsync(connection, failing, cancellationToken).ConfigureAwait(false) == 1)
        {
            throw new InvalidOperationException("PostgreSQL's archive_command fails: its log says why. A base backup would wait for it, and could not be restored without it.");
        }

        var name = began.UtcDateTime.ToString("yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture);
        var work = Path.Combine(workFolder, $"yizhan-base-{name}");
        var aside = work + "-node";
        CreateOwn(work);
        try
        {
            if (siteKey is not null)
            {
                // Before the database: what a service says it has read is in the log that is restored beside it.
                CreateOwn(aside);
                await PackAsync(dataFolder!, aside, siteKey, cancellationToken).ConfigureAwait(false);
            }

            // Without the log in it: the server answers once its archive has all that the backup needs.
            await DumpAsync(connection, work, cancellationToken).ConfigureAwait(false);
            var files = new List<string> { "base.tar", "backup_manifest" };
            if (Directory.GetFiles(work).Select(Path.GetFileName).Except(files).FirstOrDefault() is { } other)
            {
                throw new InvalidOperationException($"The database has a table space of its own ({other}); only the default one is backed up.");
            }

            foreach (var file in files)
            {
                await _store.PutFileAsync(KeyOf($"base/{name}/{file}"), Path.Combine(work, file), cancellationToken).ConfigureAwait(false);
            }

            if (siteKey is not null)
            {
                await _store.PutFileAsync(KeyOf($"base/{name}/{Node}"), Path.Combine(aside, Node), cancellationToken).ConfigureAwait(false);
                files.Add(Node);
            }

            foreach (var file in NodeFiles(dataFolder))
            {
                await _store.PutFileAsync(KeyOf($"base/{name}/{file}"), Path.Combine(dataFolder!, file), cancellationToken).ConfigureAwait(false);
                files.Add(file);
            }

            var ended = await AskAsync(connection, "SELECT clock_timestamp()", cancellationToken).ConfigureAwait(false);
            var backup = new BaseBackup(name, began.ToUnixTimeMilliseconds(), ended.ToUnixTimeMilliseconds(), new FileInfo(Path.Combine(work, "base.tar")).Length, files) { SiteKey = siteKey?.Id };
            var catalog = Path.Combine(work, "catalog.json");
            var all = await CatalogAsync(catalog, cancellationToken).ConfigureAwait(false);
            await File.WriteAllBytesAsync(catalog, JsonSerializer.SerializeToUtf8Bytes([.. all, backup], BackupJson.Default.BaseBackupArray), cancellationToken).ConfigureAwait(false);
            await _store.PutFileAsync(KeyOf(Catalog), catalog, cancellationToken).ConfigureAwait(false);
            return backup;
        }
        finally
        {
            Directory.Delete(work, recursive: true);
            if (Directory.Exists(aside))
            {
                Directory.Delete(aside, recursive: true);
            }
        }
    }

    /// <summary>
    /// Puts the newest base backup that ended before a time into an empty folder, so that a server that is started there recovers up to that time and goes on. Nothing else is
    /// started or changed.
    /// </summary>
    /// <param name="before">The moment to restore to; null: as far as the log in the bucket goes.</param>
    /// <param name="to">Folder of the server's data: empty or not there yet.</param>
    /// <param name="restoreCommand">What the server runs for each file of the log, with <c>%f</c> and <c>%p</c>.</param>
    /// <param name="dataFolder">Where the centre's data folder begins anew with the keys and the services' files of that backup; null: they are not wanted.</param>
    /// <param name="siteKeyFile">The site key, which opens the services' files.</param>
    /// <param name="cancellationToken">Breaks it off.</param>
    /// <exception cref="InvalidDataException">There is no such backup, or it is damaged.</exception>
    /// <exception cref="InvalidOperationException">The site key is needed and not named, or is another one. Nothing was written.</exception>
    public async Task<BaseBackup> RestoreAsync(DateTimeOffset? before, string to, string restoreCommand, string? dataFolder, string? siteKeyFile, CancellationToken cancellationToken)
    {
        foreach (var folder in new[] { to, dataFolder }.OfType<string>().Where(f => Directory.Exists(f) && Directory.EnumerateFileSystemEntries(f).Any()))
        {
            throw new IOException($"{folder} is not empty: what is there is not overwritten. Name a folder that is empty or not there yet.");
        }

        CreateOwn(to);
        var tar = Path.Combine(to, "base.tar");
        var all = await CatalogAsync(tar, cancellationToken).ConfigureAwait(false);
        var backup = all.LastOrDefault(b => before is null || b.EndedMs <= before.Value.ToUnixTimeMilliseconds())
            ?? throw new InvalidDataException(all.Length == 0 ? $"The bucket has no base backup below '{options.S3Prefix}'."
                : $"No base backup ended before {before:u}; the oldest ended {DateTimeOffset.FromUnixTimeMilliseconds(all[0].EndedMs):u}.");
        var siteKey = dataFolder is not null && backup.Files.Contains(Node) ? KeyFor(backup, siteKeyFile) : null;
        await GetAsync($"base/{backup.Name}/base.tar", tar, cancellationToken).ConfigureAwait(false);
        await TarFile.ExtractToDirectoryAsync(tar, to, overwriteFiles: false, cancellationToken).ConfigureAwait(false);
        File.Delete(tar);
        await GetAsync($"base/{backup.Name}/backup_manifest", Path.Combine(to, "backup_manifest"), cancellationToken).ConfigureAwait(false);
        var settings = new StringBuilder().AppendLine().AppendLine("# Written by yizhan database restore.")
            .AppendLine(CultureInfo.InvariantCulture, $"restore_command = '{restoreCommand.Replace("'", "''", StringComparison.Ordinal)}'")
            .AppendLine("recovery_target_action = 'promote'");
        if (before is { } time)
        {
            settings.AppendLine(CultureInfo.InvariantCulture, $"recovery_target_time = '{time.UtcDateTime:yyyy-MM-dd HH:mm:ss.ffffff}+00'");
        }

        await File.AppendAllTextAsync(Path.Combine(to, "postgresql.auto.conf"), settings.ToString(), cancellationToken).ConfigureAwait(false);
        DurableFile.Write(Path.Combine(to, "recovery.signal"), []);
        if (siteKey is not null)
        {
            CreateOwn(dataFolder!);
            await UnpackAsync(backup, siteKey, dataFolder!, cancellationToken).ConfigureAwait(false);
        }

        foreach (var file in dataFolder is null ? [] : backup.Files.Where(f => f.StartsWith("log/", StringComparison.Ordinal)))
        {
            var path = Path.Combine(dataFolder!, file);
            CreateOwn(Path.GetDirectoryName(path)!);
            await GetAsync($"base/{backup.Name}/{file}", path, cancellationToken).ConfigureAwait(false);
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }
        }

        if (dataFolder is not null)
        {
            CreateOwn(Path.Combine(dataFolder, "log"));
            LogMaintenance.MarkRestored(Path.Combine(dataFolder, "log"));
        }

        return backup;
    }

    private static SiteKeyFile KeyFor(BaseBackup backup, string? siteKeyFile)
    {
        var key = SiteKeyFile.Open(
            siteKeyFile ?? throw new InvalidOperationException(
                $"Accounts, certificates and what services owe are in this backup, sealed for the site key {backup.SiteKey}: name its file, which is in the safe, with --site-key."), create: false);
        return key.Id == backup.SiteKey ? key : throw new InvalidOperationException($"{siteKeyFile} is the site key {key.Id}; this backup was sealed for {backup.SiteKey}.");
    }

    /// <summary>Copies, packs and seals what services keep; only the sealed file stays.</summary>
    private static async Task PackAsync(string dataFolder, string work, SiteKeyFile siteKey, CancellationToken cancellationToken)
    {
        var (copies, tar) = (Path.Combine(work, "node"), Path.Combine(work, "node.tar"));
        CreateOwn(copies);
        Backup.CopyTruths(dataFolder, copies, cancellationToken);
        await TarFile.CreateFromDirectoryAsync(copies, tar, includeBaseDirectory: false, cancellationToken).ConfigureAwait(false);
        SealedFile.Seal(siteKey, tar, Path.Combine(work, Node));
        Directory.Delete(copies, recursive: true);
        File.Delete(tar);
    }

    private async Task UnpackAsync(BaseBackup backup, SiteKeyFile siteKey, string dataFolder, CancellationToken cancellationToken)
    {
        var (sealedTar, tar) = (Path.Combine(dataFolder, Node), Path.Combine(dataFolder, "node.tar"));
        try
        {
            await GetAsync($"base/{backup.Name}/{Node}", sealedTar, cancellationToken).ConfigureAwait(false);
            SealedFile.Open(siteKey, sealedTar, tar);
            await TarFile.ExtractToDirectoryAsync(tar, dataFolder, overwriteFiles: false, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            File.Delete(sealedTar);
            File.Delete(tar);
        }

        foreach (var directory in Directory.GetDirectories(dataFolder, "*", SearchOption.AllDirectories).Append(dataFolder))
        {
            DurableFile.FlushFolder(directory);
        }
    }

    /// <summary>The base backups of the bucket, the oldest first.</summary>
    public async Task<IReadOnlyList<BaseBackup>> ListAsync(CancellationToken cancellationToken)
    {
        var aside = Path.GetTempFileName();
        try
        {
            return await CatalogAsync(aside, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            File.Delete(aside);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _store.Dispose();

    private static void CreateOwn(string folder)
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(folder);
        }
        else
        {
            Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    /// <summary>Keys of days and the folder's number; below <c>log/</c>, so that a restored folder has them where they were.</summary>
    private static IEnumerable<string> NodeFiles(string? dataFolder) => dataFolder is null ? []
        : Directory.GetFiles(Path.Combine(dataFolder, Backup.KeyFolder), "*.key").Select(f => $"{Backup.KeyFolder}/{Path.GetFileName(f)}").Order(StringComparer.Ordinal);

    /// <summary>A name of PostgreSQL's: of a segment, a history or a backup's label.</summary>
    private static string Name(string name) => name.Length is > 0 and <= 80 && name.All(c => char.IsAsciiLetterOrDigit(c) || c == '.') && name[0] != '.'
        ? name : throw new ArgumentException($"'{name}' is no name of a file of the write-ahead log; accepted are letters, digits and '.'.");

    private string KeyOf(string name) => options.S3Prefix + name;

    private async Task GetAsync(string name, string path, CancellationToken cancellationToken)
    {
        if (!await _store.TryGetFileAsync(KeyOf(name), path, cancellationToken).ConfigureAwait(false))
        {
            throw new InvalidDataException($"The bucket has no {KeyOf(name)}, which its catalog names.");
        }
    }

    private async Task<BaseBackup[]> CatalogAsync(string aside, CancellationToken cancellationToken)
    {
        if (!await _store.TryGetFileAsync(KeyOf(Catalog), aside, cancellationToken).ConfigureAwait(false))
        {
            return [];
        }

        var all = JsonSerializer.Deserialize(await File.ReadAllBytesAsync(aside, cancellationToken).ConfigureAwait(false), BackupJson.Default.BaseBackupArray)!;
        File.Delete(aside);
        return all;
    }

    private static async Task<DateTimeOffset> AskAsync(NpgsqlConnectionStringBuilder connection, string sql, CancellationToken cancellationToken) =>
        new(DateTime.SpecifyKind((DateTime)await ScalarAsync(connection, sql, cancellationToken).ConfigureAwait(false), DateTimeKind.Utc));

    private static async Task<object> ScalarAsync(NpgsqlConnectionStringBuilder connection, string sql, CancellationToken cancellationToken)
    {
        var source = NpgsqlDataSource.Create(connection);
        await using var disposed = source.ConfigureAwait(false);
        var command = source.CreateCommand(sql);
        await using var disposedToo = command.ConfigureAwait(false);
        return (await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false))!;
    }

    private static async Task DumpAsync(NpgsqlConnectionStringBuilder connection, string work, CancellationToken cancellationToken)
    {
        // In the environment, where no other user reads it; arguments are everybody's.
        var start = new ProcessStartInfo("pg_basebackup", ["-D", work, "-F", "tar", "-X", "none", "-c", "fast", "--manifest-checksums=SHA256", "--no-password"])
        {
            RedirectStandardError = true,
            Environment =
            {
                ["PGHOST"] = connection.Host,
                ["PGPORT"] = connection.Port.ToString(CultureInfo.InvariantCulture),
                ["PGUSER"] = connection.Username,
                ["PGPASSWORD"] = connection.Password,
                ["PGSSLROOTCERT"] = connection.RootCertificate,
                ["PGSSLMODE"] = connection.SslMode switch
                {
                    SslMode.VerifyFull => "verify-full",
                    SslMode.VerifyCA => "verify-ca",
                    var mode => mode.ToString().ToLowerInvariant(),
                },
            },
        };
        using var process = Process.Start(start) ?? throw new InvalidOperationException("'pg_basebackup' could not be started: install postgresql-client.");
        string said;
        try
        {
            said = await process.StandardError.ReadToEndAsync(cancellationToken).ConfigureAwait(false);
            await process.WaitForExitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            throw;
        }

        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"pg_basebackup ended with code {process.ExitCode}: {said.Trim()}");
        }
    }
}

/// <summary>A base backup of a database in a bucket.</summary>
/// <param name="Name">Its name, of the time when it was begun.</param>
/// <param name="BeganMs">When it was begun by the server's clock, Unix milliseconds UTC.</param>
/// <param name="EndedMs">When it was complete: the earliest moment that can be restored from it.</param>
/// <param name="Bytes">Bytes of the database in it.</param>
/// <param name="Files">Its files.</param>
public sealed record BaseBackup(string Name, long BeganMs, long EndedMs, long Bytes, IReadOnlyList<string> Files)
{
    /// <summary>Id of the site key that opens the services' files in it; null when it has none.</summary>
    public string? SiteKey { get; init; }
}
