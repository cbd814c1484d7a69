using System.Formats.Asn1;
using System.Security.Cryptography.X509Certificates;

namespace Yizhan.Platform.Certificates;

/// <summary>The one URI in a certificate that says who its holder is (X509-SVID §2).</summary>
public static class SpiffeId
{
    /// <summary>The trust domain of every installation; its own root tells installations apart.</summary>
    public const string TrustDomain = "yizhan";

    private const string SubjectAlternativeName = "2.5.29.17";

    /// <summary>The id; null when there is not exactly one URI, or it is not of our trust domain.</summary>
    public static string? Of(X509Certificate2 certificate) => Of(certificate.Extensions);

    /// <summary>The same from the extensions of a certificate or of a request for one.</summary>
    public static string? Of(IEnumerable<X509Extension> extensions)
    {
        var uris = new List<string>();
        try
        {
            foreach (var extension in extensions.Where(e => e.Oid?.Value == SubjectAlternativeName))
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

        return uris is [var uri] && uri.StartsWith($"spiffe://{TrustDomain}/", StringComparison.Ordinal) ? uri : null;
    }
}
