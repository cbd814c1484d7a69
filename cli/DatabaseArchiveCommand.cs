using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Yizhan.Storage;

namespace Yizhan.Cli;

/// <summary><c>yizhan database archive|fetch|backup|backups|restore</c>: a centre's PostgreSQL in a bucket elsewhere, and back from there to any moment.</summary>
internal static class DatabaseArchiveCommand
{
    // PostgreSQL takes 1 to 125 of a restore_command for "there is no such file", and ends the recovery where it is: only what is above stops it.
    private const int Fine = 0, NoSuchFile = 1, Failed = 1, StopRecovery = 150;

    public static IEnumerable<Command> Create()
    {
        yield return Archive();
        yield return Fetch();
        yield return Back();
        yield return List();
        yield return Restore();
    }

    private static Command Archive()
    {
        var bucket = new Bucket();
        var path = new Argument<FileInfo>("path") { Description = "The file: %p of PostgreSQL." };
        var command = bucket.AddTo(new Command("archive", """
            Brings one finished file of the write-ahead log to the bucket: the archive_command of PostgreSQL. Durable there and read back when it ends with 0.

            Examples:
              archive_command = 'yizhan database archive %p --s3-url https://s3.elsewhere.example --s3-bucket yizhan-wal --s3-credentials-file /etc/yizhan/wal.credentials'
            """) { path });
        command.SetAction((parsed, cancellationToken) => RunAsync(bucket, parsed, Failed, async archive =>
        {
            await archive.PutWalAsync(parsed.GetValue(path)!.FullName, cancellationToken);
            return Fine;
        }));
        return command;
    }

    private static Command Fetch()
    {
        var bucket = new Bucket();
        var name = new Argument<string>("name") { Description = "The file's name: %f of PostgreSQL." };
        var path = new Argument<FileInfo>("path") { Description = "Where it goes: %p of PostgreSQL." };
        var command = bucket.AddTo(new Command("fetch", """
            Fetches one file of the write-ahead log from the bucket: the restore_command of PostgreSQL. Ends with 1 when there is none of that name, which ends a recovery,
            and with 150 when the bucket cannot be asked or has other bytes than were written, which stops the recovery so that it does not end too early.

            Examples:
              restore_command = 'yizhan database fetch %f %p --s3-url https://s3.elsewhere.example --s3-bucket yizhan-wal --s3-credentials-file /etc/yizhan/wal.credentials'
            """) { name, path });
        command.SetAction((parsed, cancellationToken) => RunAsync(bucket, parsed, StopRecovery, async archive =>
            await archive.GetWalAsync(parsed.GetValue(name)!, parsed.GetValue(path)!.FullName, cancellationToken) ? Fine : NoSuchFile));
        return command;
    }

    private static Command Back()
    {
        var bucket = new Bucket();
        var connection = new Option<FileInfo>("--connection-file") { Description = "File with one line, as storage:postgresConnectionFile; its role may replicate.", Required = true };
        var data = Data("The centre's data folder: the keys of its days go along, and, sealed for the site key, accounts, certificates and what services owe and were told. The site key never does.");
        var siteKey = SiteKey("The site key, where storage:siteKeyFile names another place than the data folder.");
        var work = new Option<DirectoryInfo?>("--work") { Description = "Where there is room for the backup meanwhile. Default: the folder for temporary files." };
        var json = new Option<bool>("--json") { Description = "Print one JSON object last." };
        var command = bucket.AddTo(new Command("backup", """
            Makes a base backup of the database with pg_basebackup and brings it to the bucket, with what services keep in the data folder beside the database. Daily; the log behind
            it comes by archive_command. The centre may be running.

            Examples:
              yizhan database backup --connection-file /etc/yizhan/backup.connection --data /var/lib/yizhan \
                --s3-url https://s3.elsewhere.example --s3-bucket yizhan-wal --s3-credentials-file /etc/yizhan/wal.credentials --json
            """) { connection, data, siteKey, work, json });
        command.SetAction((parsed, cancellationToken) => RunAsync(bucket, parsed, Failed, async archive =>
        {
            var made = await archive.BackupAsync(
                parsed.GetValue(connection)!.FullName, parsed.GetValue(data)?.FullName, parsed.GetValue(siteKey)?.FullName, parsed.GetValue(work)?.FullName ?? Path.GetTempPath(), cancellationToken);
            Say(parsed.GetValue(json), made, $"Base backup {made.Name}: {made.Bytes} bytes, {made.Files.Count} files. Every moment from {Time(made.EndedMs)} on can be restored.");
            return Fine;
        }));
        return command;
    }

    private static Command List()
    {
        var bucket = new Bucket();
        var json = new Option<bool>("--json") { Description = "Print one JSON object last." };
        var command = bucket.AddTo(new Command("backups", """
            Says which base backups the bucket has.

            Examples:
              yizhan database backups --s3-url https://s3.elsewhere.example --s3-bucket yizhan-wal --s3-credentials-file /etc/yizhan/wal.credentials
            """) { json });
        command.SetAction((parsed, cancellationToken) => RunAsync(bucket, parsed, Failed, async archive =>
        {
            var all = await archive.ListAsync(cancellationToken);
            Say(parsed.GetValue(json), new { backups = all }, all.Count == 0 ? "None." : string.Join('\n', all.Select(b => $"{b.Name}  from {Time(b.EndedMs)} on  {b.Bytes} bytes")));
            return Fine;
        }));
        return command;
    }

