using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;
using Yizhan.Transparency;

namespace Yizhan.Console;

/// <summary>Where the console finds the services. Section <c>console</c>.</summary>
public sealed class ConsoleOptions
{
    /// <summary>Base address of the fleet service, such as <c>http://127.0.0.1:8080</c>. Empty (default): the node's own <c>web:url</c>.</summary>
    public string FleetUrl { get; set; } = "";

    /// <summary>Base address of the PACS gateway of the centre. Empty (default): the node's own <c>web:url</c>.</summary>
    public string PacsUrl { get; set; } = "";

    /// <summary>Base address of the EMR adapter of the centre. Empty (default): the node's own <c>web:url</c>.</summary>
    public string EmrUrl { get; set; } = "";

    /// <summary>Base address of the issuer of the centre. Empty (default): the node's own <c>web:url</c>.</summary>
    public string AuthUrl { get; set; } = "";

    /// <summary>Base address of the audit service of the centre. Empty (default): the node's own <c>web:url</c>.</summary>
    public string AuditUrl { get; set; } = "";

    /// <summary>
    /// Key of the audit log (name+id+base64) against which the console checks each record that it shows. Empty (default): the key that
    /// the log itself names, which does not notice a log that was replaced together with its key.
    /// </summary>
    public string AuditKey { get; set; } = "";

    /// <summary>Base address of the inventory. Empty (default): the node's own <c>web:url</c>.</summary>
    public string InventoryUrl { get; set; } = "";

    /// <summary>Base address of the station, which a site's console asks instead of a fleet. Empty (default): the node's own <c>web:url</c>.</summary>
    public string StationUrl { get; set; } = "";

    /// <summary>Base address of ai-infer, which a site's console asks about its models. Empty (default): the node's own <c>web:url</c>.</summary>
    public string AiUrl { get; set; } = "";

    /// <summary>Address of the centre's console, to which that of a site points for what only a centre has. Empty (default): it names the centre without a link.</summary>
    public string CentreUrl { get; set; } = "";

    /// <summary>
    /// Base address of the Prometheus of the centre, such as <c>http://prometheus:9090</c>, whose alerts the page of a site shows. It is asked without a
    /// token. Empty (default): the page says that none is configured.
    /// </summary>
    public string PrometheusUrl { get; set; } = "";

    /// <summary>Pages that may be open at once; each takes about 2.5 MB of the node's memory. Default 200, 1 to 10000.</summary>
    [Range(1, 10_000)]
    public int MaxOpenPages { get; set; } = 200;

    /// <summary>Host and port to which a first study can be sent, shown while there is none, such as <c>192.0.2.7:11112</c>. Empty (default): not shown.</summary>
    public string DicomAddress { get; set; } = "";

    /// <summary>AE title of that address, shown beside it; at most 16 characters (PS3.8 §9.3.2). Empty (default): not shown.</summary>
    public string DicomAeTitle { get; set; } = "";
}

[OptionsValidator]
internal sealed partial class ConsoleOptionsRanges : IValidateOptions<ConsoleOptions>;

internal sealed class ConsoleOptionsValidator : IValidateOptions<ConsoleOptions>
{
    public ValidateOptionsResult Validate(string? name, ConsoleOptions options)
    {
        List<string> failures =
        [
            .. UrlFailure("fleetUrl", options.FleetUrl),
            .. UrlFailure("pacsUrl", options.PacsUrl),
            .. UrlFailure("emrUrl", options.EmrUrl),
            .. UrlFailure("authUrl", options.AuthUrl),
            .. UrlFailure("auditUrl", options.AuditUrl),
            .. options.AuditKey.Length > 0 && !NoteKey.TryParse(options.AuditKey, out _)
                ? [$"console:auditKey is '{options.AuditKey}'; accepted is name+id+base64, as 'yizhan audit keys' prints it."] : Array.Empty<string>(),
            .. UrlFailure("inventoryUrl", options.InventoryUrl),
            .. UrlFailure("stationUrl", options.StationUrl),
            .. UrlFailure("aiUrl", options.AiUrl),
            .. UrlFailure("centreUrl", options.CentreUrl),
            .. UrlFailure("prometheusUrl", options.PrometheusUrl),
            .. options.DicomAddress.Length > 0 && !IsHostAndPort(options.DicomAddress)
                ? [$"console:dicomAddress is '{options.DicomAddress}'; accepted is host:port, such as 127.0.0.1:11112."] : Array.Empty<string>(),
            .. options.DicomAeTitle.Length > 16
                ? [$"console:dicomAeTitle is '{options.DicomAeTitle}'; accepted are at most 16 characters."] : Array.Empty<string>(),
        ];
        return failures.Count > 0 ? ValidateOptionsResult.Fail(failures) : new ConsoleOptionsRanges().Validate(name, options);
    }

    private static IEnumerable<string> UrlFailure(string key, string value)
    {
        if (value.Length > 0 && !(Uri.TryCreate(value, UriKind.Absolute, out var url) && url.Scheme is "http" or "https"))
        {
            yield return $"console:{key} is '{value}'; accepted is an http:// or https:// address, such as http://127.0.0.1:8080.";
        }
    }

    private static bool IsHostAndPort(string value) =>
        Uri.TryCreate("dicom://" + value, UriKind.Absolute, out var url) && url.Authority == value && url.Port > 0;
}
