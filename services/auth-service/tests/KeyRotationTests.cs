using System.Net;
using System.Text.Json.Nodes;
using Yizhan.Platform.Identity;

namespace Yizhan.Auth.Tests;

/// <summary>The issuer changes its signing key, and no token is refused for it.</summary>
[Trait("Clause", "S1")]
public sealed class KeyRotationTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_key_is_published_before_it_signs_and_after_it_has_and_every_token_is_good_all_the_time()
    {
        await using var node = await Node.StartAsync("--auth:keyDays=10");
        var first = Assert.Single(await PublishedAsync(node));
        Assert.Equal(first, await SignedWithAsync(node));

        // Ten days: the next one is there and does not sign yet.
        node.Clock.Advance(TimeSpan.FromDays(10) + TimeSpan.FromMinutes(11));
        var both = await PublishedAsync(node);
        Assert.Equal(2, both.Count);
        Assert.Equal(first, await SignedWithAsync(node));
        var token = await TokenAsync(node);

        // One more (the clock of the test wakes who waits at the end of a step): it signs; what the one before has signed is good.
        node.Clock.Advance(TimeSpan.FromDays(1) - TimeSpan.FromMinutes(5));
        var last = await TokenAsync(node);
        Assert.Equal(first, KeyOf(last));
        node.Clock.Advance(TimeSpan.FromMinutes(9));
        var second = await SignedWithAsync(node);
        Assert.NotEqual(first, second);
        Assert.Contains(second, both);
        Assert.Equal(HttpStatusCode.OK, await CountsAsync(node, last));

        // Another one: the old one is forgotten, with its file; a token that it signs now would be nobody's.
        node.Clock.Advance(TimeSpan.FromDays(1));
        Assert.Equal([second], await PublishedAsync(node));
        Assert.Equal(second, await SignedWithAsync(node));
        Assert.Equal(HttpStatusCode.OK, await CountsAsync(node, await TokenAsync(node)));
        Assert.Equal(HttpStatusCode.Unauthorized, await CountsAsync(node, token));
    }

    private static async Task<IReadOnlyList<string>> PublishedAsync(Node node)
    {
        var keys = JsonNode.Parse(await node.Http.GetStringAsync("/auth/.well-known/jwks", Cancel))!["keys"]!.AsArray().Select(k => (string)k!["kid"]!).Order().ToArray();
        Assert.Equal(keys, (await node.Service<IssuerKeys>().KeysAsync(null, Cancel)).Select(k => k.KeyId).Order());
        return keys;
    }

    private static async Task<string> SignedWithAsync(Node node) => KeyOf(await TokenAsync(node));

    private static string KeyOf(string token) => (string)JsonNode.Parse(System.Buffers.Text.Base64Url.DecodeFromChars(token.Split('.')[0]))!["kid"]!;

    private static async Task<string> TokenAsync(Node node) =>
        (string)(await node.TokenAsync(("grant_type", "client_credentials"), ("client_id", "emr-adapter"), ("client_secret", Node.Secret))).Answer["access_token"]!;

    private static async Task<HttpStatusCode> CountsAsync(Node node, string token)
    {
        try
        {
            await node.Service<TokenValidator>().CheckAsync(token, "pacs-gw", Cancel);
            return HttpStatusCode.OK;
        }
        catch (TokenRefusedException)
        {
            return HttpStatusCode.Unauthorized;
        }
    }
}
