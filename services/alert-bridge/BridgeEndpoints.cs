using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Data.Sqlite;
using Yizhan.Platform.Identity;

namespace Yizhan.AlertBridge;

/// <summary>What Alertmanager calls, with the node's own token: whoever could invent alerts could wake people and fill a project with tickets.</summary>
internal static class BridgeEndpoints
{
    /// <summary>Largest message that is taken, in bytes. Alertmanager can be told to truncate (<c>max_alerts</c>).</summary>
    private const int MaxBytes = 8 * 1024 * 1024;

    private const int MaxKept = 100;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/{destination}", TakeAsync).Needs(Permission.ManageMachines);
        routes.MapGet("/queue", (Outbox outbox) => TypedResults.Ok(outbox.All())).Needs(Permission.ReadFleet);
    }

    private static async Task<Results<Ok, ProblemHttpResult>> TakeAsync(
        string destination, HttpRequest request, Outbox outbox, Destinations destinations, CancellationToken cancellationToken)
    {
        if (!destinations.All.Any(d => d.Name == destination))
        {
            var known = string.Join(", ", destinations.All.Select(d => d.Name));
            return TypedResults.Problem(
                $"There is no destination '{destination}'; {(known.Length == 0 ? "none is configured (alert-bridge:feishu, alert-bridge:jira)" : $"configured: {known}")}.", statusCode: 404);
        }

        if (request.ContentLength > MaxBytes)
        {
            return TypedResults.Problem($"The message has {request.ContentLength} bytes; {MaxBytes} are accepted (max_alerts in alertmanager.yml).", statusCode: 413);
        }

        AlertmanagerMessage? message;
        try
        {
            message = await JsonSerializer.DeserializeAsync(request.Body, BridgeJson.Default.AlertmanagerMessage, cancellationToken);
        }
        catch (JsonException e)
        {
            return TypedResults.Problem($"This is no message of Alertmanager's webhook: {e.Message}", statusCode: 400);
        }

        if (message is not { Version: "4", GroupKey.Length: > 0, Status: AlertmanagerMessage.Firing or AlertmanagerMessage.Resolved })
        {
            return TypedResults.Problem(
                $"Version '{message?.Version}' and status '{message?.Status}' are not understood; accepted: version 4 with a groupKey, firing or resolved.", statusCode: 400);
        }

        // A flood is one message: what people read is the first of its alerts and their number.
        var kept = message with { Alerts = [.. message.Alerts.Take(MaxKept)], TruncatedAlerts = message.TruncatedAlerts + Math.Max(0, message.Alerts.Count - MaxKept) };
        try
        {
            return outbox.TryPut(destination, message.Hash, JsonSerializer.SerializeToUtf8Bytes(kept, BridgeJson.Default.AlertmanagerMessage))
                ? TypedResults.Ok()
                : TypedResults.Problem("Too many groups of alerts wait (alert-bridge:maxGroups).", statusCode: 503);
        }
        catch (SqliteException e)
        {
            return TypedResults.Problem($"The alert could not be kept: {e.Message}", statusCode: 503);
        }
    }
}
