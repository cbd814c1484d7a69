using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Tests;

/// <summary>What a site's archive keeps, and what it gives up.</summary>
public sealed class EvictionTests
{
    private const int Bytes = 700_000;

    [Theory]
    [InlineData("sqlite")]
    [InlineData("segments")]
    [Trait("Clause", "D4.6")]
    public async Task An_archived_instance_outlives_its_entry_and_goes_only_when_the_room_is_short_and_the_centre_has_it(string store)
    {
        await using var gateway = await Gateway.StartAsync(
            $"--storage:store={store}", "--storage:quotaBytes=33554432", "--storage:segmentBytes=4194304", "--pacs-gw:evictAbovePercent=50");
        for (var i = 1; i <= 28; i++)
        {
            Assert.Equal((ushort)0, await gateway.SendAsync(Instance(i)));
        }

        await gateway.IndexedAsync();
        var eviction = gateway.Services.GetServices<Microsoft.Extensions.Hosting.IHostedService>().OfType<ArchiveEviction>().Single();
        Assert.True(gateway.Log.Space.UsedBytes > 33554432 / 2);

        // Nothing is proven at the centre yet, so nothing goes, however short the room is.
        Assert.Equal(0, await eviction.RunOnceAsync(Gateway.Cancel));

        // The log gives up what the centre has confirmed; the archive has pinned the bytes and still gives them out.
        await gateway.Log.MarkDeliveredAsync(Lane.Bulk, 20, Gateway.Cancel);
        await gateway.Log.ReleaseAsync(Lane.Bulk, 20, Gateway.Cancel);
        Assert.Equal(28, (await gateway.QueryAsync("studies?limit=100")).Count);
        Assert.Single(await Gateway.PartsAsync(await gateway.GetAsync("studies/1.2.1")));

        var gone = await eviction.RunOnceAsync(Gateway.Cancel);
        Assert.InRange(gone, 1, 20);
        var left = (await gateway.QueryAsync("studies?limit=100")).Select(s => s!["0020000D"]!["Value"]![0]!.ToString()).ToHashSet();
        Assert.Equal(Enumerable.Range(gone + 1, 28 - gone).Select(i => $"1.2.{i}").ToHashSet(), left);
        Assert.Single(await Gateway.PartsAsync(await gateway.GetAsync($"studies/1.2.{gone + 1}")));
        Assert.Equal(gone, (await gateway.EntriesAsync(AuditRecord.EventType)).Count(a => a["action"]!.ToString() == "D"));
        if (store == "sqlite")
        {
            Assert.InRange(gateway.Log.Space.UsedBytes, 0, 33554432 / 2 + Bytes);
        }
    }

    private static TestInstance Instance(int i) => new($"1.2.{i}", $"1.2.{i}.1", $"1.2.{i}.1.1")
    {
        Change = dataset =>
        {
            var pixels = new byte[Bytes];
            new Random(i).NextBytes(pixels);
            dataset.Set(DicomTags.Rows, 500).Set(DicomTags.Columns, 700).SetBytes(DicomTags.PixelData, pixels, DicomVr.OW);
        },
    };
}
