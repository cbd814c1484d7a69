using Xunit.Sdk;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests.Crash;

/// <summary>The check of the crash images finds what is wrong: a store that lies is put before it, once for each thing that it promises to see.</summary>
public sealed class CrashBooksTests
{
    private readonly CrashBooks _books = new();

    [Fact]
    public async Task What_is_right_passes()
    {
        await using var store = LocalStore.Open("segments");
        await AppendAsync(store, Given.Entry("r0.3.0a", Lane.Urgent));
        await AppendAsync(store, Given.Entry("r0.3.1a", Lane.Urgent));
        await _books.CheckAsync(store);
        await _books.CheckItGoesOnAsync(store, "on");
    }

    [Fact]
    public async Task A_number_given_twice_is_found()
    {
        await using var store = LocalStore.Open("segments");
        _books.Note("entry r0.3.0a 0 Urgent 1");
        await Assert.ThrowsAsync<TrueException>(() => _books.CheckItGoesOnAsync(store, "on"));
    }

    [Fact]
    public async Task Another_number_than_the_acknowledged_one_is_found()
    {
        await using var store = LocalStore.Open("segments");
        await AppendAsync(store, Given.Entry("r0.3.0a", Lane.Urgent), number: 2);
        await Assert.ThrowsAsync<EqualException>(() => _books.CheckAsync(store));
    }

    [Fact]
    public async Task Another_order_than_the_producers_is_found()
    {
        await using var store = LocalStore.Open("segments");
        await AppendAsync(store, Given.Entry("r0.3.1a", Lane.Urgent));
        await AppendAsync(store, Given.Entry("r0.3.0a", Lane.Urgent));
        await Assert.ThrowsAsync<EqualException>(() => _books.CheckAsync(store));
    }

    [Fact]
    public async Task Other_contents_are_found()
    {
        await using var store = LocalStore.Open("segments");
        await AppendAsync(store, Given.Entry("r0.3.0a", Lane.Urgent) with { Data = Given.Bytes(40, "another") });
        await Assert.ThrowsAsync<EqualException>(() => _books.CheckAsync(store));
    }

    [Fact]
    public async Task What_is_missing_is_found()
    {
        await using var store = LocalStore.Open("segments");
        _books.Note("entry r0.3.0a 0 Urgent 1");
        await Assert.ThrowsAsync<TrueException>(() => _books.CheckAsync(store));
    }

    private async Task AppendAsync(LocalStore store, Entry entry, long? number = null)
    {
        var receipt = await store.Log.AppendAsync(entry);
        _books.Note($"entry {entry.Id} 0 {entry.Lane} {number ?? receipt.Identity.Sequence}");
    }
}
