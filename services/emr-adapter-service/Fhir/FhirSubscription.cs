using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Yizhan.EmrAdapter.Sources;

namespace Yizhan.EmrAdapter.Fhir;

/// <summary>
/// Asks a FHIR R4 server to knock when something changes (http://hl7.org/fhir/R4/subscription.html, channel rest-hook, without payload). A knock says only that it is time to look:
/// what is taken, and from where on, is the poller's, so that one that is lost, doubled or made up changes nothing. A server that has no subscriptions is polled as before.
/// </summary>
internal sealed partial class FhirSubscription(EmrSystemOptions system, Intake intake, TimeProvider clock, ILogger logger)
{
    /// <summary>Header of a knock.</summary>
    public const string SecretHeader = "X-Yizhan-Secret";

    private static readonly TimeSpan LookAgain = TimeSpan.FromMinutes(10);

    private readonly ILogger _logger = logger;
    private DateTimeOffset _next = DateTimeOffset.MinValue;
    private bool _isOffered = true;

    /// <summary>The secret that a system's knocks carry; made when it is first asked for.</summary>
    public static string SecretOf(Intake intake, string system)
    {
        var feed = $"subscription/{system}";
        if (intake.Cursor(feed) is not { } secret)
        {
            intake.MoveCursor(feed, secret = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32)));
        }

        return secret;
    }

    /// <summary>Makes the subscriptions unless they are there; looks again every ten minutes, since a server ends one that it could not reach.</summary>
    public async Task EnsureAsync(FhirClient client, CancellationToken cancellationToken)
    {
        if (system.NotifyUrl is not { } ours || clock.GetUtcNow() < _next)
        {
            return;
        }

        var endpoint = $"{ours.TrimEnd('/')}/emr-adapter/notify/{system.Name}";
        try
        {
            var known = await client.SearchAsync($"Subscription?url={Uri.EscapeDataString(endpoint)}", 100, cancellationToken);
            foreach (var criteria in FhirPoller.Types.Select(type => $"{type}?"))
            {
                await EnsureAsync(client, known.FirstOrDefault(s => FhirClient.Text(s, "criteria") == criteria), criteria, endpoint, cancellationToken);
            }

            (_next, _isOffered) = (clock.GetUtcNow() + LookAgain, true);
        }
        catch (FhirException e)
        {
            // Whatever is wrong with it: the look that comes next does without, or says what is wrong.
            _next = clock.GetUtcNow() + LookAgain;
            if (_isOffered)
            {
                NotOffered(system.Name, e.Message);
            }

            _isOffered = false;
        }
    }

    private async Task EnsureAsync(FhirClient client, JsonObject? known, string criteria, string endpoint, CancellationToken cancellationToken)
    {
        var header = $"{SecretHeader}: {SecretOf(intake, system.Name)}";
        var isOurs = (known?["channel"]?["header"] as JsonArray)?.Any(h => (string?)h == header) == true;
        if (isOurs && FhirClient.Text(known, "status") is "active" or "requested")
        {
            return;
        }

        var resource = new JsonObject
        {
            ["resourceType"] = "Subscription",
            ["status"] = "requested",
            ["reason"] = "Orders and patients for imaging.",
            ["criteria"] = criteria,
            ["channel"] = new JsonObject { ["type"] = "rest-hook", ["endpoint"] = endpoint, ["header"] = new JsonArray(header) },
        };
        if (FhirClient.Text(known, "id") is { } id)
        {
            resource["id"] = id;
            await client.PutAsync($"Subscription/{id}", resource, cancellationToken);
        }
        else
        {
            await client.PostAsync("Subscription", resource, null, cancellationToken);
        }

        Subscribed(system.Name, criteria);
    }

    [LoggerMessage(4032, LogLevel.Information, "{System} was asked to say when {Criteria} changes.")]
    private partial void Subscribed(string system, string criteria);

    [LoggerMessage(4033, LogLevel.Information, "{System} offers no subscriptions, and is asked as often as pollMs says: {Reason}")]
    private partial void NotOffered(string system, string reason);
}
