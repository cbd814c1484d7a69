using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Yizhan.Platform.Certificates;

/// <summary>
/// The private certificate authority of one installation: ECDSA P-256, one root, an intermediate for each site, leaves for the
/// link's server and for each site. Nothing outside the installation trusts it, and the installation trusts nothing else on the link.
/// </summary>
/// <remarks>
/// The folder holds <c>root.pem</c> (certificate and key, mode 0600; whoever reads it can be any site), <c>root.crt</c> (the
/// certificate alone, to be copied to the sites), <c>sites/SITE.pem</c> (the intermediates, mode 0600) and
/// <c>revocations.jws</c>. A root of an earlier version cannot have intermediates: it goes on signing leaves itself.
/// </remarks>
public sealed class EmbeddedCa : IDisposable
{
    /// <summary>Life of the root, in days: ten years.</summary>
    public const int RootDays = 3650;

    /// <summary>Life of a leaf, in days. A site renews long before; one that was switched off for longer is enrolled again.</summary>
    public const int LeafDays = 90;

    private const string PrivateFile = "root.pem";

    private readonly X509Certificate2 _root;
    private readonly string _folder;
    private readonly TimeProvider _clock;
    private readonly bool _hasIntermediates;

    private EmbeddedCa(X509Certificate2 root, string folder, TimeProvider clock)
    {
        (_root, _folder, _clock) = (root, folder, clock);
        RootFile = Path.Combine(folder, "root.crt");
        var open = X509CertificateLoader.LoadCertificate(root.RawData);
        Revocations = Revocations.Open(Path.Combine(folder, "revocations.jws"), open);
        Trust = new CertificateTrust(open, clock, revocations: Revocations);
        _hasIntermediates = root.Extensions.OfType<X509BasicConstraintsExtension>().Single().PathLengthConstraint > 0;
    }

    /// <summary>File with the root certificate in PEM: what a site needs to recognise the centre.</summary>
    public string RootFile { get; }

    /// <summary>Checks certificates against this root.</summary>
    public CertificateTrust Trust { get; }

    /// <summary>What it has taken back.</summary>
    public Revocations Revocations { get; }

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

    /// <summary>A certificate for a service of this installation, for both sides of a connection: <c>spiffe://yizhan/NAMESPACE/SERVICE</c>.</summary>
    /// <param name="area">Namespace in which it runs, such as <c>platform</c>.</param>
    /// <param name="service">Its name in the flow list.</param>
    /// <param name="hosts">DNS names under which it is called.</param>
    public IssuedCertificate IssueService(string area, string service, params IReadOnlyList<string> hosts)
    {
        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(new Uri($"spiffe://{SpiffeId.TrustDomain}/{area}/{service}"));
        foreach (var host in hosts)
        {
            names.AddDnsName(host);
        }

        return Issue($"CN={service}", names, CertificateTrust.ServerAuth, CertificateTrust.ClientAuth);
    }

    /// <summary>Signs a list of accounts or another statement of the installation with the root's key.</summary>
    public string SignWith(Func<ECDsa, string> sign)
    {
        using var key = _root.GetECDsaPrivateKey()!;
        return sign(key);
    }

    /// <summary>
    /// A client certificate that says which site its holder is, as a SPIFFE id in the subject alternative name, with a key made here:
    /// for nodes on this machine. A site elsewhere makes its key itself and asks (<see cref="SignSite"/>).
    /// </summary>
    /// <exception cref="ArgumentException">The site id is not a DNS label.</exception>
    public IssuedCertificate IssueSite(string siteId)
    {
        _ = new SitePrincipal(siteId);
        var key = SiteRequest.MakeKey();
        return new IssuedCertificate(SignSite(siteId, SiteRequest.Make(siteId, key)), key.TrimEnd());
    }

