using System.Net;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Yizhan.Fleet;

namespace Yizhan.Host.Tests;

/// <summary>The same with a browser: the pages of signing in at the site, and its console behind them.</summary>
public sealed partial class SiteSignInTests
{
    private const string Session = "yizhan-session-lakeside";

    [Theory]
    [InlineData("en", "Site lakeside", "days left", "User name or password is wrong.", "The line to the centre is down since ", "Signed in as li (radiographer@lakeside)", "This page is at the centre")]
    [InlineData("zh-CN", "站点 lakeside", "剩余 ", "用户名或密码不正确", "到中心的线路自 ", "已登录：li（radiographer@lakeside）", "此页面在中心")]
    public async Task A_browser_signs_in_at_the_site_with_the_centre_away_and_is_in_the_console_of_the_site(
        string language, string site, string holds, string wrong, string line, string who, string elsewhere)
    {
        await AddAsync("li", "radiographer@lakeside");
        await Wait.UntilAsync(async () => (await SiteViewAsync())["accounts"]!.GetValue<int>() == 1);
        await CutAsync();
        var (browser, cookies) = Browser(language);
        using var owned = browser;
        using var asked = await browser.GetAsync("/studies", Cancel);
        Assert.Equal("/sign-in?back=%2Fstudies", asked.Headers.Location?.OriginalString);
        using var page = await browser.GetAsync("/sign-in?back=%2Fstudies", Cancel);
        var html = WebUtility.HtmlDecode(await page.Content.ReadAsStringAsync(Cancel));
        Assert.All([site, holds], text => Assert.Contains(text, html, StringComparison.Ordinal));
        Assert.DoesNotContain("http", html.Replace("http-equiv", "", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Contains("default-src 'none'", string.Join(' ', page.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
        Assert.True(page.Headers.CacheControl?.NoStore);

        // Without the token of its form, with a wrong password, and with the name of somebody who may not: nobody is in.
        using var forged = await browser.PostAsync("/sign-in", new FormUrlEncodedContent([new("name", "li"), new("password", Password)]), Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, forged.StatusCode);
        using var refused = await SubmitAsync(browser, "/sign-in", ("name", "li"), ("password", "not it"));
        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
        Assert.Contains(wrong, WebUtility.HtmlDecode(await refused.Content.ReadAsStringAsync(Cancel)), StringComparison.Ordinal);
        using var stranger = await SubmitAsync(browser, "/sign-in", ("name", "<b>"), ("password", Password));
        Assert.DoesNotContain("<b>", await stranger.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        Assert.Null(cookies.GetCookies(browser.BaseAddress!)[Session]);

        using var elsewhereBack = await SubmitAsync(browser, "/sign-in", ("name", "li"), ("password", Password), ("back", "https://evil.test/"));
        Assert.Equal("/", elsewhereBack.Headers.Location?.OriginalString);
        using var welcome = await SubmitAsync(browser, "/sign-in?back=%2Fstudies", ("name", "li"), ("password", Password));
        Assert.Equal("/studies", welcome.Headers.Location?.OriginalString);
        Assert.Contains(welcome.Headers.GetValues("Set-Cookie"), c => c.StartsWith(Session, StringComparison.Ordinal) && c.Contains("httponly", StringComparison.Ordinal) && c.Contains("samesite=lax", StringComparison.Ordinal));

        using var studies = await browser.GetAsync("/studies", Cancel);
        html = WebUtility.HtmlDecode(await studies.Content.ReadAsStringAsync(Cancel));
        Assert.All([site, line, who], text => Assert.Contains(text, html, StringComparison.Ordinal));
        Assert.Contains("default-src 'self'", string.Join(' ', studies.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
        Assert.DoesNotContain("href=\"/configuration\"", html, StringComparison.Ordinal);
        foreach (var typed in new[] { "/configuration", "/people", "/drills", "/drills/1", "/sites/hillside" })
        {
            html = WebUtility.HtmlDecode(await browser.GetStringAsync(typed, Cancel));
            Assert.Contains(elsewhere, html, StringComparison.Ordinal);
            Assert.Contains($"href=\"https://console.example{typed}\"", html, StringComparison.Ordinal);
        }

        // What a radiographer may not at the centre, they may not here; and out is out.
        Assert.Equal(HttpStatusCode.Forbidden, (await browser.GetAsync("/audit/records", Cancel)).StatusCode);
        using var leaving = new HttpRequestMessage(HttpMethod.Post, "/sign-out") { Headers = { { "Sec-Fetch-Site", "same-origin" } } };
        Assert.Equal("/sign-in", (await browser.SendAsync(leaving, Cancel)).Headers.Location?.OriginalString);
        Assert.Equal(HttpStatusCode.Redirect, (await browser.GetAsync("/studies", Cancel)).StatusCode);
    }

    [Fact]
    public async Task Emergency_access_is_taken_on_a_page_that_warns_is_shown_on_each_page_and_ends_by_itself()
    {
        await AddAsync("wang", "auditor@lakeside");
        await Wait.UntilAsync(async () => (await SiteViewAsync())["accounts"]!.GetValue<int>() == 1);
        await CutAsync();
        var (browser, _) = Browser("en");
        using var owned = browser;
        Assert.Contains("reviewed by somebody else", await browser.GetStringAsync("/sign-in/emergency", Cancel), StringComparison.Ordinal);
        using var forged = await browser.PostAsync("/sign-in/emergency", new FormUrlEncodedContent([new("name", "wang"), new("password", Password), new("reason", Reason), new("minutes", "20")]), Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, forged.StatusCode);
        foreach (var (reason, minutes) in new[] { ("because", "20"), (Reason, "61"), (Reason, "-5"), (Reason, "soon") })
        {
            using var refused = await SubmitAsync(browser, "/sign-in/emergency", ("name", "wang"), ("password", Password), ("reason", reason), ("minutes", minutes));
            Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
            Assert.Contains(WebUtility.HtmlEncode(reason) + "</textarea>", await refused.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        }

        Assert.Equal(HttpStatusCode.Redirect, (await browser.GetAsync("/studies", Cancel)).StatusCode);
        using var taken = await SubmitAsync(browser, "/sign-in/emergency?back=%2Fstudies", ("name", "wang"), ("password", Password), ("reason", Reason), ("minutes", "20"));
        Assert.Equal("/studies", taken.Headers.Location?.OriginalString);
        Assert.Contains("Emergency access until ", WebUtility.HtmlDecode(await browser.GetStringAsync("/studies", Cancel)), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/pacs-gw/studies", Cancel)).StatusCode);
        Assert.Equal(1, (await SiteViewAsync())["toReview"]!.GetValue<int>());

        // A clinician's rights for these minutes, however much is done meanwhile.
        _clock.Shift = TimeSpan.FromMinutes(19);
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/pacs-gw/studies", Cancel)).StatusCode);
        _clock.Shift = TimeSpan.FromMinutes(21);
        Assert.Equal("/sign-in?back=%2Fstudies", (await browser.GetAsync("/studies", Cancel)).Headers.Location?.OriginalString);
        Assert.Equal(HttpStatusCode.Redirect, (await browser.GetAsync("/pacs-gw/studies", Cancel)).StatusCode);
    }

    [Fact]
    public async Task The_page_says_when_nobody_can_sign_in_and_when_somebody_tries_too_often()
    {
        var alone = Nodes.Edge([$"--node:dataFolder={In("alone")}", "--node:siteId=hillside", .. Common]).Build();
        _nodes.Add(alone);
        await alone.StartAsync(Cancel);
        using var nobody = new HttpClient { BaseAddress = new Uri(alone.Urls.First()) };
        Assert.Contains("the centre has sent no list of people", await nobody.GetStringAsync("/sign-in", Cancel), StringComparison.Ordinal);
        var (browser, _) = Browser("en");
        using var owned = browser;
        await AddAsync("li", "radiographer@lakeside");
        await Wait.UntilAsync(async () => (await SiteViewAsync())["accounts"]!.GetValue<int>() == 1);
        Assert.DoesNotContain("role=\"alert\"", await browser.GetStringAsync("/sign-in", Cancel), StringComparison.Ordinal);
        await CutAsync();
        _clock.Shift = TimeSpan.FromDays(31);
        Assert.Contains("list of people ended on", WebUtility.HtmlDecode(await browser.GetStringAsync("/sign-in", Cancel)), StringComparison.Ordinal);
        using var old = await SubmitAsync(browser, "/sign-in", ("name", "li"), ("password", Password));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, old.StatusCode);

        // Both pages count as one, and are looked at in turn until each has refused. A new minute may begin among them, and brings thirty more.
        var (tries, later) = (0, new HashSet<string>());
        for (; later.Count < 2 && tries < 100; tries++)
        {
            var form = tries % 2 == 0 ? "/sign-in" : "/sign-in/emergency";
            using var answer = await SubmitAsync(browser, form, ("name", $"n{tries}"), ("password", "x"), ("reason", Reason), ("minutes", "15"));
            if (answer is { StatusCode: HttpStatusCode.TooManyRequests, Headers.RetryAfter: not null })
            {
                later.Add(form);
            }
        }

        Assert.InRange(tries, 31, 92);
    }

    [Fact]
    public async Task Since_when_the_line_is_gone_outlives_a_restart_of_the_site()
    {
        await Wait.UntilAsync(async () => (await ThisSiteAsync())["online"]!.GetValue<bool>());
        await CutAsync();
        var before = (await ThisSiteAsync())["lastContactMs"]!.GetValue<long>();
        await _site.StopAsync(Cancel);
        await _site.DisposeAsync();
        _nodes.Remove(_site);
        _clock.Shift = TimeSpan.FromHours(5);
        _site = await StartSiteAsync();
        var after = await ThisSiteAsync();
        Assert.Equal((before, false), (after["lastContactMs"]!.GetValue<long>(), after["online"]!.GetValue<bool>()));
        Assert.InRange(before, 1, after["link"]!["startedMs"]!.GetValue<long>() - (long)TimeSpan.FromHours(4).TotalMilliseconds);

        await _centre.Services.GetRequiredService<LinkListener>().StartAsync(Cancel);
        await Wait.UntilAsync(async () => (await ThisSiteAsync())["online"]!.GetValue<bool>());
        Assert.True((await ThisSiteAsync())["lastContactMs"]!.GetValue<long>() > before);
        Assert.False(File.Exists(Path.Combine(In("site"), "station", "last-contact")));
    }

    /// <summary>The centre goes, and the site has noticed.</summary>
    private async Task CutAsync()
    {
        await _centre.Services.GetRequiredService<LinkListener>().StopAsync(new CancellationToken(canceled: true));
        await Wait.UntilAsync(async () => !(await ThisSiteAsync())["online"]!.GetValue<bool>());

        // The pages read it from their feed.
        using var operators = Operator.Client(_site);
        await Wait.UntilAsync(async () => (await operators.GetStringAsync("/", Cancel)).Contains("data-line=\"down\"", StringComparison.Ordinal));
    }

    private async Task<JsonNode> ThisSiteAsync()
    {
        using var operators = Operator.Client(_site);
        return Assert.Single((await operators.GetFromJsonAsync<JsonArray>("/station/sites", Cancel))!)!;
    }

    private (HttpClient Browser, CookieContainer Cookies) Browser(string language)
    {
        var cookies = new CookieContainer();
        var browser = new HttpClient(new HttpClientHandler { AllowAutoRedirect = false, CookieContainer = cookies, UseProxy = false }) { BaseAddress = new Uri(_site.Urls.First()) };
        browser.DefaultRequestHeaders.Accept.ParseAdd("text/html");
        browser.DefaultRequestHeaders.AcceptLanguage.ParseAdd(language);
        return (browser, cookies);
    }

    /// <summary>Fills in the form of a page, as somebody does, and sends it.</summary>
    private static async Task<HttpResponseMessage> SubmitAsync(HttpClient browser, string page, params (string Name, string Value)[] fields)
    {
        var html = await (await browser.GetAsync(page, Cancel)).Content.ReadAsStringAsync(Cancel);
        var form = FieldOf().Matches(html).ToDictionary(m => m.Groups[1].Value, m => WebUtility.HtmlDecode(m.Groups[2].Value));
        foreach (var (name, value) in fields)
        {
            form[name] = value;
        }

        return await browser.PostAsync(page.Split('?')[0], new FormUrlEncodedContent(form), Cancel);
    }

    [GeneratedRegex("""<input[^>]*?name="([^"]+)"[^>]*?value="([^"]*)""")]
    private static partial Regex FieldOf();

    /// <summary>The clock of the site: the real one, some time ahead.</summary>
    private sealed class ShiftedClock : TimeProvider
    {
        public TimeSpan Shift { get; set; }

        public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + Shift;
    }
}
