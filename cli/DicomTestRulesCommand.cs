using System.CommandLine;
using Yizhan.Drills;

namespace Yizhan.Cli;

/// <summary><c>yizhan dicom test-rules</c>: what a rules file would do with an instance, without a node and without sending anything.</summary>
internal static class DicomTestRulesCommand
{
    public static Command Create()
    {
        var file = new Argument<string>("FILE") { Description = "A DICOM Part 10 file." };
        var rules = new Option<string>("--rules") { Description = "The rules file; what pacs-gw:rulesFile names.", Required = true };
        var peer = new Option<string?>("--peer") { Description = "AE title that is taken to have sent it." };
        var called = new Option<string?>("--called") { Description = "AE title that is taken to have been called. Default YIZHAN." };
        var write = new Option<string?>("--write") { Description = "Folder for the copies that would be sent, DESTINATION.dcm each." };
        var json = new Option<bool>("--json") { Description = "Print the explanation on standard error and one JSON object last." };
        var command = new Command("test-rules", """
            Says of each rule whether it applies and why not, and shows how each copy differs from the file. Sends nothing. Values of the file
            are shown. Exit code 1: the instance would be rejected, or a copy cannot be de-identified.

            Examples:
              yizhan dicom test-rules ct.dcm --rules rules.yaml --peer CT_ROOM1
              yizhan dicom test-rules ct.dcm --rules rules.yaml --write /tmp/copies
              yizhan dicom test-rules ct.dcm --rules rules.yaml --json | jq .copies
            """) { file, rules, peer, called, write, json };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            List<string> arguments = [parsed.GetValue(file)!, "--rules", parsed.GetValue(rules)!];
            foreach (var option in (Option<string?>[])[peer, called, write])
            {
                if (parsed.GetValue(option) is { } value)
                {
                    arguments.AddRange([option.Name, value]);
                }
            }

            if (parsed.GetValue(json))
            {
                arguments.Add("--json");
            }

            return await HostProcess.RunToEndAsync("test-rules", arguments, cancellationToken) is 0 ? CommandLine.Ok : CommandLine.Failed;
        });
        return command;
    }
}
