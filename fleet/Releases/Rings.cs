using System.Security.Cryptography;
using System.Text;
using Yizhan.Contracts;

namespace Yizhan.Fleet.Releases;

/// <summary>What the sites of a ring say about a release.</summary>
internal enum RingVerdict
{
    /// <summary>Wait.</summary>
    Hold,

    /// <summary>Offer it to the next ring.</summary>
    Promote,

    /// <summary>Offer it to nobody any more.</summary>
    Stop,
}

/// <summary>Which sites get a release first, and when the next ones follow: 10, 50, 100 % of the sites, never of one machine's replicas.</summary>
internal static class Rings
{
    /// <summary>Shares in percent.</summary>
    public static readonly int[] Percents = [10, 50, 100];

    /// <summary>Sites to which a release is offered in a ring: the named canaries first, the others by a hash that never changes.</summary>
    public static IReadOnlyList<string> Members(IReadOnlyList<string> sites, IReadOnlyList<string> canaries, int percent)
    {
        var named = canaries.Intersect(sites, StringComparer.Ordinal).ToArray();
        var order = named.Concat(sites.Except(named, StringComparer.Ordinal).OrderBy(Hash, StringComparer.Ordinal));
        var share = ((sites.Count * percent) + 99) / 100;
        return [.. order.Take(percent == Percents[0] && named.Length > 0 ? named.Length : Math.Max(named.Length, share))];
    }

    /// <summary>
    /// Decides by what the ring's sites report. A site that is offline counts neither way; when none is online there is no data, and no
    /// data holds. One site that refused it, or could not start with it, stops it for all.
    /// </summary>
    /// <param name="members">Sites of the ring.</param>
    /// <param name="reports">What sites said last, by id.</param>
    /// <param name="digest">Digest of the release.</param>
    /// <param name="soaked">Whether the ring had its time.</param>
    public static (RingVerdict Verdict, string? Why) Judge(
        IReadOnlyList<string> members, IReadOnlyDictionary<string, SiteView> reports, string digest, bool soaked)
    {
        var known = members.Where(reports.ContainsKey).Select(site => reports[site]).ToArray();
        if (known.FirstOrDefault(site => site.Status.Configuration?.RefusedDigest == digest) is { } failed)
        {
            return (RingVerdict.Stop, $"{failed.Status.SiteId}: {failed.Status.Configuration!.Problem}");
        }

        var online = known.Where(site => site.Online).ToArray();
        var good = online.Count(site => Runs(site, digest));
        return online.Length == 0 ? (RingVerdict.Hold, $"no data: none of the {members.Count} sites of this ring is online")
            : good < online.Length ? (RingVerdict.Hold, $"{good} of {online.Length} online sites of this ring run it")
            : !soaked ? (RingVerdict.Hold, "this ring is being watched")
            : (RingVerdict.Promote, null);
    }

    /// <summary>True when the site came up with the release.</summary>
    public static bool Runs(SiteView site, string digest) => site.Status.Configuration is { OnTrial: false } running && running.Digest == digest;

    private static string Hash(string site) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(site)));
}
