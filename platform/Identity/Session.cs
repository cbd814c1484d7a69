using System.Collections.Concurrent;
using System.Security.Claims;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace Yizhan.Platform.Identity;

/// <summary>
/// Browsers: who has signed in holds an encrypted cookie with the claims, never a token. A link that works once signs in who is on
/// the machine itself (<c>yizhan up</c> prints one).
/// </summary>
public static class Session
{
    /// <summary>Authentication scheme of the cookie.</summary>
    public const string Scheme = "Session";

    /// <summary>Name of the cookie of a node. A browser keeps cookies by host whatever the port, and a site may be beside its centre.</summary>
    public static string CookieOf(NodeOptions node) => "yizhan-session-" + node.SiteId;

    /// <summary>Signs a browser in.</summary>
    /// <param name="context">Its request.</param>
    /// <param name="claims">As in a token: see <see cref="Caller"/>.</param>
    /// <param name="until">When it ends, whatever the browser does; null: with <c>identity:sessionMinutes</c> of doing nothing.</param>
    public static Task SignInAsync(HttpContext context, IEnumerable<Claim> claims, DateTimeOffset? until = null) =>
        context.SignInAsync(
            Scheme, new ClaimsPrincipal(new ClaimsIdentity(claims, Scheme, "sub", "roles")),
            until is null ? null : new AuthenticationProperties { ExpiresUtc = until, AllowRefresh = false });

    /// <summary>
    /// Whether another web site may have made a signed-in browser send this: it changes something, or opens a socket, and neither
    /// Sec-Fetch-Site nor Origin says that a page of ours did (OWASP CSRF, "Fetch Metadata").
    /// </summary>
    internal static bool IsForged(HttpContext context)
    {
        var request = context.Request;
        if (context.User.Identity?.AuthenticationType != Scheme
            || ((HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method)) && !context.WebSockets.IsWebSocketRequest
                && request.Headers.Upgrade.Count == 0))
        {
            return false;
        }

        return request.Headers["Sec-Fetch-Site"].ToString() is { Length: > 0 } from
            ? from is not "same-origin"
            : request.Headers.Origin.ToString() != $"{request.Scheme}://{request.Host}";
    }

    internal static void Add(IServiceCollection services)
    {
        services.AddSingleton<OneTimeLinks>();
        services.AddDataProtection().SetApplicationName("yizhan");
        services.AddOptions<Microsoft.AspNetCore.DataProtection.KeyManagement.KeyManagementOptions>().Configure<IOptions<NodeOptions>>((keys, node) =>
        {
            var folder = Path.GetDirectoryName(node.Value.PathOf("identity", "session-keys", "x"))!;
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            }

            keys.XmlRepository = new Microsoft.AspNetCore.DataProtection.Repositories.FileSystemXmlRepository(
                new DirectoryInfo(folder), Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance);
        });
        services.AddOptions<Microsoft.AspNetCore.Antiforgery.AntiforgeryOptions>().Configure<IOptions<NodeOptions>>((forms, node) => forms.Cookie.Name = "yizhan-form-" + node.Value.SiteId);
        services.AddOptions<CookieAuthenticationOptions>(Scheme).Configure<IOptions<IdentityOptions>, IOptions<NodeOptions>, TimeProvider>((cookie, identity, node, clock) =>
        {
            cookie.TimeProvider = clock;
            cookie.Cookie.Name = CookieOf(node.Value);
            cookie.Cookie.HttpOnly = true;
            cookie.Cookie.SameSite = SameSiteMode.Lax;
            cookie.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
            cookie.ExpireTimeSpan = TimeSpan.FromMinutes(identity.Value.SessionMinutes);
            cookie.SlidingExpiration = true;
        });
    }

    internal static void Map(IEndpointRouteBuilder routes)
    {
        var page = routes.MapGroup("/sign-in").ExcludeFromDescription();
        page.MapPost("/link", (OneTimeLinks links) => TypedResults.Text($"/sign-in/once?code={links.Create()}")).Needs(Permission.ManageUsers);
        page.MapGet("/once", OnceAsync).OpenToAll("The code is the right to sign in: 128 random bits, once, five minutes.");
        routes.MapPost("/sign-out", (Delegate)SignOutAsync).ExcludeFromDescription().OpenToAll("Ends the session of who asks.");
    }

    private static async Task<Results<RedirectHttpResult, ProblemHttpResult>> OnceAsync(string? code, HttpContext context, OneTimeLinks links)
    {
        context.Response.Headers.CacheControl = "no-store";
        context.Response.Headers["Referrer-Policy"] = "no-referrer";
        if (code is null || !links.Use(code))
        {
            return TypedResults.Problem("This link was used, or is older than five minutes. `yizhan open` makes another.", statusCode: 401);
        }

        await SignInAsync(context, [new("sub", "local:" + Environment.UserName), new("name", Environment.UserName), new("roles", Roles.Admin), new("sites", "*")]);
        return TypedResults.LocalRedirect("/");
    }

    private static async Task<Results<RedirectHttpResult, ProblemHttpResult>> SignOutAsync(HttpContext context)
    {
        if (IsForged(context))
        {
            return TypedResults.Problem("The browser says that another site made this request.", statusCode: 403);
        }

        await context.SignOutAsync(Scheme);
        return TypedResults.LocalRedirect(context.RequestServices.GetService<SignInPage>() is { } page ? page.AfterSignOut ?? page.Path : "/");
    }
}

/// <summary>Codes that sign in once.</summary>
internal sealed class OneTimeLinks(TimeProvider clock)
{
    private const int Most = 100;

    private static readonly TimeSpan Life = TimeSpan.FromMinutes(5);

    private readonly ConcurrentDictionary<string, DateTimeOffset> _codes = new(StringComparer.Ordinal);

    public string Create()
    {
        var now = clock.GetUtcNow();
        foreach (var old in _codes.Where(c => c.Value <= now).Select(c => c.Key).ToList())
        {
            _codes.TryRemove(old, out _);
        }

        if (_codes.Count >= Most)
        {
            _codes.Clear();
        }

        var code = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
        _codes[code] = now + Life;
        return code;
    }

    public bool Use(string code) => _codes.TryRemove(code, out var until) && clock.GetUtcNow() < until;
}
