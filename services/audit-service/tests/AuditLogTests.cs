using System.Text;
using System.Text.Json;
using Yizhan.Audit.Index;
using Yizhan.Contracts;
using Yizhan.Storage;
using Yizhan.Transparency;

namespace Yizhan.Audit.Tests;

public sealed class AuditLogTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_leaf_is_canonical_JSON_that_names_nobody_and_reads_back()
    {
        var source = new AuditSource("s1", Guid.Parse("0198c0de-0000-7000-8000-000000000001"), 1, 40, 42);
        var leaf = new AuditLeaf("record", TreeHash.Of([1]), 1_700_000_000_000, TreeHash.Of([2]), 321, source);
        Assert.Equal(
            $$"""{"kind":"record","payload":"{{TreeHash.Of([1])}}","recordedMs":1700000000000,"sealed":"{{TreeHash.Of([2])}}","sealedBytes":321,"source":{"epoch":"0198c0de-0000-7000-8000-000000000001","lane":1,"previous":40,"sequence":42,"site":"s1"},"v":2}""",
            Encoding.UTF8.GetString(leaf.ToBytes()));
        Assert.True(AuditLeaf.TryParse(leaf.ToBytes(), out var read));
        Assert.Equal(leaf, read);
        Assert.Equal(321, AuditLeaf.SealedBytesOf(leaf.ToBytes()));
        var text = Encoding.UTF8.GetString(leaf.ToBytes());
        foreach (var other in new[] { text + " ", text.Replace(":1,", ": 1,", StringComparison.Ordinal), text.Replace("\"v\":2", "\"v\":1", StringComparison.Ordinal), text.Replace("321", "-1", StringComparison.Ordinal), "{}", "", "null" })
        {
            Assert.False(AuditLeaf.TryParse(Encoding.UTF8.GetBytes(other), out _), other);
        }
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
        Assert.True(log.Read(0, 1).Sealed.Length > 30_000);
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
        Assert.Equal(["r0", "r1", "r2", "r3", "r4"], Leaves(log).Select(l => l.Payload!.Id));
        Assert.Equal(Node.Record(3), JsonSerializer.Deserialize(Leaves(log)[3].Payload!.Data.Span, ContractsJson.Default.AuditRecord));
        Assert.Equal(node.Events.Epoch, Leaves(log)[3].Leaf.Source.Epoch);
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
        Assert.Equal(["study/1.2", "study/1.2", "study/1.3"], Leaves(again).Select(l => l.Facts!.Entities[0]));
        Assert.Equal(["a", "b", "b"], Leaves(again).Select(l => l.Payload!.Association));
        Assert.All(Leaves(again), l => Assert.Equal(("110104", "site/s1", AuditDraft.Transferred), (l.Facts!.Type, l.Facts.Agents[0], l.Leaf.Kind)));
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
        Assert.Equal(["unreadable", "unreadable", "unreadable", "record"], Leaves(log).Select(l => l.Leaf.Kind));
        Assert.Contains("SHA-256", Leaves(log)[0].Facts!.Detail, StringComparison.Ordinal);
        Assert.Contains("action is 'X'", Leaves(log)[1].Facts!.Detail, StringComparison.Ordinal);
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
                using var log = AuditLog.Open(_folder["audit"], _folder["keys"], "centre", (_, _) =>
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
        var ids = Leaves(last).Select(l => l.Payload!.Id).ToArray();
        Assert.Equal(ids.Distinct(), ids);
        Assert.Equal(kill * 3, ids.Length);
        Assert.Null(LogVerifier.Verify(last.Files, new LogTrust(last.Key), null, Cancel).Problem);
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

        var segment = Directory.GetFiles(_folder["audit/index"]).Single();
        foreach (var damage in new Action[] { () => File.Delete(segment), () => File.WriteAllText(segment, "no segment"), () => Flip(segment), () => File.Delete(_folder["audit/state.json"]) })
        {
            damage();
            using var log = Open();
            Assert.Equal(0, await ConsumeAsync(log, node.Events));
            Assert.Equal(300, log.Current.Checkpoint.Size);
            Assert.Equal(299, Found(log, (Field.Entity, "study/1.2.3"))[0]);
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

    [Fact]
    public async Task A_search_finds_what_every_given_member_matches()
    {
        await using var node = Node.EventsOnly(_folder["node"]);
        await node.Events.AppendAsync(
            [.. Enumerable.Range(0, 40).Select(i => Node.EntryOf(Node.Record(i, $"study/{i % 4}", $"user-{i % 2}") with { Action = i % 8 == 0 ? "U" : "R" }, $"r{i}"))], Cancel);
        using var log = Open();
        await ConsumeAsync(log, node.Events);
        const long start = 1_700_000_000_000;
        Assert.Equal(Enumerable.Range(0, 40).Reverse().Select(i => (long)i), Found(log));
        Assert.Equal([36, 32], log.Find(new AuditQuery([(Field.Entity, "study/0")], null, null, 2)).Select(e => e.Index));
        Assert.Equal([32, 24, 16, 8, 0], Found(log, (Field.Action, "U")));
        Assert.Equal([9, 7], log.Find(new AuditQuery([(Field.Agent, "user-1")], start + 6, start + 11, 100)).Select(e => e.Index));
        Assert.Equal([17], Found(log, (Field.Id, "r17"), (Field.Site, "centre")));
        Assert.Empty(Found(log, (Field.Site, "s1")));
        Assert.Empty(Found(log, (Field.Entity, "study/0"), (Field.Agent, "user-1")));

        // Page by page gives the same as all at once.
        var (pages, before) = (new List<long>(), default(FoundLeaf?));
        while (log.Find(new AuditQuery([(Field.Agent, "user-1")], null, null, 3, before)) is { Count: > 0 } page)
        {
            pages.AddRange(page.Select(e => e.Index));
            before = new FoundLeaf(page[^1].Index, page[^1].Leaf.RecordedMs);
        }

        Assert.Equal(Found(log, (Field.Agent, "user-1")), pages);
    }

    private static List<long> Found(AuditLog log, params (string, string)[] terms) => [.. log.Find(new AuditQuery(terms, null, null, 1000)).Select(e => e.Index)];

    private static void Flip(string file)
    {
        var bytes = File.ReadAllBytes(file);
        bytes[bytes.Length / 2] ^= 1;
        File.WriteAllBytes(file, bytes);
    }

    [Fact]
    public async Task A_size_that_is_told_can_be_searched_whole_while_entries_come()
    {
        const int records = 500;
        await using var node = Node.EventsOnly(_folder["node"]);
        await node.Events.AppendAsync([.. Enumerable.Range(0, records).Select(i => Node.EntryOf(Node.Record(i), $"r{i}"))], Cancel);
        using var log = Open();
        var consuming = Task.Run(() => ConsumeAsync(log, node.Events), Cancel);
        long told;
        do
        {
            told = log.Current.Checkpoint.Size;
            var found = log.Find(new AuditQuery([], null, null, int.MaxValue, Size: told));
            Assert.Equal((told, told), (told, found.Count));
        }
        while (told < records);

        Assert.Equal(records, await consuming);
    }

    private AuditLog Open() => AuditLog.Open(_folder["audit"], _folder["keys"], "centre");

    /// <summary>What the consumer does, a few entries at a time; returns the number of new leaves.</summary>
    private static async Task<int> ConsumeAsync(AuditLog log, IEventLog events)
    {
        var leaves = 0;
        var position = log.Cursor(events.Epoch);
        while (await events.ReadAsync(position, 7, Cancel) is { Count: > 0 } entries)
        {
            leaves += log.Append(entries, events.Epoch).Leaves;
            position = entries[^1].Position;
        }

        return leaves;
    }

    private static List<AuditEntry> Leaves(AuditLog log) => [.. log.Entries(0, log.Current.Checkpoint.Size)];
}
