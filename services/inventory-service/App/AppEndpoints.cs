using System.Reflection;
using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Platform.Identity;

namespace Yizhan.Inventory.App;

/// <summary>The page for counting stock with a phone, with or without a line. Its files are in the assembly.</summary>
internal static class AppEndpoints
{
    private const string Policy = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    private static readonly Dictionary<string, string> Types = new(StringComparer.Ordinal)
    {
        ["index.html"] = "text/html; charset=utf-8",
        ["app.css"] = "text/css",
        ["app.js"] = "text/javascript",
        ["sw.js"] = "text/javascript",
        ["zxing.js"] = "text/javascript",
        ["manifest.webmanifest"] = "application/manifest+json",
    };

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/app/{file?}", Get).ExcludeFromDescription().OpenToAll("the page has no data; what it asks for needs a permission");

        // A browser that may not is sent to where this node signs people in, and from there back to here.
        routes.MapGet("/app/sign-in", () => TypedResults.Redirect("./")).ExcludeFromDescription().Needs(Permission.ReadStock);
    }

    private static Results<FileStreamHttpResult, RedirectHttpResult, NotFound> Get(HttpContext context, string file = "index.html")
    {
        if (context.Request.Path.Value!.EndsWith("/app", StringComparison.Ordinal))
        {
            // What the page asks for is relative to its folder.
            return TypedResults.Redirect("app/");
        }

        if (!Types.TryGetValue(file, out var type))
        {
            return TypedResults.NotFound();
        }

        context.Response.Headers.ContentSecurityPolicy = Policy;
        context.Response.Headers.XContentTypeOptions = "nosniff";
        context.Response.Headers.CacheControl = "no-cache";
        return TypedResults.File(Assembly.GetExecutingAssembly().GetManifestResourceStream(file)!, type);
    }
}
