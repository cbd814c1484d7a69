using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace Yizhan.Auth;

/// <summary>The embedded issuer. Section <c>auth</c>.</summary>
public sealed class AuthOptions
{
    /// <summary>Its <c>iss</c>: the address at which people and services reach it. Empty (default): <c>web:url</c> and <c>/auth</c>.</summary>
    public string Issuer { get; set; } = "";

    /// <summary>Life of an access token, minutes. A right that is taken away counts so long. Default 10, 1 to 60.</summary>
    [Range(1, 60)]
    public int AccessTokenMinutes { get; set; } = 10;

    /// <summary>Days after which the key that signs tokens is followed by the next one. Default 90, 1 to 3650.</summary>
    [Range(1, 3650)]
    public int KeyDays { get; set; } = 90;

    /// <summary>Wrong passwords after which an account is closed for a minute, then two, four … and at most 15. Default 5, 3 to 20.</summary>
    [Range(3, 20)]
    public int WrongPasswords { get; set; } = 5;

    /// <summary>Attempts to sign in that one address may make in a minute. Default 60, 10 to 10000.</summary>
    [Range(10, 10_000)]
    public int AttemptsPerMinute { get; set; } = 60;

    /// <summary>Iterations of PBKDF2 with HMAC-SHA-512. Default 210 000 (OWASP), 10 000 to 10 000 000.</summary>
    [Range(10_000, 10_000_000)]
    public int PasswordIterations { get; set; } = 210_000;

    /// <summary>Programs that sign people in here: code flow with PKCE. At most 64.</summary>
    [MaxLength(64)]
    public List<ClientOptions> Clients { get; set; } = [];
}

/// <summary>A program that signs people in, or a service that asks in its own name.</summary>
public sealed class ClientOptions
{
    /// <summary>Its <c>client_id</c>.</summary>
    public string Id { get; set; } = "";

    /// <summary>Where a browser may be sent back to, exactly; none for a service.</summary>
    public List<string> RedirectUris { get; set; } = [];

    /// <summary>File with its secret; none for a program that cannot keep one. A service needs one.</summary>
    public string SecretFile { get; set; } = "";

    /// <summary>Roles of a service at its sites, such as <c>service@lakeside</c>; none when it only acts for people.</summary>
    public List<string> Roles { get; set; } = [];
}

internal sealed class AuthOptionsValidator : IValidateOptions<AuthOptions>
{
    private readonly AuthOptionsRanges _ranges = new();

    public ValidateOptionsResult Validate(string? name, AuthOptions options)
    {
        List<string> wrong =
        [
            .. options.Issuer.Length > 0 && !Uri.TryCreate(options.Issuer, UriKind.Absolute, out _)
                ? [$"auth:issuer is '{options.Issuer}'; accepted is an address such as https://yizhan.example.org/auth."] : Array.Empty<string>(),
            .. options.Clients.Where(c => c.Id.Length == 0).Select(_ => "auth:clients: one has no id."),
            .. options.Clients.Where(c => c.SecretFile.Length > 0 && !File.Exists(c.SecretFile)).Select(c => $"auth:clients '{c.Id}': the file '{c.SecretFile}' is not there."),
            .. options.Clients.Where(c => c.Roles.Count > 0 && c.SecretFile.Length == 0).Select(c => $"auth:clients '{c.Id}' has roles of its own and no secretFile."),
            .. options.Clients.SelectMany(c => c.Roles.Where(r => !Person.IsRole(r)).Select(r => $"auth:clients '{c.Id}': {Person.WrongRole(r)}")),
            .. options.Clients.SelectMany(c => c.RedirectUris.Where(u => !Uri.TryCreate(u, UriKind.Absolute, out _))
                .Select(u => $"auth:clients '{c.Id}': '{u}' is no address to send a browser back to.")),
        ];
        return wrong.Count > 0 ? ValidateOptionsResult.Fail(wrong) : _ranges.Validate(name, options);
    }
}

[OptionsValidator]
internal sealed partial class AuthOptionsRanges : IValidateOptions<AuthOptions>;
