using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace Yizhan.Platform;

/// <summary>The node's web listener: console, DICOMweb, APIs. Section <c>web</c>.</summary>
public sealed class WebOptions
{
    /// <summary>
    /// Address to listen on. Default <c>http://127.0.0.1:8080</c>. Only loopback is accepted as long as the platform has no
    /// sign-in: a record that everyone on the network can read is worse than one that needs a tunnel.
    /// </summary>
    [Required]
    public string Url { get; set; } = "http://127.0.0.1:8080";
}

internal sealed class WebOptionsValidator : IValidateOptions<WebOptions>
{
    public ValidateOptionsResult Validate(string? name, WebOptions options) =>
        Uri.TryCreate(options.Url, UriKind.Absolute, out var url) && url.Scheme == "http" && url.IsLoopback
            ? ValidateOptionsResult.Success
            : ValidateOptionsResult.Fail(
                $"web:url is '{options.Url}'; accepted is http:// on 127.0.0.1, [::1] or localhost, such as http://127.0.0.1:8080.");
}
