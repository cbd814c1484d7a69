using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;
using Yizhan.Contracts;
using Yizhan.Link;
using Yizhan.Storage;

namespace Yizhan.Station.Tests;

/// <summary>What an operator sees and does about entries that cannot be delivered, over HTTP on real nodes.</summary>
public sealed class QuarantineTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("pass")]
    [InlineData("wait")]
    [Trait("Clause", "D4.6")]
    public async Task Later_entries_of_the_key_pass_or_wait_by_rule_and_a_replay_sends_them_in_order(string rule)
    {
        await using var nodes = await TwoNodes.StartAsync(edge: [$"--station:poisonedKeys={rule}"]);
        await nodes.Listener.StopAsync(Cancel);
        await AppendAsync(nodes, "poison", "study-1", "not json");
        await AppendAsync(nodes, "second", "study-1", "{}");
        await AppendAsync(nodes, "other", "study-2", "{}");
        await nodes.Listener.StartAsync(Cancel);
        await nodes.DeliveredAsync();
        await AppendAsync(nodes, "third", "study-1", "{}");
        await nodes.DeliveredAsync();

        var expected = rule == "pass" ? "T second other third" : "T T other T";
        Assert.Equal(expected, string.Join(' ', (await nodes.ArrivedAsync()).Select(e => e.Entry.Type == LinkTombstone.EventType ? "T" : e.Entry.Id)));
        using var http = Operator.Client(nodes.Edge);
        var listed = (JsonArray)(await http.GetFromJsonAsync<JsonObject>("/station/spool", Cancel))!["quarantine"]!;
        Assert.Equal(rule == "pass" ? 1 : 3, listed.Count);
        var entries = await http.GetFromJsonAsync<JsonArray>("/station/spool/normal", Cancel);
        Assert.Equal("quarantined", entries![0]!["state"]!.ToString());
        Assert.Equal("delivered", entries[2]!["state"]!.ToString());

        // The centre has learned nothing: the poison comes back, and what waits for it waits on.
        using var replay = await http.PostAsJsonAsync("/station/spool/normal/1/replay", new { by = "op", reason = "test" }, Cancel);
        Assert.True(replay.IsSuccessStatusCode, await replay.Content.ReadAsStringAsync(Cancel));
        await nodes.DeliveredAsync();
        var arrived = await nodes.ArrivedAsync();
        var replayed = arrived.Where(e => e.Entry.Id.StartsWith("replay/", StringComparison.Ordinal)).Select(e => e.Entry.Id.Split('/')[^1]);
        Assert.Empty(replayed);
        Assert.Equal(rule == "pass" ? 1 : 3, arrived.Count(e => e.Entry.Type == AuditRecord.EventType));

        // A second call sends nothing twice.
        using var again = await http.PostAsJsonAsync("/station/spool/normal/1/replay", new { by = "op", reason = "test" }, Cancel);
        Assert.Equal(404, (int)again.StatusCode);
        var spool = await http.GetFromJsonAsync<JsonObject>("/station/spool", Cancel);
        Assert.Equal(rule == "pass" ? [5] : [5L, 7, 9], ((JsonArray)spool!["quarantine"]!).Select(q => q!["sequence"]!.GetValue<long>()));
    }

    [Fact]
    public async Task An_operator_puts_an_entry_aside_reads_it_on_the_record_and_sends_it_with_what_waited_in_order()
    {
        await using var nodes = await TwoNodes.StartAsync(edge: ["--station:poisonedKeys=wait"]);
        await nodes.Listener.StopAsync(Cancel);
        await AppendAsync(nodes, "a", "k", "{\"n\":1}");
        await AppendAsync(nodes, "b", "k", "{}");
        using var http = Operator.Client(nodes.Edge);
        using var aside = await http.PostAsJsonAsync("/station/spool/normal/1/quarantine", new { by = "op", reason = "wrong patient" }, Cancel);
        Assert.Equal(204, (int)aside.StatusCode);
        var shown = await http.GetFromJsonAsync<JsonObject>("/station/spool/normal/1?data=true&by=op", Cancel);
        Assert.Equal(("quarantined", "op: wrong patient", "{\"n\":1}"), (shown!["state"]!.ToString(), shown["reason"]!.ToString(), shown["data"]!.ToString()));
        await nodes.Listener.StartAsync(Cancel);
        await nodes.DeliveredAsync();
        var arrived = await nodes.ArrivedAsync();
        Assert.Equal(LinkTombstone.EventType, arrived[0].Entry.Type);
        Assert.Equal(LinkTombstone.EventType, arrived[1].Entry.Type);
        Assert.Equal(2, arrived.Count(e => e.Entry.Type == AuditRecord.EventType));

        Assert.Equal(200, await PostAsync(http, "/station/spool/normal/1/replay", new { by = "op", reason = "right after all" }));
        await nodes.DeliveredAsync();
        arrived = await nodes.ArrivedAsync();
        Assert.Equal(["1", "2"], arrived.Where(e => e.Entry.Id.StartsWith("replay/", StringComparison.Ordinal)).Select(e => e.Entry.Id.Split('/')[^1]));
        Assert.Equal("{\"n\":1}", Encoding.UTF8.GetString(arrived.Single(e => e.Entry.Id.EndsWith("Normal/1", StringComparison.Ordinal) && e.Entry.Type == "test.v1").Entry.Data.Span));
        Assert.Equal(4, arrived.Count(e => e.Entry.Type == AuditRecord.EventType));

        Assert.Equal(409, await PostAsync(http, "/station/spool/normal/2/quarantine", new { by = "op", reason = "x" }));
        Assert.Equal(400, await PostAsync(http, "/station/spool/normal/2/quarantine", new { by = "", reason = "x" }));
        Assert.Equal(404, await PostAsync(http, "/station/spool/normal/99/quarantine", new { by = "op", reason = "x" }));
        Assert.Equal(400, await PostAsync(http, "/station/spool/slow/1/replay", new { by = "op", reason = "x" }));
    }

    [Fact]
    public async Task What_an_operator_discards_is_on_the_record_and_gone_from_quarantine_and_what_waited_for_it_is_sent()
    {
        await using var nodes = await TwoNodes.StartAsync(edge: ["--station:poisonedKeys=wait"]);
        await nodes.Listener.StopAsync(Cancel);
        await AppendAsync(nodes, "a", "k", "not json");
        await AppendAsync(nodes, "b", "k", "{}");
        await nodes.Listener.StartAsync(Cancel);
        await nodes.DeliveredAsync();
        using var http = Operator.Client(nodes.Edge);
        Assert.Equal(400, await PostAsync(http, "/station/spool/normal/1/discard", new { by = "op", reason = "" }));
        Assert.Equal(404, await PostAsync(http, "/station/spool/normal/9/discard", new { by = "op", reason = "x" }));
        Assert.Equal(200, await PostAsync(http, "/station/spool/normal/1/discard", new { by = "op", reason = "a test message" }));
        await nodes.DeliveredAsync();

        var arrived = await nodes.ArrivedAsync();
        Assert.Single(arrived, e => e.Entry.Id.EndsWith("Normal/2", StringComparison.Ordinal) && e.Entry.Type == "test.v1");
        Assert.Single(arrived, e => Encoding.UTF8.GetString(e.Entry.Data.Span).Contains("discarded from quarantine: a test message", StringComparison.Ordinal));
        Assert.Empty((JsonArray)(await http.GetFromJsonAsync<JsonObject>("/station/spool", Cancel))!["quarantine"]!);
        Assert.Equal("discarded", (await http.GetFromJsonAsync<JsonObject>("/station/spool/normal/1", Cancel))!["state"]!.ToString());
        Assert.Equal(404, await PostAsync(http, "/station/spool/normal/1/discard", new { by = "op", reason = "again" }));
    }

    [Fact]
    public async Task The_log_of_a_running_node_is_verified_backed_up_and_given_a_new_epoch_over_http()
    {
        var backups = Directory.CreateTempSubdirectory("yizhan-backups-").FullName;
        await using var nodes = await TwoNodes.StartAsync(edge: [$"--storage:backupFolder={backups}"]);
        await nodes.AppendBlobAsync(Lane.Bulk, "b", 300_000, 1);
        using var http = Operator.Client(nodes.Edge);
        using var verify = await http.PostAsync("/station/log/verify", null, Cancel);
        var last = (JsonObject)JsonNode.Parse((await verify.Content.ReadAsStringAsync(Cancel)).Trim().Split('\n')[^1])!;
        Assert.Equal((true, 1L, 1L, 0), (last["done"]!.GetValue<bool>(), last["entries"]!.GetValue<long>(), last["blobs"]!.GetValue<long>(), last["damaged"]!.AsArray().Count));

        Assert.Equal(200, await PostAsync(http, "/station/log/backup", new { }));
        Assert.True(File.Exists(Path.Combine(backups, "000001", BackupManifest.FileName)));
        Assert.Equal(409, await PostAsync(http, "/station/log/backup?to=/tmp", new { }));
        using var centre = Operator.Client(nodes.Centre);
        Assert.Equal(409, await PostAsync(centre, "/fleet/log/backup", new { }));

        var epoch = nodes.EdgeLog.Epoch;
        Assert.Equal(202, await PostAsync(http, "/station/log/new-epoch", new { }));
        await TwoNodes.StopAsync(nodes.Edge);
        await nodes.StartEdgeAsync();
        Assert.NotEqual(epoch, nodes.EdgeLog.Epoch);
        Directory.Delete(backups, recursive: true);
    }

    private static async Task<int> PostAsync(HttpClient http, string path, object body)
    {
        using var answer = await http.PostAsJsonAsync(path, body, Cancel);
        return (int)answer.StatusCode;
    }

    private static async Task AppendAsync(TwoNodes nodes, string id, string key, string data) =>
        await nodes.EdgeLog.AppendAsync([new Entry(Lane.Normal, "test.v1", id, key, 0, Encoding.UTF8.GetBytes(data))], Cancel);
}
