using System.Globalization;
using System.Text;
using Yizhan.Storage;

namespace Yizhan.Simulation;

/// <summary>What devices and services do at the edge: they offer entries of all lanes, wait for the answer, and offer again when there was none.</summary>
internal sealed class Producers(World world, SeededRandom random)
{
    private const int MaxRefusals = 8;

    private static readonly (Lane Lane, double Share, int Producers)[] Mix =
        [(Lane.Urgent, 0.08, 1), (Lane.Normal, 0.42, 4), (Lane.Bulk, 0.25, 2), (Lane.Telemetry, 0.25, 2)];

    private readonly List<(ulong Seed, int Length)> _blobs = [];

    /// <summary>Offers until a time, and ends when each offer has its answer.</summary>
    public Task RunAsync(TimeSpan until) => Task.WhenAll(Mix.SelectMany(m =>
        Enumerable.Range(0, m.Producers).Select(n => RunAsync(m.Lane, n, until / (world.Scenario.Items * m.Share / m.Producers), until, random.Split()))));

    private async Task RunAsync(Lane lane, int producer, TimeSpan mean, TimeSpan until, SeededRandom mine)
    {
        var keys = new int[3];
        List<Entry> lastEntries = [];
        List<Item> lastItems = [];
        byte[]? lastBlob = null;
        while (world.Loop.Now < until)
        {
            await world.DelayAsync(mine.Next(mean));
            if (lastItems.Count > 0 && mine.Chance(0.05) && !lastItems.Exists(i => i.Poison))
            {
                // A producer that did not see the answer asks again.
                world.Books.Fault("offers repeated");
                await OfferAsync(lastItems, lastEntries, lastBlob, mine);
            }

            var key = mine.Next(keys.Length);
            (lastEntries, lastItems) = ([], []);
            for (var count = mine.Chance(0.1) ? mine.Next(2, 6) : 1; count > 0; count--)
            {
                var item = new Item(
                    string.Create(CultureInfo.InvariantCulture, $"{lane}/{producer}/{key}/{++keys[key]}"), lane,
                    string.Create(CultureInfo.InvariantCulture, $"{producer}/{key}"), keys[key], mine.Chance(world.Scenario.Poison));
                var data = item.Poison ? Encoding.UTF8.GetBytes("not json") : Data(keys[key], mine);
                item.Data = ContentHash.Of(data);
                lastItems.Add(item);
                lastEntries.Add(new Entry(lane, "yizhan.simulated.v1", item.Id, item.Key, world.Edge.Clock.GetUtcNow().ToUnixTimeMilliseconds(), data));
            }

            lastBlob = null;
            if (lane == Lane.Bulk || mine.Chance(0.03))
            {
                lastBlob = Blob(mine);
                lastItems[^1].Blob = new BlobRef(ContentHash.Of(lastBlob), lastBlob.Length);
            }

            lastItems.ForEach(world.Books.Offer);
            if (!await OfferAsync(lastItems, lastEntries, lastBlob, mine))
            {
                lastItems = [];
            }
        }
    }

    /// <summary>Offers entries until the log says yes, or says no too often.</summary>
    private async Task<bool> OfferAsync(List<Item> items, List<Entry> entries, byte[]? blob, SeededRandom mine)
    {
        for (var refusals = 0; refusals < MaxRefusals;)
        {
            if (world.Edge.Spool is not { } spool)
            {
                await world.DelayAsync(mine.Next(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(40)));
                if (world.EdgeIsLost)
                {
                    return false;
                }

                continue;
            }

            try
            {
                var receipts = await AppendAsync(spool, entries, blob);
                for (var i = 0; i < items.Count; i++)
                {
                    world.Books.Accept(items[i], receipts[i]);
                }

                world.Trace.Note($"accepted {items[0].Id} +{items.Count - 1}");
                return true;
            }
            catch (SpoolFullException)
            {
                refusals++;
                if (items.TrueForAll(i => i.AcceptedAt is null))
                {
                    items.ForEach(world.Books.Refuse);
                }

                await world.DelayAsync(mine.Next(TimeSpan.FromMinutes(5)));
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                items.ForEach(i => i.Unknown = true);
                await world.DelayAsync(mine.Next(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(40)));
            }
        }

        return false;
    }

    private static async Task<IReadOnlyList<Receipt>> AppendAsync(Spool spool, List<Entry> entries, byte[]? blob)
    {
        if (blob is null)
        {
            return await spool.Log.AppendAsync(entries, CancellationToken.None);
        }

        await using var writer = spool.Blobs.Begin(entries[0].Lane);
        for (var at = 0; at < blob.Length; at += 40_000)
        {
            await writer.WriteAsync(blob.AsMemory(at, Math.Min(40_000, blob.Length - at)), CancellationToken.None);
        }

        var named = await writer.CompleteAsync(CancellationToken.None);
        return await spool.Log.AppendAsync([.. entries[..^1], entries[^1] with { Blobs = [named] }], CancellationToken.None);
    }

    private static byte[] Data(int number, SeededRandom mine)
    {
        var pad = new byte[mine.Chance(0.05) ? mine.Next(20_000) : mine.Next(1500)];
        mine.NextBytes(pad);
        return Encoding.UTF8.GetBytes($$"""{"n":{{number}},"pad":"{{Convert.ToHexString(pad)}}"}""");
    }

    /// <summary>Mostly new; sometimes empty, and sometimes one that another entry has named.</summary>
    private byte[] Blob(SeededRandom mine)
    {
        var (seed, length) = _blobs.Count > 0 && mine.Chance(0.1) ? _blobs[mine.Next(_blobs.Count)]
            : (mine.NextUInt64(), mine.Next(4) switch { 0 => mine.Next(3), 1 or 2 => mine.Next(80_000), _ => mine.Next(300_000) });
        _blobs.Add((seed, length));
        var bytes = new byte[length];
        new SeededRandom(seed).NextBytes(bytes);
        return bytes;
    }
}
