using System.Text;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.Audit.Tests;

public sealed class AuditLogTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_leaf_is_canonical_JSON_and_reads_back()
    {
        var record = new AuditRecord("110103", "R", 4, "李\"医生\\😀", null, "pacs-gw@s1", "study/1.2", "a\nb\u0001\u007f/", 1_700_000_000_000);
        var identity = new EntryIdentity("s1", Guid.Parse("0198c0de-0000-7000-8000-000000000001"), Lane.Normal, 42);
        var leaf = new AuditLeaf(AuditLeaf.Recorded, identity, "id-1", null, record);
        Assert.Equal(
            """{"action":"R","agent":"李\"医生\\😀","detail":"a\nb\u0001""" + "\u007f" + """/","entity":"study/1.2","eventId":"110103","id":"id-1","kind":"record","origin":{"epoch":"0198c0de-0000-7000-8000-000000000001","lane":1,"sequence":42,"site":"s1"},"outcome":4,"recordedMs":1700000000000,"source":"pacs-gw@s1","v":1}""",
            Encoding.UTF8.GetString(leaf.ToBytes()));
        Assert.Equal(leaf, AuditLeaf.Parse(leaf.ToBytes()));
        var full = leaf with { Association = "a-1", Record = record with { AgentAddress = "192.0.2.1", Detail = null } };
        Assert.Equal(full, AuditLeaf.Parse(full.ToBytes()));
    }

    [Fact]
    public async Task The_longest_record_that_the_rules_accept_fits_into_a_leaf()
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        string Worst(int length) => new('\u0001', length);
        var record = new AuditRecord(Worst(32), "R", 0, Worst(256), Worst(256), Worst(256), Worst(1024), Worst(4096), 1);
        Assert.Null(AuditRecordRules.ProblemOf(record));
        await node.Events.AppendAsync([Node.EntryOf(record, new string('\u0001', 200)) with { Key = "" }], Cancel);
        using var log = Open();
        Assert.Equal(1, await ConsumeAsync(log, node.Events));
        Assert.True(log.Reader.Entry(0, 1).Length > 30_000);
    }

    [Fact]
    public async Task Records_become_leaves_in_order_and_other_events_do_not()
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        for (var i = 0; i < 5; i++)
        {
            await node.Events.AppendAsync([Node.EntryOf(Node.Record(i), $"r{i}"), new Entry(Lane.Normal, "yizhan.other.v1", $"o{i}", "", 0, "{}"u8.ToArray())], Cancel);
        }

        await node.Events.AppendAsync([Node.StoredEntry("1.2", "here", 1)], Cancel);
        using var log = Open();
        Assert.Equal(5, await ConsumeAsync(log, node.Events));
        Assert.Equal(["r0", "r1", "r2", "r3", "r4"], Leaves(log).Select(l => l.Id));
        Assert.Equal(Node.Record(3), Leaves(log)[3].Record);
        Assert.Equal(node.Events.Epoch, Leaves(log)[3].Origin.Epoch);
    }

    [Fact]
    public async Task The_first_instance_of_each_association_of_another_site_is_a_transfer()
    {
        await using var edge = Node.EventsOnly(_folder["edge"], "s1");
        for (var i = 0; i < 4; i++)
        {
            await edge.Events.AppendAsync([Node.StoredEntry("1.2", "a", i), Node.StoredEntry("1.2", "b", i), Node.StoredEntry("1.3", "b", i)], Cancel);
        }

        await using var centre = Node.EventsOnly(_folder["node"]);
        var sent = await edge.Events.ReadLaneAsync(Lane.Bulk, 0, 100, 1 << 20, Cancel);
        await centre.Events.ReceiveAsync([.. sent.Take(5)], Cancel);
        using (var log = Open())
        {
            Assert.Equal(3, await ConsumeAsync(log, centre.Events));
        }

        await centre.Events.ReceiveAsync([.. sent.Skip(5)], Cancel);
        using var again = Open();
        Assert.Equal(0, await ConsumeAsync(again, centre.Events));
        Assert.Equal(["study/1.2", "study/1.2", "study/1.3"], Leaves(again).Select(l => l.Record.Entity));
        Assert.Equal(["a", "b", "b"], Leaves(again).Select(l => l.Association));
        Assert.All(Leaves(again), l => Assert.Equal(("110104", "site/s1", AuditLeaf.Transferred), (l.Record.EventId, l.Record.Agent, l.Kind)));
    }

    [Fact]
    public async Task What_is_no_record_is_kept_as_a_fact_and_stops_nothing()
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        await node.Events.AppendAsync([Node.EntryOf(Node.Record(1), "bad-json") with { Data = "{not json"u8.ToArray() }], Cancel);
        await node.Events.AppendAsync([Node.EntryOf(Node.Record(1) with { Action = "X" }, "bad-action")], Cancel);
        await node.Events.AppendAsync([Node.EntryOf(Node.Record(1) with { Detail = new string('x', 500_000) }, "too-long")], Cancel);
        await node.Events.AppendAsync([Node.EntryOf(Node.Record(1), "good")], Cancel);
        using var log = Open();
        Assert.Equal(4, await ConsumeAsync(log, node.Events));
        Assert.Equal(["unreadable", "unreadable", "unreadable", "record"], Leaves(log).Select(l => l.Kind));
        Assert.Contains("SHA-256", Leaves(log)[0].Record.Detail, StringComparison.Ordinal);
        Assert.Contains("action is 'X'", Leaves(log)[1].Record.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_kill_at_any_step_of_a_commit_gives_each_record_one_leaf()
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        using (Open())
        {
        }

        var (kill, survived) = (0, false);
        while (!survived)
        {
            kill++;
            await node.Events.AppendAsync([.. Enumerable.Range(0, 3).Select(i => Node.EntryOf(Node.Record(i), $"k{kill}-{i}"))], Cancel);
            var step = 0;
            try
            {
                // The step after the checkpoint deletes the old partial tiles: a kill there is one between the tree and the index.
                using var log = AuditLog.Open(_folder["audit"], "centre", (_, _) =>
                {
                    if (++step == kill)
                    {
                        throw new TimeoutException();
                    }
                });
                await ConsumeAsync(log, node.Events);
                survived = true;
            }
            catch (TimeoutException)
            {
            }
        }

        Assert.True(kill > 20, $"{kill} kills");
        using var last = Open();
        await ConsumeAsync(last, node.Events);
        var ids = Leaves(last).Select(l => l.Id).ToArray();
        Assert.Equal(ids.Distinct(), ids);
        Assert.Equal(kill * 3, ids.Length);
        Assert.True(AuditVerifier.Verify(last.TreeFolder, last.Key, [], null, Cancel).Ok);
    }

    [Fact]
    public async Task A_lost_or_damaged_index_is_built_again_and_nothing_is_doubled()
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        await node.Events.AppendAsync([.. Enumerable.Range(0, 300).Select(i => Node.EntryOf(Node.Record(i), $"r{i}"))], Cancel);
        using (var log = Open())
        {
            Assert.Equal(300, await ConsumeAsync(log, node.Events));
        }

        foreach (var damage in new Action<string>[] { File.Delete, path => File.WriteAllText(path, "not a database, but long enough to look like one") })
        {
            foreach (var suffix in new[] { "-wal", "-shm" })
            {
                File.Delete(_folder["audit/index.db" + suffix]);
            }

            damage(_folder["audit/index.db"]);
            using var log = Open();
            Assert.Equal(0, log.Cursor(node.Events.Epoch));
            Assert.Equal(0, await ConsumeAsync(log, node.Events));
            Assert.Equal(300, log.Current.Checkpoint.Size);
            Assert.Equal(299, log.Find(new AuditQuery("study/1.2.3", null, null, null, null, null, null, 10))[0]);
        }
    }

    [Fact]
    public async Task A_tree_that_was_put_back_to_an_older_copy_does_not_open()
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        await node.Events.AppendAsync([Node.EntryOf(Node.Record(1), "r1")], Cancel);
        using (var log = Open())
        {
            await ConsumeAsync(log, node.Events);
        }

        foreach (var file in Directory.GetFiles(_folder["audit/tree"], "*", SearchOption.AllDirectories))
        {
            var copy = file.Replace("/tree/", "/old/", StringComparison.Ordinal);
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }

        await node.Events.AppendAsync([Node.EntryOf(Node.Record(2), "r2")], Cancel);
        using (var log = Open())
        {
            await ConsumeAsync(log, node.Events);
        }

        Directory.Delete(_folder["audit/tree"], recursive: true);
        Directory.Move(_folder["audit/old"], _folder["audit/tree"]);
        Assert.Contains("was cut from 2 to 1", Assert.Throws<InvalidDataException>(Open).Message, StringComparison.Ordinal);
        Directory.Delete(_folder["audit/tree"], recursive: true);
        Assert.Contains("has no checkpoint", Assert.Throws<InvalidDataException>(Open).Message, StringComparison.Ordinal);
        Directory.CreateDirectory(_folder["audit/tree"]);
        File.Delete(_folder["audit/signing.key"]);
        Assert.Contains("signing.key", Assert.Throws<InvalidDataException>(Open).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("entity = 'a'", "by_entity")]
    [InlineData("agent = 'a'", "by_agent")]
    [InlineData("recorded_ms >= 5 AND recorded_ms < 9", "by_time")]
    [InlineData("entity = 'a' AND recorded_ms >= 5", "by_entity")]
    [InlineData("id = 'a'", "by_id")]
    public void A_search_uses_an_index_and_does_not_sort_all(string condition, string expected)
    {
        using var index = AuditIndex.Open(_folder["index.db"]);
        var plan = index.Plan(condition);
        Assert.Contains($"INDEX {expected}", plan, StringComparison.Ordinal);
        Assert.DoesNotContain("TEMP B-TREE", plan, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_search_finds_what_every_given_member_matches()
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        await node.Events.AppendAsync(
            [.. Enumerable.Range(0, 40).Select(i => Node.EntryOf(Node.Record(i, $"study/{i % 4}", $"user-{i % 2}") with { Action = i % 8 == 0 ? "U" : "R" }, $"r{i}"))], Cancel);
        using var log = Open();
        await ConsumeAsync(log, node.Events);
        const long start = 1_700_000_000_000;
        var all = new AuditQuery(null, null, null, null, null, null, null, 1000);
        Assert.Equal(Enumerable.Range(0, 40).Reverse().Select(i => (long)i), log.Find(all));
        Assert.Equal([36, 32], log.Find(all with { Entity = "study/0", Limit = 2 }));
        Assert.Equal([32, 24, 16, 8, 0], log.Find(all with { Action = "U" }));
        Assert.Equal([9, 7], log.Find(all with { Agent = "user-1", FromMs = start + 6, ToMs = start + 11 }));
        Assert.Equal([17], log.Find(all with { Id = "r17", Site = "centre" }));
        Assert.Empty(log.Find(all with { Site = "s1" }));
        Assert.Empty(log.Find(all with { Entity = "study/0", Agent = "user-1" }));
    }

    private AuditLog Open() => AuditLog.Open(_folder["audit"], "centre");

    /// <summary>What the consumer does, a few entries at a time; returns the number of new leaves.</summary>
    private static async Task<int> ConsumeAsync(AuditLog log, IEventLog events)
    {
        var leaves = 0;
        var position = log.Cursor(events.Epoch);
        while (await events.ReadAsync(position, 7, Cancel) is { Count: > 0 } entries)
        {
            leaves += log.Append(entries, events.Epoch);
            position = entries[^1].Position;
        }

        return leaves;
    }

    private static List<AuditLeaf> Leaves(AuditLog log) => [.. log.Reader.Entries(0, log.Current.Checkpoint.Size).Select(AuditLeaf.Parse)];
}
