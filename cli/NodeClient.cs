using System.CommandLine.Parsing;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Yizhan.Cli;

/// <summary>How commands talk to a running node.</summary>
internal static class NodeClient
{
    /// <summary>Runs a command against a node; it failed when the node does not answer, or refuses.</summary>
    public static async Task<int> RunAsync(Uri node, Func<HttpClient, Task<int>> run)
    {
        using var http = Tokens.Client(node);
        http.Timeout = Timeout.InfiniteTimeSpan;
        try
        {
            return await run(http);
        }
        catch (RefusedException e)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return 1;
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            await Console.Error.WriteLineAsync($"yizhan: the node at {node} does not answer: {e.Message} Give its web address with --node.");
            return CommandLine.Failed;
        }
    }

    /// <summary>Reads the value of <c>--node</c>.</summary>
    public static Uri? Address(ArgumentResult result)
    {
        var text = result.Tokens.Count == 1 ? result.Tokens[0].Value : "";
        if (Uri.TryCreate(text, UriKind.Absolute, out var address) && address.Scheme is ("http" or "https"))
        {
            return address;
        }

        result.AddError($"'{text}' is no web address; accepted is one such as http://127.0.0.1:8081/.");
        return null;
    }

    public static async Task<JsonNode> GetAsync(HttpClient http, string path, CancellationToken cancellationToken)
    {
        using var answer = await http.GetAsync(path, cancellationToken);
        await ThrowIfRefusedAsync(answer, cancellationToken);
        return (await answer.Content.ReadFromJsonAsync<JsonNode>(cancellationToken))!;
    }

    /// <returns>The answer's body; null when it has none.</returns>
    public static async Task<JsonNode?> PostAsync(HttpClient http, string path, HttpContent? body, CancellationToken cancellationToken)
    {
        using var answer = await http.PostAsync(path, body, cancellationToken);
        await ThrowIfRefusedAsync(answer, cancellationToken);
        var text = await answer.Content.ReadAsStringAsync(cancellationToken);
        return text.Length == 0 ? null : JsonNode.Parse(text);
    }

    public static async Task ThrowIfRefusedAsync(HttpResponseMessage answer, CancellationToken cancellationToken)
    {
        if (answer.IsSuccessStatusCode)
        {
            return;
        }

        var text = await answer.Content.ReadAsStringAsync(cancellationToken);
        string? detail = null;
        try
        {
            detail = JsonNode.Parse(text)?["detail"]?.ToString();
        }
        catch (JsonException)
        {
            // Not a problem of ours: the status says what there is to say.
        }

        throw new RefusedException(detail ?? $"{(int)answer.StatusCode} {answer.ReasonPhrase} for {answer.RequestMessage?.RequestUri?.PathAndQuery}.");
    }

    /// <summary>The node said no; the message is its reason.</summary>
    public sealed class RefusedException(string message) : Exception(message);
}
