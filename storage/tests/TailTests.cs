using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests;

/// <summary>What follows the log is given the newest entries from memory, and sees what it would see on the disk.</summary>
public sealed class TailTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("sqlite")]
    [InlineData("segments")]
    public async Task The_newest_entries_come_from_memory_and_are_what_the_disk_has(string kind)
    {
        await using var store = LocalStore.Open(kind);
        var data = Given.Bytes(300, "data");
        await store.Log.AppendAsync([new Entry(Lane.Urgent, "yizhan.test.fact.v1", "one", "key", 1, data), Given.Entry("two")], Cancel);
        await store.AppendWithBlobAsync("three", Given.Bytes(5000, "blob"));
        var other = Guid.CreateVersion7();
        await store.Log.ReceiveAsync(
            [.. Enumerable.Range(1, 3).Select(n => new LoggedEntry(0, new EntryIdentity("elsewhere", other, Lane.Normal, n), Given.Entry($"e{n}") with { TraceParent = null }))], Cancel);

        // Who appended may use its memory again.
        data.AsSpan().Clear();
        var (memory, disk) = (await store.Log.ReadAllAsync(), store.Spool.Journal.Read(0, 100));
        Assert.Equal(6, memory.Count);
        Assert.Equal(disk.Select(Text), memory.Select(Text));
        Assert.Same(memory[3].Entry, (await store.Log.ReadAsync(3, 1, Cancel)).Single().Entry);
        Assert.NotSame(disk[3].Entry, store.Spool.Journal.Read(3, 1).Single().Entry);
    }

    [Fact]
    public async Task With_none_in_memory_everything_is_read_from_the_disk()
    {
        await using var store = LocalStore.Open("sqlite", configure: o => o.TailMiB = 0);
        await store.Log.AppendAsync(Given.Entry("one"));
        var first = (await store.Log.ReadAsync(0, 10, Cancel)).Single();
        Assert.NotSame(first.Entry, (await store.Log.ReadAsync(0, 10, Cancel)).Single().Entry);
    }

    [Fact]
    public void It_holds_so_many_bytes_of_the_newest_and_what_is_older_is_not_here()
    {
        var tail = new Tail(100_000);
        for (var position = 1; position <= 500; position++)
        {
            tail.Add([Committed(position, 1000)]);
        }

        Assert.Null(tail.Read(0, 10));
        Assert.Null(tail.Read(500, 10));
        var first = Enumerable.Range(1, 500).First(position => tail.Read(position - 1, 1) is not null);
        Assert.InRange(500 - first + 1, 50, 100);
        Assert.Equal(Enumerable.Range(first, 500 - first + 1).Select(p => (long)p), tail.Read(first - 1, 1000)!.Select(e => e.Position));
        Assert.Equal([498, 499], tail.Read(497, 2)!.Select(e => e.Position));

        // One that is larger than all that may be held is not held, and what is known after it begins anew.
        tail.Add([Committed(501, 200_000)]);
        Assert.Null(tail.Read(499, 10));
        Assert.Null(tail.Read(500, 10));
        tail.Add([Committed(502, 10), Committed(503, 10)]);
        Assert.Equal([502, 503], tail.Read(501, 10)!.Select(e => e.Position));
        tail.Clear();
        Assert.Null(tail.Read(501, 10));
    }

    [Fact]
    public void A_number_that_does_not_follow_begins_anew_and_many_small_ones_are_bounded_too()
    {
        var tail = new Tail(long.MaxValue);
        tail.Add([Committed(1, 10), Committed(2, 10), Committed(7, 10)]);
        Assert.Null(tail.Read(0, 10));
        Assert.Null(tail.Read(1, 10));
        Assert.Equal([7], tail.Read(6, 10)!.Select(e => e.Position));
        tail.Add([.. Enumerable.Range(8, 20_000).Select(position => Committed(position, 1))]);
        Assert.Null(tail.Read(6, 10));
        Assert.Equal(20_007, tail.Read(20_006, 10)!.Single().Position);
        Assert.Equal(16_384, tail.Read(20_007 - 16_384, 20_000)!.Count);
    }

    private static NewEntry Committed(long position, int bytes) =>
        new(new LoggedEntry(position, new EntryIdentity("elsewhere", Guid.Empty, Lane.Normal, position), Given.Entry("e", bytes: bytes)), default, Own: false, LaneBytes: 0);

    private static string Text(LoggedEntry e) => string.Join(
        '|', e.Position, e.Identity, e.Entry.Lane, e.Entry.Type, e.Entry.Id, e.Entry.Key, e.Entry.TimeMs, e.Entry.TraceParent, string.Join(',', e.Entry.Blobs), Convert.ToHexString(e.Entry.Data.Span));
}
