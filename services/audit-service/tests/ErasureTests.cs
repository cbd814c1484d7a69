using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Yizhan.Audit.Index;
using Yizhan.Storage;
using Yizhan.Transparency;

namespace Yizhan.Audit.Tests;

public sealed class ErasureTests : IDisposable
{
    private const string Marker = "pat-4711-zhang";
    private readonly TemporaryFolder _folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    [Trait("Clause", "S7")]
    public async Task A_destroyed_key_erases_the_person_and_every_proof_stays()
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        await AppendAsync(node, 40, i => i % 4 == 0 ? $"patient/{Marker}" : $"patient/p{i}");
        byte[] before;
        using (var log = Open())
        {
            Consume(log, node);
            Assert.Equal(10, Find(log, Marker).Count);
            before = log.Current.Note;
            await EraseAsync(node, log.KeyOf($"patient/{Marker}")!.Value);
            Consume(log, node);
            AssertErased(log);
        }

        AssertNoTrace();
        using var again = Open();
        AssertErased(again);
        Assert.Equal(3, Find(again, "p1", "p2", "p3").Count);
        var size = again.Current.Checkpoint.Size;
        for (var i = 0; i < size; i++)
        {
            var entry = again.Read(i, size);
            Assert.Equal(i < 40 && i % 4 == 0, entry.Opened is null);
            Assert.True(Merkle.IsIncluded(Merkle.LeafHash(entry.LeafBytes.Span), i, size, again.Reader.Proofs(size).Inclusion(i, size), again.Current.Checkpoint.Root));
        }

