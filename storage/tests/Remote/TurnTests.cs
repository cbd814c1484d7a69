using Microsoft.Extensions.Time.Testing;

namespace Yizhan.Storage.Tests.Remote;

/// <summary>Who has the turn, over the owner's restart too, and what the next one is told.</summary>
public sealed class TurnTests
{
    private readonly Guid _a = Guid.CreateVersion7(), _b = Guid.CreateVersion7();

    [Fact]
    public async Task A_turn_has_one_holder_and_goes_on_with_what_the_last_one_left()
    {
        await using var store = await RemoteStore.OpenAsync();
        var folder = Directory.CreateDirectory(Path.Combine(store.Folder, "turns")).FullName;
        var clock = new FakeTimeProvider();
        var book = new TurnBook(folder, store.Log, clock);
        Assert.Equal((true, null), Of(book.Take("t", _a, keeps: false, "not counted"u8.ToArray())));
        Assert.Equal((true, null), Of(book.Take("t", _a, keeps: true, [1])));
        Assert.Equal((false, 1), Of(book.Take("t", _b, keeps: false, null)));
        Assert.Equal((true, null), Of(book.Take("other", _b, keeps: false, null)));

        // Whoever keeps it, keeps it; an answer that was lost is given again.
        clock.Advance(TurnBook.Lasts * 0.9);
        Assert.Equal((true, null), Of(book.Take("t", _a, keeps: true, null)));
        clock.Advance(TurnBook.Lasts * 0.9);
        Assert.False(book.Take("t", _b, keeps: false, null).IsMine);
        clock.Advance(TurnBook.Lasts * 0.2);
        Assert.Equal((true, 1), Of(book.Take("t", _b, keeps: false, null)));
        Assert.Equal((true, 1), Of(book.Take("t", _b, keeps: false, null)));

        // The first one comes back, and what it says counts no more.
        Assert.Equal((false, 1), Of(book.Take("t", _a, keeps: true, [9])));
        clock.Advance(TurnBook.Lasts * 2);
        Assert.Equal((false, 1), Of(book.Take("t", _a, keeps: true, [9])));
        Assert.Equal((true, null), Of(book.Take("t", _b, keeps: true, [2])));

        // An owner that was started again knows who has it, and not since when.
        clock.Advance(TurnBook.Lasts * 2);
        book = new TurnBook(folder, store.Log, clock);
        Assert.Equal((false, 2), Of(book.Take("t", _a, keeps: false, null)));
        Assert.Equal((true, null), Of(book.Take("t", _b, keeps: true, null)));

        // Given back, it need not be waited for; by another it is not.
        book.Leave("t", _a);
        Assert.False(book.Take("t", _a, keeps: false, null).IsMine);
        book.Leave("t", _b);
        Assert.Equal((true, 2), Of(book.Take("t", _a, keeps: false, null)));
        Assert.Throws<ArgumentException>(() => book.Take("", _a, keeps: false, null));
        Assert.Throws<ArgumentException>(() => book.Take("t", _a, keeps: true, new byte[TurnBook.MaxStateBytes + 1]));
    }

    private static (bool IsMine, int? State) Of(WireTurnTaken taken) => (taken.IsMine, taken.State?.Single());
}
