using System.Net;
using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using Yizhan.Fleet;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Identity;

namespace Yizhan.Host.Tests;

/// <summary>A centre and a site as the program makes them, with the link between them: accounts go ahead, and what was done in an emergency comes back.</summary>
[Trait("Clause", "D5.1")]
public sealed partial class SiteSignInTests : IAsyncLifetime
{
    private const string Password = "correct horse battery";
    private const string Reason = "unconscious patient, allergies unknown";

    private static readonly string[] Common = ["--web:url=http://127.0.0.1:0", "--log:level=error", "--storage:freeFloorBytes=0", "--pacs-gw:dicomPort=0"];

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-site-sign-in-").FullName;
    private readonly List<WebApplication> _nodes = [];
    private readonly ShiftedClock _clock = new();
    private WebApplication _centre = null!;
    private WebApplication _site = null!;
    private HttpClient _centreHttp = null!;
    private HttpClient _siteHttp = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _centre = Nodes.Centre([
            $"--node:dataFolder={In("centre")}", $"--fleet:linkPort={FreePorts.Next()}", $"--fleet:enrolmentPort={FreePorts.Next()}", "--auth:passwordIterations=10000", .. Common]).Build();
        _nodes.Add(_centre);
        await _centre.StartAsync(Cancel);
        var ca = _centre.Services.GetRequiredService<EmbeddedCa>();
        ca.IssueSite("lakeside").WriteTo(In("site.crt"), In("site.key"));
        _site = await StartSiteAsync();
        (_centreHttp, _siteHttp) = (Operator.Client(_centre), new HttpClient { BaseAddress = new Uri(_site.Urls.First()) });
    }

    private async Task<WebApplication> StartSiteAsync()
    {
        var site = Nodes.Edge([
            $"--node:dataFolder={In("site")}", "--node:siteId=lakeside", $"--station:centreUrl=https://127.0.0.1:{_centre.Services.GetRequiredService<LinkListener>().EndPoint.Port}",
            $"--station:certificatePath={In("site.crt")}", $"--station:keyPath={In("site.key")}", $"--station:rootPath={_centre.Services.GetRequiredService<EmbeddedCa>().RootFile}", "--station:accountsPollSeconds=1",
            "--station:heartbeatSeconds=1", "--licence:extras:0=ai.*", "--console:centreUrl=https://console.example/", .. Common])
            .With(services => services.AddSingleton<TimeProvider>(_clock)).Build();
        _nodes.Add(site);
        await site.StartAsync(Cancel);
        return site;
    }

    public async ValueTask DisposeAsync()
    {
        _centreHttp.Dispose();
        _siteHttp.Dispose();
        foreach (var node in Enumerable.Reverse(_nodes))
        {
            await node.StopAsync(CancellationToken.None);
            await node.DisposeAsync();
        }

        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Who_works_at_a_site_signs_in_there_with_the_centre_away_and_an_emergency_is_reviewed_at_the_centre()
    {
        await AddAsync("li", "radiographer@lakeside");
        await AddAsync("wang", "auditor@*");
        await AddAsync("zhao", "radiographer@hillside");
        await AddAsync("root", "admin@*");
        await Wait.UntilAsync(async () => (await SiteViewAsync())["accounts"]!.GetValue<int>() == 2);

        // The centre goes; whom the site knows gets in, with the roles of this site and only here.
        await _centre.Services.GetRequiredService<LinkListener>().StopAsync(new CancellationToken(canceled: true));
        var token = await SignInAsync("li", Password);
        Assert.Equal(HttpStatusCode.OK, await AskAsync("/pacs-gw/studies", token));
        Assert.Equal(HttpStatusCode.Forbidden, await AskAsync("/audit/records", token));
        Assert.Equal(HttpStatusCode.OK, await AskAsync("/audit/records", await SignInAsync("wang", Password)));
        foreach (var (name, password) in new[] { ("li", "wrong"), ("zhao", Password), ("root", Password), ("nobody", Password) })
        {
            using var refused = await _siteHttp.PostAsJsonAsync("/station/sign-in", new { name, pin = password }, Cancel);
            Assert.Equal(HttpStatusCode.Unauthorized, refused.StatusCode);
        }

        // The site's token is nothing at the centre, and the centre's is something at the site.
        using var elsewhere = await SendAsync(_centreHttp.BaseAddress!, "/fleet/sites", token);
        Assert.Equal(HttpStatusCode.Unauthorized, elsewhere.StatusCode);

        using var because = await _siteHttp.PostAsJsonAsync("/station/emergencies", new { name = "li", pin = Password, reason = "because" }, Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, because.StatusCode);
        using var tooLong = await _siteHttp.PostAsJsonAsync("/station/emergencies", new { name = "li", pin = Password, reason = Reason, minutes = 61 }, Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, tooLong.StatusCode);
        using var glass = await _siteHttp.PostAsJsonAsync("/station/emergencies", new { name = "li", pin = Password, reason = Reason, minutes = 20 }, Cancel);
        var emergency = JsonNode.Parse(await glass.Content.ReadAsStringAsync(Cancel))!;
        Assert.Equal(1200, emergency["expires_in"]!.GetValue<int>());

        // A clinician's right, which a radiographer has not: scheduling stays, writing records comes.
        var (_, caller) = await _site.Services.GetRequiredService<TokenValidator>().CheckAsync(emergency["access_token"]!.GetValue<string>(), "emr-adapter", Cancel);
        Assert.True(caller.May(Permission.WriteRecords, "lakeside") && !caller.May(Permission.WriteRecords, "hillside"));
        Assert.Equal(Reason, caller.BreakGlass);

        // Back again: the centre hears of it, says so as a figure, and somebody else closes it. The site hears of that.
        Assert.Empty(await EmergenciesAsync());
        await _centre.Services.GetRequiredService<LinkListener>().StartAsync(Cancel);
        await Wait.UntilAsync(async () => (await EmergenciesAsync()).Count == 1);
        var waiting = (await EmergenciesAsync())[0]!;
        Assert.Equal(("lakeside", "li", Reason), (waiting["site"]!.GetValue<string>(), waiting["who"]!.GetValue<string>(), waiting["reason"]!.GetValue<string>()));
        var metrics = await _centreHttp.GetStringAsync("/metrics", Cancel);
        Assert.Contains("yizhan_emergency_waiting{", metrics, StringComparison.Ordinal);
        Assert.Contains("site=\"lakeside\"", metrics, StringComparison.Ordinal);
        await Wait.UntilAsync(async () => (await _centreHttp.GetStringAsync("/metrics", Cancel)).Contains("yizhan_site_certificate_expires_timestamp_seconds{", StringComparison.Ordinal));
        var path = $"/fleet/emergencies/lakeside/{waiting["id"]!.GetValue<string>()}/review";
        using var empty = await _centreHttp.PostAsJsonAsync(path, new { verdict = " " }, Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, empty.StatusCode);
        var operators = _centre.Services.GetRequiredService<LocalOperator>();
        using var himself = await SendAsync(
            _centreHttp.BaseAddress!, path, operators.Issue("lakeside:li", "auditor", "*", TimeSpan.FromMinutes(5)), JsonContent.Create(new { verdict = "fine" }));
        Assert.Equal(HttpStatusCode.BadRequest, himself.StatusCode);
        Assert.Contains("somebody else reviews it", await himself.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        using var closed = await _centreHttp.PostAsJsonAsync(path, new { verdict = "justified" }, Cancel);
        Assert.Equal(HttpStatusCode.NoContent, closed.StatusCode);
        using var twice = await _centreHttp.PostAsJsonAsync(path, new { verdict = "justified" }, Cancel);
        Assert.Equal(HttpStatusCode.NotFound, twice.StatusCode);
        Assert.Empty(await EmergenciesAsync());
        await Wait.UntilAsync(async () => (await SiteViewAsync())["toReview"]!.GetValue<int>() == 0);

        // What was done is in the audit log of the centre, whoever recorded it.
        await Wait.UntilAsync(async () =>
        {
            var records = await _centreHttp.GetStringAsync($"/audit/records?entity=emergency/{waiting["id"]!.GetValue<string>()}", Cancel);
            return records.Contains("emergency access for 20 min", StringComparison.Ordinal) && records.Contains("reviewed for lakeside: justified", StringComparison.Ordinal);
        });
    }

    [Fact]
    public async Task A_right_that_is_taken_away_at_the_centre_is_gone_at_the_site_with_the_next_list()
    {
        await AddAsync("li", "radiographer@lakeside");
        await Wait.UntilAsync(async () => (await SiteViewAsync())["accounts"]!.GetValue<int>() == 1);
        await SignInAsync("li", Password);
        var (browser, _) = Browser("en");
        using var owned = browser;
        using var welcome = await SubmitAsync(browser, "/sign-in", ("name", "li"), ("password", Password));
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/studies", Cancel)).StatusCode);
        using var closed = await _centreHttp.PutAsync("/auth/users/li/disabled?disabled=true", null, Cancel);
        Assert.Equal(HttpStatusCode.NoContent, closed.StatusCode);
        await Wait.UntilAsync(async () => (await SiteViewAsync())["accounts"]!.GetValue<int>() == 0);
        using var refused = await _siteHttp.PostAsJsonAsync("/station/sign-in", new { name = "li", pin = Password }, Cancel);
        Assert.Equal(HttpStatusCode.Unauthorized, refused.StatusCode);

        // And who is in already is not any more.
        Assert.Equal("/sign-in?back=%2Fstudies", (await browser.GetAsync("/studies", Cancel)).Headers.Location?.OriginalString);
    }

    [Fact]
    public async Task The_list_is_for_the_fleet_service_alone_and_names_nobody_who_may_do_everything()
    {
        await AddAsync("li", "radiographer@lakeside");
        await AddAsync("root", "admin@* auditor@*");
        var operators = _centre.Services.GetRequiredService<LocalOperator>();
        foreach (var role in Roles.Names)
        {
            using var answer = await SendAsync(_centreHttp.BaseAddress!, "/auth/sites/lakeside/accounts", operators.Issue("somebody", role, "*", TimeSpan.FromMinutes(5)));
            Assert.Equal(role is "admin" or "directory" ? HttpStatusCode.OK : HttpStatusCode.Forbidden, answer.StatusCode);
        }

        var list = JsonNode.Parse(await _centreHttp.GetStringAsync("/auth/sites/lakeside/accounts", Cancel))!;
        Assert.Equal(["li", "root"], list["accounts"]!.AsArray().Select(a => a!["name"]!.GetValue<string>()));
        Assert.Equal(["auditor"], list["accounts"]![1]!["roles"]!.AsArray().Select(r => r!.GetValue<string>()));
        Assert.All(list["accounts"]!.AsArray(), a => Assert.StartsWith("pbkdf2-sha512$10000$", a!["passwordHash"]!.GetValue<string>(), StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_model_that_needs_a_licence_is_refused_without_one_and_care_is_not()
    {
        var operators = _site.Services.GetRequiredService<LocalOperator>();
        using var infer = await SendAsync(_siteHttp.BaseAddress!, "/v2/models/ct-ich/infer", operators.Token(), JsonContent.Create(new { inputs = Array.Empty<int>() }));
        Assert.Equal(HttpStatusCode.Forbidden, infer.StatusCode);
        Assert.StartsWith(
            "'ai.ct-ich' needs a licence, and this site has none", JsonNode.Parse(await infer.Content.ReadAsStringAsync(Cancel))!["error"]!.GetValue<string>(), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, await AskAsync("/pacs-gw/studies", operators.Token()));
        Assert.Equal(HttpStatusCode.OK, await AskAsync("/station/spool", operators.Token()));
        Assert.Equal(HttpStatusCode.OK, await AskAsync("/audit/records", operators.Token()));
    }

    [Fact]
    public async Task One_address_may_try_thirty_times_a_minute()
    {
        // The names that nobody has share one count, which locks them after five; who tries too often is told when to come again.
        // The minute begins with the first try; another one may begin among them, and brings thirty more.
        var (tries, later) = (0, false);
        for (; !later && tries < 100; tries++)
        {
            using var answer = await _siteHttp.PostAsJsonAsync("/station/sign-in", new { name = $"n{tries}", pin = "x" }, Cancel);
            later = answer is { StatusCode: HttpStatusCode.TooManyRequests, Headers.RetryAfter: not null };
        }

        Assert.InRange(tries, 31, 61);
    }

    private string In(string name) => Path.Combine(_folder, name);

    /// <summary>Adds somebody at the centre who then chooses a password, as they do.</summary>
    private async Task AddAsync(string name, string roles)
    {
        using var added = await _centreHttp.PostAsJsonAsync("/auth/users", new { name, displayName = "", roles = roles.Split(' ') }, Cancel);
        var first = JsonNode.Parse(await added.Content.ReadAsStringAsync(Cancel))!["password"]!.GetValue<string>();
        using var browser = new HttpClient(new HttpClientHandler { CookieContainer = new CookieContainer(), AllowAutoRedirect = false }) { BaseAddress = _centreHttp.BaseAddress };
        var page = await browser.GetStringAsync("/sign-in", Cancel);
        const string mark = "name=\"__RequestVerificationToken\" value=\"";
        var from = page.IndexOf(mark, StringComparison.Ordinal) + mark.Length;
        using var changed = await browser.PostAsync("/sign-in/password", new FormUrlEncodedContent(new Dictionary<string, string>
        {
            ["__RequestVerificationToken"] = page[from..page.IndexOf('"', from)],
            ["name"] = name,
            ["password"] = first,
            ["new"] = Password,
            ["again"] = Password,
            ["back"] = "/",
        }), Cancel);
        Assert.Equal(HttpStatusCode.Redirect, changed.StatusCode);
    }

    private async Task<string> SignInAsync(string name, string pin)
    {
        using var answer = await _siteHttp.PostAsJsonAsync("/station/sign-in", new { name, pin }, Cancel);
        var body = await answer.Content.ReadAsStringAsync(Cancel);
        Assert.True(answer.IsSuccessStatusCode, body);
        return JsonNode.Parse(body)!["access_token"]!.GetValue<string>();
    }

    private async Task<HttpStatusCode> AskAsync(string path, string token)
    {
        using var answer = await SendAsync(_siteHttp.BaseAddress!, path, token);
        return answer.StatusCode;
    }

    private static async Task<HttpResponseMessage> SendAsync(Uri node, string path, string token, HttpContent? body = null)
    {
        using var http = new HttpClient { BaseAddress = node };
        using var request = new HttpRequestMessage(body is null ? HttpMethod.Get : HttpMethod.Post, path) { Content = body };
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        return await http.SendAsync(request, Cancel);
    }

    private async Task<JsonNode> SiteViewAsync()
    {
        using var answer = await SendAsync(_siteHttp.BaseAddress!, "/station/sign-in", _site.Services.GetRequiredService<LocalOperator>().Token());
        return JsonNode.Parse(await answer.Content.ReadAsStringAsync(Cancel))!;
    }

    private async Task<JsonArray> EmergenciesAsync() => (await _centreHttp.GetFromJsonAsync<JsonArray>("/fleet/emergencies", Cancel))!;
}
