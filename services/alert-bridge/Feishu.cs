using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.RateLimiting;

namespace Yizhan.AlertBridge;

/// <summary>
/// A custom bot of a Feishu group: one text message for each state of a group of alerts, in Chinese. The bot answers 200 to everything; <c>code</c> in the
/// body decides. It takes 100 messages a minute and 5 a second, bodies up to 20 KB, and signatures that are younger than an hour.
/// </summary>
internal sealed class Feishu(FeishuOptions options, HttpClient http, TimeProvider clock) : IDestination, IDisposable
{
    private const int MaxLines = 20;
    private const int MaxLineChars = 400;

    // What a bot says when it is asked too often, or when the other side has trouble: the next time it may take it.
    private static readonly int[] Later = [9499, 11232, 19021];

    private readonly TokenBucketRateLimiter _pace = new(new TokenBucketRateLimiterOptions
    {
        TokenLimit = 4,
        TokensPerPeriod = 1,
        ReplenishmentPeriod = TimeSpan.FromMinutes(1) / options.MessagesPerMinute,
        QueueLimit = 1,
        AutoReplenishment = true,
    });

    /// <inheritdoc/>
    public string Name => "feishu";

    /// <summary>Signature of a moment: HMAC-SHA256 of nothing, with the moment and the secret as its key.</summary>
    public static string Sign(string timestamp, string secret) =>
        Convert.ToBase64String(HMACSHA256.HashData(Encoding.UTF8.GetBytes($"{timestamp}\n{secret}"), ReadOnlySpan<byte>.Empty));

    /// <inheritdoc/>
    public async Task<Delivery> DeliverAsync(AlertmanagerMessage message, CancellationToken cancellationToken)
    {
        using var lease = await _pace.AcquireAsync(1, cancellationToken);
        if (!lease.IsAcquired)
        {
            return new Delivery(DeliveryOutcome.TryAgain, "the bot's pace");
        }

        var state = message.Status == AlertmanagerMessage.Resolved ? "已恢复" : "告警";
        var lines = message.Lines("summary_zh", MaxLines).Select(line => line.Length > MaxLineChars ? line[..MaxLineChars] + "…" : line);
        var body = new JsonObject
        {
            ["msg_type"] = "text",
            ["content"] = new JsonObject { ["text"] = $"{state} {message.Title}\n{string.Join('\n', lines)}" },
        };
        if (options.SecretFile is not null)
        {
            var timestamp = clock.GetUtcNow().ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
            body["timestamp"] = timestamp;
            body["sign"] = Sign(timestamp, (await File.ReadAllTextAsync(options.SecretFile, cancellationToken)).Trim());
        }

        var address = (await File.ReadAllTextAsync(options.WebhookUrlFile, cancellationToken)).Trim();
        using var content = new StringContent(body.ToJsonString(), Encoding.UTF8, "application/json");
        using var answer = await http.PostAsync(new Uri(address), content, cancellationToken);
        var text = await answer.Content.ReadAsStringAsync(cancellationToken);
        if (!answer.IsSuccessStatusCode)
        {
            return new Delivery(DeliveryOutcome.TryAgain, $"HTTP {(int)answer.StatusCode}");
        }

        return CodeOf(text) switch
        {
            0 => new Delivery(DeliveryOutcome.Delivered, "message sent"),
            null => new Delivery(DeliveryOutcome.TryAgain, "the answer has no code: is it a proxy's?"),
            { } code when Later.Contains(code) => new Delivery(DeliveryOutcome.TryAgain, $"code {code}"),
            { } code => new Delivery(DeliveryOutcome.Refused, $"code {code}: {Why(code)}"),
        };
    }

    /// <inheritdoc/>
    public void Dispose() => _pace.Dispose();

    private static int? CodeOf(string body)
    {
        try
        {
            using var json = JsonDocument.Parse(body);
            return json.RootElement.ValueKind != JsonValueKind.Object ? null
                : json.RootElement.TryGetProperty("code", out var code) && code.ValueKind == JsonValueKind.Number && code.TryGetInt32(out var value) ? value
                : json.RootElement.TryGetProperty("StatusCode", out code) && code.ValueKind == JsonValueKind.Number && code.TryGetInt32(out value) ? value
                : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static string Why(int code) => code switch
    {
        19007 => "the bot is disabled",
        19022 => "this address is not on the bot's list",
        19024 => "the message has none of the bot's keywords",
        _ => "see the bot's documentation",
    };
}
