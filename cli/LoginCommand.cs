using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Yizhan.Cli;

/// <summary><c>yizhan login</c>: gets a token by a code that somebody allows in a browser (RFC 8628), and keeps it for this user.</summary>
internal static class LoginCommand
{
    private const string Client = "yizhan-cli";

    public static Command Create()
    {
        var node = new Option<Uri>("--node")
        {
            Description = "Web address of the node with the issuer.",
            DefaultValueFactory = _ => new Uri("http://127.0.0.1:8080/"),
            CustomParser = NodeClient.Address,
        };
        var json = new Option<bool>("--json") { Description = "Print progress on standard error and one JSON object last." };
        var command = new Command("login", """
            Shows a code, waits until somebody who is signed in allows it in a browser, and keeps the token (mode 0600) for later commands.

            Examples:
              yizhan login
              yizhan login --node https://yizhan.example.org/
            """) { node, json };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetValue(node)!, http =>
            RunAsync(http, parsed.GetValue(node)!, parsed.GetValue(json), cancellationToken)));
        return command;
    }

    private static async Task<int> RunAsync(HttpClient http, Uri node, bool json, CancellationToken cancellationToken)
    {
        var (_, device) = await AskAsync(http, "/auth/device-code", [new("client_id", Client)], cancellationToken);
        var progress = json ? Console.Error : Console.Out;
        await progress.WriteLineAsync($"Open {device["verification_uri_complete"]}\nand allow the code {device["user_code"]}. Waiting ...");
        var pause = TimeSpan.FromSeconds((int?)device["interval"] ?? 5);
        var polls = Math.Min(((int?)device["expires_in"] ?? 600) / Math.Max(1, (int)pause.TotalSeconds), 600);
        for (var i = 0; i < polls; i++)
        {
            var (done, answer) = await AskAsync(http, "/auth/token",
                [new("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), new("client_id", Client), new("device_code", (string?)device["device_code"])], cancellationToken);
            if (done)
            {
                var path = Tokens.SavedPath(node);
                Platform.AtomicFile.Write(path, System.Text.Encoding.ASCII.GetBytes((string)answer["access_token"]!), secret: true, overwrite: true);
                Console.WriteLine(json ? JsonSerializer.Serialize(new { path, expiresSeconds = (int?)answer["expires_in"] }) : $"Signed in for {(int?)answer["expires_in"] / 60} minutes.");
                return 0;
            }

            if ((string?)answer["error"] is not ("authorization_pending" or "slow_down"))
            {
                await Console.Error.WriteLineAsync($"yizhan: {answer["error_description"] ?? answer["error"]}");
                return 1;
            }

            await Task.Delay(pause, TimeProvider.System, cancellationToken);
        }

        await Console.Error.WriteLineAsync("yizhan: nobody allowed the code in time.");
        return 1;
    }

    private static async Task<(bool Ok, JsonNode Answer)> AskAsync(
        HttpClient http, string path, KeyValuePair<string, string?>[] form, CancellationToken cancellationToken)
    {
        using var answer = await http.PostAsync(path, new FormUrlEncodedContent(form), cancellationToken);
        var text = await answer.Content.ReadAsStringAsync(cancellationToken);
        if (answer.Content.Headers.ContentType?.MediaType != "application/json")
        {
            throw new HttpRequestException($"{path} answered {(int)answer.StatusCode}: there is no issuer here.");
        }

        return (answer.IsSuccessStatusCode, JsonNode.Parse(text)!);
    }
}
