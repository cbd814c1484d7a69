using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Yizhan.Platform.Certificates;

/// <summary>A request for a site's certificate (PKCS #10, RFC 2986). It is made where the key is, and the key stays there.</summary>
public static class SiteRequest
{
    /// <summary>Longest request that is read, characters of PEM.</summary>
    public const int MaxLength = 16 * 1024;

    /// <summary>A new key: ECDSA P-256, PKCS #8, PEM.</summary>
    public static string MakeKey()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return key.ExportPkcs8PrivateKeyPem() + "\n";
    }

    /// <summary>Asks for the certificate of a site, signed with its new key.</summary>
    /// <exception cref="ArgumentException">The site id is not one, or the PEM has no EC key.</exception>
    /// <exception cref="CryptographicException">The PEM has no EC key.</exception>
    public static string Make(string siteId, string keyPem)
    {
        using var key = ECDsa.Create();
        key.ImportFromPem(keyPem);
        var request = new CertificateRequest(SiteAuthority.Subject(siteId, siteId), key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(new SitePrincipal(siteId).SpiffeId);
        request.CertificateExtensions.Add(names.Build());
        return request.CreateSigningRequestPem();
    }

    /// <summary>Reads a request and checks that it is signed with its own key and names this site.</summary>
    /// <exception cref="CertificateRefusedException">It is not such a request; the message says what would be accepted.</exception>
    internal static PublicKey Read(string siteId, string pem)
    {
        if (pem.Length > MaxLength)
        {
            throw new CertificateRefusedException($"The request has {pem.Length} characters; accepted are {MaxLength}.");
        }

        CertificateRequest request;
        try
        {
            request = CertificateRequest.LoadSigningRequestPem(
                pem, HashAlgorithmName.SHA256, CertificateRequestLoadOptions.UnsafeLoadCertificateExtensions);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw new CertificateRefusedException($"The request is not PKCS #10 in PEM, signed with its own key: {e.Message}", e);
        }

        if (SitePrincipal.From(SpiffeId.Of(request.CertificateExtensions))?.SiteId is not { } named || named != siteId)
        {
            throw new CertificateRefusedException(
                $"The request names '{SpiffeId.Of(request.CertificateExtensions)}'; accepted is one URI, {new SitePrincipal(siteId).SpiffeId}.");
        }

        // Whatever else it asks for (a CA, another purpose, more names) is not copied: of the request only the key is used.
        using var ec = request.PublicKey.GetECDsaPublicKey();
        return ec is { KeySize: 256 or 384 }
            ? request.PublicKey
            : throw new CertificateRefusedException($"The request has a key of {request.PublicKey.Oid.FriendlyName}; accepted is ECDSA on P-256 or P-384.");
    }
}

/// <summary>No certificate is issued; the message says why and what would be accepted.</summary>
public sealed class CertificateRefusedException(string message, Exception? inner = null) : Exception(message, inner);
