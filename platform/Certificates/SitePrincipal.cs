using System.Security.Cryptography.X509Certificates;
using System.Text.RegularExpressions;

namespace Yizhan.Platform.Certificates;

/// <summary>Which site is at the other end of the link. It comes from the client certificate and from nowhere else.</summary>
public sealed partial record SitePrincipal
{
    private const string Prefix = $"spiffe://{Certificates.SpiffeId.TrustDomain}/site/";

    /// <summary>Names a site.</summary>
    /// <exception cref="ArgumentException">The id is not 1 to 63 characters of a-z, 0-9 and '-'.</exception>
    public SitePrincipal(string siteId) => SiteId = ValidSiteId().IsMatch(siteId)
        ? siteId
        : throw new ArgumentException($"'{siteId}' is not a site id: 1 to 63 characters of a-z, 0-9 and '-'.", nameof(siteId));

    /// <summary>The site.</summary>
    public string SiteId { get; }

    /// <summary>Its SPIFFE id, such as <c>spiffe://yizhan/site/lakeside</c>.</summary>
    public Uri SpiffeId => new(Prefix + SiteId);

    /// <summary>Reads the site out of a certificate that was checked already; null when it does not name exactly one.</summary>
    public static SitePrincipal? From(X509Certificate2 certificate) => From(Certificates.SpiffeId.Of(certificate));

    /// <summary>The site of a SPIFFE id; null when it is that of none.</summary>
    public static SitePrincipal? From(string? spiffeId) =>
        spiffeId is not null && spiffeId.StartsWith(Prefix, StringComparison.Ordinal) && ValidSiteId().IsMatch(spiffeId[Prefix.Length..])
            ? new SitePrincipal(spiffeId[Prefix.Length..])
            : null;

    [GeneratedRegex(@"\A" + NodeOptions.SiteIdPattern + @"\z")]
    private static partial Regex ValidSiteId();
}
