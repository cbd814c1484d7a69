using Yizhan.Contracts;
using Yizhan.Fleet.Releases;

namespace Yizhan.Fleet.Tests;

public sealed class RingTests
{
    private const string Digest = "d1";
    private static readonly string[] Sites = [.. Enumerable.Range(1, 30).Select(i => $"site-{i}")];

    [Fact]
    [Trait("Clause", "D7.3")]
    public void Thirty_sites_give_rings_of_three_fifteen_and_thirty_and_each_contains_the_one_before()
    {
        var rings = Rings.Percents.Select(percent => Rings.Members(Sites, [], percent)).ToArray();
        Assert.Equal([3, 15, 30], rings.Select(r => r.Count));
        Assert.Equal(rings[0], rings[1].Take(3));
        Assert.Equal(rings[1], rings[2].Take(15));
        Assert.Equal(rings[0], Rings.Members([.. Sites.Reverse()], [], 10));
    }

    [Fact]
    public void One_site_alone_is_the_first_ring() => Assert.Equal(["only"], Rings.Members(["only"], [], 10));

    [Fact]
    public void Named_canaries_are_the_first_ring_and_strangers_among_them_are_nobody()
    {
        Assert.Equal(["site-7", "site-3"], Rings.Members(Sites, ["site-7", "site-3", "elsewhere"], 10));
        Assert.Equal(15, Rings.Members(Sites, ["site-7", "site-3"], 50).Count);
        Assert.Equal("site-7", Rings.Members(Sites, ["site-7"], 50)[0]);
    }

    [Fact]
    [Trait("Clause", "D7.3")]
    public void No_data_holds_and_a_site_that_is_away_counts_neither_way()
    {
        string[] ring = ["a", "b", "c"];
        Judged(RingVerdict.Hold, "no data: none of the 3 sites of this ring is online", ring);
        Judged(RingVerdict.Hold, "no data", ring, Site("a", running: Digest, online: false));
        Judged(RingVerdict.Hold, "1 of 2 online", ring, Site("a", running: Digest), Site("b", running: "old"));
        Judged(RingVerdict.Hold, "0 of 1 online", ring, Site("a", running: Digest, onTrial: true));
        Judged(RingVerdict.Hold, "0 of 1 online", ring, new SiteView(new SiteStatus("a", Guid.Empty, "1", 0, []), 0, Online: true));
        Judged(RingVerdict.Promote, null, ring, Site("a", running: Digest), Site("b", running: Digest), Site("c", running: "old", online: false));
        Assert.Equal(RingVerdict.Hold, Rings.Judge(ring, Reports(Site("a", running: Digest)), Digest, soaked: false).Verdict);
    }

    [Fact]
    [Trait("Clause", "D7.3")]
    public void One_site_that_refuses_stops_it_for_all_even_when_it_is_away_by_now()
    {
        Judged(RingVerdict.Stop, "b: it did not start", ["a", "b"], Site("a", running: Digest), Site("b", running: "old", refused: Digest, online: false));
        Judged(RingVerdict.Promote, null, ["a", "b"], Site("a", running: Digest), Site("b", running: Digest, refused: "another"));
    }

    private static void Judged(RingVerdict verdict, string? why, string[] ring, params SiteView[] reports)
    {
        var judged = Rings.Judge(ring, Reports(reports), Digest, soaked: true);
        Assert.Equal(verdict, judged.Verdict);
        Assert.Contains(why ?? "", judged.Why ?? "", StringComparison.Ordinal);
    }

    private static Dictionary<string, SiteView> Reports(params SiteView[] reports) => reports.ToDictionary(r => r.Status.SiteId);

    private static SiteView Site(string id, string running, bool onTrial = false, string? refused = null, bool online = true) => new(
        new SiteStatus(id, Guid.Empty, "1", 0, [], new ConfigurationStatus("config-26.11.1", running, onTrial, refused, "it did not start")), 0, online);
}
