using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace Yizhan.Station;

/// <summary>Settings of a site's end of the link. Section <c>station</c>.</summary>
public sealed class StationOptions
{
    /// <summary>Address of the centre's listener, such as <c>https://centre.example:8443</c>. Without one the site only spools.</summary>
    public Uri? CentreUrl { get; set; }

    /// <summary>
    /// Where else the centre may be, such as <c>10.0.0.6:8443</c>: asked when nobody listens at <see cref="CentreUrl"/>, whose name and certificate count there too. At most 4.
    /// </summary>
    public List<string> CentreAddresses { get; set; } = [];

    /// <summary>PEM file with the site's client certificate. Read again for each connection, so it may be replaced at any time.</summary>
    public string? CertificatePath { get; set; }

    /// <summary>PEM file with its private key.</summary>
    public string? KeyPath { get; set; }

    /// <summary>PEM file with the root certificate of the installation (<c>root.crt</c> of the centre's authority).</summary>
    public string? RootPath { get; set; }

    /// <summary>How often it is looked whether the certificate is due for renewal, and what was revoked, in seconds. Default 300.</summary>
    [Range(1, 86_400)]
    public int CertificatePollSeconds { get; set; } = 300;

    /// <summary>How often the centre is asked who may sign in here without it, in seconds. Default 60.</summary>
    [Range(1, 86_400)]
    public int AccountsPollSeconds { get; set; } = 60;

    /// <summary>How often the centre is asked what it orders about the models here, in seconds. Default 10.</summary>
    [Range(1, 86_400)]
    public int OrdersPollSeconds { get; set; } = 10;

    /// <summary>Warnings and errors of this node that the centre is sent in an hour; the others are in the site's own log. 0: none. Default 300.</summary>
    [Range(0, 10_000)]
    public int LogLinesPerHour { get; set; } = 300;

    /// <summary>How often they are put into the spool, in seconds. Default 30.</summary>
    [Range(1, 3600)]
    public int LogSeconds { get; set; } = 30;

    /// <summary>Attempts to sign in at the site that one address may make in a minute. Default 30.</summary>
    [Range(5, 10_000)]
    public int SignInAttemptsPerMinute { get; set; } = 30;

    /// <summary>Share of the link for the lane <c>normal</c>, relative to the two others, in bytes. Default 8.</summary>
    [Range(1, 100)]
    public int NormalWeight { get; set; } = 8;

    /// <summary>Share of the link for the lane <c>bulk</c>. Default 4.</summary>
    [Range(1, 100)]
    public int BulkWeight { get; set; } = 4;

    /// <summary>Share of the link for the lane <c>telemetry</c>. Default 1.</summary>
    [Range(1, 100)]
    public int TelemetryWeight { get; set; } = 1;

    /// <summary>Most bytes that are sent and not yet answered, in MiB. Default 16. On a slow line the station stays far below.</summary>
    [Range(1, 256)]
    public int MaxInFlightMiB { get; set; } = 16;

    /// <summary>How long, in milliseconds, what is under way may keep the line busy: an urgent entry waits no longer. Default 500.</summary>
    [Range(50, 60_000)]
    public int TargetMs { get; set; } = 500;

    /// <summary>How often the site reports its status, in seconds. Default 5.</summary>
    [Range(1, 3600)]
    public int HeartbeatSeconds { get; set; } = 5;

    /// <summary>A connection on which nothing moves for this many seconds is given up. Default 30.</summary>
    [Range(2, 600)]
    public int StallSeconds { get; set; } = 30;

    /// <summary>How often a cheap connect looks whether the centre is back while it is away, in milliseconds. Default 2000.</summary>
    [Range(100, 60_000)]
    public int ProbeMs { get; set; } = 2000;

    /// <summary>How often the centre is asked what it has, and what need not be kept any more is given up, in seconds. Default 60.</summary>
    [Range(1, 3600)]
    public int RetentionSeconds { get; set; } = 60;

