using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Serialization;

namespace Yizhan.AlertBridge;

/// <summary>What Alertmanager posts to a webhook (version 4 of its format).</summary>
/// <param name="Version">"4".</param>
/// <param name="GroupKey">Identity of the group of alerts: the same for as long as the incident lasts, and when it comes again.</param>
/// <param name="Status">firing or resolved.</param>
/// <param name="Receiver">Name of the receiver in alertmanager.yml.</param>
/// <param name="GroupLabels">Labels that made the group.</param>
/// <param name="CommonLabels">Labels that all its alerts have.</param>
/// <param name="CommonAnnotations">Annotations that all its alerts have.</param>
/// <param name="ExternalUrl">Alertmanager, for people.</param>
/// <param name="TruncatedAlerts">How many alerts were left out of the message.</param>
/// <param name="Alerts">The alerts.</param>
internal sealed record AlertmanagerMessage(
    string Version,
    string GroupKey,
    string Status,
    string Receiver,
    IReadOnlyDictionary<string, string> GroupLabels,
    IReadOnlyDictionary<string, string> CommonLabels,
    IReadOnlyDictionary<string, string> CommonAnnotations,
    [property: JsonPropertyName("externalURL")] string? ExternalUrl,
    int TruncatedAlerts,
    IReadOnlyList<Alert> Alerts)
{
    /// <summary>Status of a group of which at least one alert fires.</summary>
    public const string Firing = "firing";

    /// <summary>Status of a group that has ended.</summary>
    public const string Resolved = "resolved";

    /// <summary>16 hex digits of the group: the label of its ticket.</summary>
    [JsonIgnore]
    public string Hash => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(GroupKey)))[..16];

    /// <summary>What it is about, in one line: at most 200 characters.</summary>
    [JsonIgnore]
    public string Title
    {
        get
        {
            var name = CommonLabels.GetValueOrDefault("alertname") ?? GroupLabels.GetValueOrDefault("alertname") ?? "Alerts";
            var site = CommonLabels.GetValueOrDefault("site");
            var severity = CommonLabels.GetValueOrDefault("severity");
            var title = $"{(severity is null ? "" : $"[{severity}] ")}{name}{(site is null ? "" : $" {site}")}{(Alerts.Count > 1 ? $" ({Alerts.Count})" : "")}";
            return title.Length > 200 ? title[..200] : title;
        }
    }

    /// <summary>One line for each alert, in the language of its annotations; at most <paramref name="lines"/> of them.</summary>
    public IEnumerable<string> Lines(string annotation, int lines)
    {
        foreach (var alert in Alerts.Take(lines))
        {
            var text = alert.Annotations.GetValueOrDefault(annotation) ?? alert.Annotations.GetValueOrDefault("summary")
                ?? string.Join(' ', alert.Labels.Select(label => $"{label.Key}={label.Value}"));
            yield return alert.Status == Resolved ? $"✓ {text}" : $"● {text}";
        }

        var more = Alerts.Count + TruncatedAlerts - lines;
        if (more > 0)
        {
            yield return $"… and {more} more";
        }
    }
}

/// <summary>One alert of the group.</summary>
/// <param name="Status">firing or resolved.</param>
/// <param name="Labels">Its labels.</param>
/// <param name="Annotations">Its annotations.</param>
/// <param name="StartsAt">Since when.</param>
internal sealed record Alert(
    string Status, IReadOnlyDictionary<string, string> Labels, IReadOnlyDictionary<string, string> Annotations, DateTimeOffset StartsAt);

[JsonSourceGenerationOptions(
    System.Text.Json.JsonSerializerDefaults.Web, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(AlertmanagerMessage))]
[JsonSerializable(typeof(IReadOnlyList<QueuedGroup>))]
internal sealed partial class BridgeJson : JsonSerializerContext;
