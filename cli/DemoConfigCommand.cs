using System.CommandLine;
using System.Text.Json;
using Spectre.Console;
using Yizhan.Drills;

namespace Yizhan.Cli;

/// <summary><c>yizhan demo config</c>: a configuration release from the edit to the report of all sites, each step proven.</summary>
internal static class DemoConfigCommand
{
    public static Command Create()
    {
        var json = new Option<bool>("--json") { Description = "Print progress on standard error and one JSON object last." };
        var command = new Command("config", """
            Starts a centre and three sites, takes an edited site file through proposal, two approvals, rings and application, one site
            being away at first, tries what must be refused, and asks the audit service for the proof of each step. Leaves nothing running.

            Examples:
              yizhan demo config
              yizhan demo config --json | tail -n 1 | jq .missing
            """) { json };
        command.SetAction((parsed, cancellationToken) => RunAsync(parsed.GetValue(json), cancellationToken));
        return command;
    }

    private static Task<int> RunAsync(bool json, CancellationToken cancellationToken) => DrillFolder.RunAsync(
        "demo-config",
        keep: false,
        async folder =>
        {
            var result = await new ReleaseDrill(folder, (json ? Console.Error : Console.Out).WriteLine).RunAsync(cancellationToken);
            if (json)
            {
                Console.WriteLine(JsonSerializer.Serialize(result, CliJson.Options));
            }
            else
            {
                var table = new Table().Border(TableBorder.Simple).AddColumns("step", "by", "site", "audit entry", "proven in a tree of");
                foreach (var step in result.Steps)
                {
                    table.AddRow(step.Step, step.Agent, step.Site, $"{step.Index}", $"{step.Size}");
                }

                AnsiConsole.Write(table);
                AnsiConsole.WriteLine(result.Passed
                    ? $"Every site runs {result.Version}, and the audit log proves every step."
                    : $"This must not happen. Not proven: {string.Join(", ", result.Missing)}");
            }

            return result.Passed;
        },
        cancellationToken);
}
