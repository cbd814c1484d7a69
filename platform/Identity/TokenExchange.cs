using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

namespace Yizhan.Platform.Identity;

/// <summary>How an issuer wants to be asked for an exchange.</summary>
public enum ExchangeDialect
{
    /// <summary>RFC 8693 as it stands: our embedded issuer, Keycloak's standard token exchange (26.2 and later, "V2"), others.</summary>
    Standard,

    /// <summary>
    /// Keycloak's legacy exchange (preview up to 25, "V1"): one audience, which is a client's id; the type of the answer has to be asked for, else a refresh
    /// token comes along; no actor token.
    /// </summary>
    KeycloakLegacy,
}

/// <summary>An issuer's answer (RFC 8693 §2.2.1).</summary>
/// <param name="AccessToken">The new token.</param>
/// <param name="ExpiresIn">Its life in seconds; null when it is not said.</param>
/// <param name="Scope">Its scopes, when they are others than were asked for.</param>
public sealed record ExchangedToken(string AccessToken, int? ExpiresIn, string? Scope)
{
    /// <summary>It does not belong into a log.</summary>
    public override string ToString() => nameof(ExchangedToken);
}

/// <summary>An exchange was refused.</summary>
/// <param name="error">Code of RFC 6749 §5.2 or RFC 8693 §2.2.2, such as <c>invalid_target</c>.</param>
/// <param name="message">What was refused and why.</param>
public sealed class ExchangeRefusedException(string error, string message) : Exception(message)
{
    /// <summary>The code.</summary>
    public string Error { get; } = error;
}

/// <summary>Makes of a caller's token one for the next service (RFC 8693): narrower in audience, and with us in its <c>act</c> chain where the issuer keeps one.</summary>
/// <param name="http">Sends; it decides about TLS and its limits.</param>
/// <param name="tokenEndpoint">Token endpoint of the issuer.</param>
/// <param name="clientId">Who we are.</param>
/// <param name="secret">Our secret.</param>
/// <param name="dialect">How the issuer wants to be asked.</param>
public sealed class TokenExchange(HttpClient http, Uri tokenEndpoint, string clientId, string secret, ExchangeDialect dialect)
{
    private const string GrantType = "urn:ietf:params:oauth:grant-type:token-exchange";
    private const string AccessTokenType = "urn:ietf:params:oauth:token-type:access_token";
    private const int MaxAnswer = 64 * 1024;

    /// <summary>Exchanges a token.</summary>
    /// <param name="subjectToken">The caller's access token.</param>
    /// <param name="audiences">For whom the new one is to be; the legacy dialect takes one.</param>
    /// <param name="scope">Scopes, separated by spaces; null for those that it has.</param>
    /// <param name="site">Site to narrow the roles to: a parameter of our embedded issuer, which others do not know; null for none.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="ArgumentException">The dialect cannot say this.</exception>
    /// <exception cref="ExchangeRefusedException">The issuer refused, or answered with something else than an access token.</exception>
    /// <exception cref="HttpRequestException">It does not answer.</exception>
    public async Task<ExchangedToken> ExchangeAsync(
        string subjectToken, IReadOnlyList<string> audiences, string? scope, string? site, CancellationToken cancellationToken)
    {
        if (dialect == ExchangeDialect.KeycloakLegacy && audiences.Count != 1)
        {
            throw new ArgumentException($"Keycloak's legacy exchange takes one audience, not {audiences.Count}.", nameof(audiences));
        }

        List<KeyValuePair<string, string>> form =
        [
            new("grant_type", GrantType), new("subject_token", subjectToken), new("subject_token_type", AccessTokenType), new("requested_token_type", AccessTokenType),
            .. audiences.Select(audience => KeyValuePair.Create("audience", audience)),
        ];
        if (scope is not null)
        {
            form.Add(new("scope", scope));
        }

        if (site is not null)
        {
            form.Add(new("site", site));
        }

        using var request = new HttpRequestMessage(HttpMethod.Post, tokenEndpoint) { Content = new FormUrlEncodedContent(form) };

        // RFC 6749 §2.3.1: both are form-encoded before they are put together.
        request.Headers.Authorization = new AuthenticationHeaderValue(
            "Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{Uri.EscapeDataString(clientId)}:{Uri.EscapeDataString(secret)}")));
        using var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        await using var body = await answer.Content.ReadAsStreamAsync(cancellationToken);
        var bytes = new byte[MaxAnswer + 1];
        var length = await body.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, cancellationToken);
        return length <= MaxAnswer
            ? Read((int)answer.StatusCode, answer.IsSuccessStatusCode, bytes.AsMemory(0, length))
            : throw new ExchangeRefusedException("invalid_answer", $"{tokenEndpoint} answers more than {MaxAnswer} bytes.");
    }

    private ExchangedToken Read(int status, bool isSuccess, ReadOnlyMemory<byte> json)
    {
        JsonElement root;
        try
        {
            root = JsonElement.Parse(json.Span);
        }
        catch (JsonException)
        {
            throw new ExchangeRefusedException("invalid_answer", $"{tokenEndpoint} answers {status} with something that is no JSON.");
        }

        if (!isSuccess)
        {
            var error = Text(root, "error") ?? "unknown";
            throw new ExchangeRefusedException(error, $"{tokenEndpoint} refuses the exchange ({status} {error}): {Text(root, "error_description") ?? "no reason given"}");
        }

        // RFC 8693 §2.2.1: issued_token_type is required, and N_A says that the token is none for APIs. The legacy dialect leaves the type out at times.
        var issued = Text(root, "issued_token_type") ?? (dialect == ExchangeDialect.KeycloakLegacy ? AccessTokenType : null);
        var type = Text(root, "token_type");
        return Text(root, "access_token") is { Length: > 0 } token && issued == AccessTokenType && string.Equals(type, "Bearer", StringComparison.OrdinalIgnoreCase)
            ? new ExchangedToken(
                token, root.TryGetProperty("expires_in", out var life) && life.TryGetInt32(out var seconds) ? seconds : null, Text(root, "scope"))
            : throw new ExchangeRefusedException("invalid_answer", $"{tokenEndpoint} gave a '{issued}' of type '{type}'; asked for was an access token of type Bearer.");
    }

    private static string? Text(JsonElement json, string name) =>
        json.ValueKind == JsonValueKind.Object && json.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}
