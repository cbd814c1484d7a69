using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Claims;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Yizhan.Platform.Identity;

/// <summary>Checks access tokens (RFC 9068, and the shape that Keycloak gives them): signature, issuer, times, type, audience.</summary>
/// <remarks>
/// A token that was found good is remembered for at most a minute, so that a viewer with hundreds of requests costs one signature;
/// a key that is taken away counts no longer than that.
/// </remarks>
public sealed class TokenValidator(IEnumerable<ITrustedIssuer> issuers, IOptions<IdentityOptions> options, TimeProvider clock)
{
    /// <summary>Longest token that is looked at, characters.</summary>
    public const int MaxTokenLength = 16 * 1024;

    private const int MaxRemembered = 10_000;

    private static readonly TimeSpan Remembered = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan Skew = TimeSpan.FromSeconds(60);

    /// <summary>Signatures by a key pair only: a secret that two share, and none, prove nothing (RFC 8725 §3.1).</summary>
    internal static readonly string[] Algorithms = ["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

    private readonly ITrustedIssuer[] _issuers = [.. issuers];
    private readonly JsonWebTokenHandler _handler = new() { MapInboundClaims = false, MaximumTokenSizeInBytes = MaxTokenLength };
    private readonly ConcurrentDictionary<string, Entry> _good = new(StringComparer.Ordinal);
    private readonly string _audience = options.Value.Audience;

    /// <summary>Checks a token for a service; its claims, and who that makes the caller.</summary>
    /// <param name="token">Compact JWS.</param>
    /// <param name="service">Name of the service that is asked: a token may be for all (<c>yizhan</c>) or for one (<c>yizhan/audit</c>).</param>
    /// <param name="cancellationToken">Ends a look for keys.</param>
    /// <exception cref="TokenRefusedException">It is not accepted.</exception>
    public async ValueTask<(ClaimsPrincipal Principal, Caller Caller)> CheckAsync(string token, string service, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        if (!_good.TryGetValue(token, out var entry) || now >= entry.Until || now < entry.Since)
        {
            entry = await CheckSignatureAsync(token, now, cancellationToken);
            if (_good.Count >= MaxRemembered)
            {
                _good.Clear();
            }

            _good[token] = entry;
        }

        if (!entry.Audiences.Any(a => a == _audience || (a.Length == _audience.Length + 1 + service.Length
            && a.StartsWith(_audience, StringComparison.Ordinal) && a[_audience.Length] == '/' && a.EndsWith(service, StringComparison.Ordinal))))
        {
            throw new TokenRefusedException(
                $"The token is for {(entry.Audiences.Length == 0 ? "nobody" : string.Join(", ", entry.Audiences))}; accepted: {_audience}, {_audience}/{service}.");
        }

        return (entry.Principal, entry.Caller);
    }

    private async Task<Entry> CheckSignatureAsync(string token, DateTimeOffset now, CancellationToken cancellationToken)
    {
        var jwt = Read(token);
        if (!Algorithms.Contains(jwt.Alg, StringComparer.Ordinal))
        {
            throw new TokenRefusedException($"The token is signed with '{jwt.Alg}'; accepted: {string.Join(", ", Algorithms)}.");
        }

        // Looked for each time: a site learns the name of the centre's issuer while it runs. There are a handful.
        if (jwt.Issuer.Length == 0 || Array.Find(_issuers, i => i.Issuer == jwt.Issuer) is not { } issuer)
        {
            throw new TokenRefusedException(
                $"The token was issued by '{jwt.Issuer}'; accepted: {string.Join(", ", _issuers.Select(i => i.Issuer).Where(name => name.Length > 0))}.");
        }

        RefuseOtherTypes(jwt);
        RefuseTimes(jwt, now);
        var keys = await issuer.KeysAsync(jwt.Kid is { Length: > 0 } kid ? kid : null, cancellationToken);
        var result = await _handler.ValidateTokenAsync(jwt, new TokenValidationParameters
        {
            ValidIssuer = issuer.Issuer,
            ValidAlgorithms = Algorithms,
            IssuerSigningKeys = keys,
            TryAllIssuerSigningKeys = jwt.Kid is null or "",
            RequireSignedTokens = true,

            // Both were looked at above, with this node's clock and with the service that is asked.
            ValidateLifetime = false,
            ValidateAudience = false,
            NameClaimType = "sub",
            RoleClaimType = "roles",
            AuthenticationType = BearerHandler.SchemeName,
        });
        if (!result.IsValid)
        {
            throw new TokenRefusedException(result.Exception is SecurityTokenSignatureKeyNotFoundException
                ? $"The token is signed by the key '{jwt.Kid}', which '{issuer.Issuer}' does not have."
                : "The signature of the token is wrong.", result.Exception);
        }

        var principal = new ClaimsPrincipal(result.ClaimsIdentity);
        if (principal.FindFirstValue("sub") is not { Length: > 0 })
        {
            throw new TokenRefusedException("The token has no subject (sub).");
        }

        var caller = Caller.From(principal);
        if (caller.Sites.FirstOrDefault(site => !issuer.MaySpeakFor(site)) is { } foreign)
        {
            throw new TokenRefusedException($"'{issuer.Issuer}' may not speak for the site '{foreign}'.");
        }

        var until = now + Remembered;
        var expires = new DateTimeOffset(jwt.ValidTo, TimeSpan.Zero) + Skew;
        return new Entry(principal, caller, [.. jwt.Audiences], now, until < expires ? until : expires);
    }

    private JsonWebToken Read(string token)
    {
        try
        {
            var jwt = token.Length <= MaxTokenLength ? _handler.ReadJsonWebToken(token)
                : throw new TokenRefusedException($"The token has {token.Length} characters; accepted are {MaxTokenLength}.");
            return jwt.IsEncrypted ? throw new TokenRefusedException("The token is encrypted; accepted are signed ones (JWS).") : jwt;
        }
        catch (ArgumentException e)
        {
            throw new TokenRefusedException("The token is no JSON Web Token.", e);
        }
    }

    /// <summary>An ID token or a refresh token is not for APIs. Keycloak calls all of them JWT and says in the payload what they are.</summary>
    private static void RefuseOtherTypes(JsonWebToken jwt)
    {
        if (jwt.Typ is { Length: > 0 } type && !type.Equals("JWT", StringComparison.OrdinalIgnoreCase)
            && !type.Equals("at+jwt", StringComparison.OrdinalIgnoreCase) && !type.Equals("application/at+jwt", StringComparison.OrdinalIgnoreCase))
        {
            throw new TokenRefusedException($"The token is of type '{type}'; accepted: at+jwt, JWT.");
        }

        if (jwt.TryGetPayloadValue<string>("typ", out var kind) && kind != "Bearer")
        {
            throw new TokenRefusedException($"The token is a '{kind}' token; accepted: Bearer.");
        }

        if (jwt.TryGetPayloadValue<string>("nonce", out _) || jwt.TryGetPayloadValue<string>("at_hash", out _))
        {
            throw new TokenRefusedException("The token is an ID token; accepted are access tokens.");
        }
    }

    private static void RefuseTimes(JsonWebToken jwt, DateTimeOffset now)
    {
        if (jwt.ValidTo == DateTime.MinValue)
        {
            throw new TokenRefusedException("The token does not say when it expires (exp).");
        }

        if (now - Skew >= jwt.ValidTo)
        {
            throw new TokenRefusedException($"The token expired at {Text(jwt.ValidTo)}; here it is {Text(now.UtcDateTime)}.");
        }

        // A clock that starts in 1970 must not make old tokens good again, nor good ones look old: it is said as what it is.
        var from = jwt.ValidFrom != DateTime.MinValue ? jwt.ValidFrom : jwt.IssuedAt;
        if (now + Skew < from)
        {
            throw new TokenRefusedException($"The token is valid from {Text(from)}; here it is {Text(now.UtcDateTime)}: look at the clocks.");
        }
    }

    private static string Text(DateTime time) => time.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    private sealed record Entry(ClaimsPrincipal Principal, Caller Caller, string[] Audiences, DateTimeOffset Since, DateTimeOffset Until);
}
