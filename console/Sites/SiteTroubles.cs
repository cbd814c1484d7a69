using Yizhan.Console.Language;
using Yizhan.Console.Network;
using Yizhan.Contracts;

namespace Yizhan.Console.Sites;

/// <summary>What somebody should look at, from what a site says of itself.</summary>
internal static class SiteTroubles
{
    /// <summary>Time before the end of a certificate or licence from which on it is said.</summary>
    private static readonly TimeSpan Soon = TimeSpan.FromDays(14);

    /// <summary>When the line was last there; where it never was, when the node started.</summary>
    public static DateTimeOffset SilentSince(SiteView site) =>
        DateTimeOffset.FromUnixTimeMilliseconds(site.LastContactMs > 0 ? site.LastContactMs : site.Link?.StartedMs ?? 0);

    /// <summary>Sentences, the worst first; none when all is well.</summary>
    public static IEnumerable<string> Of(SiteView site, DateTimeOffset now, Texts texts)
    {
        if (!site.Online)
        {
            yield return site.Link switch
            {
                null => texts.SiteSilent(Display.Duration(now - SilentSince(site), texts)),
                { State: "off" } => texts.NoCentre,
                _ => texts.LineDownFor(Display.Duration(now - SilentSince(site), texts)),
            };
        }

        foreach (var lane in site.Status.Lanes.Where(lane => Waiting.Fill(lane) >= Waiting.Tight))
        {
            yield return texts.LaneIsTight(texts.LaneName(lane.Lane), Display.Size(Math.Max(0, lane.RoomBytes)));
        }

        foreach (var service in site.Status.Services?.Where(s => s.State != ServiceHealth.Healthy) ?? [])
        {
            yield return texts.ServiceIs(service.Name, texts.HealthName(service.State));
        }

        if (site.Status.Spool is { Quarantined: > 0 } spool)
        {
            yield return texts.EntriesInQuarantine(spool.Quarantined);
        }

        if (site.Status.CertificateExpiresMs is { } certificate && DateTimeOffset.FromUnixTimeMilliseconds(certificate) - now < Soon)
        {
            yield return texts.CertificateEnds(Display.Absolute(DateTimeOffset.FromUnixTimeMilliseconds(certificate), TimeZoneInfo.Utc));
        }

        if (site.Status.Licence is { State: not "active" } licence)
        {
            yield return texts.LicenceIs(texts.LicenceName(licence.State));
        }

        if (site.WantedConfiguration is { } wanted && wanted != site.Status.Configuration?.Version)
        {
            yield return texts.ConfigurationDrifts(wanted);
        }
    }
}
