using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.StaticAssets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace Yizhan.Platform.Identity;

/// <summary>What a route needs of its caller.</summary>
/// <param name="Permission">All of these, at the site.</param>
/// <param name="SiteParameter">Route value that names the site; null for the site of the node.</param>
/// <param name="Resource">FHIR resource type for SMART scopes; null when they do not matter.</param>
/// <param name="Interaction">One of c, r, u, d, s for that resource.</param>
public sealed record AccessRule(Permission Permission, string? SiteParameter = null, string? Resource = null, char Interaction = 'r');

/// <summary>A route that anybody may call, with the reason.</summary>
/// <param name="Reason">What protects it instead, or why nothing has to.</param>
public sealed record OpenToAll(string Reason);

/// <summary>How routes say who may call them. A route that says nothing answers nobody.</summary>
public static class Access
{
    /// <summary>More than any form or message of who has no right yet.</summary>
    private const int MaxOpenBytes = 128 * 1024;

    /// <summary>The caller needs a permission at the site of the node, or at the one that a route value names.</summary>
    public static TBuilder Needs<TBuilder>(this TBuilder route, Permission permission, string? siteParameter = null)
        where TBuilder : IEndpointConventionBuilder => route.With(new AccessRule(permission, siteParameter));

    /// <summary>The same for a FHIR interaction (one of c, r, u, d, s): SMART scopes narrow it, when the token has any.</summary>
    public static TBuilder Needs<TBuilder>(this TBuilder route, Permission permission, string resource, char interaction)
        where TBuilder : IEndpointConventionBuilder => route.With(new AccessRule(permission, null, resource, interaction));

    /// <summary>Anybody may call this, for the reason that is given.</summary>
    public static TBuilder OpenToAll<TBuilder>(this TBuilder route, string reason) where TBuilder : IEndpointConventionBuilder =>
        route.With(new OpenToAll(reason));

    internal static void UseAccess(this WebApplication app)
    {
        // Whatever is found is decided upon; what is not found says 404 to everybody.
        app.UseRouting();

        // Before who calls is looked at: what signs people in reads forms for that.
        app.Use((context, next) => IsTooMuch(context)
            ? TypedResults.Problem($"Without a right a request may have {MaxOpenBytes} bytes.", statusCode: StatusCodes.Status413PayloadTooLarge).ExecuteAsync(context)
            : next(context));
        app.UseAuthentication();
        var site = app.Services.GetRequiredService<IOptions<NodeOptions>>().Value.SiteId;
        app.Use((context, next) =>
        {
            context.Response.OnStarting(AddHeaders, context);
            return context.GetEndpoint() is not { } endpoint || Decide(context, endpoint, site) is not { } refusal ? next(context) : refusal.AnswerAsync(context);
        });
    }

    /// <summary>Bounds what anybody may send, unless the route says how much it takes: a form is read into memory before anything of it is looked at.</summary>
    private static bool IsTooMuch(HttpContext context)
    {
        if (context.GetEndpoint() is { } endpoint && (!IsOpen(endpoint) || endpoint.Metadata.GetMetadata<IRequestSizeLimitMetadata>() is not null))
        {
            return false;
        }

        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit)
        {
            limit.MaxRequestBodySize = MaxOpenBytes;
        }

