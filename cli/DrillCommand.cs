using System.CommandLine;
using System.Text.Json;
using Spectre.Console;
using Yizhan.Drills;

namespace Yizhan.Cli;

/// <summary><c>yizhan drill</c>: recovery, shown on real processes, measured from outside, recorded in the audit log.</summary>
internal static class DrillCommand
{
    private const string Local = "local";

    public static Command Create() => new("drill", "Drills: break something on purpose and measure what comes back.") { List(), Run() };

    private static Command List()
    {
        var json = new Option<bool>("--json") { Description = "The last line of the output is one JSON object." };
        var command = new Command("list", """
            Lists the drills, what each shows, and whether it may look at a node that is in use.

            Examples:
              yizhan drill list
              yizhan drill list --json | tail -n 1 | jq -r '.drills[].kind'
            """) { json };
        command.SetAction(parsed =>
        {
            if (parsed.GetValue(json))
            {
                Console.WriteLine(JsonSerializer.Serialize(
                    new { drills = Drill.All.Select(d => new { kind = d.Kind, shows = d.Shows, limits = d.Limits, against = d.WhyNotAgainst is null, whyNotAgainst = d.WhyNotAgainst }) }, CliJson.Options));
                return 0;
            }

            var table = new Table().Border(TableBorder.Simple).AddColumns("drill", "shows", "--against URL");
            foreach (var drill in Drill.All)
            {
                table.AddRow(Markup.Escape(drill.Kind), Markup.Escape(drill.Shows), Markup.Escape(drill.WhyNotAgainst is { } why ? $"no: {why}" : "restores an off-site copy to a folder of its own"));
            }

            AnsiConsole.Write(table);
            return 0;
        });
        return command;
    }

