using System.Collections.Immutable;
using System.Security.Claims;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore;
using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Options;
using OpenIddict.Abstractions;
using OpenIddict.Server.AspNetCore;
using Yizhan.Platform.Identity;
using static OpenIddict.Abstractions.OpenIddictConstants;

namespace Yizhan.Auth;

/// <summary>What a token says, for each way to get one.</summary>
internal sealed partial class Grants(People people, IOpenIddictApplicationManager clients, IOptions<IdentityOptions> identity)
{
    private readonly string _audience = identity.Value.Audience;

    /// <summary>The token endpoint, behind OpenIddict's checks of client, code and token.</summary>
    public async Task<IResult> TokenAsync(HttpContext context)
    {
        var request = context.GetOpenIddictServerRequest() ?? throw new InvalidOperationException("This is no request to the token endpoint.");
        if (request.IsClientCredentialsGrantType())
        {
            return await ServiceAsync(request, context.RequestAborted);
        }

        var checkedToken = await context.AuthenticateAsync(OpenIddictServerAspNetCoreDefaults.AuthenticationScheme);
        if (checkedToken.Principal is not { } principal)
        {
            return Refuse(Errors.InvalidGrant, "The code or token is not valid.");
        }

        if (request.IsTokenExchangeGrantType())
        {
            return Exchange(request, principal, checkedToken.Properties?.GetParameter<ClaimsPrincipal>(OpenIddictServerAspNetCoreConstants.Properties.ActorTokenPrincipal));
        }

        // Code, device code and refresh token: what somebody may do is looked up anew each time.
        var person = await people.FindAsync(principal.GetClaim(Claims.Subject) ?? "", context.RequestAborted);
        return person is null || person.MustChange || person.Stamp != principal.GetClaim("stamp")
            ? Refuse(Errors.InvalidGrant, "The account was closed, or its rights or password have changed: sign in again.")
            : SignIn(Of(person, principal.GetScopes()));
    }

