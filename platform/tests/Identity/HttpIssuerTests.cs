using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Microsoft.IdentityModel.Tokens;
using Yizhan.Platform.Identity;

namespace Yizhan.Platform.Tests.Identity;

/// <summary>An issuer over HTTP that answers keys, and one that answers nonsense.</summary>
[Trait("Clause", "S1")]
public sealed class HttpIssuerTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-issuer-").FullName;
    private readonly FakeTimeProvider _clock = new(TimeProvider.System.GetUtcNow());
    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private WebApplication _server = null!;
    private Func<HttpContext, Task> _answer = _ => Task.CompletedTask;
    private int _asked;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        _server = builder.Build();
        _server.Run(context =>
        {
            Interlocked.Increment(ref _asked);
            return _answer(context);
        });
        await _server.StartAsync(Cancel);
    }

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _key.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_page_instead_of_keys_is_refused_and_the_keys_that_were_known_go_on()
    {
        using var issuer = Issuer();
        foreach (var (type, body, expected) in new[]
        {
            ("text/html", "<html>Sign in to the hotel's network</html>", "answers text/html, not JSON"),
            ("application/json", "<html>", "cannot be had"),
            ("application/json", "[]", "cannot be had"),
            ("application/json", "{\"keys\":[]}", "has no public key for signatures"),
            ("application/json", "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0\",\"alg\":\"HS256\"}]}", "has no public key for signatures"),
            ("application/json", new string(' ', 300_000) + "{}", "more than 262144 bytes"),
        })
        {
            _answer = context => WriteAsync(context, type, body);
            _clock.Advance(TimeSpan.FromSeconds(11));
            var refused = await Assert.ThrowsAsync<TokenRefusedException>(async () => await issuer.KeysAsync("a", Cancel));
            Assert.Contains(expected, refused.Message, StringComparison.Ordinal);
        }

        _answer = context => WriteAsync(context, "application/json", Keys("a"));
        _clock.Advance(TimeSpan.FromSeconds(11));
        Assert.Equal("a", Assert.Single(await issuer.KeysAsync("a", Cancel)).KeyId);
        _answer = context => WriteAsync(context, "text/html", "<html>");
        _clock.Advance(TimeSpan.FromHours(2));
        Assert.Equal("a", Assert.Single(await issuer.KeysAsync("a", Cancel)).KeyId);

        // Also for a node that starts while the issuer answers pages: the file has them.
        using var started = Issuer();
        Assert.Equal("a", Assert.Single(await started.KeysAsync("a", Cancel)).KeyId);
    }

    [Fact]
    public async Task A_new_key_is_looked_for_at_once_and_strange_names_do_not_make_us_ask_all_the_time()
    {
        using var issuer = Issuer();
        _answer = context => WriteAsync(context, "application/json", Keys("a"));
        await issuer.KeysAsync("a", Cancel);
        _answer = context => WriteAsync(context, "application/json", Keys("b"));
        _clock.Advance(TimeSpan.FromSeconds(11));
        Assert.Equal("b", Assert.Single(await issuer.KeysAsync("b", Cancel)).KeyId);
        var before = _asked;
        for (var i = 0; i < 1000; i++)
        {
            await issuer.KeysAsync($"made-up-{i}", Cancel);
        }

        Assert.Equal(before, _asked);
    }

    [Fact]
    public async Task Discovery_that_names_another_issuer_or_keys_without_tls_is_refused()
    {
        using var issuer = new HttpIssuer(
            new IssuerOptions { Url = _server.Urls.First() }, Path.Combine(_folder, "discovered.jwks"), new HttpClient(), _clock, NullLogger<HttpIssuer>.Instance);
        _answer = context => WriteAsync(context, "application/json", "{\"issuer\":\"https://evil.test\",\"jwks_uri\":\"https://evil.test/keys\"}");
        Assert.Contains("does not describe the issuer", (await RefusedAsync(issuer)).Message, StringComparison.Ordinal);
        _answer = context => WriteAsync(context, "application/json", JsonSerializer.Serialize(new { issuer = _server.Urls.First(), jwks_uri = "http://keys.test/" }));
        Assert.Contains("no jwks_uri over https", (await RefusedAsync(issuer)).Message, StringComparison.Ordinal);
        _answer = context => WriteAsync(context, "text/html", "<html>");
        Assert.Contains("answers text/html, not JSON", (await RefusedAsync(issuer)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_issuer_of_one_site_speaks_for_no_other()
    {
        using var issuer = new HttpIssuer(
            new IssuerOptions { Url = "urn:yizhan:site:lakeside", KeysUrl = "https://station.test/", Sites = ["lakeside"] }, "", new HttpClient(), _clock, NullLogger<HttpIssuer>.Instance);
        Assert.True(issuer.MaySpeakFor("lakeside"));
        Assert.False(issuer.MaySpeakFor("hillside"));
        Assert.False(issuer.MaySpeakFor("*"));
    }

    private async Task<TokenRefusedException> RefusedAsync(HttpIssuer issuer)
    {
        _clock.Advance(TimeSpan.FromSeconds(11));
        return await Assert.ThrowsAsync<TokenRefusedException>(async () => await issuer.KeysAsync("a", Cancel));
    }

    private HttpIssuer Issuer() => new(
        new IssuerOptions { Url = "https://id.test", KeysUrl = _server.Urls.First() + "/keys" }, Path.Combine(_folder, "issuer.jwks"), new HttpClient(), _clock, NullLogger<HttpIssuer>.Instance);

    private string Keys(string id)
    {
        var key = JsonWebKeyConverter.ConvertFromECDsaSecurityKey(new ECDsaSecurityKey(_key) { KeyId = id });
        return JsonSerializer.Serialize(new { keys = new[] { new { kty = key.Kty, crv = key.Crv, x = key.X, y = key.Y, kid = id, use = "sig", alg = "ES256" } } });
    }

    private static Task WriteAsync(HttpContext context, string type, string body)
    {
        context.Response.ContentType = type;
        return context.Response.WriteAsync(body, Encoding.UTF8);
    }
}
