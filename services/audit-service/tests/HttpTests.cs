using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Yizhan.Transparency;

namespace Yizhan.Audit.Tests;

public sealed class HttpTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    [Trait("Clause", "S7")]
    public async Task A_record_is_found_and_proven_by_an_outsider_who_has_only_the_key()
    {
        await using var node = await Node.StartAsync(_folder.Path, Cancel);
        for (var i = 0; i < 5; i++)
        {
            var created = await node.Http.PostAsJsonAsync("/audit/records", Node.Record(i, $"study/{i}"), JsonSerializerOptions.Web, Cancel);
            Assert.Equal(HttpStatusCode.Created, created.StatusCode);
            await FoundAsync(node, created.Headers.Location!.ToString());
        }

        var found = await FoundAsync(node, "/audit/records?entity=study/3");
        var index = found.GetProperty("index").GetInt64();
        var proof = await node.Http.GetFromJsonAsync<JsonElement>($"/audit/records/{index}/proof", Cancel);
        var leaf = proof.GetProperty("leaf").GetBytesFromBase64();
        Assert.True(NoteKey.TryParse(await node.Http.GetStringAsync("/audit/key", Cancel), out var key));
        Assert.True(Checkpoint.TryOpen(Encoding.UTF8.GetBytes(proof.GetProperty("checkpoint").GetString()!), key, out var checkpoint));
        TreeHash[] path = [.. proof.GetProperty("proof").EnumerateArray().Select(e => new TreeHash(e.GetBytesFromBase64()))];
        Assert.True(Merkle.IsIncluded(TreeHash.Of([0, .. leaf]), index, checkpoint.Size, path, checkpoint.Root));
        var (salt, payload) = (proof.GetProperty("salt").GetBytesFromBase64(), proof.GetProperty("payload").GetBytesFromBase64());
        Assert.Equal(TreeHash.Of([.. salt, .. payload]).ToString(), JsonDocument.Parse(leaf).RootElement.GetProperty("payload").GetString());
        Assert.Equal("study/3", JsonDocument.Parse(payload).RootElement.GetProperty("data").GetProperty("entity").GetString());

        var growth = await node.Http.GetFromJsonAsync<JsonElement>("/audit/consistency?from=2", Cancel);
        TreeHash[] nodes = [.. growth.GetProperty("proof").EnumerateArray().Select(e => new TreeHash(e.GetBytesFromBase64()))];
        var from = new TreeHash(growth.GetProperty("fromRoot").GetBytesFromBase64());
        Assert.True(Merkle.IsConsistent(2, checkpoint.Size, from, checkpoint.Root, nodes));
    }

    [Fact]
    public async Task The_static_tiles_are_served_for_every_width_and_nothing_else_of_the_folder_is()
    {
        await using var node = await Node.StartAsync(_folder.Path, Cancel);
        for (var i = 0; i < 3; i++)
        {
            var created = await node.Http.PostAsJsonAsync("/audit/records", Node.Record(i), JsonSerializerOptions.Web, Cancel);
            await FoundAsync(node, created.Headers.Location!.ToString());
        }

        var note = await node.Http.GetByteArrayAsync("/audit/checkpoint", Cancel);
        Assert.True(Checkpoint.TryOpen(note, node.Consumer.Log!.Key, out var checkpoint));
        Assert.Equal(3, checkpoint.Size);
        var hashes = TreeReader.Hashes(await node.Http.GetByteArrayAsync("/audit/tile/0/000.p/3", Cancel));
        Assert.Equal(checkpoint.Root, Merkle.RootOf(hashes));
        Assert.Equal(hashes[..2], TreeReader.Hashes(await node.Http.GetByteArrayAsync("/audit/tile/0/000.p/2", Cancel)));
        var entries = EntryBundle.Split(await node.Http.GetByteArrayAsync("/audit/tile/entries/000.p/3", Cancel), 256, out _);
        Assert.Equal(hashes, entries.Select(e => Merkle.LeafHash(e.Span)));
        foreach (var path in new[] { "0/000", "0/000.p/4", "1/000.p/1", "0/..%2F..%2F..%2Fsigning.key", "0/000.p/3/x" })
        {
            Assert.Equal(HttpStatusCode.NotFound, (await node.Http.GetAsync($"/audit/tile/{path}", Cancel)).StatusCode);
        }
    }

    [Fact]
    public async Task A_verification_streams_lines_and_names_a_changed_entry()
    {
        await using var node = await Node.StartAsync(_folder.Path, Cancel);
        var created = await node.Http.PostAsJsonAsync("/audit/records", Node.Record(1), JsonSerializerOptions.Web, Cancel);
        await FoundAsync(node, created.Headers.Location!.ToString());
        var line = await VerifyAsync(node);
        Assert.True(line.GetProperty("ok").GetBoolean());
        Assert.Equal(1, line.GetProperty("checked").GetInt64());

        var bundle = Directory.GetFiles(Path.Combine(_folder.Path, "audit/tree/tile/entries"), "*", SearchOption.AllDirectories).Single();
        var bytes = await File.ReadAllBytesAsync(bundle, Cancel);
        bytes[^5] ^= 1;
        await File.WriteAllBytesAsync(bundle, bytes, Cancel);
        line = await VerifyAsync(node);
        Assert.False(line.GetProperty("ok").GetBoolean());
        Assert.Equal(0, line.GetProperty("badEntry").GetInt64());
    }

    [Theory]
    [InlineData("""{"action":"X"}""", "eventId|action is 'X'; accepted: C, R, U, D, E.")]
    [InlineData("""{"outcome":3}""", "outcome is 3; accepted: 0, 4, 8, 12.")]
    [InlineData("""{"agent":" "}""", "agent is missing.")]
    [InlineData("""{"entity":null}""", "entity is missing.")]
    [InlineData("""{"recordedMs":-1}""", "recordedMs is -1")]
    [InlineData("""{"recordedMs":"soon"}""", "$.recordedMs")]
    [InlineData("""{"patientName":"x"}""", "not an audit record")]
    public async Task A_wrong_record_is_refused_with_what_would_be_accepted(string change, string expected)
    {
        await using var node = await Node.StartAsync(_folder.Path, Cancel);
        var json = JsonSerializer.SerializeToNode(Node.Record(1), JsonSerializerOptions.Web)!.AsObject();
        foreach (var (name, value) in System.Text.Json.Nodes.JsonNode.Parse(change)!.AsObject())
        {
            json[name] = value?.DeepClone();
        }

        var answer = await node.Http.PostAsync("/audit/records", new StringContent(json.ToJsonString(), Encoding.UTF8, "application/json"), Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        Assert.Equal("application/problem+json", answer.Content.Headers.ContentType!.MediaType);
        Assert.Contains(expected.Split('|')[^1], (await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Empty(await node.Events.ReadAsync(0, 10, Cancel));
    }

    [Fact]
    public async Task A_body_that_is_too_large_or_no_JSON_and_a_wrong_search_are_refused()
    {
        await using var node = await Node.StartAsync(_folder.Path, Cancel);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, (await node.Http.PostAsync("/audit/records", new StringContent(new string('x', 70_000)), Cancel)).StatusCode);
        foreach (var body in new[] { "", "null", "{", "[]" })
        {
            Assert.Equal(HttpStatusCode.BadRequest, (await node.Http.PostAsync("/audit/records", new StringContent(body), Cancel)).StatusCode);
        }

        await WaitForAsync(() => node.Consumer.Log is not null);
        foreach (var (query, status) in new[] { ("records?limit=0", 400), ("records?limit=1001", 400), ("records?from=yesterday", 400), ("records/0/proof", 404), ("records/-1/proof", 404), ("consistency?from=0", 400) })
        {
            Assert.Equal(status, (int)(await node.Http.GetAsync($"/audit/{query}", Cancel)).StatusCode);
        }

        Assert.Equal(HttpStatusCode.OK, (await node.Http.GetAsync("/audit/records?from=2026-03-01T08:00:00Z&to=2026-03-01T16:00:00%2B08:00", Cancel)).StatusCode);
    }

    [Fact]
    public async Task The_same_idempotency_key_is_one_record()
    {
        await using var node = await Node.StartAsync(_folder.Path, Cancel);
        for (var i = 0; i < 2; i++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, "/audit/records") { Content = JsonContent.Create(Node.Record(1), options: JsonSerializerOptions.Web) };
            request.Headers.Add("Idempotency-Key", "once");
            var answer = await (await node.Http.SendAsync(request, Cancel)).Content.ReadFromJsonAsync<JsonElement>(Cancel);
            Assert.Equal(i == 1, answer.GetProperty("alreadyKnown").GetBoolean());
        }

        Assert.Single(await node.Events.ReadAsync(0, 10, Cancel));
    }

    [Fact]
    public async Task A_log_that_was_tampered_with_is_not_written_and_records_are_still_accepted()
    {
        await using (var node = await Node.StartAsync(_folder.Path, Cancel))
        {
            var created = await node.Http.PostAsJsonAsync("/audit/records", Node.Record(1), JsonSerializerOptions.Web, Cancel);
            await FoundAsync(node, created.Headers.Location!.ToString());
        }

        File.Delete(Path.Combine(_folder.Path, "audit/tree/checkpoint"));
        await using var again = await Node.StartAsync(_folder.Path, Cancel);
        await WaitForAsync(() => again.Consumer.Problem.Contains("no checkpoint", StringComparison.Ordinal));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await again.Http.GetAsync("/audit/checkpoint", Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await again.Http.GetAsync("/healthz", Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.Created, (await again.Http.PostAsJsonAsync("/audit/records", Node.Record(2), JsonSerializerOptions.Web, Cancel)).StatusCode);
        Assert.Equal(2, (await again.Events.ReadAsync(0, 10, Cancel)).Count);
    }

    private static async Task<JsonElement> VerifyAsync(Node node) =>
        JsonDocument.Parse((await node.Http.GetStringAsync("/audit/verify", Cancel)).TrimEnd('\n').Split('\n')[^1]).RootElement;

    /// <summary>The first record of a search, as soon as the tree has it.</summary>
    private static async Task<JsonElement> FoundAsync(Node node, string path)
    {
        JsonElement found = default;
        await WaitForAsync(async () =>
        {
            var answer = await node.Http.GetAsync(path, Cancel);
            if (answer.StatusCode != HttpStatusCode.OK)
            {
                return false;
            }

            found = (await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("records");
            return found.GetArrayLength() > 0;
        });
        return found[0];
    }

    private static Task WaitForAsync(Func<bool> condition) => WaitForAsync(() => Task.FromResult(condition()));

    private static Task WaitForAsync(Func<Task<bool>> condition) => Wait.UntilAsync(condition, Cancel);
}
