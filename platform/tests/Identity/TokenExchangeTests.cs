using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Yizhan.Platform.Identity;

namespace Yizhan.Platform.Tests.Identity;

/// <summary>
/// What goes over the wire in both of Keycloak's dialects, and what is made of their answers, by their documentation: no Keycloak runs here. That the
/// standard dialect is what a real issuer takes is shown with the embedded one (Yizhan.Auth.Tests).
/// </summary>
[Trait("Clause", "S1")]
public sealed class TokenExchangeTests : IAsyncLifetime
{
    private const string AccessToken = "urn:ietf:params:oauth:token-type:access_token";

    private WebApplication _server = null!;
    private (int Status, string Body) _answer;
    private Dictionary<string, string[]> _form = [];
    private string _authorization = "";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        _server = builder.Build();
        _server.Run(async context =>
        {
            _form = (await context.Request.ReadFormAsync(Cancel)).ToDictionary(f => f.Key, f => f.Value.Select(v => v ?? "").ToArray());
            _authorization = context.Request.Headers.Authorization.ToString();
            context.Response.StatusCode = _answer.Status;
            await context.Response.WriteAsync(_answer.Body, Cancel);
        });
        await _server.StartAsync(Cancel);
    }

    public async ValueTask DisposeAsync() => await _server.DisposeAsync();

    [Theory]
    [InlineData(ExchangeDialect.Standard)]
    [InlineData(ExchangeDialect.KeycloakLegacy)]
    public async Task Both_dialects_ask_for_an_access_token_by_name_and_say_who_asks(ExchangeDialect dialect)
    {
        // Keycloak 26.2 and later with standard.token.exchange.enabled; the legacy one answers a refresh token as well unless it is told not to.
        _answer = (200, $$"""{"access_token":"new","expires_in":300,"token_type":"Bearer","issued_token_type":"{{AccessToken}}","scope":"profile","not-before-policy":0}""");
        var token = await ExchangeAsync(dialect, ["yizhan-audit"], "profile");
        Assert.Equal(("new", 300, "profile"), (token.AccessToken, token.ExpiresIn, token.Scope));
        Assert.Equal("urn:ietf:params:oauth:grant-type:token-exchange", Assert.Single(_form["grant_type"]));
        Assert.Equal(("callers-token", AccessToken, AccessToken), (_form["subject_token"][0], _form["subject_token_type"][0], _form["requested_token_type"][0]));
        Assert.Equal(["yizhan-audit"], _form["audience"]);
        Assert.Equal("profile", Assert.Single(_form["scope"]));
        Assert.DoesNotContain("site", _form.Keys);

        // RFC 6749 §2.3.1: what is in the secret does not end it.
        Assert.Equal("yizhan-services:a%3Ab%20c", Encoding.UTF8.GetString(Convert.FromBase64String(_authorization["Basic ".Length..])));
    }

    [Fact]
    public async Task The_standard_dialect_names_several_audiences_and_the_legacy_one_cannot()
    {
        _answer = (200, $$"""{"access_token":"new","token_type":"bearer","issued_token_type":"{{AccessToken}}"}""");
        Assert.Null((await ExchangeAsync(ExchangeDialect.Standard, ["yizhan-audit", "yizhan-pacs-gw"], null)).ExpiresIn);
        Assert.Equal(["yizhan-audit", "yizhan-pacs-gw"], _form["audience"]);
        await Assert.ThrowsAsync<ArgumentException>(() => ExchangeAsync(ExchangeDialect.KeycloakLegacy, ["yizhan-audit", "yizhan-pacs-gw"], null));
        await Assert.ThrowsAsync<ArgumentException>(() => ExchangeAsync(ExchangeDialect.KeycloakLegacy, [], null));
    }

    [Theory]
    [InlineData(400, """{"error":"invalid_request","error_description":"Parameter 'subject_token' supports access tokens only"}""", "invalid_request", "supports access tokens only")]
    [InlineData(400, """{"error":"invalid_request","error_description":"client is not the token holder"}""", "invalid_request", "client is not the token holder")]
    [InlineData(400, """{"error":"invalid_client","error_description":"Audience not found"}""", "invalid_client", "Audience not found")]
    [InlineData(403, """{"error":"access_denied","error_description":"Client not allowed to exchange"}""", "access_denied", "Client not allowed to exchange")]
    [InlineData(400, """{"error":"unsupported_grant_type"}""", "unsupported_grant_type", "no reason given")]
    [InlineData(502, "<html>Bad gateway</html>", "invalid_answer", "answers 502 with something that is no JSON")]
    [InlineData(200, "<html>Sign in</html>", "invalid_answer", "no JSON")]
    [InlineData(200, """{"access_token":"x","token_type":"N_A","issued_token_type":"urn:ietf:params:oauth:token-type:refresh_token"}""", "invalid_answer", "refresh_token")]
    [InlineData(200, """{"access_token":"x","token_type":"Bearer"}""", "invalid_answer", "asked for was an access token")]
    [InlineData(200, "[]", "invalid_answer", "asked for was an access token")]
    public async Task What_is_refused_or_is_no_access_token_is_said_with_the_issuers_words(int status, string body, string error, string message)
    {
        _answer = (status, body);
        var refused = await Assert.ThrowsAsync<ExchangeRefusedException>(() => ExchangeAsync(ExchangeDialect.Standard, ["yizhan-audit"], null));
        Assert.Equal(error, refused.Error);
        Assert.Contains(message, refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("callers-token", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_legacy_dialect_may_leave_out_what_it_issued()
    {
        _answer = (200, """{"access_token":"new","expires_in":60,"token_type":"Bearer"}""");
        Assert.Equal("new", (await ExchangeAsync(ExchangeDialect.KeycloakLegacy, ["yizhan-audit"], null)).AccessToken);
    }

    private async Task<ExchangedToken> ExchangeAsync(ExchangeDialect dialect, string[] audiences, string? scope)
    {
        using var http = new HttpClient();
        return await new TokenExchange(http, new Uri(_server.Urls.First() + "/realms/yizhan/protocol/openid-connect/token"), "yizhan-services", "a:b c", dialect)
            .ExchangeAsync("callers-token", audiences, scope, null, Cancel);
    }
}
