using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace Yizhan.Platform.Identity;

/// <summary>Whose tokens this node accepts. Section <c>identity</c>. Without any, there are the node's own and those of the modules in it.</summary>
public sealed class IdentityOptions
{
    /// <summary>Audience of tokens for every service of the installation; <c>{audience}/{service}</c> is for one. Default <c>yizhan</c>.</summary>
    [Required]
    [RegularExpression("[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", ErrorMessage = "identity:audience must be 1 to 63 characters of a-z, 0-9, '-' and '.'.")]
    public string Audience { get; set; } = "yizhan";

    /// <summary>OpenID Connect issuers, such as a Keycloak realm. At most 8.</summary>
    [MaxLength(8)]
    public List<IssuerOptions> Issuers { get; set; } = [];

    /// <summary>Where browsers sign in; by default at the embedded issuer.</summary>
    public SignInOptions SignIn { get; set; } = new();

    /// <summary>Minutes until a signed-in browser that does nothing has to sign in again. Default 30, 1 to 720.</summary>
    [Range(1, 720)]
    public int SessionMinutes { get; set; } = 30;
}

/// <summary>An issuer over HTTP.</summary>
public sealed class IssuerOptions
{
    /// <summary>
    /// Its <c>iss</c>, such as <c>https://id.example.org/realms/yizhan</c>; discovery is below it. With <see cref="KeysUrl"/> also a name that
    /// is no address, such as <c>urn:yizhan:site:lakeside</c>.
    /// </summary>
    public string Url { get; set; } = "";

    /// <summary>Its keys (RFC 7517), when discovery is not to be asked. Empty (default): from <c>/.well-known/openid-configuration</c>.</summary>
    public string KeysUrl { get; set; } = "";

    /// <summary>Name of the service that answers there, such as <c>auth</c>, when it is one of ours behind <c>service-tls</c>. Empty (default): it is none.</summary>
    public string Service { get; set; } = "";

    /// <summary>Sites that its tokens may name. Empty (default): all. For the issuer of a site: that one.</summary>
    public List<string> Sites { get; set; } = [];
}

internal sealed class IdentityOptionsValidator : IValidateOptions<IdentityOptions>
{
    private readonly GeneratedValidator _ranges = new();

    public ValidateOptionsResult Validate(string? name, IdentityOptions options)
    {
        var wrong = options.Issuers.SelectMany(i => new[] { ("url", i.Url, true), ("keysUrl", i.KeysUrl, false) })
            .Where(u => (u.Item3 || u.Item2.Length > 0) && !IsAcceptable(u.Item2))
            .Where(u => !(u.Item3 && u.Item2.StartsWith("urn:", StringComparison.Ordinal) && options.Issuers.Any(i => i.Url == u.Item2 && i.KeysUrl.Length > 0)))
            .Select(u => $"identity:issuers {u.Item1} is '{u.Item2}'; accepted is https://, http:// on this machine, or urn: with a keysUrl.")
            .Concat(WrongSignIn(options.SignIn))
            .ToArray();
        return wrong.Length > 0 ? ValidateOptionsResult.Fail(wrong) : _ranges.Validate(name, options);
    }

    private static IEnumerable<string> WrongSignIn(SignInOptions options)
    {
        if (options.Issuer.Length > 0 && !IsAcceptable(options.Issuer))
        {
            yield return $"identity:signIn issuer is '{options.Issuer}'; accepted is https://, or http:// on this machine.";
        }

        if (options.SecretFile.Length > 0 && !File.Exists(options.SecretFile))
        {
            yield return $"identity:signIn secretFile is '{options.SecretFile}', and there is no such file.";
        }
    }

    private static bool IsAcceptable(string url) =>
        Uri.TryCreate(url, UriKind.Absolute, out var address) && (address.Scheme == "https" || (address.Scheme == "http" && address.IsLoopback));
}

[OptionsValidator]
internal sealed partial class GeneratedValidator : IValidateOptions<IdentityOptions>;
