using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.Storage;

namespace Yizhan.Cli;

/// <summary><c>yizhan backup</c> and <c>yizhan restore</c>.</summary>
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
                : $"{report["folder"]}: {report["files"]} files, {report["bytes"]} bytes, of which {report["copiedBytes"]} were new. It has everything up to position {report["position"]}.");
            return 0;
        }));
        return command;
    }

    public static Command CreateRestore()
    {
        var from = new Option<DirectoryInfo>("--from") { Description = "A backup, or the folder of backups: then the newest.", Required = true };
        var data = new Option<DirectoryInfo>("--data") { Description = "Data folder of the node: empty or not there yet.", Required = true };
        var json = new Option<bool>("--json") { Description = "Print one JSON object last." };
        var command = new Command("restore", """
            Puts a backup back as a node's data folder and compares every file with what was written. The node that starts on it begins a new epoch; what the
            backup does not have comes back from those who keep it.

            Examples:
              yizhan restore --from /mnt/second-disk/yizhan --data /var/lib/yizhan
            """) { from, data, json };
        command.SetAction(parsed =>
        {
            try
            {
                var manifest = Restore.Run(
                    parsed.GetValue(from)!.FullName, parsed.GetValue(data)!.FullName, new Progress<string>(file => Console.Error.WriteLine(file)));
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
                return 74;
            }
        });
        return command;
    }
}
