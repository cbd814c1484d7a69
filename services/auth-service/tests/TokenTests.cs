using System.Buffers.Text;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.WebUtilities;
using Yizhan.Platform.Identity;

namespace Yizhan.Auth.Tests;

/// <summary>The ways to a token, and what an exchange may and may not make of one.</summary>
[Trait("Clause", "S1")]
public sealed class TokenTests
{
    /// <summary>RFC 8693 §2.2.2 says invalid_request of a bad subject token; OpenIddict says invalid_grant.</summary>
    private static readonly string[] WrongToken = ["invalid_grant", "invalid_request"];

    private const string Password = "correct horse battery";
    private const string AccessToken = "urn:ietf:params:oauth:token-type:access_token";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_program_gets_a_token_by_a_code_that_somebody_allows_in_a_browser()
    {
        await using var node = await Node.StartAsync();
        using var browser = await node.PersonAsync("wang", Password, "admin@*");
        using var program = new HttpClient { BaseAddress = node.Web };
        using var asked = await program.PostAsync("/auth/device-code", new FormUrlEncodedContent([new("client_id", "yizhan-cli"), new("scope", "offline_access")]), Cancel);
        var device = JsonNode.Parse(await asked.Content.ReadAsStringAsync(Cancel))!;
        (string, string)[] poll = [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("client_id", "yizhan-cli"), ("device_code", (string)device["device_code"]!)];
        Assert.Equal("authorization_pending", (string?)(await node.TokenAsync(poll)).Answer["error"]);

        var page = new Uri((string)device["verification_uri_complete"]!).PathAndQuery;
        using var stranger = node.Browser();
        Assert.StartsWith("/sign-in?back=", (await stranger.GetAsync(page, Cancel)).Headers.Location?.OriginalString, StringComparison.Ordinal);
        using var allowed = await Node.SubmitAsync(browser, page, "/auth/device", ("user_code", (string)device["user_code"]!));
        Assert.Equal("/sign-in/done", allowed.Headers.Location?.OriginalString);

        var (status, answer) = await node.TokenAsync(poll);
        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Equal(HttpStatusCode.OK, await UsersAsync(node, (string)answer["access_token"]!));

        // The right goes with the account, for a new token at once.
        (string, string)[] refresh = [("grant_type", "refresh_token"), ("client_id", "yizhan-cli"), ("refresh_token", (string)answer["refresh_token"]!)];
        await node.Service<People>().SetRolesAsync("wang", "auditor@*", "test", Cancel);
        Assert.Equal("invalid_grant", (string?)(await node.TokenAsync(refresh)).Answer["error"]);
    }

