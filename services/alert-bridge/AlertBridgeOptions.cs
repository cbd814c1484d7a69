using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace Yizhan.AlertBridge;

/// <summary>Where alerts go that Alertmanager cannot bring itself. Section <c>alert-bridge</c>. A destination without settings is not there.</summary>
public sealed class AlertBridgeOptions
{
    /// <summary>A Feishu (Lark) group's custom bot.</summary>
    public FeishuOptions? Feishu { get; set; }

    /// <summary>A Jira project.</summary>
    public JiraOptions? Jira { get; set; }

    /// <summary>Groups that may wait for a destination; beyond it Alertmanager is told to come again. Default 10000.</summary>
    [Range(1, 1_000_000)]
    public int MaxGroups { get; set; } = 10_000;

    /// <summary>Wait after a first failed delivery, in milliseconds; doubled up to <see cref="MaxRetryMs"/>. Default 5000.</summary>
    [Range(10, 3_600_000)]
    public int RetryMs { get; set; } = 5000;

    /// <summary>Longest wait between two deliveries, in milliseconds. Default 900000 (15 minutes).</summary>
    [Range(10, 86_400_000)]
    public int MaxRetryMs { get; set; } = 900_000;

    /// <summary>How long a destination may take to answer, in milliseconds. Default 30000.</summary>
    [Range(100, 600_000)]
    public int TimeoutMs { get; set; } = 30_000;
}

/// <summary>A custom bot of a Feishu group.</summary>
public sealed class FeishuOptions
{
    /// <summary>File with the webhook's address; it is a secret, since whoever has it can write to the group.</summary>
    [Required]
    public string WebhookUrlFile { get; set; } = "";

    /// <summary>File with the secret of the bot's signature; null when the bot has none.</summary>
    public string? SecretFile { get; set; }

    /// <summary>Messages that may be sent in a minute; the bot takes 100. Default 60.</summary>
    [Range(1, 100)]
    public int MessagesPerMinute { get; set; } = 60;
}

/// <summary>A Jira project, in the cloud or in a data centre.</summary>
public sealed class JiraOptions
{
    /// <summary>Base address, such as <c>https://jira.example.org</c>.</summary>
    [Required]
    public Uri? Url { get; set; }

    /// <summary>Key of the project.</summary>
    [Required]
    [RegularExpression("[A-Z][A-Z0-9_]{0,31}", ErrorMessage = "alert-bridge:jira:project is the key of a project, such as OPS.")]
    public string Project { get; set; } = "";

    /// <summary>Issue type. Default Task.</summary>
    [Required]
    public string IssueType { get; set; } = "Task";

    /// <summary>User of the API token (Jira Cloud); null: the token is a bearer token (Data Center).</summary>
    public string? User { get; set; }

    /// <summary>File with the token.</summary>
    [Required]
    public string TokenFile { get; set; } = "";

    /// <summary>Name of the transition that closes a ticket. Default Done.</summary>
    [Required]
    public string CloseTransition { get; set; } = "Done";

    /// <summary>True for Jira Cloud, whose search has another address than Data Center's. Default false.</summary>
    public bool Cloud { get; set; }
}

internal sealed class AlertBridgeOptionsValidator : IValidateOptions<AlertBridgeOptions>
{
    public ValidateOptionsResult Validate(string? name, AlertBridgeOptions options)
    {
        var failures = new List<string>();
        foreach (var part in new object?[] { options, options.Feishu, options.Jira })
        {
            var wrong = new List<ValidationResult>();
            if (part is not null && !Validator.TryValidateObject(part, new ValidationContext(part), wrong, validateAllProperties: true))
            {
                failures.AddRange(wrong.Select(w => $"alert-bridge: {w.ErrorMessage}"));
            }
        }

        foreach (var (setting, path) in new[]
        {
            ("feishu:webhookUrlFile", options.Feishu?.WebhookUrlFile), ("feishu:secretFile", options.Feishu?.SecretFile), ("jira:tokenFile", options.Jira?.TokenFile),
        })
        {
            if (path is { Length: > 0 } && !File.Exists(path))
            {
                failures.Add($"alert-bridge:{setting} is '{path}'; there is no such file.");
            }
        }

        if (options.Jira?.Url is { } url && !(url.IsAbsoluteUri && url.Scheme is "http" or "https" && url.UserInfo is ""))
        {
            failures.Add($"alert-bridge:jira:url is '{url}'; accepted is an http or https address without user and password.");
        }

        return failures.Count > 0 ? ValidateOptionsResult.Fail(failures) : ValidateOptionsResult.Success;
    }
}
