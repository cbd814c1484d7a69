using System.ComponentModel.DataAnnotations;
using System.Net;
using Microsoft.Extensions.Options;

namespace Yizhan.Fleet;

/// <summary>Settings of the centre's end of the link. Section <c>fleet</c>.</summary>
public sealed class FleetOptions
{
    /// <summary>IP address on which sites are awaited. Default 127.0.0.1; 0.0.0.0 for all.</summary>
    [Required]
    public string LinkAddress { get; set; } = "127.0.0.1";

    /// <summary>TCP port on which sites are awaited. Default 8443; 0 takes any free one and keeps it until the process ends.</summary>
    [Range(0, 65535)]
    public int LinkPort { get; set; } = 8443;

    /// <summary>
    /// TCP port on which new devices enrol. Default: the one after <see cref="LinkPort"/>; any free one when that is 0. Nobody has a
    /// certificate there, and there is one route.
    /// </summary>
    [Range(0, 65535)]
    public int? EnrolmentPort { get; set; }

    /// <summary>PEM file with the listener's certificate and its chain, from cert-manager or an authority of yours; null: the embedded authority issues one.</summary>
    public string? CertificatePath { get; set; }

    /// <summary>PEM file with its private key. Both are read again when they change.</summary>
    public string? KeyPath { get; set; }

    /// <summary>DNS names and IP addresses under which sites reach the centre: they go into the listener's certificate.</summary>
    [MinLength(1)]
    public string[] LinkHosts { get; set; } = ["localhost", "127.0.0.1", "::1"];

    /// <summary>Folder of the certificate authority. Default: <c>fleet/ca</c> in the node's data folder.</summary>
    public string? CaFolder { get; set; }

    /// <summary>A site is online while its last contact is not older than this. Default 15 seconds: three status reports.</summary>
    [Range(1, 3600)]
    public int OnlineSeconds { get; set; } = 15;

    /// <summary>Most connections of all sites together. Default 256.</summary>
    [Range(1, 10_000)]
    public int MaxConnections { get; set; } = 256;

    /// <summary>Most memory for bodies on their way in, of all sites together, in MiB. Default 256; a quarter of it for one site.</summary>
    [Range(16, 16_384)]
    public int MaxBodiesMiB { get; set; } = 256;

    /// <summary>
    /// What sites may give up: <c>confirmed</c> (default), all that this centre has confirmed; <c>backup</c>, only what its newest backup covers. With
    /// <c>backup</c> and no backup yet, nothing.
    /// </summary>
    [RegularExpression("confirmed|backup", ErrorMessage = "fleet:safePoint must be confirmed or backup.")]
    public string SafePoint { get; set; } = "confirmed";

    /// <summary>File of the keys whose signatures on releases count. Default: <c>fleet/releases/trust.json</c> in the node's data folder.</summary>
    public string? ReleaseTrustPath { get; set; }

    /// <summary>Base address of the auth service, such as <c>https://auth:8080</c>. Empty (default): the node's own <c>web:url</c>.</summary>
    public string AuthUrl { get; set; } = "";

    /// <summary>
    /// File with a token of the role <c>directory</c> for that service; read again each time. Null (default): the node's own, which counts when both
    /// run in one process; with <c>service-tls</c> none, the certificate says who asks.
    /// </summary>
    public string? AuthTokenFile { get; set; }

    /// <summary>Days after which a kind of drill is due again. Default 92: a quarter.</summary>
    [Range(1, 3660)]
    public int DrillEveryDays { get; set; } = 92;

    /// <summary>
    /// Path of the <c>yizhan</c> command (a program, or a .dll for dotnet) with which people of the roles operator and site-engineer start drills from the console. A drill runs on
    /// processes of its own, and takes processor, memory and disk of this machine for some minutes. Empty (default): the console starts none; <c>yizhan up</c> names itself.
    /// </summary>
    public string DrillCommand { get; set; } = "";

    /// <summary>Minutes after which a drill that was started from the console is ended. Default 30, 1 to 240.</summary>
    [Range(1, 240)]
    public int DrillMinutes { get; set; } = 30;

    /// <summary>How long a ring of sites is watched before a release goes to the next one, in seconds. Default one hour.</summary>
    [Range(0, 30 * 24 * 3600)]
    public int RingSoakSeconds { get; set; } = 3600;

    /// <summary>What a site is told to wait when there is no room here. Default 30 seconds.</summary>
    [Range(1, 3600)]
    public int RetryAfterSeconds { get; set; } = 30;
}

[OptionsValidator]
internal sealed partial class FleetOptionsRanges : IValidateOptions<FleetOptions>;

internal sealed class FleetOptionsValidator : IValidateOptions<FleetOptions>
{
    public ValidateOptionsResult Validate(string? name, FleetOptions options) =>
        !IPAddress.TryParse(options.LinkAddress, out _)
            ? ValidateOptionsResult.Fail(
                $"fleet:linkAddress is '{options.LinkAddress}'; accepted is an IP address such as 127.0.0.1 or 0.0.0.0.")
        : options.DrillCommand.Length > 0 && !(Path.IsPathFullyQualified(options.DrillCommand) && File.Exists(options.DrillCommand))
            ? ValidateOptionsResult.Fail($"fleet:drillCommand is '{options.DrillCommand}'; accepted is the whole path of the yizhan command, such as /opt/yizhan/yizhan, or nothing.")
        : options.LinkHosts.FirstOrDefault(h => Uri.CheckHostName(h) == UriHostNameType.Unknown) is { } wrong
            ? ValidateOptionsResult.Fail($"fleet:linkHosts has '{wrong}'; accepted are DNS names and IP addresses.")
        : options.AuthUrl.Length > 0 && !(Uri.TryCreate(options.AuthUrl, UriKind.Absolute, out var auth) && auth.Scheme is "http" or "https")
            ? ValidateOptionsResult.Fail($"fleet:authUrl is '{options.AuthUrl}'; accepted is an http:// or https:// address, such as https://auth:8080.")
        : new FleetOptionsRanges().Validate(name, options);
}
