using System.CommandLine;
using System.Text.Json;
using Yizhan.Platform.SiteFiles;

namespace Yizhan.Cli;

/// <summary><c>yizhan site</c>: site files are checked, compared and begun.</summary>
internal static class SiteCommand
{
    public static Command Create()
    {
        var command = new Command("site", "Checks, compares and begins site files (sites/*.yaml); makes devices sites.") { Lint(), Diff(), New(), Schema() };
        foreach (var machines in CertificateCommands.OfSites())
        {
            command.Add(machines);
        }

        return command;
    }

    private static Command Lint()
    {
        var files = new Argument<FileInfo[]>("files") { Description = "Site files.", Arity = ArgumentArity.OneOrMore };
        var json = Json();
        var command = new Command("lint", """
            Checks site files: every key known, every value of its type and range, every reference to something that is there.
            Prints FILE:LINE:COLUMN: what is wrong and what would be accepted; exit code 1 when something is.

            Examples:
              yizhan site lint sites/*.yaml
              yizhan site lint sites/lakeside.yaml --json | tail -n 1 | jq .problems
            """) { files, json };
        command.SetAction(parsed => Guarded.Run(() =>
        {
            var paths = parsed.GetValue(files)!.Select(f => f.ToString()).ToArray();
            var (sites, problems) = SiteFolder.Read(paths);
            foreach (var problem in problems)
            {
                Console.Error.WriteLine(problem);
            }

            if (parsed.GetValue(json))
            {
                Console.WriteLine(JsonSerializer.Serialize(new { files = paths.Length, good = sites.Count, problems }, CliJson.Options));
            }
            else
            {
                Console.WriteLine(problems.Count == 0 ? $"{sites.Count} site files are good." : $"{problems.Count} faults in {paths.Length} files.");
            }

            return problems.Count == 0 ? 0 : 1;
        }));
        return command;
    }

    private static Command Diff()
    {
        var before = new Argument<FileInfo>("before") { Description = "Site file before." };
        var after = new Argument<FileInfo>("after") { Description = "Site file after." };
        var json = Json();
        var command = new Command("diff", """
            Compares two site files by meaning: the order of keys, comments and written-out defaults are no difference.

            Examples:
              yizhan site diff old/lakeside.yaml sites/lakeside.yaml
            """) { before, after, json };
        command.SetAction(parsed => Guarded.Run(() =>
        {
            if (Read(parsed.GetValue(before)!) is not { } old || Read(parsed.GetValue(after)!) is not { } now)
            {
                return 1;
            }

            var changes = SiteDiff.Between(old, now);
            if (parsed.GetValue(json))
            {
                Console.WriteLine(JsonSerializer.Serialize(new { changes }, CliJson.Options));
            }
            else
            {
                Console.WriteLine(changes.Count == 0 ? "They mean the same." : string.Join('\n', changes));
            }

            return 0;
        }));
        return command;
    }

    private static Command New()
    {
        var siteId = new Argument<string>("siteId") { Description = "1 to 63 of a-z, 0-9 and '-'." };
        var profile = new Option<string>("--profile") { Description = "Hardware: rk3588 or x64.", DefaultValueFactory = _ => "rk3588" };
        profile.AcceptOnlyFromAmong("rk3588", "x64");
        var command = new Command("new", """
            Prints a site file to begin with.

            Examples:
              yizhan site new lakeside > sites/lakeside.yaml
            """) { siteId, profile };
        command.SetAction(parsed =>
        {
            var text = $"""
                # yaml-language-server: $schema=./site.schema.json
                siteId: {parsed.GetValue(siteId)}
                name: {parsed.GetValue(siteId)}
                contact:
                  name: somebody
                  phone: "+86 10 5555 0100"
                hardware:
                  profile: {parsed.GetValue(profile)}
                  npu: {(parsed.GetValue(profile) == "rk3588" ? "true" : "false")}
                  memoryGiB: 16
                  storageGiB: 1000
                network:
                  centreUrl: https://centre.example:8443
                  uplinkKbps: 10000
                modalities:
                  - name: CT room 1
                    modality: CT
                    aeTitle: CT1
                dialects: [cmn-Hans-CN]
                windows:
                  timeZone: Asia/Shanghai
                  maintenance:
                    - days: [mon, tue, wed, thu, fri, sat, sun]
                      from: "01:00"
                      to: "04:00"
                """;
            if (SiteFileReader.Read(System.Text.Encoding.UTF8.GetBytes(text), "siteId").Problems is [var problem, ..])
            {
                Console.Error.WriteLine($"yizhan: {problem.Message}");
                return CommandLine.WrongUse;
            }

            Console.WriteLine(text);
            return 0;
        });
        return command;
    }

    private static Command Schema()
    {
        var command = new Command("schema", """
            Prints the JSON schema of site files, for editors.

            Examples:
              yizhan site schema > sites/site.schema.json
            """);
        command.SetAction(_ => Console.Out.Write(SiteSchema.Generate()));
        return command;
    }

    private static SiteFile? Read(FileInfo file)
    {
        var (site, problems) = SiteFileReader.ReadFile(file.ToString());
        foreach (var problem in problems)
        {
            Console.Error.WriteLine(problem);
        }

        return site;
    }

    private static Option<bool> Json() => new("--json") { Description = "Print one JSON object last." };
}
