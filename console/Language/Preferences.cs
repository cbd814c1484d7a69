using Microsoft.Net.Http.Headers;

namespace Yizhan.Console.Language;

/// <summary>What a browser remembers about its user: language and theme, each in a cookie that says nothing else.</summary>
internal static class Preferences
{
    private const string LanguageCookie = "yizhan-language";

    /// <summary>Written by <c>theme.js</c>.</summary>
    private const string ThemeCookie = "yizhan-theme";

    /// <summary>The remembered language, else the one of ours that the browser prefers (RFC 9110 §12.5.4), else English.</summary>
    public static Texts Language(HttpRequest request) =>
        Texts.Find(request.Cookies[LanguageCookie])
        ?? request.GetTypedHeaders().AcceptLanguage
            .Where(l => l.Quality is not 0)
            .OrderByDescending(l => l, StringWithQualityHeaderValueComparer.QualityComparer)
            .Select(l => Texts.Find(l.Value.Value?.Split('-')[0]))
            .FirstOrDefault(t => t is not null)
        ?? Texts.English;

    public static void SetLanguage(HttpResponse response, Texts texts) =>
        response.Cookies.Append(LanguageCookie, texts.Code, new CookieOptions
        {
            MaxAge = TimeSpan.FromDays(365),
            SameSite = Microsoft.AspNetCore.Http.SameSiteMode.Lax,
            HttpOnly = true,
        });

    /// <summary>The chosen theme, <see cref="ThemeChoice.System"/> when none was.</summary>
    public static ThemeChoice Theme(HttpRequest request) => request.Cookies[ThemeCookie] switch
    {
        "light" => ThemeChoice.Light,
        "dark" => ThemeChoice.Dark,
        _ => ThemeChoice.System,
    };
}

/// <summary>Light, dark, or what the operating system says.</summary>
public enum ThemeChoice
{
    /// <summary>As the operating system, also when that changes.</summary>
    System,

    /// <summary>Always light.</summary>
    Light,

    /// <summary>Always dark.</summary>
    Dark,
}