    /// <summary>File of the keys whose signatures on releases count; read once, then they change with releases. Null: no release is taken.</summary>
    public string? ReleaseTrustPath { get; set; }

    /// <summary>How often the centre is asked for a release, in seconds. Default 10.</summary>
    [Range(1, 3600)]
    public int ConfigurationPollSeconds { get; set; } = 10;

    /// <summary>How long a node may be unhealthy with a new configuration before it starts again, in seconds. Default 60.</summary>
    [Range(1, 3600)]
    public int ConfigurationTrialSeconds { get; set; } = 60;

    /// <summary>
    /// How long nothing clinical may have been under way before the site counts as idle, in seconds. Default 30: longer than the pause between two
    /// associations of one study.
    /// </summary>
    [Range(0, 3600)]
    public int UpdateQuietSeconds { get; set; } = 30;

    /// <summary>Hours in which the site may be restarted for an update or a configuration, such as <c>22:00-05:00</c>. Null: at any hour.</summary>
    public string? UpdateWindow { get; set; }

    /// <summary>The site's time zone, by its IANA name. Default <c>Asia/Shanghai</c>.</summary>
    [Required]
    public string TimeZone { get; set; } = "Asia/Shanghai";

    /// <summary>An entry that the centre refuses this many times is put into quarantine. Default 3.</summary>
    [Range(1, 100)]
    public int QuarantineAfter { get; set; } = 3;

    /// <summary>
    /// What happens to later entries of a lane that have the same key as one in quarantine: <c>pass</c> (default) sends them, <c>wait</c> keeps them in quarantine
    /// until the first is replayed.
    /// </summary>
    [RegularExpression("pass|wait", ErrorMessage = "station:poisonedKeys must be pass or wait.")]
    public string PoisonedKeys { get; set; } = "pass";
}

[OptionsValidator]
internal sealed partial class StationOptionsRanges : IValidateOptions<StationOptions>;

internal sealed class StationOptionsValidator : IValidateOptions<StationOptions>
{
    public ValidateOptionsResult Validate(string? name, StationOptions options)
    {
        if (options.UpdateWindow is { } window && !Updates.UpdateWindow.TryParse(window, out _))
        {
            return ValidateOptionsResult.Fail($"station:updateWindow is '{window}'; accepted is a span of the day such as 22:00-05:00.");
        }

        if (!TimeZoneInfo.TryFindSystemTimeZoneById(options.TimeZone, out _))
        {
            return ValidateOptionsResult.Fail($"station:timeZone is '{options.TimeZone}'; accepted is an IANA name such as Asia/Shanghai.");
        }

        if (options.CentreUrl is not { } centre)
        {
            return new StationOptionsRanges().Validate(name, options);
        }

        if (!centre.IsAbsoluteUri || centre.Scheme != Uri.UriSchemeHttps || centre.PathAndQuery != "/")
        {
            return ValidateOptionsResult.Fail(
                $"station:centreUrl is '{centre}'; accepted is https:// with host and port, such as https://centre.example:8443.");
        }

        if (options.CentreAddresses.Count > 4 || options.CentreAddresses.FirstOrDefault(a => HttpLink.EndPointOf(a) is null) is not null)
        {
            return ValidateOptionsResult.Fail(
                $"station:centreAddresses is {string.Join(", ", options.CentreAddresses)}; accepted are up to 4 of HOST:PORT, such as 10.0.0.6:8443.");
        }

        return File("certificatePath", options.CertificatePath, "the site's certificate")
            ?? File("keyPath", options.KeyPath, "its private key")
            ?? File("rootPath", options.RootPath, "the installation's root certificate")
            ?? new StationOptionsRanges().Validate(name, options);
    }

    private static ValidateOptionsResult? File(string setting, string? path, string what) =>
        string.IsNullOrEmpty(path) ? ValidateOptionsResult.Fail($"station:{setting} is missing: it names the PEM file with {what}.")
        : !System.IO.File.Exists(path) ? ValidateOptionsResult.Fail($"station:{setting} is '{path}', and there is no such file.")
        : null;
}