    [Fact]
    public async Task A_code_needs_its_verifier_and_a_client_that_sends_browsers_where_it_said()
    {
        await using var node = await Node.StartAsync();
        using var browser = await node.PersonAsync("wang", Password, "radiographer@lakeside");
        const string verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        var challenge = Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(verifier)));
        string Authorize(string more) => $"/auth/authorize?response_type=code&client_id=viewer&scope=openid%20user/Patient.rs&state=s{more}";
        const string back = "&redirect_uri=http://127.0.0.1:9/callback";
        using var sent = await browser.GetAsync(Authorize($"{back}&code_challenge={challenge}&code_challenge_method=S256"), Cancel);
        Assert.True(sent.Headers.Location is not null, $"{sent.StatusCode} {await sent.Content.ReadAsStringAsync(Cancel)}");
        var query = QueryHelpers.ParseQuery(sent.Headers.Location!.Query);
        (string, string)[] Redeem(string with) =>
            [("grant_type", "authorization_code"), ("client_id", "viewer"), ("code", query["code"]!), ("redirect_uri", "http://127.0.0.1:9/callback"), ("code_verifier", with)];
        Assert.Equal("invalid_grant", (string?)(await node.TokenAsync(Redeem("another-verifier-that-is-long-enough-for-the-grammar"))).Answer["error"]);

        using var without = await browser.GetAsync(Authorize(back), Cancel);
        Assert.DoesNotContain("code=", without.Headers.Location?.Query ?? "", StringComparison.Ordinal);
        Assert.NotEqual(HttpStatusCode.OK, without.StatusCode);
        using var elsewhere = await browser.GetAsync(Authorize($"&redirect_uri=http://evil.test/&code_challenge={challenge}&code_challenge_method=S256"), Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, elsewhere.StatusCode);

        using var again = await browser.GetAsync(Authorize($"{back}&code_challenge={challenge}&code_challenge_method=S256"), Cancel);
        query = QueryHelpers.ParseQuery(again.Headers.Location!.Query);
        var (status, answer) = await node.TokenAsync(Redeem(verifier));
        Assert.True(status == HttpStatusCode.OK, answer.ToJsonString());
        var (_, caller) = await node.Service<TokenValidator>().CheckAsync((string)answer["access_token"]!, "pacs-gw", Cancel);
        Assert.True(caller.May(Permission.ReadStudies, "lakeside"));
        Assert.False(caller.May(Permission.ReadStudies, "hillside"));
        Assert.True(caller.MayInteract("Patient", 's'));
        Assert.False(caller.MayInteract("Patient", 'c'));
        await Assert.ThrowsAsync<TokenRefusedException>(async () => await node.Service<TokenValidator>().CheckAsync((string)answer["id_token"]!, "pacs-gw", Cancel));
    }

    [Fact]
    public async Task A_service_has_the_roles_of_the_settings_and_its_secret_only()
    {
        await using var node = await Node.StartAsync();
        var token = await ServiceAsync(node);
        var (_, caller) = await node.Service<TokenValidator>().CheckAsync(token, "pacs-gw", Cancel);
        Assert.Equal("service:emr-adapter", caller.Subject);
        Assert.True(caller.May(Permission.WriteStudies, "lakeside"));
        Assert.False(caller.May(Permission.WriteStudies, "centre"));
        Assert.Equal("invalid_client", (string?)(await node.TokenAsync(("grant_type", "client_credentials"), ("client_id", "emr-adapter"), ("client_secret", "wrong"))).Answer["error"]);
        Assert.NotEqual(HttpStatusCode.OK, (await node.TokenAsync(("grant_type", "client_credentials"), ("client_id", "viewer"))).Status);
    }

    [Fact]
    public async Task An_exchange_narrows_to_a_service_and_a_site_and_keeps_who_acts_for_whom()
    {
        await using var node = await Node.StartAsync();
        var subject = await PersonTokenAsync(node, "radiographer@* auditor@hillside");
        var (status, answer) = await ExchangeAsync(node, subject, ("audience", "yizhan/pacs-gw"), ("site", "lakeside"));
        Assert.True(status == HttpStatusCode.OK, answer.ToJsonString());
        Assert.Equal(AccessToken, (string?)answer["issued_token_type"]);
        var narrow = (string)answer["access_token"]!;
        var (_, caller) = await node.Service<TokenValidator>().CheckAsync(narrow, "pacs-gw", Cancel);
        Assert.Equal("wang by service:emr-adapter", caller.Agent);
        Assert.True(caller.May(Permission.ReadStudies, "lakeside"));
        Assert.False(caller.May(Permission.ReadStudies, "hillside"));
        Assert.False(caller.May(Permission.ReadAudit, "hillside"));
        await Assert.ThrowsAsync<TokenRefusedException>(async () => await node.Service<TokenValidator>().CheckAsync(narrow, "audit", Cancel));

        // It is not for emr-adapter any more, and nothing widens it.
        Assert.Equal("invalid_request", (string?)(await ExchangeAsync(node, narrow, ("audience", "yizhan/audit"))).Answer["error"]);
        var own = (string)(await ExchangeAsync(node, subject, ("audience", "yizhan/emr-adapter"))).Answer["access_token"]!;
        Assert.Equal("invalid_target", (string?)(await ExchangeAsync(node, own, ("audience", "yizhan"))).Answer["error"]);
        var twice = (string)(await ExchangeAsync(node, own, ("audience", "yizhan/emr-adapter"))).Answer["access_token"]!;
        Assert.Equal("wang by service:emr-adapter by service:emr-adapter", (await node.Service<TokenValidator>().CheckAsync(twice, "emr-adapter", Cancel)).Caller.Agent);
    }

    [Fact]
    public async Task Our_client_for_exchanges_gets_from_this_issuer_what_it_asks_for_and_hears_why_not()
    {
        await using var node = await Node.StartAsync();
        var subject = await PersonTokenAsync(node, "radiographer@* auditor@hillside");
        using var http = new HttpClient();
        var client = new TokenExchange(http, new Uri(node.Web, "/auth/token"), "emr-adapter", Node.Secret, ExchangeDialect.Standard);
        var token = await client.ExchangeAsync(subject, ["yizhan/pacs-gw"], null, "lakeside", Cancel);
        Assert.InRange(token.ExpiresIn!.Value, 1, 600);
        var (_, caller) = await node.Service<TokenValidator>().CheckAsync(token.AccessToken, "pacs-gw", Cancel);
        Assert.Equal(("wang by service:emr-adapter", true, false), (caller.Agent, caller.May(Permission.ReadStudies, "lakeside"), caller.May(Permission.ReadStudies, "hillside")));
        var refused = await Assert.ThrowsAsync<ExchangeRefusedException>(() => client.ExchangeAsync(subject, ["https://elsewhere.test"], null, null, Cancel));
        Assert.Equal("invalid_target", refused.Error);
        Assert.Contains("is no audience of ours", refused.Message, StringComparison.Ordinal);
        var stranger = new TokenExchange(http, new Uri(node.Web, "/auth/token"), "emr-adapter", "wrong", ExchangeDialect.Standard);
        Assert.Equal("invalid_client", (await Assert.ThrowsAsync<ExchangeRefusedException>(() => stranger.ExchangeAsync(subject, ["yizhan/pacs-gw"], null, null, Cancel))).Error);
    }

    [Fact]
    public async Task An_exchange_of_what_is_wrong_is_refused()
    {
        await using var node = await Node.StartAsync();
        var subject = await PersonTokenAsync(node, "radiographer@lakeside");
        Assert.Equal("invalid_target", (string?)(await ExchangeAsync(node, subject, ("audience", "https://elsewhere.test"))).Answer["error"]);
        Assert.Equal("invalid_target", (string?)(await ExchangeAsync(node, subject, ("site", "hillside"))).Answer["error"]);
        Assert.Equal("invalid_scope", (string?)(await ExchangeAsync(node, subject, ("scope", "user/Patient.rs"))).Answer["error"]);
        var parts = subject.Split('.');
        var altered = $"{parts[0]}.{Base64Url.EncodeToString(Encoding.UTF8.GetBytes("{\"sub\":\"admin\"}"))}.{parts[2]}";
        Assert.Contains((string?)(await ExchangeAsync(node, altered)).Answer["error"], WrongToken);
        node.Clock.Advance(TimeSpan.FromMinutes(30));
        Assert.Contains((string?)(await ExchangeAsync(node, subject)).Answer["error"], WrongToken);
    }

    private static Task<(HttpStatusCode Status, JsonNode Answer)> ExchangeAsync(Node node, string subject, params (string, string)[] more) => node.TokenAsync(
        [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), ("client_id", "emr-adapter"), ("client_secret", Node.Secret),
            ("subject_token", subject), ("subject_token_type", AccessToken), .. more,
        ]);

    private static async Task<string> ServiceAsync(Node node) =>
        (string)(await node.TokenAsync(("grant_type", "client_credentials"), ("client_id", "emr-adapter"), ("client_secret", Node.Secret))).Answer["access_token"]!;

    /// <summary>A token of a person, by the device flow.</summary>
    private static async Task<string> PersonTokenAsync(Node node, string roles)
    {
        using var browser = await node.PersonAsync("wang", Password, roles);
        using var program = new HttpClient { BaseAddress = node.Web };
        using var asked = await program.PostAsync("/auth/device-code", new FormUrlEncodedContent([new("client_id", "yizhan-cli")]), Cancel);
        var device = JsonNode.Parse(await asked.Content.ReadAsStringAsync(Cancel))!;
        using var allowed = await Node.SubmitAsync(browser, new Uri((string)device["verification_uri_complete"]!).PathAndQuery, "/auth/device", ("user_code", (string)device["user_code"]!));
        return (string)(await node.TokenAsync(("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("client_id", "yizhan-cli"),
            ("device_code", (string)device["device_code"]!))).Answer["access_token"]!;
    }

    private static async Task<HttpStatusCode> UsersAsync(Node node, string token)
    {
        using var http = new HttpClient { BaseAddress = node.Web, DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", token) } };
        return (await http.GetAsync("/auth/users", Cancel)).StatusCode;
    }
}
