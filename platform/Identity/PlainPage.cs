using System.Globalization;
using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Antiforgery;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace Yizhan.Platform.Identity;

/// <summary>The few pages from before anybody has signed in: plain HTML, Chinese or English, nothing from elsewhere, no script.</summary>
public static class PlainPage
{
    private const string Style = """
        :root { color-scheme: light dark; font: 16px/1.5 system-ui, "Noto Sans SC", "Microsoft YaHei", sans-serif; }
        body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: Canvas; color: CanvasText; }
        main { width: min(24rem, calc(100vw - 3rem)); padding: 2rem 0; }
        h1 { font-size: 1.5rem; margin: 0 0 1.25rem; }
        label { display: block; margin: 1rem 0 .25rem; }
        input, button, select, textarea { font: inherit; width: 100%; box-sizing: border-box; padding: .6rem .75rem; border: 1px solid GrayText; border-radius: .5rem; }
        button { margin-top: 1.5rem; background: #00598c; color: #fff; border-color: #00598c; font-weight: 600; cursor: pointer; }
        button.grave { background: #b00020; border-color: #b00020; }
        a { color: LinkText; }
        :focus-visible { outline: 3px solid #0a84c9; outline-offset: 2px; }
        [role=alert], [role=note] { border-left: 4px solid #c62828; padding: .5rem .75rem; margin: 0 0 1rem; }
        """;

    /// <summary>A page. It is kept nowhere, and a browser runs nothing in it.</summary>
    /// <param name="context">The request.</param>
    /// <param name="title">Its heading.</param>
    /// <param name="problem">What went wrong; null: nothing.</param>
    /// <param name="body">Markup below the heading.</param>
    /// <param name="status">HTTP status.</param>
    public static IResult Show(HttpContext context, string title, string? problem, string body, int status)
    {
        var headers = context.Response.Headers;
        headers.CacheControl = "no-store";
        headers.ContentSecurityPolicy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
        headers.XContentTypeOptions = "nosniff";
        headers["Referrer-Policy"] = "no-referrer";
        var html = $"""
            <!DOCTYPE html><html lang="{(IsChinese(context) ? "zh-CN" : "en")}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
            <title>{title} · Yizhan 驿站</title><style>{Style}</style></head><body><main><h1>{title}</h1>
            {(problem is null ? "" : $"<p role=\"alert\">{problem}</p>")}{body}</main></body></html>
            """;
        return Results.Content(html, "text/html; charset=utf-8", statusCode: status);
    }

    /// <summary>The field that shows that a form is one of ours.</summary>
    public static string Hidden(HttpContext context)
    {
        var tokens = context.RequestServices.GetRequiredService<IAntiforgery>().GetAndStoreTokens(context);
        return $"<input type=\"hidden\" name=\"{tokens.FormFieldName}\" value=\"{tokens.RequestToken}\">";
    }

    /// <summary>The form of a request; null when it is none of ours, or its page had expired.</summary>
    public static async Task<IFormCollection?> FormAsync(HttpContext context) =>
        context.Request.HasFormContentType && await context.RequestServices.GetRequiredService<IAntiforgery>().IsRequestValidAsync(context)
            ? await context.Request.ReadFormAsync(context.RequestAborted) : null;

    /// <summary>The language that the console's cookie names, else the first of the browser's that is one of ours.</summary>
    public static bool IsChinese(HttpContext context) => context.Request.Cookies["yizhan-language"] is { Length: > 0 } chosen
        ? chosen == "zh"
        : context.Request.GetTypedHeaders().AcceptLanguage.OrderByDescending(l => l.Quality ?? 1)
            .Select(l => l.Value.Value?.Split('-')[0].ToLower(CultureInfo.InvariantCulture)).FirstOrDefault(l => l is "zh" or "en") == "zh";

    /// <summary>Text as markup.</summary>
    public static string Encode(string text) => HtmlEncoder.Default.Encode(text);

    /// <summary>An address of this node to go back to; <c>/</c> when it is none.</summary>
    public static string Local(string? back) => Microsoft.AspNetCore.Http.HttpResults.RedirectHttpResult.IsLocalUrl(back) ? back! : "/";
}