    /// <summary>What is said about somebody who has signed in.</summary>
    public ClaimsPrincipal Of(Person person, ImmutableArray<string> scopes)
    {
        var claims = New(person.Name, person.DisplayName, person.Roles.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        claims.SetClaim("stamp", person.Stamp);
        claims.SetScopes(scopes);
        claims.SetResources(_audience);
        return Finish(claims);
    }

    private async Task<IResult> ServiceAsync(OpenIddictRequest request, CancellationToken cancellationToken)
    {
        var client = await clients.FindByClientIdAsync(request.ClientId!, cancellationToken) ?? throw new InvalidOperationException("The client was checked and is gone.");
        var properties = await clients.GetPropertiesAsync(client, cancellationToken);
        var roles = properties.TryGetValue("roles", out var list) ? list.EnumerateArray().Select(r => r.GetString()!).ToArray() : [];
        if (roles.Length == 0)
        {
            return Refuse(Errors.UnauthorizedClient, $"'{request.ClientId}' has no roles of its own.");
        }

        var claims = New("service:" + request.ClientId, request.ClientId!, roles);
        claims.SetScopes(request.GetScopes());
        claims.SetResources(_audience);
        return SignIn(Finish(claims));
    }

    /// <summary>
    /// RFC 8693: a service that was called makes of its caller's token one for the next service. It may only narrow: the audience to
    /// one service, the roles to a site (our parameter <c>site</c>), the scopes to some. The chain of who acts grows.
    /// </summary>
    private IResult Exchange(OpenIddictRequest request, ClaimsPrincipal subject, ClaimsPrincipal? actor)
    {
        // The confused deputy: who shows somebody's token must be one for whom it was meant.
        var had = subject.GetAudiences();
        if (!had.Contains(_audience) && !had.Contains($"{_audience}/{request.ClientId}"))
        {
            return Refuse(Errors.InvalidRequest, $"The subject token is for {string.Join(", ", had)}, not for {request.ClientId}.");
        }

        var wanted = request.GetAudiences();
        if (wanted.FirstOrDefault(a => a != _audience && !IsService(a)) is { } strange)
        {
            return Refuse(Errors.InvalidTarget, $"'{strange}' is no audience of ours; accepted: {_audience} and {_audience}/SERVICE.");
        }

        if (!had.Contains(_audience) && wanted.FirstOrDefault(a => !had.Contains(a)) is { } wider)
        {
            return Refuse(Errors.InvalidTarget, $"The subject token is for {string.Join(", ", had)}; an exchange does not widen it to '{wider}'.");
        }

        var roles = subject.GetClaims("roles");
        if ((string?)request["site"] is { Length: > 0 } site)
        {
            roles = [.. roles.Select(role => role.Split('@')).Where(r => r.Length == 2 && (r[1] == "*" || r[1] == site)).Select(r => $"{r[0]}@{site}").Distinct()];
            if (roles.Length == 0)
            {
                return Refuse(Errors.InvalidTarget, $"The subject has no role at the site '{site}'.");
            }
        }

        var scopes = request.GetScopes();
        var hadScopes = subject.GetScopes();
        if (scopes.Except(hadScopes).FirstOrDefault() is { } wide)
        {
            return Refuse(Errors.InvalidScope, $"The subject token has no scope '{wide}'; it has: {string.Join(' ', hadScopes)}.");
        }

        var claims = New(subject.GetClaim(Claims.Subject)!, subject.GetClaim(Claims.Name) ?? "", [.. roles]);
        claims.SetScopes(scopes.Length > 0 ? scopes : hadScopes);
        claims.SetResources(wanted.Length > 0 ? wanted : had);
        var act = new JsonObject { ["sub"] = actor?.GetClaim(Claims.Subject) ?? "service:" + request.ClientId };
        if (subject.GetClaim("act") is { } before)
        {
            act["act"] = JsonNode.Parse(before);
        }

        claims.SetClaim("act", JsonSerializer.SerializeToElement(act));
        if (subject.GetClaim("break_glass") is { } reason)
        {
            claims.SetClaim("break_glass", reason);
        }

        return SignIn(Finish(claims));
    }

    private static ClaimsIdentity New(string subject, string name, string[] roles)
    {
        var claims = new ClaimsIdentity(OpenIddictServerAspNetCoreDefaults.AuthenticationScheme, Claims.Subject, "roles");
        claims.SetClaim(Claims.Subject, subject);
        claims.SetClaim(Claims.Name, name.Length > 0 ? name : subject);
        claims.SetClaims("roles", [.. roles]);
        return claims;
    }

    /// <summary>Everything goes into the access token, who it is into the identity token too; the stamp is for us alone.</summary>
    private static ClaimsPrincipal Finish(ClaimsIdentity claims)
    {
        claims.SetDestinations(claim => claim.Type switch
        {
            "stamp" => [],
            Claims.Subject or Claims.Name or "roles" => [Destinations.AccessToken, Destinations.IdentityToken],
            _ => [Destinations.AccessToken],
        });
        return new ClaimsPrincipal(claims);
    }

    private bool IsService(string audience) =>
        audience.StartsWith(_audience + "/", StringComparison.Ordinal) && ServiceName().IsMatch(audience[(_audience.Length + 1)..]);

    private static IResult SignIn(ClaimsPrincipal principal) =>
        Results.SignIn(principal, authenticationScheme: OpenIddictServerAspNetCoreDefaults.AuthenticationScheme);

    private static IResult Refuse(string error, string description) => Results.Forbid(
        new AuthenticationProperties(new Dictionary<string, string?>
        {
            [OpenIddictServerAspNetCoreConstants.Properties.Error] = error,
            [OpenIddictServerAspNetCoreConstants.Properties.ErrorDescription] = description,
        }),
        [OpenIddictServerAspNetCoreDefaults.AuthenticationScheme]);

    [GeneratedRegex(@"\A[a-z0-9][a-z0-9-]{0,62}\z")]
    private static partial Regex ServiceName();
}
