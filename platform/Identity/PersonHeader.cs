using System.Buffers.Text;
using System.Security.Claims;
using System.Text.Json;

namespace Yizhan.Platform.Identity;

/// <summary>
/// How a service says for which person it calls another one: <c>Authorization: Yizhan-Person</c> and the claims of that person's session. It has no signature
/// of its own, since it counts only on a connection with the certificate of a service that may speak for people, which says it anew with each request.
/// </summary>
internal static class PersonHeader
{
    private const string Scheme = "Yizhan-Person ";
    private const int MaxLength = 16 * 1024;

    /// <summary>How such a caller is known.</summary>
    private const string AuthenticationType = "Person";

    public static bool Is(string header) => header.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase);

    /// <exception cref="ArgumentException">Nobody is signed in.</exception>
    public static string Of(ClaimsPrincipal who)
    {
        var (subject, claims) = LocalOperator.ClaimsOf(who);
        claims["sub"] = subject;
        return Scheme + Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(claims));
    }

    /// <exception cref="TokenRefusedException">It is not such a header.</exception>
    public static ClaimsPrincipal Read(string header)
    {
        try
        {
            using var json = JsonDocument.Parse(header.Length <= MaxLength ? Base64Url.DecodeFromChars(header.AsSpan(Scheme.Length).Trim())
                : throw new FormatException($"It has {header.Length} characters; accepted are {MaxLength}."));
            var claims = json.RootElement.EnumerateObject().SelectMany(member => member.Value.ValueKind == JsonValueKind.Array
                ? member.Value.EnumerateArray().Select(value => new Claim(member.Name, value.ToString()))
                : [new Claim(member.Name, member.Value.ToString())]).ToArray();
            return claims.Any(claim => claim is { Type: "sub", Value.Length: > 0 })
                ? new ClaimsPrincipal(new ClaimsIdentity(claims, AuthenticationType, "sub", "roles"))
                : throw new FormatException("It names nobody (sub).");
        }
        catch (Exception e) when (e is FormatException or JsonException or InvalidOperationException)
        {
            throw new TokenRefusedException($"The header that says for whom a service calls cannot be read: {e.Message}", e);
        }
    }
}
