using Microsoft.Extensions.Options;
using Yizhan.Link;
using Yizhan.Platform;

namespace Yizhan.Fleet.Tests;

/// <summary>What the centre remembers of the last entry that it took of each lane. Many sites are answered after one commit, so many are written at once.</summary>
public sealed class SiteTakenTests : IDisposable
{
    private const int Sites = 32, Batches = 40;

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-taken-").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task What_was_taken_of_many_sites_at_once_is_written_when_each_is_told_so_and_there_after_a_restart()
    {
        var epochs = Enumerable.Range(0, Sites).Select(_ => Guid.CreateVersion7()).ToArray();
        using (var sites = Open())
        {
            await Task.WhenAll(epochs.Select((epoch, site) => Task.Run(async () =>
            {
                for (var sequence = 1; sequence <= Batches; sequence++)
                {
                    await sites.TookAsync($"site-{site}", epoch, 1, new LinkTaken(sequence, $"id-{sequence}"));
                    Assert.Equal(new LinkTaken(sequence, $"id-{sequence}"), sites.Taken($"site-{site}", epoch)[1]);
                }
            }, Cancel)));
        }

        using var again = Open();
        Assert.All(epochs.Index(), site => Assert.Equal(
            [null, new LinkTaken(Batches, $"id-{Batches}"), null, null], again.Taken($"site-{site.Index}", site.Item)));
    }

    [Fact]
    public async Task An_earlier_sequence_changes_nothing_and_a_new_epoch_takes_the_place_of_the_one_before()
    {
        var (first, second) = (Guid.CreateVersion7(), Guid.CreateVersion7());
        using (var sites = Open())
        {
            await sites.TookAsync("lakeside", first, 0, new LinkTaken(7, "seven"));
            await sites.TookAsync("lakeside", first, 0, new LinkTaken(6, "six"));
            await sites.TookAsync("lakeside", first, 2, new LinkTaken(1, "one"));
            await sites.TookAsync("elsewhere", first, 2, new LinkTaken(9, "nine"));
            Assert.Equal([new LinkTaken(7, "seven"), null, new LinkTaken(1, "one"), null], sites.Taken("lakeside", first));
        }

        // The centre was restarted meanwhile and no longer knows which epoch it had written.
        using var again = Open();
        await again.TookAsync("lakeside", second, 1, new LinkTaken(3, "three"));
        Assert.Equal([null, new LinkTaken(3, "three"), null, null], again.Taken("lakeside", second));
        Assert.Equal([null, null, null, null], again.Taken("lakeside", first));
        Assert.Equal(new LinkTaken(9, "nine"), again.Taken("elsewhere", first)[2]);
        await again.TookAsync("lakeside", first, 1, new LinkTaken(4, "four"));
        Assert.Equal([null, new LinkTaken(4, "four"), null, null], again.Taken("lakeside", first));
        Assert.Equal([null, null, null, null], again.Taken("lakeside", second));
    }

    [Fact]
    public async Task Who_cannot_be_remembered_is_told_and_the_next_one_is_not_kept_waiting()
    {
        var sites = Open();
        sites.Dispose();
        for (var sequence = 1; sequence <= 2; sequence++)
        {
            await Assert.ThrowsAnyAsync<Exception>(() => sites.TookAsync("lakeside", Guid.Empty, 1, new LinkTaken(sequence, "id")).WaitAsync(TimeSpan.FromMinutes(2), Cancel));
        }
    }

    private SiteRegistry Open() => new(
        Options.Create(new NodeOptions { DataFolder = _folder }), Options.Create(new FleetOptions()), TimeProvider.System);
}
