using Yizhan.Storage;

namespace Yizhan.Station.Tests;

/// <summary>The whole link: real logs, real HTTPS with certificates of a real authority.</summary>
public sealed class LinkTests
{
    [Fact]
    public async Task Entries_of_every_lane_and_their_blobs_arrive_once_and_in_order()
    {
        await using var nodes = await TwoNodes.StartAsync();
        foreach (var lane in Enum.GetValues<Lane>())
        {
            await nodes.AppendAsync(lane, 300);
        }

        var (blob, bytes) = await nodes.AppendBlobAsync(Lane.Bulk, "image", 3_000_001, seed: 1);
        var (empty, _) = await nodes.AppendBlobAsync(Lane.Normal, "empty", 0, seed: 1);
        await nodes.DeliveredAsync();

        var arrived = await nodes.ArrivedAsync();
        Assert.Equal(1202, arrived.Count);
        foreach (var lane in Enum.GetValues<Lane>())
        {
            var sequences = arrived.Where(e => e.Identity.Lane == lane).Select(e => e.Identity.Sequence).ToList();
            Assert.Equal(Enumerable.Range(1, sequences.Count).Select(i => (long)i), sequences);
        }

        Assert.All(arrived, e => Assert.Equal((TwoNodes.Site, nodes.EdgeLog.Epoch), (e.Identity.Site, e.Identity.Epoch)));
        Assert.Equal(bytes, await nodes.CentreBytesAsync(blob));
        Assert.Empty((await nodes.CentreBytesAsync(empty))!);
    }
}
