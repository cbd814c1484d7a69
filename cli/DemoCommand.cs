using System.CommandLine;
using System.Text.Json;
using Spectre.Console;
using Yizhan.Drills;

namespace Yizhan.Cli;

/// <summary><c>yizhan demo</c>: the main job end to end, through a cut line and a killed site, proven by content hash.</summary>
internal static class DemoCommand
{
    public static Command Create()
    {
        var from = new Option<DirectoryInfo?>("--from") { Description = "Send the DICOM files below this folder instead of a synthetic CT." };
        var json = new Option<bool>("--json") { Description = "Print progress on standard error and one JSON object last." };
        var keep = new Option<bool>("--keep") { Description = "Keep the data folder and its logs." };
        var backends = new Option<string>("--backends")
        {
            Description = "What the centre stands on: 'default' (files and SQLite), or 'production' (PostgreSQL, Kafka's protocol and S3, started from what is installed).",
            DefaultValueFactory = _ => "default",
        };
        backends.AcceptOnlyFromAmong("default", "production");
        var command = new Command("demo", """
            Starts a centre and a site, sends a study over DICOM, cuts the line half way, kills the site with SIGKILL, mends
            both, and proves by content hash that each acknowledged instance is at the centre exactly once. Leaves nothing running.

            Examples:
              yizhan demo
              yizhan demo --from /mnt/cd
              yizhan demo --backends production
              yizhan demo --json | tail -n 1 | jq .lost
            """) { from, json, keep, backends };
        command.Subcommands.Add(DemoConfigCommand.Create());
        command.Subcommands.Add(DemoAiCommand.Create());
        command.SetAction((parsed, cancellationToken) => RunAsync(
            parsed.GetValue(from), parsed.GetValue(json), parsed.GetValue(keep), parsed.GetValue(backends) == "production", cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(DirectoryInfo? from, bool json, bool keep, bool production, CancellationToken cancellationToken)
    {
        if (from is { Exists: false })
        {
            await Console.Error.WriteLineAsync($"yizhan: the folder '{from.FullName}' does not exist.");
            return CommandLine.Failed;
        }

        var progress = json ? Console.Error : Console.Out;
        return await DrillFolder.RunAsync(
            "demo",
            keep,
            async folder =>
            {
                if (production)
                {
                    progress.WriteLine("Starting PostgreSQL, a Kafka cluster and an S3 server ...");
                }

                await using var backends = production ? await ProductionBackends.StartAsync(cancellationToken) : null;
                var result = await new OutageDrill(folder, from?.FullName, progress.WriteLine, backends).RunAsync(cancellationToken);
                if (json)
                {
                    foreach (var refusal in result.Refused.OrderBy(r => r.Name, StringComparer.Ordinal))
                    {
                        progress.WriteLine($"refused {refusal.Name}: {refusal.Reason}");
                    }

                    Console.WriteLine(JsonSerializer.Serialize(new
                    {
                        sent = result.Verdict.Sent,
                        acknowledged = result.Verdict.Acknowledged,
                        arrived = result.Verdict.Arrived,
                        duplicates = result.Verdict.Duplicates,
                        lost = result.Verdict.Lost,
                        outageSeconds = Math.Round(result.Outage.TotalSeconds, 1),
                        backends = result.Backends is null ? null
                            : new { events = result.Backends.Events, missingInKafka = result.Backends.MissingInKafka, twiceInKafka = result.Backends.TwiceInKafka, objects = result.Backends.Objects },
                    }));
                }
                else
                {
                    Print(result);
                }

                return result.Passed;
            },
            cancellationToken);
    }

    private static void Print(DrillResult result)
    {
        if (result.Refused.Count > 0)
        {
            var refused = new Table().Border(TableBorder.Simple).AddColumns("refused", "reason");
            foreach (var refusal in result.Refused.OrderBy(r => r.Name, StringComparer.Ordinal))
            {
                refused.AddRow(Markup.Escape(refusal.Name), Markup.Escape(refusal.Reason));
            }

            AnsiConsole.Write(refused);
        }

        var verdict = result.Verdict;
        var table = new Table().Border(TableBorder.Simple).AddColumns("result", "").HideHeaders();
        table.AddRow("instances sent", $"{verdict.Sent}");
        table.AddRow("refused, with a reason", $"{result.Refused.Count}");
        table.AddRow("acknowledged (distinct data sets)", $"{verdict.Acknowledged}");
        table.AddRow("arrived at the centre, every byte equal", $"{verdict.Arrived}");
        table.AddRow("more than once", $"{verdict.Duplicates}");
        table.AddRow("lost", $"{verdict.Lost}");
        table.AddRow("line down", $"{result.Outage.TotalSeconds:0.0} s");
        table.AddRow("back-fill after it was mended", $"{result.BackFill.TotalSeconds:0.0} s");
        table.AddRow("studies in the centre's archive", $"{result.StudiesAtCentre}");
        if (result.Backends is { } backends)
        {
            table.AddRow("events in PostgreSQL", $"{backends.Events}");
            table.AddRow("  missing in Kafka, and there twice", $"{backends.MissingInKafka}, {backends.TwiceInKafka}");
            table.AddRow("objects in S3", $"{backends.Objects}");
        }

        AnsiConsole.Write(table);
        foreach (var name in verdict.LostNames)
        {
            AnsiConsole.MarkupLine($"[red]lost: {Markup.Escape(name)}[/]");
        }

        AnsiConsole.MarkupLine(result.Passed
            ? "[green]Every acknowledged instance is at the centre exactly once.[/]"
            : "[red]This must not happen: an acknowledged instance is missing, or is there twice.[/]");
    }
}
