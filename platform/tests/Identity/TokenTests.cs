using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;
using Microsoft.IdentityModel.Tokens;
using Yizhan.Platform.Identity;

namespace Yizhan.Platform.Tests.Identity;

/// <summary>Which tokens are good, and what is said about the others. Tokens are made here by hand, so that they can be as wrong as they like.</summary>
[Trait("Clause", "S1")]
public sealed class TokenTests : IDisposable
{
    private static readonly DateTimeOffset Now = new(2026, 11, 23, 8, 0, 0, TimeSpan.Zero);

    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly RSA _rsa = RSA.Create(2048);
    private readonly FakeTimeProvider _clock = new(Now);
    private readonly TokenValidator _validator;

    public TokenTests() => _validator = new TokenValidator(
        [
            new Issuer("https://id.test", [new ECDsaSecurityKey(_key) { KeyId = "ec" }, new RsaSecurityKey(_rsa) { KeyId = "rsa" }], null),
            new Issuer("urn:site:lakeside", [new ECDsaSecurityKey(_key) { KeyId = "ec" }], "lakeside"),
        ],
        Options.Create(new IdentityOptions()), _clock);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _key.Dispose();
        _rsa.Dispose();
    }

    [Fact]
    public async Task A_good_token_says_who_may_do_what_and_where()
    {
        var (_, caller) = await _validator.CheckAsync(Token(Claims(new()
        {
            ["roles"] = new JsonArray("radiographer", "auditor@hillside"),
            ["act"] = new JsonObject { ["sub"] = "emr", ["act"] = new JsonObject { ["sub"] = "gateway" } },
        })), "pacs-gw", Cancel);
        Assert.Equal("wang", caller.Subject);
        Assert.True(caller.May(Permission.ReadStudies, "lakeside"));
        Assert.False(caller.May(Permission.ReadStudies, "hillside"));
        Assert.True(caller.May(Permission.ReadAudit, "hillside"));
        Assert.False(caller.May(Permission.ReadAudit, "lakeside"));
        Assert.False(caller.May(Permission.ReadStudies | Permission.ReadAudit, "lakeside"));
        Assert.False(caller.May(Permission.None, "lakeside"));
        Assert.Equal("wang by emr by gateway", caller.Agent);
    }

    [Fact]
    public async Task Roles_in_the_shape_of_Keycloak_count_and_roles_without_a_site_do_not()
    {
        var (_, keycloak) = await _validator.CheckAsync(Token(Claims(new()
        {
            ["roles"] = null,
            ["typ"] = "Bearer",
            ["azp"] = "console",
            ["realm_access"] = new JsonObject { ["roles"] = new JsonArray("clinician", "offline_access") },
        })), "pacs-gw", Cancel);
        Assert.True(keycloak.May(Permission.ReadRecords, "lakeside"));
        var (_, nowhere) = await _validator.CheckAsync(Token(Claims(new() { ["sites"] = null })), "pacs-gw", Cancel);
        Assert.False(nowhere.May(Permission.ReadStudies, "lakeside"));
    }

    [Fact]
    public async Task A_token_for_one_service_is_none_for_another()
    {
        var token = Token(Claims(new() { ["aud"] = new JsonArray("yizhan/audit", "elsewhere") }));
        await _validator.CheckAsync(token, "audit", Cancel);
        Assert.Equal("The token is for yizhan/audit, elsewhere; accepted: yizhan, yizhan/pacs-gw.", await RefusedAsync(token));
        Assert.StartsWith("The token is for yizhan/audit", await RefusedAsync(token, ""), StringComparison.Ordinal);
        Assert.StartsWith("The token is for nobody", await RefusedAsync(Token(Claims(new() { ["aud"] = null }))), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("none", "The token is signed with 'none'; accepted: ES256")]
    [InlineData("None", "The token is signed with 'None'; accepted: ES256")]
    [InlineData("HS256", "The token is signed with 'HS256'; accepted: ES256")]
    public async Task Algorithms_that_prove_nothing_are_refused(string algorithm, string expected)
    {
        // Key confusion (RFC 8725 §2.1): the public key, which everybody has, as the secret of an HMAC.
        var signed = Parts(algorithm, Claims());
        var mac = algorithm == "HS256" ? HMACSHA256.HashData(Encoding.ASCII.GetBytes(_rsa.ExportSubjectPublicKeyInfoPem()), Encoding.ASCII.GetBytes(signed)) : [];
        Assert.StartsWith(expected, await RefusedAsync($"{signed}.{Base64Url.EncodeToString(mac)}"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_signature_counts_with_its_own_key_and_its_own_content_only()
    {
        var token = Token(Claims());
        var parts = token.Split('.');
        Assert.Equal("The signature of the token is wrong.", await RefusedAsync($"{parts[0]}.{Base64Url.EncodeToString(Bytes(Claims(new() { ["sub"] = "li" })))}.{parts[2]}"));
        Assert.Equal("The signature of the token is wrong.", await RefusedAsync($"{parts[0]}.{parts[1]}."));
        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        Assert.Equal("The signature of the token is wrong.", await RefusedAsync(Token(Claims(), key: other)));
        Assert.Equal("The token is signed by the key 'old', which 'https://id.test' does not have.", await RefusedAsync(Token(Claims(), kid: "old")));

        // The RSA key named by a token that is signed by the EC key.
        Assert.NotEmpty(await RefusedAsync(Token(Claims(), kid: "rsa")));
    }

    [Fact]
    public async Task Times_are_those_of_this_node_and_a_wrong_clock_is_said()
    {
        var token = Token(Claims());
        await _validator.CheckAsync(token, "pacs-gw", Cancel);
        _clock.Advance(TimeSpan.FromMinutes(6.5));
        Assert.Equal("The token expired at 2026-11-23T08:05:00Z; here it is 2026-11-23T08:06:30Z.", await RefusedAsync(token));

        var started1970 = new TokenValidator([new Issuer("https://id.test", [new ECDsaSecurityKey(_key) { KeyId = "ec" }], null)],
            Options.Create(new IdentityOptions()), new FakeTimeProvider(DateTimeOffset.UnixEpoch));
        var refused = await Assert.ThrowsAsync<TokenRefusedException>(async () => await started1970.CheckAsync(token, "pacs-gw", Cancel));
        Assert.Equal("The token is valid from 2026-11-23T08:00:00Z; here it is 1970-01-01T00:00:00Z: look at the clocks.", refused.Message);
        Assert.Equal("The token does not say when it expires (exp).", await RefusedAsync(Token(Claims(new() { ["exp"] = null }))));
    }

    [Fact]
    public async Task A_token_that_was_good_is_not_remembered_when_the_clock_is_set_back()
    {
        var token = Token(Claims());
        await _validator.CheckAsync(token, "pacs-gw", Cancel);
        var before = new FakeTimeProvider(Now) { AutoAdvanceAmount = TimeSpan.Zero };
        before.AdjustTime(Now - TimeSpan.FromDays(1));
        var validator = new TokenValidator([new Issuer("https://id.test", [new ECDsaSecurityKey(_key) { KeyId = "ec" }], null)], Options.Create(new IdentityOptions()), before);
        before.AdjustTime(Now);
        await validator.CheckAsync(token, "pacs-gw", Cancel);
        before.AdjustTime(Now - TimeSpan.FromDays(1));
        await Assert.ThrowsAsync<TokenRefusedException>(async () => await validator.CheckAsync(token, "pacs-gw", Cancel));
    }

    [Fact]
    public async Task Other_issuers_other_types_and_other_things_are_refused()
    {
        Assert.Equal("The token was issued by 'https://evil.test'; accepted: https://id.test, urn:site:lakeside.", await RefusedAsync(Token(Claims(new() { ["iss"] = "https://evil.test" }))));
        Assert.Equal("The token is a 'ID' token; accepted: Bearer.", await RefusedAsync(Token(Claims(new() { ["typ"] = "ID" }))));
        Assert.Equal("The token is an ID token; accepted are access tokens.", await RefusedAsync(Token(Claims(new() { ["nonce"] = "n" }))));
        Assert.Equal("The token is of type 'logout+jwt'; accepted: at+jwt, JWT.", await RefusedAsync(Token(Claims(), type: "logout+jwt")));
        Assert.Equal("The token has no subject (sub).", await RefusedAsync(Token(Claims(new() { ["sub"] = null }))));
        Assert.Equal("The token is no JSON Web Token.", await RefusedAsync("a.b.c"));
        Assert.Equal("The token has 20000 characters; accepted are 16384.", await RefusedAsync(new string('a', 20_000)));
    }

    [Fact]
    public async Task The_key_of_a_site_speaks_for_that_site_only()
    {
        var own = Claims(new() { ["iss"] = "urn:site:lakeside" });
        await _validator.CheckAsync(Token(own), "pacs-gw", Cancel);
        Assert.Equal("'urn:site:lakeside' may not speak for the site 'hillside'.", await RefusedAsync(Token(Claims(new() { ["iss"] = "urn:site:lakeside", ["sites"] = new JsonArray("lakeside", "hillside") }))));
        Assert.Equal("'urn:site:lakeside' may not speak for the site '*'.", await RefusedAsync(Token(Claims(new() { ["iss"] = "urn:site:lakeside", ["roles"] = new JsonArray("admin@*") }))));
    }

    [Fact]
    public async Task The_examples_of_RFC_7520_and_RFC_7797_are_no_access_tokens_and_do_no_harm()
    {
        var folder = Path.Combine(CorpusFolder(), "emr", "given", "jose");
        Assert.SkipUnless(Directory.Exists(folder), "The JOSE examples (../shared/corpus/emr/given/jose) are not here.");
        var tokens = 0;
        foreach (var file in Directory.GetFiles(folder, "*.json"))
        {
            using var json = JsonDocument.Parse(await File.ReadAllBytesAsync(file, Cancel));
            if (json.RootElement.TryGetProperty("output", out var output) && output.TryGetProperty("compact", out var compact))
            {
                Assert.NotEmpty(await RefusedAsync(compact.GetString()!));
                tokens++;
            }
        }

        Assert.True(tokens >= 8, $"Only {tokens} examples were read.");
    }

    private static string CorpusFolder()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent!;
        }

        return Path.Combine(directory.Parent!.FullName, "shared", "corpus");
    }

    private async Task<string> RefusedAsync(string token, string service = "pacs-gw") =>
        (await Assert.ThrowsAsync<TokenRefusedException>(async () => await _validator.CheckAsync(token, service, Cancel))).Message;

    private static JsonObject Claims(Dictionary<string, JsonNode?>? changes = null)
    {
        var claims = new JsonObject
        {
            ["iss"] = "https://id.test",
            ["aud"] = "yizhan",
            ["sub"] = "wang",
            ["iat"] = Now.ToUnixTimeSeconds(),
            ["exp"] = Now.AddMinutes(5).ToUnixTimeSeconds(),
            ["roles"] = new JsonArray("radiographer"),
            ["sites"] = new JsonArray("lakeside"),
        };
        foreach (var (name, value) in changes ?? [])
        {
            // Null takes one away.
            claims.Remove(name);
            if (value is not null)
            {
                claims.Add(name, value);
            }
        }

        return claims;
    }

    private string Token(JsonObject claims, string kid = "ec", string type = "at+jwt", ECDsa? key = null)
    {
        var signed = Parts("ES256", claims, kid, type);
        return $"{signed}.{Base64Url.EncodeToString((key ?? _key).SignData(Encoding.ASCII.GetBytes(signed), HashAlgorithmName.SHA256))}";
    }

    private static string Parts(string algorithm, JsonObject claims, string kid = "ec", string type = "at+jwt") =>
        $"{Base64Url.EncodeToString(Encoding.UTF8.GetBytes($$"""{"alg":"{{algorithm}}","kid":"{{kid}}","typ":"{{type}}"}"""))}.{Base64Url.EncodeToString(Bytes(claims))}";

    private static byte[] Bytes(JsonObject claims) => Encoding.UTF8.GetBytes(claims.ToJsonString());

    private sealed record Issuer(string Name, SecurityKey[] Keys, string? OnlySite) : ITrustedIssuer
    {
        string ITrustedIssuer.Issuer => Name;

        public ValueTask<IReadOnlyCollection<SecurityKey>> KeysAsync(string? keyId, CancellationToken cancellationToken) => new(Keys);

        public bool MaySpeakFor(string site) => OnlySite is null || site == OnlySite;
    }
}
