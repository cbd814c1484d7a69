using System.Net;
using System.Net.Http.Headers;
using System.Security.Claims;
using Microsoft.AspNetCore.Components.Authorization;
using Yizhan.Console.Live;
using Yizhan.Console.Models;
using Yizhan.Contracts;
using Yizhan.Platform;

namespace Yizhan.Console.Tests;

/// <summary>The console of a site, over a real socket, of a station, a gateway and a service of models over real HTTP.</summary>
public sealed class SitePageTests : IAsyncLifetime
{
    private static readonly string[] Own = ["/studies", "/models", "/dictation", "/emr", "/inventory", "/peers", "/audit"];
    private static readonly string[] OfCentre = ["/configuration", "/people", "/drills", "/drills/run-1", "/sites/lakeside"];
    private static readonly string[] Model = ["nodule", "median 812 ms", "Nodule 1", "1.23 ml", "A change is done here at once"];

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-site-console-").FullName;
    private readonly List<string> _done = [];
    private readonly long _now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
    private WebApplication _services = default!;
    private WebApplication _console = default!;
    private HttpClient _http = default!;
    private SiteView _site = default!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        var lanes = new LaneStatus[] { new("urgent", 0, 0, null, 1_000), new("bulk", 3, 4_000_000, _now - 3_600_000, 96_000_000) };
        _site = new SiteView(
            new SiteStatus("lakeside", Guid.Empty, "0.1.0", _now, lanes, null, new SpoolFigures(31.5, 0.99999, 0, 4.25, 17.5, 1_000_000_000, 9_000_000_000), [new("audit", ServiceHealth.Healthy)]),
            _now - (3 * 3_600_000), Online: false, null, _now, new SiteLink("down", _now - 86_400_000, "Connection refused"));
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        _services = builder.Build();
        _services.MapGet("/station/sites", () => Results.Json<IReadOnlyList<SiteView>>([_site], ContractsJson.Default.IReadOnlyListSiteView));
        _services.MapGet("/station/sign-in", () => Results.Json(new SiteSignInView("urn:yizhan:site:lakeside", "", 1, _now + (9L * 86_400_000) + 3_600_000, 4, 0), ContractsJson.Default.SiteSignInView));
        _services.MapGet("/pacs-gw/studies", () => Results.Json<IReadOnlyList<StudyView>>(
            [new("1.2.3", "P1", "Wang^XiaoDong=王^小东", "20261123", "Chest", ["CT"], 1, 2, 1_500_000, "lakeside", 0, 0)], ContractsJson.Default.IReadOnlyListStudyView));
        _services.MapGet("/ai-infer/report", () => Results.Json(
            new ModelsReported("lakeside", _now, [new("nodule", true, "1", null, 0, null, [new("1", "READY", "CPU", false, 50, 1, 812.4, 0.08, 0.31)], [])]), ContractsJson.Default.ModelsReported));
        _services.MapGet("/ai-infer/results", () => Results.Json<IReadOnlyList<AnalysisFinished>>(
            [new("1.2.3", "1.2.3.1", "P77", "nodule", "1", "d", "i", "findings", null, [new(1, "Nodule", 1.234, 40)], "s", "r", false, true, [], _now)], ContractsJson.Default.IReadOnlyListAnalysisFinished));
        _services.MapPost("/ai-infer/rollouts/{model}/{action}", async (string model, string action, HttpRequest request) =>
        {
            var asked = await System.Text.Json.JsonSerializer.DeserializeAsync(request.Body, ContractsJson.Default.RolloutRequest, Cancel);
            var who = new Microsoft.IdentityModel.JsonWebTokens.JsonWebToken(request.Headers.Authorization.ToString()["Bearer ".Length..]).Subject;
            _done.Add($"{who}: {action} {model}, {asked!.Reason}");
            return model == "nodule" ? Results.Ok() : Results.Problem($"There is no model '{model}'.", statusCode: 422);
        });
        await _services.StartAsync(Cancel);
        var at = _services.Urls.First();
        _console = new ServiceHost([
            "--web:url=http://127.0.0.1:0", "--node:siteId=lakeside", "--node:dataFolder=" + _folder, "--console:stationUrl=" + at, "--console:pacsUrl=" + at, "--console:aiUrl=" + at, "--console:maxOpenPages=3"])
            .Add<SiteConsoleModule>().Build();
        await _console.StartAsync(Cancel);
        _http = Operator.Client(_console, inner: new HttpClientHandler { AllowAutoRedirect = false, UseCookies = false });
        var feeds = _console.Services.GetRequiredService<Feeds>();
        while (feeds.Sites.View.State != FeedState.Live || feeds.Studies.View.State != FeedState.Live)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Cancel);
        }
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        await _console.DisposeAsync();
        await _services.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData("en", "Site lakeside", "The line to the centre is down since", "1 day 7 h", "4.00 MB", "Records", "Dictation")]
    [InlineData("zh-CN", "站点 lakeside", "到中心的线路自", "可承受断网", "4.00 MB", "紧急访问")]
    public async Task The_first_page_says_which_site_this_is_and_how_its_line_and_its_spool_do(string language, params string[] expected)
    {
        var html = await PageAsync("/", language);
        Assert.All(expected, text => Assert.Contains(text, html, StringComparison.Ordinal));
        Assert.Contains("data-line=\"down\"", html, StringComparison.Ordinal);
        Assert.Contains("data-study=\"1.2.3\"", html, StringComparison.Ordinal);
        Assert.All(Own, page => Assert.Contains($"href=\"{page}\"", html, StringComparison.Ordinal));
        Assert.All(OfCentre, page => Assert.DoesNotContain($"href=\"{page}\"", html, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Names_of_patients_are_not_on_the_first_page_of_who_may_see_no_studies()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/");
        using var answer = await AsAsync("operator", request);
        var html = WebUtility.HtmlDecode(await answer.Content.ReadAsStringAsync(Cancel));
        Assert.Contains("Site lakeside", html, StringComparison.Ordinal);
        Assert.DoesNotContain("王", html, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("off", 0, "This site has no centre")]
    [InlineData("down", 0, "The centre has not answered since this node was started")]
    [InlineData("connecting", 1_000_000, "The line to the centre is down since 1970-01-01 00:16")]
    [InlineData("up", 1_000_000, "The line to the centre is up.")]
    public async Task Each_state_of_the_line_has_its_sentence(string state, long lastContactMs, string expected)
    {
        _site = _site with { Online = state == "up", LastContactMs = lastContactMs, Link = new SiteLink(state, _now, null) };
        var feed = _console.Services.GetRequiredService<Feeds>().Sites;
        while (feed.View.Items[0].Value is var seen && (seen.Link!.State != state || seen.LastContactMs != lastContactMs))
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Cancel);
        }

        Assert.Contains(expected, await PageAsync("/peers", "en"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("en", "This page is at the centre", "Ask an operator of the centre", "Go to the page of this site")]
    [InlineData("zh-CN", "此页面在中心", "请向中心的运维人员询问其地址", "前往本站点页面")]
    public async Task A_typed_address_of_what_only_a_centre_has_says_where_that_is(string language, params string[] expected)
    {
        foreach (var page in OfCentre)
        {
            var html = await PageAsync(page, language);
            Assert.All(expected, text => Assert.Contains(text, html, StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task Models_are_those_of_the_site_and_a_change_is_done_there_in_the_name_of_who_orders_it()
    {
        var html = await PageAsync("/models", "en");
        Assert.All(Model, text => Assert.Contains(text, html, StringComparison.Ordinal));
        using var scope = _console.Services.CreateScope();
        var desk = scope.ServiceProvider.GetRequiredService<ModelDesk>();
        ((IHostEnvironmentAuthenticationStateProvider)scope.ServiceProvider.GetRequiredService<AuthenticationStateProvider>()).SetAuthenticationState(
            Task.FromResult(new AuthenticationState(new ClaimsPrincipal(new ClaimsIdentity([new("sub", "lakeside:guo"), new("roles", "site-engineer@lakeside")], "Session")))));
        await desk.MayAsync("lakeside");
        Assert.Null(await desk.OrderAsync(new("lakeside", "nodule", "hold", new("recall 17")), Cancel));
        Assert.Equal("There is no model 'other'.", await desk.OrderAsync(new("lakeside", "other", "rollback", new("worse")), Cancel));
        Assert.Equal(["lakeside:guo: hold nodule, recall 17", "lakeside:guo: rollback other, worse"], _done);
    }

    [Fact]
    public async Task A_page_more_than_the_node_has_room_for_is_told_to_come_again()
    {
        var pages = _console.Services.GetRequiredService<OpenPages>();
        using var first = await _http.PostAsync("/_blazor/negotiate?negotiateVersion=1", null, Cancel);
        Assert.Equal(HttpStatusCode.OK, first.StatusCode);
        var counters = Enumerable.Range(0, 3).Select(_ => pages.Counter).ToArray();
        foreach (var counter in counters)
        {
            await counter.OnCircuitOpenedAsync(null!, Cancel);
        }

        using var refused = await _http.PostAsync("/_blazor/negotiate?negotiateVersion=1", null, Cancel);
        Assert.Equal((HttpStatusCode.ServiceUnavailable, true), (refused.StatusCode, refused.Headers.RetryAfter is not null));
        Assert.Contains("3 pages are open (console:maxOpenPages)", await refused.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        await counters[0].OnCircuitClosedAsync(null!, Cancel);
        using var again = await _http.PostAsync("/_blazor/negotiate?negotiateVersion=1", null, Cancel);
        Assert.Equal(HttpStatusCode.OK, again.StatusCode);
    }

    private async Task<string> PageAsync(string page, string language)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, page);
        request.Headers.AcceptLanguage.Add(new StringWithQualityHeaderValue(language));
        using var response = await _http.SendAsync(request, Cancel);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.True(response.Headers.CacheControl?.NoStore);
        return WebUtility.HtmlDecode(await response.Content.ReadAsStringAsync(Cancel));
    }

    private async Task<HttpResponseMessage> AsAsync(string role, HttpRequestMessage request)
    {
        using var http = new HttpClient { BaseAddress = new Uri(_console.Urls.First()) };
        request.Headers.Authorization = new("Bearer", _console.Services.GetRequiredService<Yizhan.Platform.Identity.LocalOperator>().Issue("somebody", role, "lakeside", TimeSpan.FromMinutes(5)));
        return await http.SendAsync(request, Cancel);
    }
}
