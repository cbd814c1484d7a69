using System.Formats.Asn1;
using System.Security.Cryptography.X509Certificates;
using System.Text.RegularExpressions;

namespace Yizhan.Platform.Certificates;

/// <summary>Which site is at the other end of the link. It comes from the client certificate and from nowhere else.</summary>
public sealed partial record SitePrincipal
{
    private const string Prefix = "spiffe://yizhan/site/";
    private const string SubjectAlternativeName = "2.5.29.17";

    /// <summary>Names a site.</summary>
    /// <exception cref="ArgumentException">The id is not 1 to 63 characters of a-z, 0-9 and '-'.</exception>
    public SitePrincipal(string siteId) => SiteId = ValidSiteId().IsMatch(siteId)
        ? siteId
        : throw new ArgumentException($"'{siteId}' is not a site id: 1 to 63 characters of a-z, 0-9 and '-'.", nameof(siteId));

    /// <summary>The site.</summary>
    public string SiteId { get; }

    /// <summary>Its SPIFFE id, such as <c>spiffe://yizhan/site/lakeside</c>.</summary>
    public Uri SpiffeId => new(Prefix + SiteId);

    /// <summary>
    /// Reads the site out of a certificate that was checked already; null when it does not name exactly one (a SPIFFE
    /// certificate has exactly one URI, X509-SVID §2).
    /// </summary>
    public static SitePrincipal? From(X509Certificate2 certificate)
    {
        var uris = new List<string>();
        try
        {
            foreach (var extension in certificate.Extensions.Where(e => e.Oid?.Value == SubjectAlternativeName))
            {
                var names = new AsnReader(extension.RawData, AsnEncodingRules.DER).ReadSequence();
                while (names.HasData)
                {
                    // GeneralName ::= CHOICE { … uniformResourceIdentifier [6] IA5String … }, RFC 5280 §4.2.1.6.
                    var tag = new Asn1Tag(TagClass.ContextSpecific, 6);
                    if (names.PeekTag().HasSameClassAndValue(tag))
                    {
                        uris.Add(names.ReadCharacterString(UniversalTagNumber.IA5String, tag));
                    }
                    else
                    {
                        names.ReadEncodedValue();
                    }
                }
            }
        }
        catch (AsnContentException)
        {
            return null;
        }

        return uris is [var uri] && uri.StartsWith(Prefix, StringComparison.Ordinal) && ValidSiteId().IsMatch(uri[Prefix.Length..])
            ? new SitePrincipal(uri[Prefix.Length..])
            : null;
    }

    [GeneratedRegex(@"\A" + NodeOptions.SiteIdPattern + @"\z")]
    private static partial Regex ValidSiteId();
}
