using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Yizhan.AlertBridge;

/// <summary>
/// A Jira project: one ticket for each incident. The ticket has the group's hash as a label; it is searched for before one is made, so neither a repetition
/// nor a restart makes a second one. While the incident lasts its description follows; when it ends the ticket gets a comment and is closed.
/// </summary>
internal sealed class Jira(JiraOptions options, HttpClient http) : IDestination
{
    private const int MaxLines = 50;
    private const int MaxDescriptionChars = 30_000;

    /// <inheritdoc/>
    public string Name => "jira";

    /// <inheritdoc/>
    public async Task<Delivery> DeliverAsync(AlertmanagerMessage message, CancellationToken cancellationToken)
    {
        try
        {
            var key = await FindAsync(message.Hash, cancellationToken);
            if (message.Status == AlertmanagerMessage.Resolved)
            {
                return key is null ? new Delivery(DeliveryOutcome.Delivered, "no open ticket") : await CloseAsync(key, message, cancellationToken);
            }

            if (key is null)
            {
                var made = await SendAsync(HttpMethod.Post, "issue", new JsonObject { ["fields"] = Fields(message, isNew: true) }, cancellationToken);
                return new Delivery(DeliveryOutcome.Delivered, $"ticket {TextOf(made, "key")} made");
            }

            await SendAsync(HttpMethod.Put, $"issue/{key}", new JsonObject { ["fields"] = Fields(message, isNew: false) }, cancellationToken);
            return new Delivery(DeliveryOutcome.Delivered, $"ticket {key} updated");
        }
        catch (AnswerException e)
        {
            return new Delivery(e.IsFinal ? DeliveryOutcome.Refused : DeliveryOutcome.TryAgain, e.Message);
        }
    }

    /// <summary>The open ticket of an incident; null when there is none.</summary>
    private async Task<string?> FindAsync(string hash, CancellationToken cancellationToken)
    {
        var query = new JsonObject
        {
            ["jql"] = $"project = \"{options.Project}\" and labels = \"{Label(hash)}\" and statusCategory != Done order by created asc",
            ["maxResults"] = 1,
            ["fields"] = new JsonArray("status"),
        };
        var found = options.Cloud
            ? await SendAsync(HttpMethod.Post, "search/jql", query, cancellationToken, version: 3)
            : await SendAsync(HttpMethod.Post, "search", query, cancellationToken);
        return found?["issues"] is JsonArray { Count: > 0 } issues ? TextOf(issues[0] as JsonObject, "key") : null;
    }

    private async Task<Delivery> CloseAsync(string key, AlertmanagerMessage message, CancellationToken cancellationToken)
    {
        var offered = await SendAsync(HttpMethod.Get, $"issue/{key}/transitions", null, cancellationToken);
        var transitions = (offered?["transitions"] as JsonArray ?? []).OfType<JsonObject>().ToArray();
        var close = Array.Find(transitions, t => string.Equals(TextOf(t, "name"), options.CloseTransition, StringComparison.OrdinalIgnoreCase));
        if (close is null)
        {
            var names = string.Join(", ", transitions.Select(t => $"'{TextOf(t, "name")}'"));
            return new Delivery(
                DeliveryOutcome.Refused, $"ticket {key} has no transition '{options.CloseTransition}'; it offers {(names.Length == 0 ? "none" : names)} (alert-bridge:jira:closeTransition)");
        }

        await SendAsync(HttpMethod.Post, $"issue/{key}/comment", new JsonObject { ["body"] = "Resolved.\n" + Text(message) }, cancellationToken);
        await SendAsync(
            HttpMethod.Post, $"issue/{key}/transitions", new JsonObject { ["transition"] = new JsonObject { ["id"] = TextOf(close, "id") } }, cancellationToken);
        return new Delivery(DeliveryOutcome.Delivered, $"ticket {key} closed");
    }

    private JsonObject Fields(AlertmanagerMessage message, bool isNew)
    {
        var fields = new JsonObject { ["summary"] = message.Title, ["description"] = Text(message) };
        if (isNew)
        {
            fields["project"] = new JsonObject { ["key"] = options.Project };
            fields["issuetype"] = new JsonObject { ["name"] = options.IssueType };
            fields["labels"] = new JsonArray("yizhan", Label(message.Hash));
        }

        return fields;
    }

    private static string Text(AlertmanagerMessage message)
    {
        var text = string.Join('\n', message.Lines("summary", MaxLines))
            + (message.CommonAnnotations.GetValueOrDefault("runbook") is { } runbook ? $"\n\nWhat to do: {runbook}" : "")
            + (message.ExternalUrl is { } url ? $"\nAlertmanager: {url}" : "");
        return text.Length > MaxDescriptionChars ? text[..MaxDescriptionChars] : text;
    }

    private static string Label(string hash) => $"ALERT-{hash}";

    /// <exception cref="AnswerException">Jira did not do it.</exception>
    private async Task<JsonObject?> SendAsync(HttpMethod method, string path, JsonObject? body, CancellationToken cancellationToken, int version = 2)
    {
        using var request = new HttpRequestMessage(method, new Uri($"{options.Url!.ToString().TrimEnd('/')}/rest/api/{version}/{path}"));
        var token = (await File.ReadAllTextAsync(options.TokenFile, cancellationToken)).Trim();
        request.Headers.Authorization = options.User is { } user
            ? new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{token}")))
            : new AuthenticationHeaderValue("Bearer", token);
        if (body is not null)
        {
            request.Content = new StringContent(body.ToJsonString(), Encoding.UTF8, "application/json");
        }

        using var answer = await http.SendAsync(request, cancellationToken);
        var text = await answer.Content.ReadAsStringAsync(cancellationToken);
        if (!answer.IsSuccessStatusCode)
        {
            throw new AnswerException(answer.StatusCode, $"{method} {path}: HTTP {(int)answer.StatusCode}{Reason(text)}");
        }

        try
        {
            return text.Length == 0 ? null : JsonNode.Parse(text) as JsonObject ?? throw new JsonException();
        }
        catch (JsonException)
        {
            // A proxy's or a sign-in page: nothing was done.
            throw new AnswerException(HttpStatusCode.BadGateway, $"{method} {path}: the answer is no JSON object");
        }
    }

    /// <summary>A member that is a text; null when it is not there or something else.</summary>
    private static string? TextOf(JsonObject? json, string member) => json?[member] is JsonValue value && value.TryGetValue<string>(out var text) ? text : null;

    /// <summary>Jira's own words, as far as they are short.</summary>
    private static string Reason(string body)
    {
        try
        {
            var json = JsonNode.Parse(body) as JsonObject;
            var words = new[] { json?["errorMessages"]?.ToJsonString(), json?["errors"]?.ToJsonString() }.Where(w => w is { Length: > 2 });
            var reason = string.Join(' ', words);
            return reason.Length == 0 ? "" : $" {(reason.Length > 300 ? reason[..300] : reason)}";
        }
        catch (JsonException)
        {
            return "";
        }
    }

    private sealed class AnswerException(HttpStatusCode status, string message) : Exception(message)
    {
        // What is wrong with the request stays wrong; who may do it, and whether Jira is well, changes.
        public bool IsFinal => status is HttpStatusCode.BadRequest or HttpStatusCode.RequestEntityTooLarge or HttpStatusCode.UnprocessableEntity;
    }
}