    private static Command Run()
    {
        var kind = new Argument<string>("drill") { Description = "Which: see yizhan drill list." };
        kind.AcceptOnlyFromAmong([.. Drill.All.Select(d => d.Kind)]);
        var against = new Option<string>("--against") { Description = "local: processes of its own. Or the web address of a node in use: then only what destroys nothing.", DefaultValueFactory = _ => Local };
        var backup = new Option<DirectoryInfo?>("--backup") { Description = "With --against URL: the off-site copy of that node's backups." };
        var pinned = new Option<string?>("--manifest-sha256") { Description = "With --backup: what its manifest must hash to." };
        var siteKey = new Option<FileInfo?>("--site-key") { Description = "With --backup: the site key, where it is not in the backup." };
        var record = new Option<Uri?>("--record") { Description = "Web address of a node whose audit log keeps the report too; with --against URL it is that node.", CustomParser = NodeClient.Address };
        var module = new Option<string>("--module") { Description = "What that node is: fleet (a centre) or station (a site).", DefaultValueFactory = _ => "fleet" };
        module.AcceptOnlyFromAmong("fleet", "station");
        var report = new Option<DirectoryInfo>("--report") { Description = "Folder for the report.", DefaultValueFactory = _ => new DirectoryInfo(Path.Combine(".yizhan", "drills")) };
        var quick = new Option<bool>("--quick") { Description = "Less data and fewer repetitions: for a test of the drill itself." };
        var keep = new Option<bool>("--keep") { Description = "Keep the data and the logs of the nodes." };
        var input = new Option<bool>("--stop-with-input") { Description = "Stop when standard input ends: for a program that started it, and may itself be gone." };
        var json = new Option<bool>("--json") { Description = "Print progress on standard error and one JSON object last." };
        var command = new Command("run", """
            Runs a drill: starts nodes of its own, breaks what it is about, and compares what was acknowledged with what is there, by a ledger of its own. Writes a
            report (HTML and JSON), and records it in an audit log that proves it. Leaves nothing running. Exit code 0 only when it passed.

            Examples:
              yizhan drill run outage
              yizhan drill run ransomware --json | tail -n 1 | jq .rtoSeconds
              yizhan drill run zone-loss --record http://127.0.0.1:8080/
              yizhan drill run ransomware --against http://127.0.0.1:8081/ --module station --backup /mnt/off-site/yizhan --site-key /mnt/safe/site.key
            """) { kind, against, backup, pinned, siteKey, record, module, report, quick, keep, input, json };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            using var ends = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            if (parsed.GetValue(input))
            {
                // Nobody waits for it: it ends with the input, or with the process.
                _ = StopWithInputAsync(ends.Cancel);
            }

            var drill = Drill.All.First(d => d.Kind == parsed.GetValue(kind));
            var to = new Output(parsed.GetValue(report)!.FullName, parsed.GetValue(module)!, parsed.GetValue(record), parsed.GetValue(quick), parsed.GetValue(keep), parsed.GetValue(json));
            return parsed.GetValue(against) is { } address && address != Local
                ? await RunAgainstAsync(drill, address, parsed.GetValue(backup), parsed.GetValue(pinned), parsed.GetValue(siteKey), to, ends.Token)
                : await RunLocalAsync(drill, to, ends.Token);
        });
        return command;
    }

    private static async Task StopWithInputAsync(Action stop)
    {
        // A console's input is read by a thread that waits: not that of the drill.
        await Task.Run(() =>
        {
            using var input = Console.OpenStandardInput();
            var ignored = new byte[256];
            while (input.Read(ignored) > 0)
            {
                // What is typed says nothing.
            }
        });
        try
        {
            stop();
        }
        catch (ObjectDisposedException)
        {
            // The drill has ended.
        }
    }

    private static Task<int> RunLocalAsync(Drill drill, Output to, CancellationToken cancellationToken) =>
        RunAsync(drill, Local, to.Record, to, (stage, token) => drill.RunLocalAsync(stage, token), cancellationToken);

    private static async Task<int> RunAgainstAsync(
        Drill drill, string address, DirectoryInfo? backup, string? pinned, FileInfo? siteKey, Output to, CancellationToken cancellationToken)
    {
        var refusal = !Uri.TryCreate(address, UriKind.Absolute, out var node) || node.Scheme is not ("http" or "https") || node.UserInfo.Length > 0
                ? $"--against is '{(node?.UserInfo.Length > 0 ? "an address with a user in it" : address)}'; accepted are local and a web address such as http://127.0.0.1:8080/."
            : drill.WhyNotAgainst is { } why ? $"'{drill.Kind}' is not run against a node that is in use: {why}. Without --against it runs on processes of its own."
            : backup is not { Exists: true } ? $"'{drill.Kind}' against {node} needs --backup with the folder of that node's off-site copy{(backup is null ? "" : $"; {backup.FullName} is not there")}."
            : null;
        if (refusal is not null)
        {
            await Console.Error.WriteLineAsync($"yizhan: {refusal}");
            return CommandLine.WrongUse;
        }

        using var http = Tokens.Client(node!);
        return await RunAsync(
            drill, node!.ToString(), to.Record ?? node, to,
            (stage, token) => new LiveRestoreDrill(stage, http, new LiveTarget(to.Module, backup!.FullName, pinned, siteKey?.FullName)).RunAsync(token), cancellationToken);
    }

    private static Task<int> RunAsync(
        Drill drill, string against, Uri? record, Output to, Func<DrillStage, CancellationToken, Task> run, CancellationToken cancellationToken)
    {
        var progress = to.Json ? Console.Error : Console.Out;
        return DrillFolder.RunAsync(
            $"drill-{drill.Kind}",
            to.Keep,
            async folder =>
            {
                var stage = new DrillStage(drill, folder, to.Quick, progress.WriteLine) { Against = against };
                try
                {
                    await run(stage, cancellationToken);
                }
                catch (Exception e) when (e is InvalidOperationException or HttpRequestException or IOException or InvalidDataException or JsonException or FormatException or UnauthorizedAccessException)
                {
                    // What ended it early is what the report has to say; the data stay for whoever looks for the cause.
                    stage.Check("the drill came to its end", false, $"{e.Message.Split('\n')[0]}");
                    await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
                }

                var proven = record is null || await RecordAsync(stage, record, to, cancellationToken);
                var report = stage.Report();
                var passed = report.Passed && proven && stage.Proofs.Count > 0;
                var files = DrillReport.Write(to.Folder, report, stage.Proofs);
                progress.WriteLine($"{(passed ? "Passed." : "FAILED.")} {report.Summary}");
                progress.WriteLine($"Report: {files.Html}, {files.Json}");
                if (to.Json)
                {
                    Console.WriteLine(JsonSerializer.Serialize(
                        new
                        {
                            drill = report.Kind,
                            run = report.Id,
                            against = report.Against,
                            passed,
                            accepted = report.Accepted,
                            delivered = report.Delivered,
                            lost = report.Lost,
                            duplicates = report.Duplicates,
                            rtoSeconds = report.RtoSeconds,
                            rpoEntries = report.RpoEntries,
                            failed = report.Checks.Where(c => !c.Ok).Select(c => c.Name),
                            notShown = report.NotShown,
                            audit = stage.Proofs,
                            html = files.Html,
                            json = files.Json,
                        }, CliJson.Options));
                }

                return passed;
            },
            cancellationToken);
    }

    private static async Task<bool> RecordAsync(DrillStage stage, Uri node, Output to, CancellationToken cancellationToken)
    {
        try
        {
            using var http = Tokens.Client(node);
            await stage.RecordAsync(http, to.Module, cancellationToken);
            return true;
        }
        catch (Exception e) when (e is InvalidOperationException or HttpRequestException or IOException or JsonException)
        {
            await Console.Error.WriteLineAsync($"yizhan: {node}: {e.Message}");
            return false;
        }
    }

    /// <summary>Where results go.</summary>
    private sealed record Output(string Folder, string Module, Uri? Record, bool Quick, bool Keep, bool Json);
}
