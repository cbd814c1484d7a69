using Yizhan.Contracts;

namespace Yizhan.Console.Network;

/// <summary>What follows from a site's figures.</summary>
internal static class Waiting
{
    /// <summary>
    /// How long a lane's oldest entry has waited; null when none waits. The site's clock may be wrong: the wait up to its report is
    /// measured by the site's clock alone, the time since then by the centre's.
    /// </summary>
    public static TimeSpan? Age(SiteView site, LaneStatus lane, DateTimeOffset now) => lane.OldestMs is not { } oldest
        ? null
        : TimeSpan.FromMilliseconds(Math.Max(0, site.Status.SentMs - oldest))
            + TimeSpan.FromMilliseconds(Math.Max(0, now.ToUnixTimeMilliseconds() - site.LastContactMs));

    /// <summary>Fill from which a lane needs a look.</summary>
    public const double Tight = 0.8;

    /// <summary>Fill from which a lane is about to refuse.</summary>
    public const double Full = 0.95;

    /// <summary>Part of a lane that is in use, 0 to 1.</summary>
    public static double Fill(LaneStatus lane) =>
        lane.RoomBytes <= 0 ? 1 : (double)lane.Bytes / ((double)lane.Bytes + lane.RoomBytes);
}