        Assert.Null(LogVerifier.Verify(again.Files, new LogTrust(again.Key) { Older = [before] }, null, Cancel).Problem);
    }

    [Fact]
    public async Task A_key_store_from_a_backup_does_not_bring_an_erased_person_back()
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        await AppendAsync(node, 4, _ => $"patient/{Marker}");
        using (var log = Open())
        {
            Consume(log, node);
        }

        var backup = File.ReadAllBytes(_folder["keys/subjects.db"]);
        using (var log = Open())
        {
            await EraseAsync(node, log.KeyOf($"patient/{Marker}")!.Value);
            Consume(log, node);
        }

        File.WriteAllBytes(_folder["keys/subjects.db"], backup);
        using var restored = Open();
        AssertErased(restored);
        Assert.Null(restored.KeyOf($"patient/{Marker}"));
    }

    [Fact]
    public async Task An_index_that_is_built_again_does_not_know_an_erased_person()
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        await AppendAsync(node, 300, i => i % 100 == 0 ? $"patient/{Marker}" : $"patient/p{i}");
        using (var log = Open())
        {
            Consume(log, node);
            await EraseAsync(node, log.KeyOf($"patient/{Marker}")!.Value);
            Consume(log, node);
        }

        Directory.Delete(_folder["audit/index"], recursive: true);
        using var rebuilt = Open();
        AssertErased(rebuilt);
        Assert.Single(Find(rebuilt, "p7"));

        // The person comes back: a new key, and only what is new is found.
        await AppendAsync(node, 1, _ => $"patient/{Marker}", "later");
        Consume(rebuilt, node);
        Assert.Equal([301], Find(rebuilt, Marker).Select(e => e.Index));
    }

    [Fact]
    public async Task The_order_of_another_site_destroys_nothing_here()
    {
        await using var edge = Node.EventsOnly(_folder["edge"], "s1");
        await using var node = Node.EventsOnly(_folder["node"]);
        await AppendAsync(node, 1, _ => $"patient/{Marker}");
        using var log = Open();
        Consume(log, node);
        await EraseAsync(edge, log.KeyOf($"patient/{Marker}")!.Value);
        await node.Events.ReceiveAsync(await edge.Events.ReadLaneAsync(Lane.Normal, 0, 10, 1 << 20, Cancel), Cancel);
        Consume(log, node);
        Assert.Single(Find(log, Marker));
    }

    [Fact]
    public async Task Over_HTTP_a_legal_hold_forbids_an_erasure_until_it_ends_and_both_are_recorded()
    {
        await using var node = await Node.StartAsync(_folder.Path, Cancel);
        await node.Http.PostAsJsonAsync("/audit/records", Node.Record(1, $"patient/{Marker}"), JsonSerializerOptions.Web, Cancel);
        await Wait.UntilAsync(() => node.Consumer.Log?.KeyOf($"patient/{Marker}") is not null, Cancel);
        var subject = $"subject=patient/{Marker}";
        var body = new { agent = "dpo", reason = "case 12" };
        Assert.Equal(HttpStatusCode.NoContent, (await node.Http.PutAsJsonAsync($"/audit/holds?{subject}", body, Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.Conflict, (await node.Http.PostAsJsonAsync($"/audit/subjects/erase?{subject}", body, Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.NoContent, (await node.Http.DeleteAsync($"/audit/holds?{subject}&agent=dpo", Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await node.Http.PostAsJsonAsync("/audit/subjects/erase?subject=patient/nobody", body, Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await node.Http.PostAsJsonAsync($"/audit/subjects/erase?{subject}", new { agent = "", reason = "x" }, Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.Accepted, (await node.Http.PostAsJsonAsync($"/audit/subjects/erase?{subject}", body, Cancel)).StatusCode);
        await Wait.UntilAsync(() => node.Consumer.Log!.Keys.Count().Destroyed == 1, Cancel);
        var found = await node.Http.GetFromJsonAsync<JsonElement>($"/audit/records?patient={Marker}", Cancel);
        Assert.Equal(0, found.GetProperty("records").GetArrayLength());
        await Wait.UntilAsync(() => node.Consumer.Log!.Find(new AuditQuery([(Field.Type, "110101"), (Field.Agent, "dpo")], null, null, 10)).Count >= 1, Cancel);
    }

    [Fact]
    public async Task Expired_entries_leave_a_signed_tombstone_and_a_held_tile_stays()
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        await AppendAsync(node, 1100, i => $"patient/p{i}");
        using var log = Open();
        Consume(log, node);
        var note = log.Current.Note;
        var proof = log.Reader.Proofs(1100).Inclusion(5, 1100);
        var kept = log.Read(5, 1100);
        log.Keys.Hold(new Sealing.LegalHold("patient/p300", "case 7", 1));
        const long recorded = 1_700_000_000_000;
        Assert.Empty(log.Expirable(recorded));
        Assert.Equal([(0L, 256L), (512L, 1024L)], log.Expirable(recorded + 2000));
        Assert.Equal([(0L, 256L)], log.Expirable(recorded + 600));
        foreach (var (first, end) in log.Expirable(recorded + 2000).ToList())
        {
            log.Expire(first, end, DateTimeOffset.FromUnixTimeSeconds(1_800_000_000), "older than 183 days");
        }

        var result = LogVerifier.Verify(log.Files, new LogTrust(log.Key) { Older = [note] }, null, Cancel);
        Assert.Null(result.Problem);
        Assert.Contains(result.Remarks, r => r.Contains("512 entries from 512 have expired", StringComparison.Ordinal));
        Assert.Throws<InvalidDataException>(() => log.Read(5, 1100));
        Assert.Single(Find(log, "p300"));
        Assert.Empty(Find(log, "p5"));
        Assert.True(Merkle.IsIncluded(Merkle.LeafHash(kept.LeafBytes.Span), 5, 1100, proof, log.Current.Checkpoint.Root));
        Assert.Equal(proof, log.Reader.Proofs(1100).Inclusion(5, 1100));

        // Without its tombstone, or with one that says more than was signed, entries are missing and not expired.
        var tombstone = Directory.GetFiles(Path.Combine(log.TreeFolder, "tombstone"))[0];
        var text = File.ReadAllText(tombstone);
        File.WriteAllText(tombstone, text.Replace("183", "184", StringComparison.Ordinal));
        Assert.Contains("is not a tombstone signed by", LogVerifier.Verify(log.Files, new LogTrust(log.Key), null, Cancel).Problem, StringComparison.Ordinal);
        File.Delete(tombstone);
        Assert.Contains("is missing", LogVerifier.Verify(log.Files, new LogTrust(log.Key), null, Cancel).Problem, StringComparison.Ordinal);
    }

    private static void AssertErased(AuditLog log)
    {
        Assert.Empty(Find(log, Marker));
        Assert.Null(log.KeyOf($"patient/{Marker}"));
        Assert.Contains(log.Entries(0, log.Current.Checkpoint.Size), e => e.Opened is null);
        Assert.Single(log.Entries(0, log.Current.Checkpoint.Size), e => e.Leaf.Kind == AuditDraft.Erasure);
    }

    /// <summary>No file of the log, its index or its keys has the person, in whatever encoding a text is stored here.</summary>
    private void AssertNoTrace()
    {
        foreach (var file in Directory.GetFiles(_folder["audit"], "*", SearchOption.AllDirectories).Concat(Directory.GetFiles(_folder["keys"])))
        {
            Assert.True(File.ReadAllBytes(file).AsSpan().IndexOf(Encoding.UTF8.GetBytes(Marker)) < 0, file);
        }
    }

    private static List<AuditEntry> Find(AuditLog log, params string[] patients) =>
        [.. patients.SelectMany(p => log.Find(new AuditQuery([(Field.Patient, p)], null, null, 1000)))];

    private static async Task AppendAsync(Node node, int count, Func<int, string> entity, string prefix = "r") =>
        await node.Events.AppendAsync([.. Enumerable.Range(0, count).Select(i => Node.EntryOf(Node.Record(i, entity(i)), $"{prefix}{i}"))], Cancel);

    private static async Task EraseAsync(Node node, Guid key)
    {
        var order = new ErasureOrder(key, "dpo", "request 1", 5);
        await node.Events.AppendAsync(
            [new Entry(Lane.Normal, ErasureOrder.EventType, $"erase/{key}", "audit", 5, JsonSerializer.SerializeToUtf8Bytes(order, AuditJson.Default.ErasureOrder))], Cancel);
    }

    private AuditLog Open() => AuditLog.Open(_folder["audit"], _folder["keys"], "centre");

    private static void Consume(AuditLog log, Node node)
    {
        var position = log.Cursor(node.Events.Epoch);
        while (node.Events.ReadAsync(position, 100, Cancel).AsTask().GetAwaiter().GetResult() is { Count: > 0 } entries)
        {
            log.Append(entries, node.Events.Epoch);
            position = entries[^1].Position;
        }
    }
}
