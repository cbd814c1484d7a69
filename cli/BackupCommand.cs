using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.Storage;

namespace Yizhan.Cli;

/// <summary><c>yizhan backup</c>, <c>yizhan verify-backup</c> and <c>yizhan restore</c>.</summary>
internal static class BackupCommand
{
    public static Command Create()
    {
        var node = new Option<Uri>("--node") { Description = "Web address of the running node.", DefaultValueFactory = _ => new Uri("http://127.0.0.1:8081/"), CustomParser = NodeClient.Address };
        var module = new Option<string>("--module") { Description = "station at a site, fleet at a centre.", DefaultValueFactory = _ => "station" };
        var to = new Option<DirectoryInfo?>("--to") { Description = "Folder for backups, at or below the node's storage:backupFolder; that one by default." };
        var json = new Option<bool>("--json") { Description = "Print one JSON object last." };
        var command = new Command("backup", """
            Backs a node up while it works. The backup is whole or it is none; files that did not change are shared with the backup before it.

            Examples:
              yizhan backup --to /mnt/second-disk/yizhan
              yizhan backup --node http://127.0.0.1:8080/ --module fleet --json
            """) { node, module, to, json };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(node)!, async http =>
        {
            await Console.Error.WriteLineAsync("Copying…");
            var folder = parsed.GetValue(to) is { } given ? $"?to={Uri.EscapeDataString(given.FullName)}" : "";
            var report = (JsonObject)(await NodeClient.PostAsync(http, $"{parsed.GetValue(module)}/log/backup{folder}", null, cancellationToken))!;
            Console.WriteLine(parsed.GetValue(json)
                ? report.ToJsonString()
                : $"{report["folder"]}: {report["files"]} files, {report["bytes"]} bytes, of which {report["copiedBytes"]} were new. It has everything up to position {report["position"]}.\nSHA-256 of its manifest: {report["manifestSha256"]} (keep it elsewhere; it is in the audit log too)");
            return 0;
        }));
        return command;
    }

    public static Command CreateRestore()
    {
        var from = new Option<DirectoryInfo>("--from") { Description = "A backup, or the folder of backups: then the newest.", Required = true };
        var data = new Option<DirectoryInfo>("--data") { Description = "Data folder of the node: empty or not there yet.", Required = true };
        var before = Before();
        var json = new Option<bool>("--json") { Description = "Print one JSON object last." };
        var command = new Command("restore", """
            Puts a backup back as a node's data folder and compares every file with what was written. The node that starts on it begins a new epoch; what the
            backup does not have comes back from those who keep it.

            Examples:
              yizhan restore --from /mnt/second-disk/yizhan --data /var/lib/yizhan
              yizhan restore --from /mnt/second-disk/yizhan --before 2026-11-20T08:00:00Z --data /var/lib/yizhan
            """) { from, data, before, json };
        command.SetAction(parsed =>
        {
            try
            {
                var manifest = Restore.Run(
                    parsed.GetValue(from)!.FullName, parsed.GetValue(data)!.FullName, new Progress<string>(file => Console.Error.WriteLine(file)), parsed.GetValue(before));
                Console.WriteLine(parsed.GetValue(json)
                    ? JsonSerializer.Serialize(new { site = manifest.Site, takenMs = manifest.TakenMs, position = manifest.Position, files = manifest.Files.Count, siteKey = manifest.SiteKey, siteKeyInBackup = manifest.SiteKeyFile is not null })
                    : $"{manifest.Files.Count} files of {manifest.Site}, as of {DateTimeOffset.FromUnixTimeMilliseconds(manifest.TakenMs):u}. Start the node: it begins a new epoch.");
                if (manifest is { SiteKey: { } key, SiteKeyFile: null })
                {
                    Console.Error.WriteLine($"yizhan: the site key {key} is not in the backup: put it where storage:siteKeyFile says before the node starts.");
                }

                return 0;
            }
            catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
            {
                Console.Error.WriteLine($"yizhan: {e.Message}");
                return CommandLine.Failed;
            }
        });
        return command;
    }

    public static Command CreateVerify()
    {
        var from = new Option<DirectoryInfo>("--from") { Description = "A backup, or a copy of one; or the folder of backups: then the newest.", Required = true };
        var pinned = new Option<string?>("--manifest-sha256") { Description = "What manifest.json must hash to, as yizhan backup printed it and the audit log has it." };
        var before = Before();
        var list = new Option<bool>("--list") { Description = "Print every file with its length and hash." };
        var json = new Option<bool>("--json") { Description = "Print one JSON object last." };
        var command = new Command("verify-backup", """
            Reads a backup, here or copied to another machine, and says what is missing, damaged, or not of it, without restoring it. Exit code 1 when there is
            anything. With the pinned digest of its manifest nobody can have changed it, either.

            Examples:
              yizhan verify-backup --from /mnt/off-site/yizhan
              yizhan verify-backup --from /mnt/off-site/yizhan/000012 --manifest-sha256 $(cat /mnt/safe/000012.sha256) --json
              yizhan verify-backup --from /mnt/off-site/yizhan --before 2026-11-20T08:00:00Z --list
            """) { from, pinned, before, list, json };
        command.Validators.Add(result =>
        {
            if (result.GetValue(pinned) is { } digest && !(digest.Length == 64 && digest.All(char.IsAsciiHexDigit)))
            {
                result.AddError($"--manifest-sha256 is '{digest}'; accepted are 64 hex digits.");
            }
        });
        command.SetAction((parsed, cancellationToken) =>
        {
            try
            {
                var check = Restore.Verify(parsed.GetValue(from)!.FullName, parsed.GetValue(pinned), parsed.GetValue(before), null, cancellationToken);
                if (parsed.GetValue(list))
                {
                    foreach (var file in check.Manifest?.Files ?? [])
                    {
                        Console.WriteLine($"{file.Sha256} {file.Length,12} {file.Path}");
                    }
                }

                foreach (var problem in check.Problems)
                {
                    (parsed.GetValue(json) ? Console.Error : Console.Out).WriteLine(problem);
                }

                Console.WriteLine(parsed.GetValue(json)
                    ? JsonSerializer.Serialize(new
                    {
                        folder = check.Folder,
                        ok = check.Problems.Count == 0,
                        site = check.Manifest?.Site,
                        takenMs = check.Manifest?.TakenMs,
                        position = check.Manifest?.Position,
                        files = check.Manifest?.Files.Count,
                        bytes = check.Bytes,
                        manifestSha256 = check.ManifestSha256,
                        problems = check.Problems,
                    })
                    : check.Problems.Count == 0
                    ? $"{check.Folder} is whole: {check.Manifest!.Files.Count} files of {check.Manifest.Site}, {check.Bytes} bytes, as of {DateTimeOffset.FromUnixTimeMilliseconds(check.Manifest.TakenMs):u}; manifest {check.ManifestSha256}."
                    : $"{check.Folder} is NOT whole: {check.Problems.Count} problems.");
                return Task.FromResult(check.Problems.Count == 0 ? 0 : 1);
            }
            catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
            {
                Console.Error.WriteLine($"yizhan: {e.Message}");
                return Task.FromResult(CommandLine.Failed);
            }
        });
        return command;
    }

    internal static Option<DateTimeOffset?> Before(string description = "Of a folder of backups: the newest that was begun before this time, such as 2026-11-20T08:00:00Z.") => new("--before")
    {
        Description = description,
        CustomParser = result =>
        {
            var text = result.Tokens.Count == 1 ? result.Tokens[0].Value : "";
            if (text.Contains('T', StringComparison.Ordinal) && text.AsSpan(text.IndexOf('T', StringComparison.Ordinal)).ContainsAny("Z+-")
                && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time))
            {
                return time;
            }

            result.AddError($"'{text}' is no time with a zone; accepted is one such as 2026-11-20T08:00:00Z.");
            return null;
        },
    };
}
