using System.Text;
using Yizhan.Console.Live;
using Yizhan.Contracts;

namespace Yizhan.Console.Tests;

public sealed class LiveTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public void The_delay_between_attempts_grows_and_is_bounded() =>
        Assert.Equal([1, 2, 4, 8, 15, 15, 15], new[] { 1, 2, 3, 4, 5, 6, int.MaxValue }.Select(n => (int)LiveFeed<SiteView>.BackOff(n).TotalSeconds));

    [Fact]
    public void Studies_that_arrive_in_the_same_minute_keep_their_places_while_they_grow()
    {
        var (older, newer) = (Study("older", storedMs: 1_000, indexedMs: 59_000), Study("newer", storedMs: 2_000, indexedMs: 3_000));
        var nextMinute = Study("next", storedMs: 0, indexedMs: 60_000);
        StudyView[] studies = [older, newer, nextMinute];
        Array.Sort(studies, FeedSources.Studies.Order);
        Assert.Equal([nextMinute, newer, older], studies);
    }

    [Fact]
    public void An_event_is_one_record_or_a_list_of_them()
    {
        var json = System.Text.Json.JsonSerializer.Serialize(Study("1", 0, 0), ContractsJson.Default.StudyView);
        Assert.Single(FeedSources.Studies.Parse(Encoding.UTF8.GetBytes(json)));
        Assert.Equal(2, FeedSources.Studies.Parse(Encoding.UTF8.GetBytes($" [{json},{json}]")).Count);
    }

    [Theory]
    [InlineData("null")]
    [InlineData("[{}]")]
    [InlineData("{\"studyInstanceUid\":null}")]
    [InlineData("<html>")]
    public void What_is_no_record_is_refused(string data) =>
        Assert.ThrowsAny<System.Text.Json.JsonException>(() => FeedSources.Studies.Parse(Encoding.UTF8.GetBytes(data)));

    [Fact]
    public async Task An_event_that_never_ends_is_refused()
    {
        await using var stream = new BudgetedStream(new MemoryStream(new byte[100]), budget: 60);
        var buffer = new byte[40];
        Assert.Equal(40, await stream.ReadAsync(buffer, Cancel));
        stream.Renew();
        Assert.Equal(40, await stream.ReadAsync(buffer, Cancel));
        Assert.Equal(20, await stream.ReadAsync(buffer, Cancel));
        await Assert.ThrowsAsync<InvalidDataException>(() => stream.ReadExactlyAsync(buffer, Cancel).AsTask());
    }

    private static StudyView Study(string uid, long storedMs, long indexedMs) => new(uid, "", "", "", "", [], 1, 1, 1, "east", storedMs, indexedMs);
}
