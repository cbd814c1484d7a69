using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Yizhan.Platform.Certificates;

/// <summary>
/// The intermediate of one site. It is constrained (RFC 5280 §4.2.1.10) to our trust domain and to the site's own part of the
/// directory, <c>O=Yizhan, OU=site</c>: whoever has its key can be that site and no other, and no server at all.
/// </summary>
internal static class SiteAuthority
{
    /// <summary>Life of an intermediate, in days.</summary>
    public const int Days = 730;

    private const string Organization = "Yizhan";
    private const string NameConstraints = "2.5.29.30";

    private static readonly Asn1Tag Permitted = new(TagClass.ContextSpecific, 0, isConstructed: true);
    private static readonly Asn1Tag Excluded = new(TagClass.ContextSpecific, 1, isConstructed: true);
    private static readonly Asn1Tag DnsName = new(TagClass.ContextSpecific, 2);
    private static readonly Asn1Tag DirectoryName = new(TagClass.ContextSpecific, 4, isConstructed: true);
    private static readonly Asn1Tag UriName = new(TagClass.ContextSpecific, 6);
    private static readonly Asn1Tag IpAddress = new(TagClass.ContextSpecific, 7);

    /// <summary>Makes one: certificate and key as PEM.</summary>
    public static string Make(string siteId, X509Certificate2 root, DateTimeOffset now)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(Subject(siteId, $"Yizhan site {siteId}"), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509Extension(NameConstraints, Constraints(siteId), critical: true));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(root, true, false));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        var end = now.AddDays(Days);
        using var certificate = request.Create(root, now, end < root.NotAfter ? end : root.NotAfter, RandomNumberGenerator.GetBytes(16));
        return certificate.ExportCertificatePem() + "\n" + key.ExportPkcs8PrivateKeyPem() + "\n";
    }

    /// <summary>Subject of a certificate of a site.</summary>
    public static X500DistinguishedName Subject(string siteId, string commonName)
    {
        // The builder encodes what is added last first: O, OU, CN, from the general to the particular.
        var name = new X500DistinguishedNameBuilder();
        name.AddCommonName(commonName);
        name.AddOrganizationalUnitName(siteId);
        name.AddOrganizationName(Organization);
        return name.Build();
    }

    /// <summary>The site in whose part of the directory a subject is; null when it is in none.</summary>
    public static string? SiteOf(X500DistinguishedName subject) =>
        subject.EnumerateRelativeDistinguishedNames(reversed: false).ToArray() is [var o, var ou, ..]
        && o is { HasMultipleElements: false } && ou is { HasMultipleElements: false }
        && o.GetSingleElementType().Value == "2.5.4.10" && o.GetSingleElementValue() == Organization && ou.GetSingleElementType().Value == "2.5.4.11"
            ? ou.GetSingleElementValue()
            : null;

    private static byte[] Constraints(string siteId)
    {
        var part = new X500DistinguishedNameBuilder();
        part.AddOrganizationalUnitName(siteId);
        part.AddOrganizationName(Organization);
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            using (writer.PushSequence(Permitted))
            {
                using (writer.PushSequence())
                using (writer.PushSequence(DirectoryName))
                {
                    writer.WriteEncodedValue(part.Build().RawData);
                }

                using (writer.PushSequence())
                {
                    writer.WriteCharacterString(UniversalTagNumber.IA5String, SpiffeId.TrustDomain, UriName);
                }
            }

            // An empty name and a mask of nothing match every host and every address: no server of any name.
            using (writer.PushSequence(Excluded))
            {
                using (writer.PushSequence())
                {
                    writer.WriteCharacterString(UniversalTagNumber.IA5String, "", DnsName);
                }

                foreach (var length in new[] { 8, 32 })
                {
                    using (writer.PushSequence())
                    {
                        writer.WriteOctetString(new byte[length], IpAddress);
                    }
                }
            }
        }

        return writer.Encode();
    }
}
