using System.CommandLine;
using System.Text.Json;
using Spectre.Console;
using Yizhan.Drills;

namespace Yizhan.Cli;

/// <summary><c>yizhan demo ai</c>: a CT comes back as segmentation and report, while the line is down too.</summary>
internal static class DemoAiCommand
{
    public static Command Create()
    {
        var json = new Option<bool>("--json") { Description = "Print progress on standard error and one JSON object last." };
        var keep = new Option<bool>("--keep") { Description = "Keep the data folder and its logs." };
        var command = new Command("ai", """
            Starts a centre and a site whose line is down, sends a drawn CT to the site over DICOM, waits for the segmentation (SEG), the
            measurements (SR), the picture (SC) and the FHIR Observations of the model 'nodule', mends the line, and waits until they, and the
            urgent result, are at the centre, where the console shows them. The model
            knows drawn phantoms only and is not for clinical use. Leaves nothing running.

            Examples:
              yizhan demo ai
              yizhan demo ai --json | tail -n 1 | jq .result.findings
            """) { json, keep };
        command.SetAction((parsed, cancellationToken) => RunAsync(parsed.GetValue(json), parsed.GetValue(keep), cancellationToken));
        return command;
    }

    private static Task<int> RunAsync(bool json, bool keep, CancellationToken cancellationToken) => DrillFolder.RunAsync(
        "demo-ai",
        keep,
        async folder =>
        {
            var result = await new AnalysisDrill(folder, (json ? Console.Error : Console.Out).WriteLine).RunAsync(cancellationToken);
            if (json)
            {
                Console.WriteLine(JsonSerializer.Serialize(result, CliJson.Options));
                return result.Passed;
            }

            var table = new Table().Border(TableBorder.Simple).AddColumns("finding", "volume", "mean");
            foreach (var finding in result.Result?.Findings ?? [])
            {
                table.AddRow($"{finding.Label} {finding.Number}", $"{finding.VolumeMl:0.00} ml", $"{finding.Mean:0} HU");
            }

            AnsiConsole.Write(table);
            AnsiConsole.WriteLine($"Series at the site, line down: {string.Join(", ", result.AtSite)}. At the centre: {string.Join(", ", result.AtCentre)}. Not for clinical use.");
            AnsiConsole.WriteLine($"FHIR Observations at the site, line down: {result.FhirAtSite}. Findings on the console's page /models, line up: {result.InConsole}.");
            AnsiConsole.WriteLine(result.Passed
                ? $"The CT came back as SEG, SR, SC and FHIR {result.AnsweredMs / 1000.0:0.0} s after its last slice, and all of it is at the centre."
                : $"This must not happen: {result.Result?.Outcome ?? "no result"} {result.Result?.Reason}");
            return result.Passed;
        },
        cancellationToken);
}
