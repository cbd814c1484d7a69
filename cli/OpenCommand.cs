using System.CommandLine;
using System.Text.Json;

namespace Yizhan.Cli;

/// <summary><c>yizhan open</c>: a link that signs a browser in to the console of a node on this machine.</summary>
internal static class OpenCommand
{
    public static Command Create()
    {
        var node = new Option<Uri>("--node")
        {
            Description = "Web address of the node.",
            DefaultValueFactory = _ => new Uri("http://127.0.0.1:8080/"),
            CustomParser = NodeClient.Address,
        };
        var json = new Option<bool>("--json") { Description = "Print one JSON object." };
        var command = new Command("open", """
            Prints a link to the console of a node on this machine. It signs in whoever opens it: once, within five minutes.

            Examples:
              yizhan open
              xdg-open "$(yizhan open)"
              yizhan open --json | jq -r .link
              yizhan open --node http://127.0.0.1:8081/    the console of a site, also while its centre is away
            """) { node, json };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(node)!, async http =>
        {
            var link = await LinkAsync(http, cancellationToken);
            Console.WriteLine(parsed.GetValue(json) ? JsonSerializer.Serialize(new { link = link.AbsoluteUri }) : link.AbsoluteUri);
            return 0;
        }));
        return command;
    }

    /// <summary>Asks a node for a link.</summary>
    public static async Task<Uri> LinkAsync(HttpClient http, CancellationToken cancellationToken)
    {
        using var answer = await http.PostAsync("/sign-in/link", null, cancellationToken);
        await NodeClient.ThrowIfRefusedAsync(answer, cancellationToken);
        return new Uri(http.BaseAddress!, await answer.Content.ReadAsStringAsync(cancellationToken));
    }
}
