using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;

namespace Yizhan.Cli;

/// <summary><c>yizhan logs</c>: what a site warned of lately, as the centre has it.</summary>
internal static class LogsCommand
{
    public static Command Create()
    {
        var site = new Argument<string>("site") { Description = "The site." };
        var node = new Option<Uri>("--node") { Description = "Web address of the centre.", DefaultValueFactory = _ => new Uri("http://127.0.0.1:8080/"), CustomParser = NodeClient.Address };
        var level = new Option<string?>("--level") { Description = "Only warning, error or critical." };
        level.AcceptOnlyFromAmong("warning", "error", "critical");
        var limit = new Option<int>("--limit") { Description = "Most lines, 1 to 2000.", DefaultValueFactory = _ => 100 };
        var json = new Option<bool>("--json") { Description = "Print one JSON object last." };
        var command = new Command("logs", """
            Shows the newest warnings and errors of a site, which come over the link in its lowest lane: after an outage, those of the outage. Equal lines are one with a count. The
            whole log is at the site.

            Examples:
              yizhan logs lakeside
              yizhan logs lakeside --level error --node https://centre.example/ --json | tail -n 1 | jq '.lines[].text'
            """) { site, node, level, limit, json };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(node)!, async http =>
        {
            var query = string.Create(CultureInfo.InvariantCulture, $"fleet/sites/{Uri.EscapeDataString(parsed.GetValue(site)!)}/log?limit={parsed.GetValue(limit)}");
            var view = (JsonObject)await NodeClient.GetAsync(http, parsed.GetValue(level) is { } of ? $"{query}&level={of}" : query, cancellationToken);
            if (parsed.GetValue(json))
            {
                Console.WriteLine(view.ToJsonString());
                return 0;
            }

            foreach (var line in view["lines"]!.AsArray().Reverse())
            {
                var at = DateTimeOffset.FromUnixTimeMilliseconds((long)line!["atMs"]!).ToString("u", CultureInfo.InvariantCulture);
                var count = (int)line["count"]!;
                Console.WriteLine($"{at} {line["level"]} {line["id"]} {line["source"]}: {line["text"]}{(count > 1 ? $" ({count} times)" : "")}");
            }

            Console.WriteLine((long)view["dropped"]! is var dropped and > 0 ? $"{dropped} more lines of the last 24 hours are at the site only." : $"{view["lines"]!.AsArray().Count} lines.");
            return 0;
        }));
        return command;
    }
}
