using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;
using Yizhan.Platform.Flows;

namespace Yizhan.Platform;

/// <summary>The node's web listener: console, DICOMweb, APIs. Section <c>web</c>.</summary>
public sealed class WebOptions
{
    /// <summary>
    /// Address to listen on. Default <c>http://127.0.0.1:8080</c>. Without <c>service-tls</c> only loopback is accepted: a record that everyone on
    /// the network can read is worse than one that needs a tunnel. With it a second one may follow for services that run apart:
    /// <c>http://127.0.0.1:8080;https://0.0.0.0:8443</c>.
    /// </summary>
    [Required]
    public string Url { get; set; } = "http://127.0.0.1:8080";

    /// <summary>
    /// Seconds for which a node that was told to stop still answers, and says at <c>/health/ready</c> that it wants no more: 0 to 20, as long as its balancer needs to notice. Default 0.
    /// </summary>
    public int DrainSeconds { get; set; }
}

internal sealed class WebOptionsValidator(IOptions<ServiceTlsOptions> tls) : IValidateOptions<WebOptions>
{
    public ValidateOptionsResult Validate(string? name, WebOptions options) =>
        options.DrainSeconds is < 0 or > 20 ? ValidateOptionsResult.Fail($"web:drainSeconds is {options.DrainSeconds}; accepted is 0 to 20.")
        : IsLoopback(options.Url)
        || (tls.Value.CertificatePath is not null && options.Url.Split(';') is [var own, var others] && IsLoopback(own)
            && Uri.TryCreate(others, UriKind.Absolute, out var url) && url.Scheme == "https")
            ? ValidateOptionsResult.Success
            : ValidateOptionsResult.Fail(
                $"web:url is '{options.Url}'; accepted is http:// on 127.0.0.1, [::1] or localhost, such as http://127.0.0.1:8080, "
                + "and with service-tls behind it ;https:// on any address.");

    private static bool IsLoopback(string text) => Uri.TryCreate(text, UriKind.Absolute, out var url) && url.Scheme == "http" && url.IsLoopback && !text.Contains(';', StringComparison.Ordinal);
}
