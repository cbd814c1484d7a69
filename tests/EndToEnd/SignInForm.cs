using System.Net;

namespace Yizhan.EndToEnd.Tests;

/// <summary>The issuer's pages, as a browser fills them in.</summary>
internal static class SignInForm
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static HttpClient Browser(Uri node) => new(new HttpClientHandler { CookieContainer = new CookieContainer(), AllowAutoRedirect = false }) { BaseAddress = node };

    /// <summary>Replaces a first password.</summary>
    public static async Task ChooseAsync(Uri node, string name, string first, string password)
    {
        using var browser = Browser(node);
        using var changed = await SubmitAsync(browser, "/sign-in", new() { ["name"] = name, ["password"] = first, ["new"] = password, ["again"] = password, ["back"] = "/" }, "/sign-in/password");
        Assert.Equal(HttpStatusCode.Redirect, changed.StatusCode);
    }

    public static async Task<HttpResponseMessage> SubmitAsync(HttpClient browser, string page, Dictionary<string, string> fields, string? action = null)
    {
        var html = await browser.GetStringAsync(page, Cancel);
        const string mark = "name=\"__RequestVerificationToken\" value=\"";
        var from = html.IndexOf(mark, StringComparison.Ordinal) + mark.Length;
        fields["__RequestVerificationToken"] = html[from..html.IndexOf('"', from)];
        return await browser.PostAsync(action ?? page, new FormUrlEncodedContent(fields), Cancel);
    }
}
