using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.OpenIdConnect;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;

namespace Yizhan.Platform.Identity;

/// <summary>Where browsers sign in, when that is not the embedded issuer: a Keycloak realm or another OpenID Connect provider. Section <c>identity:signIn</c>.</summary>
public sealed class SignInOptions
{
    /// <summary>The provider, such as <c>https://id.example.org/realms/yizhan</c>. Empty (default): the pages of the embedded issuer.</summary>
    public string Issuer { get; set; } = "";

    /// <summary>Our <c>client_id</c> there. Default <c>yizhan-console</c>.</summary>
    public string ClientId { get; set; } = "yizhan-console";

    /// <summary>File with our secret there.</summary>
    public string SecretFile { get; set; } = "";
}

/// <summary>
/// Sends browsers to a provider (code flow with PKCE) and keeps of what it says who somebody is and their roles at sites, in the session's cookie. No
/// token is kept and none is in the browser (BFF).
/// </summary>
internal static class OidcSignIn
{
    private const string Scheme = "OpenIdConnect";
    private const string Path = "/sign-in/provider";

    /// <summary>What a session says: see <see cref="Caller"/>.</summary>
    private static readonly string[] Kept = ["sub", "name", "preferred_username", "roles", "sites", "realm_access"];

    public static void Add(IHostApplicationBuilder builder, AuthenticationBuilder authentication)
    {
        if (builder.Configuration["identity:signIn:issuer"] is not { Length: > 0 })
        {
            return;
        }

        // Before the modules register theirs, which only add one when there is none.
        builder.Services.AddSingleton(new SignInPage(Path, Path + "/out"));
        authentication.AddOpenIdConnect(Scheme, _ => { });
        builder.Services.AddOptions<OpenIdConnectOptions>(Scheme).Configure<IOptions<IdentityOptions>, TimeProvider>((oidc, identity, clock) =>
        {
            var options = identity.Value.SignIn;
            oidc.TimeProvider = clock;
            oidc.Authority = options.Issuer;
            oidc.RequireHttpsMetadata = !new Uri(options.Issuer).IsLoopback;
            oidc.ClientId = options.ClientId;
            oidc.ClientSecret = options.SecretFile.Length > 0 ? File.ReadAllText(options.SecretFile).Trim() : null;
            oidc.ResponseType = OpenIdConnectResponseType.Code;
            oidc.ResponseMode = OpenIdConnectResponseMode.Query;
            oidc.UsePkce = true;
            oidc.SignInScheme = Session.Scheme;
            oidc.SaveTokens = false;
            oidc.MapInboundClaims = false;
            oidc.CallbackPath = Path + "/callback";
            oidc.RemoteSignOutPath = PathString.Empty;
            oidc.SignedOutCallbackPath = PathString.Empty;
            oidc.BackchannelTimeout = TimeSpan.FromSeconds(10);
            oidc.Scope.Clear();
            oidc.Scope.Add("openid");
            oidc.Scope.Add("profile");

            // The way back is a redirect of another site: a strict cookie would not come along; Lax does with a GET.
            oidc.CorrelationCookie.SameSite = SameSiteMode.Lax;
            oidc.NonceCookie.SameSite = SameSiteMode.Lax;
            oidc.CorrelationCookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
            oidc.NonceCookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
            oidc.TokenValidationParameters.NameClaimType = "sub";
            oidc.TokenValidationParameters.RoleClaimType = "roles";
            oidc.TokenValidationParameters.ValidAlgorithms = TokenValidator.Algorithms;
            oidc.Events.OnTokenValidated = KeepAsync;
            oidc.Events.OnRemoteFailure = FailAsync;
        });
    }

    public static void Map(IEndpointRouteBuilder routes)
    {
        if (routes.ServiceProvider.GetService<IOptionsMonitor<OpenIdConnectOptions>>() is not null
            && routes.ServiceProvider.GetRequiredService<IOptions<IdentityOptions>>().Value.SignIn.Issuer.Length > 0)
        {
            routes.MapGet(Path, (string? back) => TypedResults.Challenge(
                new AuthenticationProperties { RedirectUri = RedirectHttpResult.IsLocalUrl(back) ? back : "/" }, [Scheme]))
                .ExcludeFromDescription().OpenToAll("Sends a browser to the provider where it signs in.");

            // Not the way to the provider: there somebody may still be signed in, and would be back at once.
            routes.MapGet(Path + "/out", () => TypedResults.Content(
                """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Yizhan 驿站</title></head><body><main><p>You have signed out here. 您已在此退出登录。</p><p><a href="/">Sign in · 登录</a></p></main></body></html>""",
                "text/html; charset=utf-8")).ExcludeFromDescription().OpenToAll("Says that it is done.");
        }
    }

    private static Task KeepAsync(TokenValidatedContext context)
    {
        var kept = context.Principal!.Claims.Where(claim => Kept.Contains(claim.Type, StringComparer.Ordinal));
        context.Principal = new ClaimsPrincipal(new ClaimsIdentity(kept, Session.Scheme, "sub", "roles"));
        context.Properties!.IsPersistent = false;
        return Task.CompletedTask;
    }

    /// <summary>The provider refused, or the answer is not to a question of this browser: said as a problem, with no redirect that could go round in circles.</summary>
    private static async Task FailAsync(RemoteFailureContext context)
    {
        context.HandleResponse();
        context.Response.Headers.CacheControl = "no-store";
        await TypedResults.Problem($"Signing in at the provider failed: {context.Failure?.Message}", statusCode: StatusCodes.Status401Unauthorized).ExecuteAsync(context.HttpContext);
    }
}