    private static Command Restore()
    {
        var bucket = new Bucket();
        var to = new Option<DirectoryInfo>("--to") { Description = "Folder of the server's data: empty or not there yet.", Required = true };
        var before = BackupCommand.Before("The moment to restore to, such as 2026-11-20T08:00:00Z. Default: as far as the log in the bucket goes.");
        var data = Data("Where the centre's data folder begins anew with the keys and the services' files of the backup: empty or not there yet.");
        var siteKey = SiteKey("The site key, from the safe: it opens the services' files. With --data only.");
        var program = new Option<string>("--program") { Description = "How the server calls this program.", DefaultValueFactory = _ => "yizhan" };
        var json = new Option<bool>("--json") { Description = "Print one JSON object last." };
        var command = bucket.AddTo(new Command("restore", """
            Puts the newest base backup before a moment into an empty folder, set up so that the server that is started there recovers up to that moment and goes on.
            Nothing is started. The centre that starts on it begins a new epoch, and sites send again what it lacks (docs/operations/production.md).

            Examples:
              yizhan database restore --to /var/lib/postgresql/15/main --before 2026-11-20T08:00:00Z \
                --data /var/lib/yizhan --site-key /media/safe/site.key \
                --s3-url https://s3.elsewhere.example --s3-bucket yizhan-wal --s3-credentials-file /etc/yizhan/wal.credentials
            """) { to, before, data, siteKey, program, json });
        command.SetAction((parsed, cancellationToken) => RunAsync(bucket, parsed, Failed, async archive =>
        {
            var used = await archive.RestoreAsync(
                parsed.GetValue(before), parsed.GetValue(to)!.FullName, $"{parsed.GetValue(program)} database fetch %f %p {bucket.Arguments(parsed)}", parsed.GetValue(data)?.FullName, parsed.GetValue(siteKey)?.FullName, cancellationToken);
            Say(parsed.GetValue(json), used, $"Base backup {used.Name} is in {parsed.GetValue(to)}. Give the folder to the server's user (chown -R postgres:), start the server and wait until it is no more in recovery.");
            return Fine;
        }));
        return command;
    }

    private static Option<FileInfo?> SiteKey(string description) => new("--site-key") { Description = description };

    private static Option<DirectoryInfo?> Data(string description) => new("--data") { Description = description };

    private static string Time(long ms) => DateTimeOffset.FromUnixTimeMilliseconds(ms).ToString("u", CultureInfo.InvariantCulture);

    private static void Say(bool json, object value, string text) => Console.WriteLine(json ? JsonSerializer.Serialize(value, JsonSerializerOptions.Web) : text);

    private static async Task<int> RunAsync(Bucket bucket, ParseResult parsed, int failed, Func<PostgresArchive, Task<int>> work)
    {
        try
        {
            using var archive = new PostgresArchive(bucket.Options(parsed), TimeProvider.System);
            return await work(archive);
        }
        catch (Exception e) when (e is IOException or InvalidDataException or InvalidOperationException or ArgumentException or UnauthorizedAccessException or Npgsql.NpgsqlException)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return failed;
        }
    }

    /// <summary>Where the bucket is.</summary>
    private sealed class Bucket
    {
        private readonly Option<Uri> _url = new("--s3-url") { Description = "Address of the S3 server.", Required = true, CustomParser = NodeClient.Address };
        private readonly Option<string> _bucket = new("--s3-bucket") { Description = "The bucket; it has to be there.", Required = true };
        private readonly Option<FileInfo> _credentials = new("--s3-credentials-file") { Description = "File with one line, ACCESSKEY:SECRETKEY.", Required = true };
        private readonly Option<string> _prefix = new("--s3-prefix") { Description = "What names of objects begin with, one for each server; ends with '/'.", DefaultValueFactory = _ => "postgres/" };
        private readonly Option<string> _region = new("--s3-region") { Description = "Region that requests are signed for.", DefaultValueFactory = _ => "us-east-1" };
        private readonly Option<int> _lock = new("--s3-lock-days") { Description = "Nobody may delete an object for so many days (object lock, compliance mode). 0: not locked.", DefaultValueFactory = _ => 0 };

        public Command AddTo(Command command)
        {
            _prefix.Validators.Add(result =>
            {
                if (!System.Text.RegularExpressions.Regex.IsMatch(result.GetValueOrDefault<string>(), "^([a-zA-Z0-9._-]{1,60}/)*$"))
                {
                    result.AddError($"'{result.GetValueOrDefault<string>()}' is no prefix: empty, or of a-z, A-Z, 0-9, '.', '_', '-' and '/', with '/' last.");
                }
            });
            _lock.Validators.Add(result =>
            {
                if (result.GetValueOrDefault<int>() is < 0 or > 36500)
                {
                    result.AddError("--s3-lock-days is 0 to 36500.");
                }
            });
            foreach (var option in new Option[] { _url, _bucket, _credentials, _prefix, _region, _lock })
            {
                command.Options.Add(option);
            }

            return command;
        }

        public StorageOptions Options(ParseResult parsed) => new()
        {
            S3Url = parsed.GetValue(_url)!.ToString(),
            S3Bucket = parsed.GetValue(_bucket),
            S3CredentialsFile = parsed.GetValue(_credentials)!.FullName,
            S3Prefix = parsed.GetValue(_prefix)!,
            S3Region = parsed.GetValue(_region)!,
            S3LockDays = parsed.GetValue(_lock),
        };

        /// <summary>The same for another call; the server runs it with a shell.</summary>
        public string Arguments(ParseResult parsed) => string.Join(' ', new[]
        {
            "--s3-url", parsed.GetValue(_url)!.ToString(), "--s3-bucket", parsed.GetValue(_bucket)!, "--s3-credentials-file", parsed.GetValue(_credentials)!.FullName,
            "--s3-prefix", parsed.GetValue(_prefix)!, "--s3-region", parsed.GetValue(_region)!,
        }.Select(a => $"\"{a.Replace("%", "%%", StringComparison.Ordinal)}\""));
    }
}