        return context.Request.ContentLength > MaxOpenBytes;
    }

    private static bool IsOpen(Endpoint endpoint) => endpoint.Metadata.LastOrDefault(m => m is AccessRule or Identity.OpenToAll) is Identity.OpenToAll;

    /// <summary>
    /// What an answer says about itself where its route has not: nobody between here and the screen keeps a copy of what not everybody may see, and a browser that is led to
    /// an answer shows it as what it is and runs nothing in it.
    /// </summary>
    private static Task AddHeaders(object state)
    {
        var context = (HttpContext)state;
        var (headers, endpoint) = (context.Response.Headers, context.GetEndpoint());
        headers.XContentTypeOptions = "nosniff";
        var isPublic = endpoint is null || IsOpen(endpoint);
        if (!isPublic && headers.CacheControl.Count == 0)
        {
            headers.CacheControl = "no-store";
        }

        // A file of the pages has its own, and a script that a worker runs is bound by it.
        if (!isPublic && headers.ContentSecurityPolicy.Count == 0 && endpoint!.Metadata.GetMetadata<StaticAssetDescriptor>() is null)
        {
            headers.ContentSecurityPolicy = "default-src 'none'; frame-ancestors 'none'";
        }

        return Task.CompletedTask;
    }

    /// <summary>Null when the call may go on. The last word of a route counts, so that one of a group can say other than its group.</summary>
    internal static Refusal? Decide(HttpContext context, Endpoint endpoint, string nodeSite)
    {
        for (var i = endpoint.Metadata.Count - 1; i >= 0; i--)
        {
            switch (endpoint.Metadata[i])
            {
                case Identity.OpenToAll:
                    return null;
                case AccessRule needs:
                    return Decide(context, needs, nodeSite);
            }
        }

        if (endpoint is not RouteEndpoint && endpoint.Metadata.Count == 0)
        {
            // Not a route but the framework's answer that there is none for this method or media type.
            return null;
        }

        return new Refusal(StatusCodes.Status403Forbidden, "This route does not say who may call it, so nobody may.", Permission.None, "");
    }

    private static Refusal? Decide(HttpContext context, AccessRule needs, string nodeSite)
    {
        var site = needs.SiteParameter is { } parameter ? context.GetRouteValue(parameter)?.ToString() ?? "" : nodeSite;
        if (Caller.Of(context) is not { } caller)
        {
            var why = context.Features.Get<TokenRefusedException>()?.Message;
            return new Refusal(StatusCodes.Status401Unauthorized,
                why ?? $"This needs the permission {needs.Permission} at site '{site}': sign in, or send a token (Authorization: Bearer …).",
                needs.Permission, site)
            { TokenWasWrong = why is not null };
        }

        if (!caller.May(needs.Permission, site))
        {
            return new Refusal(StatusCodes.Status403Forbidden,
                $"This needs the permission {needs.Permission} at site '{site}', which these roles have: {string.Join(", ", Roles.With(needs.Permission))}. "
                + $"'{caller.Name}' has {(caller.Grants.Count == 0 ? "no role" : string.Join(' ', caller.Grants))}.",
                needs.Permission, site);
        }

        if (needs.Resource is { } resource && !caller.MayInteract(resource, needs.Interaction))
        {
            return new Refusal(StatusCodes.Status403Forbidden,
                $"This needs the scope user/{resource}.{needs.Interaction}; the token has {string.Join(' ', caller.Scopes)}.", needs.Permission, site);
        }

        return Session.IsForged(context)
            ? new Refusal(StatusCodes.Status403Forbidden, "The browser says that another site made this request.", needs.Permission, site)
            : null;
    }

    private static TBuilder With<TBuilder>(this TBuilder route, object metadata) where TBuilder : IEndpointConventionBuilder
    {
        route.Add(endpoint => endpoint.Metadata.Add(metadata));
        return route;
    }
}

/// <summary>A call that may not go on, as problem details (RFC 9457) with the challenge of RFC 6750 §3.</summary>
internal sealed record Refusal(int Status, string Detail, Permission Permission, string Site)
{
    /// <summary>There was a token and it is not valid.</summary>
    public bool TokenWasWrong { get; init; }

    public Task AnswerAsync(HttpContext context)
    {
        var asksForPage = Status == StatusCodes.Status401Unauthorized && HttpMethods.IsGet(context.Request.Method)
            && context.Request.Headers.Accept.ToString().Contains("text/html", StringComparison.Ordinal);
        if (asksForPage && context.RequestServices.GetService<SignInPage>() is { } page)
        {
            context.Response.Redirect($"{page.Path}?back={Uri.EscapeDataString(context.Request.Path + context.Request.QueryString)}");
            return Task.CompletedTask;
        }

        // Quoted strings of RFC 9110 §5.6.4: what a token or a route brought along must not end one.
        var description = new string([.. Detail.Where(c => c is >= ' ' and <= '~' and not '"' and not '\\')]);
        context.Response.Headers.WWWAuthenticate =
            Status == StatusCodes.Status403Forbidden ? $"Bearer realm=\"yizhan\", error=\"insufficient_scope\", error_description=\"{description}\""
            : TokenWasWrong ? $"Bearer realm=\"yizhan\", error=\"invalid_token\", error_description=\"{description}\""
            : "Bearer realm=\"yizhan\"";
        context.Response.Headers.CacheControl = "no-store";
        return TypedResults.Problem(Detail, statusCode: Status, extensions: new Dictionary<string, object?>
        {
            ["permission"] = Permission.ToString(),
            ["site"] = Site,
            ["roles"] = Roles.With(Permission).ToArray(),
        }).ExecuteAsync(context);
    }
}

/// <summary>Where a browser is sent to sign in; registered by the module that has such a page.</summary>
/// <param name="Path">Its path, which takes <c>?back=</c>.</param>
/// <param name="AfterSignOut">Where somebody who has signed out is sent; null for the page itself, which must not sign them in again at once.</param>
public sealed record SignInPage(string Path, string? AfterSignOut = null);
