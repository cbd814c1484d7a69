using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Yizhan.Platform.Certificates;

/// <summary>
/// The private certificate authority of one installation: ECDSA P-256, one root, leaves for the link's server and for each
/// site. Nothing outside the installation trusts it, and the installation trusts nothing else on the link.
/// </summary>
/// <remarks>
/// The folder holds <c>root.pem</c> (certificate and key, mode 0600; whoever reads it can be any site) and <c>root.crt</c> (the
/// certificate alone, to be copied to the sites).
/// </remarks>
public sealed class EmbeddedCa : IDisposable
{
    /// <summary>Life of the root, in days: ten years.</summary>
    public const int RootDays = 3650;

    /// <summary>Life of a leaf, in days. A site renews long before; one that was switched off for longer is enrolled again.</summary>
    public const int LeafDays = 365;

    private const string PrivateFile = "root.pem";

    private readonly X509Certificate2 _root;
    private readonly TimeProvider _clock;

    private EmbeddedCa(X509Certificate2 root, string folder, TimeProvider clock)
    {
        (_root, _clock) = (root, clock);
        RootFile = Path.Combine(folder, "root.crt");
        Trust = new CertificateTrust(X509CertificateLoader.LoadCertificate(root.RawData), clock);
    }

    /// <summary>File with the root certificate in PEM: what a site needs to recognise the centre.</summary>
    public string RootFile { get; }

    /// <summary>Checks certificates against this root.</summary>
    public CertificateTrust Trust { get; }

    /// <summary>Opens the authority in a folder; the first time it makes a root. Two processes that race end with the same root.</summary>
    /// <exception cref="CryptographicException">The folder's root cannot be read.</exception>
    /// <exception cref="IOException">The folder cannot be written.</exception>
    public static EmbeddedCa Open(string folder, TimeProvider clock)
    {
        folder = Path.GetFullPath(folder);
        Directory.CreateDirectory(folder);
        var path = Path.Combine(folder, PrivateFile);
        if (!File.Exists(path))
        {
            MakeRoot(path, clock.GetUtcNow());
        }

        var ca = new EmbeddedCa(X509Certificate2.CreateFromPemFile(path), folder, clock);
        if (!File.Exists(ca.RootFile))
        {
            PemFile.Write(ca.RootFile, ca._root.ExportCertificatePem(), secret: false, overwrite: true);
        }

        return ca;
    }

    /// <summary>A certificate for the link's listener.</summary>
    /// <param name="hosts">DNS names and IP addresses under which sites reach it.</param>
    public IssuedCertificate IssueServer(params IReadOnlyList<string> hosts)
    {
        var names = new SubjectAlternativeNameBuilder();
        foreach (var host in hosts)
        {
            if (IPAddress.TryParse(host, out var address))
            {
                names.AddIpAddress(address);
            }
            else
            {
                names.AddDnsName(host);
            }
        }

        return Issue("CN=Yizhan link", names, CertificateTrust.ServerAuth);
    }

    /// <summary>A client certificate that says which site its holder is, as a SPIFFE id in the subject alternative name.</summary>
    /// <exception cref="ArgumentException">The site id is not a DNS label.</exception>
    public IssuedCertificate IssueSite(string siteId)
    {
        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(new SitePrincipal(siteId).SpiffeId);
        return Issue($"CN={siteId}", names, CertificateTrust.ClientAuth);
    }

    /// <summary>A client certificate for a device at a site: its common name is who the device is. It says of nobody that he is a site.</summary>
    /// <param name="name">1 to 64 characters of a-z, 0-9, '-' and '.' (the upper bound of a common name, RFC 5280 appendix A.1).</param>
    /// <exception cref="ArgumentException">The name has other characters, or too many.</exception>
    public IssuedCertificate IssueDevice(string name)
    {
        if (name.Length is 0 or > 64 || !name.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '-' or '.'))
        {
            throw new ArgumentException($"'{name}' is not a device's name: 1 to 64 characters of a-z, 0-9, '-' and '.'.", nameof(name));
        }

        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(new Uri($"spiffe://yizhan/device/{name}"));
        return Issue($"CN={name}", names, CertificateTrust.ClientAuth);
    }

    /// <inheritdoc/>
    public void Dispose() => _root.Dispose();

    private IssuedCertificate Issue(string subject, SubjectAlternativeNameBuilder names, string purpose)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(purpose)], true));
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(_root, true, false));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));

        var now = _clock.GetUtcNow();
        var end = now.AddDays(LeafDays);
        using var certificate = request.Create(
            _root, now, end < _root.NotAfter ? end : _root.NotAfter, RandomNumberGenerator.GetBytes(16));
        return new IssuedCertificate(certificate.ExportCertificatePem(), key.ExportPkcs8PrivateKeyPem());
    }

    private static void MakeRoot(string path, DateTimeOffset now)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=Yizhan root", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, true));
        request.CertificateExtensions.Add(
            new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        using var root = request.CreateSelfSigned(now, now.AddDays(RootDays));
        PemFile.Write(
            path, root.ExportCertificatePem() + "\n" + key.ExportPkcs8PrivateKeyPem() + "\n", secret: true, overwrite: false);
    }
}
