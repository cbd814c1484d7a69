using System.Net;
using System.Net.Http.Headers;
using Yizhan.Console.Live;
using Yizhan.Console.Models;
using Yizhan.Console.Peers;
using Yizhan.Console.People;
using Yizhan.Contracts;
using Yizhan.Platform;

namespace Yizhan.Console.Tests;

/// <summary>The page as the server draws it, over a real socket, of services over real HTTP.</summary>
public sealed class PageTests : IAsyncLifetime
{
    private readonly List<StudyView> _studies =
    [
        new("1.2.3", "P1", "<script>alert(1)</script>", "20261123", "Chest", ["CT"], 1, 2, 1_500_000, "east", 0, 0),
    ];

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-console-").FullName;
    private readonly List<string> _done = [];
    private readonly WebApplication _services = Services();
    private WebApplication _console = default!;
    private HttpClient _http = default!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        var lanes = new LaneStatus[] { new("urgent", 0, 0, null, 1_000), new("bulk", 3, 4_000_000, 0, 96_000_000) };
        var site = new SiteView(new SiteStatus("east", Guid.Empty, "0.1.0", 0, lanes, new ConfigurationStatus("config-26.10.4", "d", OnTrial: true, null, null),
            new SpoolFigures(31.5, 0.99999, 2, 4.25, 17.5, 1_000_000_000, 9_000_000_000)), 0, Online: false, "config-26.11.1");
        _services.MapGet("/fleet/sites", () => Results.Json<IReadOnlyList<SiteView>>([site], ContractsJson.Default.IReadOnlyListSiteView));
        _services.MapGet("/pacs-gw/studies", () => Results.Json(_studies, ContractsJson.Default.IReadOnlyListStudyView));
        _services.MapGet("/pacs-gw/peers", () => Results.Json<IReadOnlyList<PeerView>>(
            [new("PACS", "10.0.0.5", 104, true, ["Query"], 2), new("CT-1", null, 104, false, [], 0)], ContractsJson.Default.IReadOnlyListPeerView));
        _services.MapGet("/pacs-gw/routes", () => Results.Json<IReadOnlyList<DestinationView>>(
            [new("research", "RESEARCH@10.0.0.6:104", 3, 5, 1, 0, 0, "Connection refused")], ContractsJson.Default.IReadOnlyListDestinationView));
        _services.MapGet("/pacs-gw/routes/failed", () => Results.Json<IReadOnlyList<DeliveryView>>(
            [new(8, "research", "all", "1.2", "1.2.3", 3, "refused with status A900", 0, 0)], ContractsJson.Default.IReadOnlyListDeliveryView));
        _services.MapGet("/pacs-gw/conflicts", () => Results.Json<IReadOnlyList<ConflictView>>(
            [new(7, "1.2", "P-1", "Wang^XiaoDong=王^小东", "P-2", "Wang^Da", 4, 0, "east")], ContractsJson.Default.IReadOnlyListConflictView));
        _services.MapGet("/auth/users", () => Results.Json<IReadOnlyList<UserView>>(
            [new("dr-li", "Li <b>", ["clinician@east"], false, true), new("old", "Old", [], true, false)], ContractsJson.Default.IReadOnlyListUserView));
        _services.MapGet("/fleet/emergencies", () => Results.Json<IReadOnlyList<EmergencyView>>(
            [new("e1", "east", "nurse-zhou", "patient unconscious", 0, 3_600_000)], ContractsJson.Default.IReadOnlyListEmergencyView));
        _services.MapPost("/fleet/emergencies/east/{id}/review", async (string id, HttpRequest request) =>
        {
            var verdict = await System.Text.Json.JsonSerializer.DeserializeAsync(request.Body, ContractsJson.Default.EmergencyVerdict, Cancel);
            var who = new Microsoft.IdentityModel.JsonWebTokens.JsonWebToken(request.Headers.Authorization.ToString()["Bearer ".Length..]).Subject;
            _done.Add($"{who} on {id}: {verdict!.Verdict}");
            return id == "e1" ? Results.NoContent() : Results.Problem($"No emergency access '{id}' of east waits for review.", statusCode: 404);
        });
        var versions = new VersionReport[] { new("1", "READY", "CPU", false, 50, 1, 812.4, 0.08, 0.31), new("2", "UNAVAILABLE", null, false, 0, 0, null, null, null) };
        var order = new RolloutOrder(9, "east", "nodule", "promote", new RolloutRequest("waits <b>", "2", 50), "wang", 0);
        _services.MapGet("/fleet/models", () => Results.Json<IReadOnlyList<ModelsReported>>(
            [new("east", 0, [new("nodule", true, "1", "2", 10, null, versions, [new(0, "promote", "2", 10, "guo", "two hundred studies")])], [order])], ContractsJson.Default.IReadOnlyListModelsReported));
        _services.MapGet("/fleet/drills", () => Results.Json<IReadOnlyList<DrillView>>(
            [
                new("outage", "passed", 3_600_000, 7_776_000_000, [new("run-00001", "centre", "local", true, 3_600_000, 0, 0, 4.9, 0, "120 of 120 <b>")]),
                new("ransomware", "never", null, null, []),
            ], ContractsJson.Default.IReadOnlyListDrillView));
        _services.MapGet("/fleet/drills/{id}", (string id) => id == "run-00001"
            ? Results.Json(
                new DrillFinished(
                    id, "outage", "local", true, 0, 3_600_000, 1120, 1119, 1, 0, 4.9, null, "120 of 120", ["one site of its own"], [new("nothing is lost", true, "120 of <b>120</b>")],
                    [new(2.5, "The line is cut")], ["a real line: there is none"]),
                ContractsJson.Default.DrillFinished)
            : Results.Problem("There is no run of that id, or it was of long ago; the audit log still has it.", statusCode: 404));
        _services.MapGet("/fleet/findings", () => Results.Json<IReadOnlyList<SiteAnalysis>>(
            [new("east", new("1.2.3", "1.2.3.1", "P77", "nodule", "1", "d", "i", "findings", null, [new(1, "Nodule", 1.234, 40)], "s", "r", false, true, ["{\"resourceType\":\"Observation\"}"], 0))],
            ContractsJson.Default.IReadOnlyListSiteAnalysis));
        _services.MapPost("/fleet/models/{site}/{model}/{action}", async (string site, string model, string action, HttpRequest request) =>
        {
            var asked = await System.Text.Json.JsonSerializer.DeserializeAsync(request.Body, ContractsJson.Default.RolloutRequest, Cancel);
            var who = new Microsoft.IdentityModel.JsonWebTokens.JsonWebToken(request.Headers.Authorization.ToString()["Bearer ".Length..]).Subject;
            _done.Add($"{who}: {action} {model} {asked!.Version} {asked.Percent} at {site}, {asked.Reason}");
            return model == "nodule" ? Results.Accepted() : Results.Problem($"Site '{site}' has reported no model '{model}'.", statusCode: 422);
        });
        _services.MapPost("/pacs-gw/peers/PACS/echo", () => Results.Json(new EchoResult(4.5), ContractsJson.Default.EchoResult));
        _services.MapPost("/pacs-gw/peers/DOWN/echo", () => Results.Problem("No connection to 10.0.0.9:104: Connection refused", statusCode: 502));
        _services.MapPost("/pacs-gw/conflicts/{key}", async (string key, HttpRequest request) =>
        {
            var decision = await System.Text.Json.JsonSerializer.DeserializeAsync(request.Body, ContractsJson.Default.ConflictDecision, Cancel);
            _done.Add($"{key} {decision!.Decision}");
            return Results.NoContent();
        });
        _services.MapPost("/pacs-gw/routes/failed/8/retry", () =>
        {
            _done.Add("retry 8");
            return Results.NoContent();
        });
        _services.MapDelete("/pacs-gw/routes/failed/9", () =>
        {
            _done.Add("give up 9");
            return Results.NoContent();
        });
        await _services.StartAsync(Cancel);
        _console = new ServiceHost(["--web:url=http://127.0.0.1:0", "--node:dataFolder=" + _folder, "--console:fleetUrl=" + _services.Urls.First(), "--console:pacsUrl=" + _services.Urls.First(),
            "--console:authUrl=" + _services.Urls.First()])
            .Add<ConsoleModule>().Build();
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
    [InlineData("en", "Offline", "2 instances", "lang=\"en\"", "1 day 7 h", "Configuration config-26.10.4", "on trial", "config-26.11.1 is meant for this site")]
    [InlineData("zh-CN", "离线", "2 个实例", "lang=\"zh-CN\"", "可承受断网", "配置 config-26.10.4", "试运行中", "本站点应运行 config-26.11.1")]
    public async Task The_server_draws_sites_and_studies_in_the_language_of_the_browser(string language, params string[] expected)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/");
        request.Headers.AcceptLanguage.Add(new StringWithQualityHeaderValue(language));
        using var response = await _http.SendAsync(request, Cancel);
        var html = WebUtility.HtmlDecode(await response.Content.ReadAsStringAsync(Cancel));
        Assert.All([.. expected, "data-study=\"1.2.3\"", "1.50 MB", "96.0 MB", "2026-11-23", "99.999 %", "1.00 GB", "4.3 ms"], text => Assert.Contains(text, html, StringComparison.Ordinal));
        Assert.True(response.Headers.CacheControl?.NoStore);
        Assert.Contains("default-src 'self'", string.Join(' ', response.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("en", "DICOM peers", "Known to the gateway", "only calls us", "May ask for", "Patients to decide about", "Same patient", "Cannot be reached", "Copies that were refused", "3 attempts")]
    [InlineData("zh-CN", "DICOM 对端", "网关已登记的对端", "仅由对方呼叫", "待确认的患者", "同一患者", "无法连接", "被拒绝的副本", "已尝试 3 次")]
    public async Task The_server_draws_peers_conflicts_and_routes(string language, params string[] expected)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/peers");
        request.Headers.AcceptLanguage.Add(new StringWithQualityHeaderValue(language));
        using var response = await _http.SendAsync(request, Cancel);
        var html = WebUtility.HtmlDecode(await response.Content.ReadAsStringAsync(Cancel));
        Assert.All(
            [.. expected, "PACS", "10.0.0.5:104", "TLS", "王小东", "Wang Da", "P-2", "research", "RESEARCH@10.0.0.6:104", "Connection refused", "status A900"],
            text => Assert.Contains(text, html, StringComparison.Ordinal));
        Assert.True(response.Headers.CacheControl?.NoStore);
        Assert.Contains("default-src 'self'", string.Join(' ', response.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/emr")]
    [InlineData("/inventory")]
    public async Task Every_page_with_names_is_kept_nowhere_and_runs_our_scripts_only(string page)
    {
        using var response = await _http.GetAsync(page, Cancel);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.True(response.Headers.CacheControl?.NoStore);
        Assert.Contains("default-src 'self'", string.Join(' ', response.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_desk_does_what_is_decided_and_says_what_was_not_done()
    {
        var desk = _console.Services.GetRequiredService<PeerDesk>();
        Assert.Equal((4.5, null), await desk.EchoAsync("PACS", Cancel));
        var (milliseconds, problem) = await desk.EchoAsync("DOWN", Cancel);
        Assert.Equal((null, "No connection to 10.0.0.9:104: Connection refused"), (milliseconds, problem));
        Assert.Null(await desk.DecideAsync(7, ConflictDecision.KeepApart, Cancel));
        Assert.Null(await desk.RetryAsync(8, Cancel));
        Assert.Null(await desk.GiveUpAsync(9, Cancel));
        Assert.Contains("HTTP 404", await desk.GiveUpAsync(10, Cancel), StringComparison.Ordinal);
        Assert.Equal(["7 keep-apart", "retry 8", "give up 9"], _done);
    }

    [Theory]
    [InlineData("en", "Emergency access to review", "patient unconscious", "has to choose a password", "closed")]
    [InlineData("zh-CN", "待复核的紧急访问", "patient unconscious", "须设置新密码", "已停用")]
    public async Task The_server_draws_people_and_what_is_to_be_reviewed(string language, params string[] expected)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/people");
        request.Headers.AcceptLanguage.Add(new StringWithQualityHeaderValue(language));
        using var response = await _http.SendAsync(request, Cancel);
        var html = await response.Content.ReadAsStringAsync(Cancel);
        Assert.All([.. expected, "nurse-zhou", "clinician@east"], text => Assert.Contains(text, WebUtility.HtmlDecode(html), StringComparison.Ordinal));
        Assert.DoesNotContain("Li <b>", html, StringComparison.Ordinal);
        Assert.True(response.Headers.CacheControl?.NoStore);
        Assert.Contains("default-src 'self'", string.Join(' ', response.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_review_is_made_in_the_name_of_who_makes_it_and_is_not_offered_to_who_may_not()
    {
        using var scope = _console.Services.CreateScope();
        var desk = scope.ServiceProvider.GetRequiredService<PeopleDesk>();
        SignIn(scope, "auditor@*");
        var may = await desk.MayAsync("centre");
        Assert.Equal((false, true), may);
        var view = (await desk.ReadAsync(new(), may, Cancel)).Items[0].Value;
        Assert.Null(view.Users);
        var emergency = Assert.Single(view.Emergencies!);
        Assert.Null(await desk.ReviewAsync(emergency, "in order", Cancel));
        Assert.Equal("No emergency access 'e2' of east waits for review.", await desk.ReviewAsync(emergency with { Id = "e2" }, "again", Cancel));
        Assert.Equal(["dr-li on e1: in order", "dr-li on e2: again"], _done);
        SignIn(scope, "clinician@*");
        Assert.Equal((false, false), await desk.MayAsync("centre"));
    }

    [Theory]
    [InlineData("en", "Findings of models", "not for clinical use", "90 %", "50 series, 1 failed", "median 812 ms", "On its way to the site: promote 2, by wang:", "Hold this version", "1 Observation", "urgent")]
    [InlineData("zh-CN", "模型发现", "不得用于临床", "90 %", "50 个序列，失败 1", "中位耗时 812 毫秒", "指令待送达：升级 2，wang：", "暂停此版本", "1 条 Observation", "紧急")]
    public async Task The_server_draws_models_orders_and_findings(string language, params string[] expected)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/models");
        request.Headers.AcceptLanguage.Add(new StringWithQualityHeaderValue(language));
        using var response = await _http.SendAsync(request, Cancel);
        var html = await response.Content.ReadAsStringAsync(Cancel);
        Assert.All(
            [.. expected, "two hundred studies", "P77", "Nodule 1", "1.23 ml", "0.31", "\"resourceType\": \"Observation\""],
            text => Assert.Contains(text, WebUtility.HtmlDecode(html), StringComparison.Ordinal));
        Assert.DoesNotContain("waits <b>", html, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("en", "/drills", "The line is cut", "A site is encrypted", "never run", "yizhan drill run ransomware --record http://", "4.9 s", "120 of 120 <b>")]
    [InlineData("zh-CN", "/drills", "线路中断", "站点遭勒索加密", "从未执行", "4.9 秒")]
    [InlineData("en", "/drills/run-00001", "The line is cut: passed", "1,120", "1,119", "120 of <b>120</b>", "2.5 s", "a real line: there is none", "drill/run-00001")]
    [InlineData("en", "/drills/long-ago", "it was of long ago")]
    public async Task The_server_draws_drills_and_their_reports(string language, string page, params string[] expected)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, page);
        request.Headers.AcceptLanguage.Add(new StringWithQualityHeaderValue(language));
        using var response = await _http.SendAsync(request, Cancel);
        var html = await response.Content.ReadAsStringAsync(Cancel);
        Assert.All(expected, text => Assert.Contains(text, WebUtility.HtmlDecode(html), StringComparison.Ordinal));
        Assert.DoesNotContain("<b>120", html, StringComparison.Ordinal);
        Assert.DoesNotContain("120 <b>", html, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_rollout_is_ordered_in_the_name_of_who_orders_it_and_is_not_offered_to_who_may_not()
    {
        using var scope = _console.Services.CreateScope();
        var desk = scope.ServiceProvider.GetRequiredService<ModelDesk>();
        SignIn(scope, "site-engineer@east site-engineer@centre");
        var (see, change) = await desk.MayAsync("centre");
        Assert.Equal((true, true, false), (see, change("east"), change("west")));
        Assert.Null(await desk.OrderAsync(new("east", "nodule", "promote", new("a week without a miss", "2", 50)), Cancel));
        Assert.Equal("Site 'east' has reported no model 'other'.", await desk.OrderAsync(new("east", "other", "hold", new("recall 17")), Cancel));
        Assert.Equal(["dr-li: promote nodule 2 50 at east, a week without a miss", "dr-li: hold other   at east, recall 17"], _done);
        SignIn(scope, "clinician@centre");
        (see, change) = await desk.MayAsync("centre");
        Assert.Equal((true, false), (see, change("east")));
        SignIn(scope, "operator@*");
        Assert.False((await desk.MayAsync("centre")).See);
    }

    [Fact]
    public async Task Every_page_keeps_its_content_from_caches_and_its_scripts_at_home()
    {
        foreach (var page in typeof(ConsoleModule).Assembly.GetTypes().SelectMany(t => t.GetCustomAttributes(false).OfType<Microsoft.AspNetCore.Components.RouteAttribute>()))
        {
            using var response = await _http.GetAsync(page.Template, Cancel);
            Assert.True(response.Headers.CacheControl?.NoStore, page.Template);
            Assert.True(response.Headers.Contains("Content-Security-Policy"), page.Template);
        }
    }

    private static void SignIn(IServiceScope scope, string roles) =>
        ((Microsoft.AspNetCore.Components.Authorization.IHostEnvironmentAuthenticationStateProvider)scope.ServiceProvider
            .GetRequiredService<Microsoft.AspNetCore.Components.Authorization.AuthenticationStateProvider>()).SetAuthenticationState(
                Task.FromResult(new Microsoft.AspNetCore.Components.Authorization.AuthenticationState(new System.Security.Claims.ClaimsPrincipal(
                    new System.Security.Claims.ClaimsIdentity([new("sub", "dr-li"), new("roles", roles)], "Session")))));

    [Fact]
    public async Task A_gateway_that_does_not_answer_is_named_on_the_page_of_peers()
    {
        await _services.StopAsync(Cancel);
        var html = WebUtility.HtmlDecode(await _http.GetStringAsync("/peers", Cancel));
        Assert.Contains("The image archive does not answer at", html, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("en", "Who looked at this patient", "Last checkpoint", "Audit</a>")]
    [InlineData("zh-CN", "谁看过这位患者", "最近检查点", "审计</a>")]
    public async Task The_audit_page_is_drawn_in_the_language_of_the_browser_and_not_cached(string language, params string[] expected)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/audit");
        request.Headers.AcceptLanguage.Add(new StringWithQualityHeaderValue(language));
        using var response = await _http.SendAsync(request, Cancel);
        var html = WebUtility.HtmlDecode(await response.Content.ReadAsStringAsync(Cancel));
        Assert.All(expected, text => Assert.Contains(text, html, StringComparison.Ordinal));
        Assert.True(response.Headers.CacheControl?.NoStore);
    }

    [Fact]
    public async Task Script_in_a_name_is_text()
    {
        var html = await _http.GetStringAsync("/", Cancel);
        Assert.DoesNotContain("<script>alert", html, StringComparison.Ordinal);
        Assert.Contains("&lt;script&gt;alert(1)", html, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Every_file_of_the_page_is_served_from_here()
    {
        var html = await _http.GetStringAsync("/", Cancel);
        var files = System.Text.RegularExpressions.Regex.Matches(html, "(?:src|<link[^>]* href)=\"([^\"]+)\"").Select(m => WebUtility.HtmlDecode(m.Groups[1].Value)).Distinct().ToArray();
        Assert.True(files.Length >= 7, string.Join(' ', files));
        foreach (var file in files)
        {
            Assert.Equal(Uri.UriSchemeHttp, new Uri(_http.BaseAddress!, file).Scheme);
            Assert.Equal(_http.BaseAddress!.Authority, new Uri(_http.BaseAddress!, file).Authority);
            using var response = await _http.GetAsync(file, Cancel);
            Assert.True(response.StatusCode == HttpStatusCode.OK, $"{file}: {response.StatusCode}");
        }
    }

    [Theory]
    [InlineData("/console/language/zh?back=%2F", "/", "yizhan-language=zh")]
    [InlineData("/console/language/en?back=https%3A%2F%2Fexample.test%2F", "/", "yizhan-language=en")]
    [InlineData("/console/language/en?back=%2F%2Fexample.test", "/", "yizhan-language=en")]
    public async Task The_language_is_remembered_and_leads_back_to_this_console_only(string path, string location, string cookie)
    {
        using var response = await _http.GetAsync(path, Cancel);
        Assert.Equal(HttpStatusCode.Redirect, response.StatusCode);
        Assert.Equal(location, response.Headers.Location?.OriginalString);
        Assert.StartsWith(cookie + ";", Assert.Single(response.Headers.GetValues("Set-Cookie")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_language_that_does_not_exist_is_not_found()
    {
        using var response = await _http.GetAsync("/console/language/xx", Cancel);
        Assert.Equal(HttpStatusCode.NotFound, response.StatusCode);
    }

    [Theory]
    [InlineData("--console:fleetUrl=ftp://x", "console:fleetUrl is 'ftp://x'; accepted is an http:// or https:// address")]
    [InlineData("--console:auditKey=log", "console:auditKey is 'log'; accepted is name+id+base64")]
    [InlineData("--console:dicomAddress=here", "console:dicomAddress is 'here'; accepted is host:port")]
    [InlineData("--console:dicomAeTitle=SEVENTEEN-LETTERS", "console:dicomAeTitle is 'SEVENTEEN-LETTERS'; accepted are at most 16 characters.")]
    public void A_wrong_option_is_refused(string argument, string expected) =>
        Assert.Contains(expected, Assert.Throws<SettingException>(() => { new ServiceHost([argument]).Add<ConsoleModule>().Build(); }).Message, StringComparison.Ordinal);

    private static WebApplication Services()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        return builder.Build();
    }
}
