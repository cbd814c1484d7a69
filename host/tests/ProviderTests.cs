using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json.Nodes;

namespace Yizhan.Host.Tests;

/// <summary>A certified provider whose tokens look like Keycloak's stands where Keycloak would: by settings alone, people sign in there and services' tokens count.</summary>
[Trait("Clause", "S1")]
public sealed class ProviderTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-provider-").FullName;
    private Process _provider = null!;
    private WebApplication _node = null!;
    private string _issuer = "";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        var peers = Path.Combine(Root(), "services", "auth-service", "tests", "peers");
        Assert.SkipUnless(Directory.Exists(Path.Combine(peers, "node_modules", "oidc-provider")), "The peers from npm are not installed: ./check does that.");
        var (web, port) = (FreePorts.Next(), FreePorts.Next());
        _issuer = $"http://127.0.0.1:{port}";
        _provider = Process.Start(new ProcessStartInfo("node", [Path.Combine(peers, "provider.mjs"), $"{port}", $"http://127.0.0.1:{web}/sign-in/provider/callback"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        _ = _provider.StandardError.ReadToEndAsync(CancellationToken.None);
        for (var line = ""; line != "ready"; line = await _provider.StandardOutput.ReadLineAsync(Cancel) ?? throw new InvalidOperationException("The provider ended."))
        {
        }

        await File.WriteAllTextAsync(Path.Combine(_folder, "secret"), "console secret of the test\n", Cancel);
        _node = Nodes.Centre([
            $"--node:dataFolder={_folder}", $"--web:url=http://127.0.0.1:{web}", "--log:level=error", "--storage:freeFloorBytes=0", "--pacs-gw:dicomPort=0", "--fleet:linkPort=0",
            $"--identity:issuers:0:url={_issuer}", $"--identity:signIn:issuer={_issuer}", $"--identity:signIn:secretFile={Path.Combine(_folder, "secret")}",
        ]).Build();
        await _node.StartAsync(Cancel);
    }

    public async ValueTask DisposeAsync()
    {
        if (_node is { } node)
        {
            await node.StopAsync(CancellationToken.None);
            await node.DisposeAsync();
        }

        if (_provider is { HasExited: false } provider)
        {
            provider.Kill();
        }

        _provider?.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_browser_signs_in_at_the_provider_and_is_in_the_console_with_the_roles_of_the_realm()
    {
        var cookies = new CookieContainer();
        using var browser = new HttpClient(new HttpClientHandler { CookieContainer = cookies }) { BaseAddress = new Uri(_node.Urls.First()) };
        browser.DefaultRequestHeaders.Accept.ParseAdd("text/html");
        using var page = await browser.GetAsync("/peers", Cancel);
        Assert.Equal((HttpStatusCode.OK, "/peers"), (page.StatusCode, page.RequestMessage!.RequestUri!.AbsolutePath));
        var html = await page.Content.ReadAsStringAsync(Cancel);
        Assert.Contains("<main", html, StringComparison.Ordinal);
        Assert.Contains("Signed in as Wang Xiaodong (operator@centre)", html, StringComparison.Ordinal);
        using var chinese = new HttpRequestMessage(HttpMethod.Get, "/peers") { Headers = { AcceptLanguage = { new("zh-CN") } } };
        using var other = await browser.SendAsync(chinese, Cancel);
        Assert.Contains("退出登录", WebUtility.HtmlDecode(await other.Content.ReadAsStringAsync(Cancel)), StringComparison.Ordinal);

        // An operator of the centre: sees sites, no studies; and what the browser holds is no token.
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync("/fleet/sites", Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, (await browser.GetAsync("/pacs-gw/studies", Cancel)).StatusCode);
        var session = cookies.GetCookies(browser.BaseAddress)["yizhan-session-centre"]!;
        Assert.True(session.HttpOnly);
        Assert.DoesNotContain("eyJ", session.Value, StringComparison.Ordinal);
        using var leaving = new HttpRequestMessage(HttpMethod.Post, "/sign-out") { Headers = { { "Sec-Fetch-Site", "same-origin" } } };
        using var gone = await browser.SendAsync(leaving, Cancel);
        Assert.Contains("You have signed out here.", await gone.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        Assert.DoesNotContain(cookies.GetCookies(browser.BaseAddress).Cast<Cookie>(), c => c.Name.StartsWith("yizhan-session", StringComparison.Ordinal));
    }

    [Fact]
    public async Task An_answer_that_nobody_asked_for_signs_nobody_in()
    {
        using var browser = new HttpClient(new HttpClientHandler { AllowAutoRedirect = false }) { BaseAddress = new Uri(_node.Urls.First()) };
        using var forged = await browser.GetAsync("/sign-in/provider/callback?code=stolen&state=made-up", Cancel);
        Assert.Equal(HttpStatusCode.Unauthorized, forged.StatusCode);
        Assert.DoesNotContain(forged.Headers, h => h.Key == "Set-Cookie" && h.Value.Any(v => v.StartsWith("yizhan-session", StringComparison.Ordinal)));
        using var asked = await browser.GetAsync("/sign-in/provider?back=https://evil.test/", Cancel);
        var query = asked.Headers.Location!.Query;

        // The question itself went to the provider directly (RFC 9126), and the provider asks for PKCE.
        Assert.Contains("client_id=yizhan-console", query, StringComparison.Ordinal);
        Assert.DoesNotContain("evil", query, StringComparison.Ordinal);
        Assert.StartsWith(_issuer, asked.Headers.Location.OriginalString, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_token_of_the_provider_counts_with_our_audience_and_with_no_other()
    {
        Assert.Equal(HttpStatusCode.OK, await AskAsync("/pacs-gw/studies", await TokenAsync("urn:yizhan")));
        Assert.Equal(HttpStatusCode.Forbidden, await AskAsync("/audit/records", await TokenAsync("urn:yizhan")));
        Assert.Equal(HttpStatusCode.Unauthorized, await AskAsync("/pacs-gw/studies", await TokenAsync("urn:elsewhere")));
    }

    private async Task<string> TokenAsync(string resource)
    {
        using var http = new HttpClient();
        using var request = new HttpRequestMessage(HttpMethod.Post, $"{_issuer}/token")
        {
            Content = new FormUrlEncodedContent([new("grant_type", "client_credentials"), new("resource", resource)]),
            Headers = { Authorization = new("Basic", Convert.ToBase64String("yizhan-services:services%20secret%20of%20the%20test"u8)) },
        };
        using var answer = await http.SendAsync(request, Cancel);
        var text = await answer.Content.ReadAsStringAsync(Cancel);
        return JsonNode.Parse(text)!["access_token"]?.GetValue<string>() ?? throw new InvalidOperationException(text);
    }

    private async Task<HttpStatusCode> AskAsync(string path, string token)
    {
        using var http = new HttpClient { BaseAddress = new Uri(_node.Urls.First()), DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", token) } };
        using var answer = await http.GetAsync(path, Cancel);
        return answer.StatusCode;
    }

    private static string Root()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent!;
        }

        return directory.FullName;
    }
}