    /// <summary>Answers a site's request with its certificate and the intermediate above it, in PEM, the certificate first.</summary>
    /// <param name="siteId">The site that asks, as somebody else has proven.</param>
    /// <param name="requestPem">PKCS #10 in PEM.</param>
    /// <exception cref="ArgumentException">The site id is not a DNS label.</exception>
    /// <exception cref="CertificateRefusedException">The request is not one for this site.</exception>
    public string SignSite(string siteId, string requestPem)
    {
        var key = SiteRequest.Read(siteId, requestPem);
        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(new SitePrincipal(siteId).SpiffeId);
        var request = new CertificateRequest(SiteAuthority.Subject(siteId, siteId), key, HashAlgorithmName.SHA256);
        if (!_hasIntermediates)
        {
            using var direct = Sign(request, names, _root, CertificateTrust.ClientAuth);
            return direct.ExportCertificatePem();
        }

        using var authority = Intermediate(siteId);
        using var certificate = Sign(request, names, authority, CertificateTrust.ClientAuth);
        return certificate.ExportCertificatePem() + "\n" + authority.ExportCertificatePem();
    }

    /// <summary>Takes one certificate back.</summary>
    /// <param name="serial">Its serial number in hex.</param>
    /// <param name="reason">Why.</param>
    public Revocation Revoke(string serial, string reason) => Add(n => new Revocation(n, serial.ToUpperInvariant(), null, 0, reason, NowMs()));

    /// <summary>Takes all certificates of a site back that were issued until now: its device was lost.</summary>
    public Revocation RevokeSite(string siteId, string reason)
    {
        // A certificate's begin has whole seconds: the one of this second counts as before, the one after enrolling again as after.
        var before = ((NowMs() / 1000) + 1) * 1000;
        return Add(n => new Revocation(n, null, new SitePrincipal(siteId).SiteId, before, reason, NowMs()));
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

    private IssuedCertificate Issue(string subject, SubjectAlternativeNameBuilder names, params string[] purposes)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = Sign(new CertificateRequest(subject, key, HashAlgorithmName.SHA256), names, _root, purposes);
        return new IssuedCertificate(certificate.ExportCertificatePem(), key.ExportPkcs8PrivateKeyPem());
    }

    private X509Certificate2 Sign(CertificateRequest request, SubjectAlternativeNameBuilder names, X509Certificate2 issuer, params string[] purposes)
    {
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([.. purposes.Select(purpose => new Oid(purpose))], true));
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(issuer, true, false));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));

        var now = _clock.GetUtcNow();
        var end = now.AddDays(LeafDays);
        using var key = issuer.GetECDsaPrivateKey()!;
        return request.Create(
            issuer.SubjectName, X509SignatureGenerator.CreateForECDsa(key), now, end < issuer.NotAfter ? end : issuer.NotAfter, RandomNumberGenerator.GetBytes(16));
    }

    /// <summary>The intermediate of a site; a new one when a leaf would outlive the old one.</summary>
    private X509Certificate2 Intermediate(string siteId)
    {
        var path = Path.Combine(_folder, "sites", $"{new SitePrincipal(siteId).SiteId}.pem");
        if (File.Exists(path))
        {
            var there = X509Certificate2.CreateFromPemFile(path);
            if (there.NotAfter.ToUniversalTime() >= _clock.GetUtcNow().UtcDateTime.AddDays(LeafDays) || there.NotAfter >= _root.NotAfter)
            {
                return there;
            }

            there.Dispose();
            PemFile.Write(path, SiteAuthority.Make(siteId, _root, _clock.GetUtcNow()), secret: true, overwrite: true);
        }
        else
        {
            PemFile.Write(path, SiteAuthority.Make(siteId, _root, _clock.GetUtcNow()), secret: true, overwrite: false);
        }

        return X509Certificate2.CreateFromPemFile(path);
    }

    private Revocation Add(Func<long, Revocation> make)
    {
        using var key = _root.GetECDsaPrivateKey()!;
        return Revocations.Add(key, make);
    }

    private long NowMs() => _clock.GetUtcNow().ToUnixTimeMilliseconds();

    private static void MakeRoot(string path, DateTimeOffset now)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=Yizhan root", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 1, true));
        request.CertificateExtensions.Add(
            new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        using var root = request.CreateSelfSigned(now, now.AddDays(RootDays));
        PemFile.Write(
            path, root.ExportCertificatePem() + "\n" + key.ExportPkcs8PrivateKeyPem() + "\n", secret: true, overwrite: false);
    }
}
