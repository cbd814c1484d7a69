using System.CommandLine;
using System.Net.Http.Json;
using System.Text.Json.Nodes;

namespace Yizhan.Cli;

/// <summary><c>yizhan update</c>: whether a site may be restarted now, and the person who says so although it is not idle.</summary>
internal static class UpdateCommand
{
    /// <summary>"Not now", as the update scripts read it.</summary>
    private const int Later = 21;

    private static readonly Option<Uri> Node = new("--node")
    {
        Description = "Web address of the site's node.",
        DefaultValueFactory = _ => new Uri("http://127.0.0.1:8081/"),
        CustomParser = NodeClient.Address,
    };

    private static readonly Option<bool> Json = new("--json") { Description = "Print one JSON object last." };

    public static Command Create() => new("update", """
        Asks whether a site may be restarted for an update, and lets it be when a person decides so.

        Examples:
          yizhan update gate
          yizhan update gate --node http://127.0.0.1:8081/ --json
          yizhan update allow --minutes 30 --by "M. Keller" --reason "the scanner is in maintenance"
        """)
    {
        Gate(), Allow(),
    };

    private static Command Gate()
    {
        var command = new Command("gate", "Says whether the site is idle, and what is in the way. Ends with 0 (go) or 21 (not now).") { Node, Json };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
            Print(parsed.GetValue(Json), (JsonObject)await NodeClient.GetAsync(http, "station/updates", cancellationToken))));
        return command;
    }

    private static Command Allow()
    {
        var minutes = new Option<int>("--minutes") { Description = "For how long, 1 to 240.", DefaultValueFactory = _ => 30 };
        var by = new Option<string>("--by") { Description = "Who decides; goes into the audit log.", Required = true };
        var reason = new Option<string>("--reason") { Description = "Why; goes into the audit log.", Required = true };
        var command = new Command("allow", "Lets the site be restarted for some minutes, whatever is under way: an association is cut and its sender repeats it.")
        {
            Node, Json, minutes, by, reason,
        };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(Node)!, async http =>
        {
            using var body = JsonContent.Create(new JsonObject
            {
                ["by"] = parsed.GetValue(by),
                ["reason"] = parsed.GetValue(reason),
                ["minutes"] = parsed.GetValue(minutes),
            });
            return Print(parsed.GetValue(Json), (JsonObject)(await NodeClient.PostAsync(http, "station/updates/allow", body, cancellationToken))!);
        }));
        return command;
    }

    private static int Print(bool json, JsonObject view)
    {
        var open = view["open"]!.GetValue<bool>();
        if (json)
        {
            Console.WriteLine(view.ToJsonString());
            return open ? 0 : Later;
        }

        Console.WriteLine(open ? "The site may be restarted now." : "Not now.");
        foreach (var reason in view["reasons"]!.AsArray())
        {
            Console.WriteLine($"  {reason}");
        }

        if (view["allowedBy"]?.GetValue<string>() is { } by)
        {
            Console.WriteLine($"  {by} allows it all the same.");
        }

        return open ? 0 : Later;
    }
}
