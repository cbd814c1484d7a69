using Microsoft.AspNetCore.Components.Endpoints;

namespace Yizhan.Console;

/// <summary>
/// What a browser may do with a page. Scripts come from this origin only, so that text which slipped through as markup would
/// still not run; styles may be inline because the components set sizes and colours on elements.
/// </summary>
internal static class PageHeaders
{
    private const string Policy =
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; object-src 'none'; base-uri 'self'; " +
        "form-action 'self'; frame-ancestors 'none'";

    /// <summary>True for what the console answers: not for the APIs of services in the same process, which may begin with the same word.</summary>
    public static bool Concern(HttpContext context) =>
        IsPage(context) || context.Request.Path.StartsWithSegments("/_content") || context.Request.Path.StartsWithSegments("/_framework")
        || context.Request.Path.StartsWithSegments("/_blazor");

    public static Task AddAsync(HttpContext context, RequestDelegate next)
    {
        var headers = context.Response.Headers;
        headers.ContentSecurityPolicy = Policy;
        headers.XContentTypeOptions = "nosniff";
        headers["Referrer-Policy"] = "no-referrer";
        if (IsPage(context))
        {
            // Names of patients are in it: nothing between here and the screen keeps a copy.
            headers.CacheControl = "no-store";
        }

        return next(context);
    }

    /// <summary>What the routing found, so that no page can be forgotten here.</summary>
    private static bool IsPage(HttpContext context) => context.GetEndpoint()?.Metadata.GetMetadata<ComponentTypeMetadata>() is not null;
}
