using Microsoft.Extensions.DependencyInjection;
using Yizhan.Storage;

namespace Yizhan.Station.Tests;

/// <summary>Clocks that are wrong and jump. Real nodes; the site's clock is ours.</summary>
public sealed class ClockTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Clause", "D4.6")]
    public async Task A_board_that_starts_in_1970_and_jumps_expires_nothing_and_keeps_the_order()
    {
        var clock = new WrongClock();
        clock.Set(DateTimeOffset.UnixEpoch);
        await using var nodes = await TwoNodes.StartAsync(["--storage:keepDeliveredHours=24", "--station:retentionSeconds=1"], edgeClock: clock);
        await nodes.AppendAsync(Lane.Normal, 5, "in 1970/");
        await nodes.DeliveredAsync();
        var retention = nodes.Edge.Services.GetRequiredService<Retention>();
        await Wait.UntilAsync(() => retention.Proven(Lane.Normal) >= 5);
        await retention.RunOnceAsync(Cancel);

        // The line comes up, NTP sets the clock right, somebody sets it back by a year, the power goes and it is 1970 again.
        var now = TimeProvider.System.GetUtcNow();
        clock.Set(now);
        await nodes.AppendAsync(Lane.Normal, 5, "after NTP/");
        clock.Set(now.AddYears(-1));
        await nodes.AppendAsync(Lane.Normal, 5, "set back/");
        await nodes.DeliveredAsync();
        clock.Set(now.AddYears(50));
        await retention.RunOnceAsync(Cancel);
        Assert.Equal(0, nodes.EdgeLog.Released(Lane.Normal));

        await TwoNodes.StopAsync(nodes.Edge);
        clock.Set(DateTimeOffset.UnixEpoch);
        await nodes.StartEdgeAsync();
        await nodes.AppendAsync(Lane.Normal, 5, "in 1970 again/");
        await nodes.DeliveredAsync();
        await nodes.Edge.Services.GetRequiredService<Retention>().RunOnceAsync(Cancel);
        Assert.Equal(0, nodes.EdgeLog.Released(Lane.Normal));

        var arrived = await nodes.ArrivedAsync();
        Assert.Equal(Enumerable.Range(1, 20).Select(i => (long)i), arrived.Select(e => e.Identity.Sequence));
        Assert.Equal(
            ["in 1970", "after NTP", "set back", "in 1970 again"], arrived.Select(e => e.Entry.Id.Split('/')[0]).Distinct());
    }
}

/// <summary>Runs like the real one, and shows another time.</summary>
internal sealed class WrongClock : TimeProvider
{
    private TimeSpan _offset;

    public void Set(DateTimeOffset time) => _offset = time - System.GetUtcNow();

    public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + _offset;
}
