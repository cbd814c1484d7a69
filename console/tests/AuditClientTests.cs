using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Options;
using NSec.Cryptography;
using Yizhan.Console.Audit;
using Yizhan.Console.Live;
using Yizhan.Platform.Identity;
using Yizhan.Transparency;

namespace Yizhan.Console.Tests;

/// <summary>What the console believes of an audit log with two entries, over real HTTP.</summary>
public sealed class AuditClientTests : IAsyncLifetime
{
    private const string Payload = """{"data":{"action":"R","agent":"dr-li","entity":"study/1.2.3","patient":"P1","recordedMs":1700000000000},"id":"1","type":"yizhan.audit.record.v1"}""";

    private readonly Key _key = Key.Create(SignatureAlgorithm.Ed25519);
    private readonly WebApplication _service = CreateService();
    private readonly byte[] _salt = new byte[32];
    private JsonObject _record = default!, _proof = default!;
    private string _note = "", _query = "", _verify = "";
    private int _proofStatus = 200;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        var leaf = new AuditLeaf(
            "record", TreeHash.Of([.. _salt, .. Encoding.UTF8.GetBytes(Payload)]), 1_700_000_000_000, TreeHash.Of("sealed"u8), 6, new AuditSource("east", Guid.Empty, 1, 0, 1)).ToBytes();
        var other = Merkle.LeafHash("other"u8);
        var checkpoint = new Checkpoint("log", 2, Merkle.NodeHash(Merkle.LeafHash(leaf), other));
        _note = Sign(checkpoint.ToString());
        _record = JsonNode.Parse("""
            {"index":0,"kind":"record","site":"east","id":"1","record":{"type":"110103","subtypes":[],"action":"R","outcome":0,"recordedMs":1700000000000,
             "agents":["dr-li"],"addresses":[],"patients":["P1"],"entities":["study/1.2.3"],"source":"pacs-gw@east","detail":null}}
            """)!.AsObject();
        _proof = new JsonObject
        {
            ["index"] = 0,
            ["leaf"] = Convert.ToBase64String(leaf),
            ["proof"] = new JsonArray(other.ToBase64()),
            ["checkpoint"] = _note,
            ["salt"] = Convert.ToBase64String(_salt),
            ["payload"] = Convert.ToBase64String(Encoding.UTF8.GetBytes(Payload)),
        };
        _service.MapGet("/audit/key", () => KeyText());
        _service.MapGet("/audit/checkpoint", () => _note);
        _service.MapGet("/audit/verify", () => _verify);
        _service.MapGet("/audit/records", (HttpRequest request) =>
        {
            _query = request.QueryString.Value!;
            return Results.Text($$"""{"size":2,"records":[{{_record.ToJsonString()}}]}""", "application/json");
        });
        _service.MapGet("/audit/records/0/proof", () => Results.Text(_proof.ToJsonString(), "application/json", statusCode: _proofStatus));
        await _service.StartAsync(Cancel);
    }

    public async ValueTask DisposeAsync()
    {
        _key.Dispose();
        await _service.DisposeAsync();
    }

    [Fact]
    [Trait("Clause", "S7")]
    public async Task A_record_that_the_signed_checkpoint_proves_is_verified()
    {
        using var client = Client();
        var found = Assert.Single(await client.FindAsync(new AuditSearch { Patient = " P1 " }, Cancel));
        Assert.Equal((ProofState.Verified, 0L, "dr-li"), (found.Proof, found.Found.Index, Assert.Single(found.Found.Record.Agents)));
        Assert.Equal("?limit=50&patient=P1", _query);
        Assert.Equal(2, (await client.CheckpointAsync(Cancel)).Size);
    }

    [Theory]
    [InlineData("agents", """["dr-wu"]""")]
    [InlineData("patients", """["P2"]""")]
    [InlineData("entities", """["study/9"]""")]
    [InlineData("action", "\"D\"")]
    [InlineData("recordedMs", "1")]
    public async Task A_record_that_says_something_else_than_what_was_signed_is_not_verified(string member, string value)
    {
        _record["record"]![member] = JsonNode.Parse(value);
        Assert.Equal(ProofState.Wrong, await StateAsync());
    }

    [Theory]
    [InlineData("salt")]
    [InlineData("payload")]
    [InlineData("leaf")]
    public async Task A_proof_with_one_flipped_bit_does_not_verify(string member)
    {
        var bytes = Convert.FromBase64String((string)_proof[member]!);
        bytes[^1] ^= 1;
        _proof[member] = Convert.ToBase64String(bytes);
        Assert.Equal(ProofState.Wrong, await StateAsync());
    }

    [Fact]
    public async Task Another_place_does_not_verify_and_an_expired_entry_has_no_proof()
    {
        _proof["proof"] = new JsonArray(TreeHash.Of("x"u8).ToBase64());
        Assert.Equal(ProofState.Wrong, await StateAsync());
        _proofStatus = 410;
        Assert.Equal(ProofState.Missing, await StateAsync());
    }

    [Fact]
    public async Task A_checkpoint_of_another_key_is_refused()
    {
        using var client = Client();
        _note = _note.Replace("\n2\n", "\n3\n", StringComparison.Ordinal);
        await Assert.ThrowsAsync<InvalidDataException>(() => client.CheckpointAsync(Cancel));
    }

    [Fact]
    public async Task A_verification_is_remembered_and_one_without_a_result_is_not()
    {
        using var client = Client();
        _verify = "{\"checked\":1}\n";
        await Assert.ThrowsAsync<System.Text.Json.JsonException>(() => client.VerifyAsync(Cancel));
        Assert.Null(client.Last);
        _verify = "{\"checked\":1}\n{\"checked\":2,\"ok\":false,\"problem\":\"x\",\"badEntry\":1,\"size\":2,\"remarks\":[]}\n";
        await client.VerifyAsync(Cancel);
        Assert.Equal((false, 2L, 1L), (client.Last!.Ok, client.Last.Entries, client.Last.BadEntry));
    }

    [Fact]
    public void A_day_is_that_of_the_one_who_looks_and_the_last_one_is_included()
    {
        var day = new DateOnly(2026, 3, 1);
        var search = new AuditSearch { Agent = "a&b", Study = "1.2", Action = "R", From = day, To = day, Zone = TimeZoneInfo.FindSystemTimeZoneById("Asia/Shanghai") };
        Assert.Equal("&agent=a%26b&entity=study%2F1.2&action=R&from=1772294400000&to=1772380800000", search.Query);
        Assert.Equal("", new AuditSearch { To = DateOnly.MaxValue }.Query);
    }

    private async Task<ProofState> StateAsync()
    {
        using var client = Client();
        return Assert.Single(await client.FindAsync(new AuditSearch(), Cancel)).Proof;
    }

    private AuditClient Client()
    {
        var options = Options.Create(new ConsoleOptions { AuditUrl = _service.Urls.First() });
        return new AuditClient(new ServiceAddresses(options, null!), options, new OperatorTokenHandler(() => "a token", new SocketsHttpHandler()), TimeProvider.System);
    }

    private string KeyText()
    {
        var (id, key) = Identity();
        return $"log+{Convert.ToHexStringLower(id)}+{Convert.ToBase64String(key)}";
    }

    /// <summary>A signed note (C2SP signed-note).</summary>
    private string Sign(string text) =>
        $"{text}\n— log {Convert.ToBase64String([.. Identity().Id, .. SignatureAlgorithm.Ed25519.Sign(_key, Encoding.UTF8.GetBytes(text))])}\n";

    private (byte[] Id, byte[] Key) Identity()
    {
        byte[] key = [1, .. _key.PublicKey.Export(KeyBlobFormat.RawPublicKey)];
        return (SHA256.HashData([.. "log\n"u8, .. key])[..4], key);
    }

    private static WebApplication CreateService()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        return builder.Build();
    }
}
