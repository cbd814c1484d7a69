namespace Yizhan.Console;

/// <summary>
/// What a browser may do with a page. Scripts come from this origin only, so that text which slipped through as markup would
/// still not run; styles may be inline because the components set sizes and colours on elements.
/// </summary>
internal static class PageHeaders
{
    private const string Policy =
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'self'; " +
        "form-action 'self'; frame-ancestors 'none'";

    /// <summary>True for what the console answers: not for the APIs of services in the same process.</summary>
    public static bool Concern(PathString path) =>
        IsPage(path) || path.StartsWithSegments("/_content") || path.StartsWithSegments("/_framework") || path.StartsWithSegments("/_blazor");

    private static bool IsPage(PathString path) => path.Value is "/" or "/peers" or "/emr" or "/dictation";

    public static Task AddAsync(HttpContext context, RequestDelegate next)
    {
        var headers = context.Response.Headers;
        headers.ContentSecurityPolicy = Policy;
        headers.XContentTypeOptions = "nosniff";
        headers["Referrer-Policy"] = "no-referrer";
        if (IsPage(context.Request.Path))
        {
            // Names of patients are in it: nothing between here and the screen keeps a copy.
            headers.CacheControl = "no-store";
        }

        return next(context);
    }
}
