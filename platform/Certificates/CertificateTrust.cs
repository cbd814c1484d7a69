using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Yizhan.Platform.Certificates;

/// <summary>What was found out about a peer's certificate.</summary>
public enum CertificateVerdict
{
    /// <summary>Issued by our root, for this purpose, and valid now.</summary>
    Valid,

    /// <summary>Not issued by our root, or altered.</summary>
    UnknownIssuer,

    /// <summary>Not issued for this side of the link: a site's certificate on a server, or the other way round.</summary>
    WrongPurpose,

    /// <summary>Its life has not begun.</summary>
    NotYetValid,

    /// <summary>Its life is over.</summary>
    Expired,

    /// <summary>The server's certificate does not name the host that was called, or there was none.</summary>
    WrongName,

    /// <summary>It names a site other than the one for which its intermediate may issue.</summary>
    WrongSite,

    /// <summary>The root has taken it back.</summary>
    Revoked,
}

/// <summary>
/// Decides whether a peer belongs to this installation: only its own root counts, never the machine's store. Nothing is
/// fetched from a network, so the answer is the same while the site is cut off.
/// </summary>
/// <param name="root">Certificate of the root.</param>
/// <param name="clock">The clock that validity is measured by.</param>
/// <param name="notEarlierThan">
/// A time that has certainly passed, such as the beginning of the site's own certificate. A board without a battery starts in
/// 1970; it must still reach the centre to learn the time.
/// </param>
/// <param name="revocations">What does not count any more; null when nobody tells.</param>
public sealed class CertificateTrust(
    X509Certificate2 root, TimeProvider clock, DateTimeOffset notEarlierThan = default, Revocations? revocations = null)
{
    /// <summary>id-kp-serverAuth, RFC 5280 §4.2.1.12.</summary>
    public const string ServerAuth = "1.3.6.1.5.5.7.3.1";

    /// <summary>id-kp-clientAuth, RFC 5280 §4.2.1.12.</summary>
    public const string ClientAuth = "1.3.6.1.5.5.7.3.2";

    /// <summary>How far two clocks may be apart: five minutes at both ends of a certificate's life.</summary>
    public static readonly TimeSpan Tolerance = TimeSpan.FromMinutes(5);

    /// <summary>Reads a root from a PEM file.</summary>
    /// <exception cref="CryptographicException">The file holds no certificate.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static CertificateTrust FromFile(
        string rootFile, TimeProvider clock, DateTimeOffset notEarlierThan = default, Revocations? revocations = null) =>
        new(X509Certificate2.CreateFromPem(File.ReadAllText(rootFile)), clock, notEarlierThan, revocations);

    /// <summary>Checks a certificate for one purpose.</summary>
    /// <param name="certificate">The peer's.</param>
    /// <param name="purpose"><see cref="ServerAuth"/> or <see cref="ClientAuth"/>.</param>
    /// <param name="intermediates">What the peer sent along; they prove nothing by themselves.</param>
    public CertificateVerdict Check(X509Certificate2 certificate, string purpose, X509Certificate2Collection? intermediates = null)
    {
        var now = clock.GetUtcNow();
        now = now > notEarlierThan ? now : notEarlierThan;
        var (begin, end) = (certificate.NotBefore.ToUniversalTime(), certificate.NotAfter.ToUniversalTime());
        if (now + Tolerance < begin)
        {
            return CertificateVerdict.NotYetValid;
        }

        if (now - Tolerance > end)
        {
            return CertificateVerdict.Expired;
        }

        // A certificate without this extension would be good for anything; ours always say what they are for.
        var usages = certificate.Extensions.OfType<X509EnhancedKeyUsageExtension>().SelectMany(e => e.EnhancedKeyUsages.OfType<Oid>());
        if (usages.All(usage => usage.Value != purpose))
        {
            return CertificateVerdict.WrongPurpose;
        }

        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(root);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        if (intermediates is not null)
        {
            chain.ChainPolicy.ExtraStore.AddRange(intermediates);
        }

        // Within the tolerance the nearest moment of its life counts; the very last second is outside for the chain builder.
        var last = end.AddSeconds(-1);
        chain.ChainPolicy.VerificationTime = (now < begin ? begin : now > last ? last : now).LocalDateTime;
        try
        {
            return !chain.Build(certificate) ? CertificateVerdict.UnknownIssuer
                : !IsWithinItsPart(certificate, chain) ? CertificateVerdict.WrongSite
                : revocations is not null && chain.ChainElements.Any(element => revocations.Has(element.Certificate)) ? CertificateVerdict.Revoked
                : CertificateVerdict.Valid;
        }
        finally
        {
            foreach (var element in chain.ChainElements)
            {
                element.Certificate.Dispose();
            }
        }
    }

    /// <summary>
    /// A constraint on URIs is one on their host (RFC 5280 §4.2.1.10), which is the same for all of us. That on the directory name is the
    /// site's own: so below the intermediate of a site the URI has to be that site's.
    /// </summary>
    private static bool IsWithinItsPart(X509Certificate2 certificate, X509Chain chain) => chain.ChainElements
        .Skip(1).SkipLast(1)
        .Select(element => SiteAuthority.SiteOf(element.Certificate.SubjectName))
        .All(site => site is null || SitePrincipal.From(certificate)?.SiteId == site);

    /// <summary>Checks a server's certificate as TLS presents it to a client.</summary>
    public CertificateVerdict CheckServer(X509Certificate? certificate, SslPolicyErrors errors, X509Certificate2Collection? intermediates = null)
    {
        // The platform has compared the name with the host already; its opinion on the chain is about roots that are not ours.
        if (certificate is null || (errors & ~SslPolicyErrors.RemoteCertificateChainErrors) != SslPolicyErrors.None)
        {
            return CertificateVerdict.WrongName;
        }

        using var copy = X509CertificateLoader.LoadCertificate(certificate.GetRawCertData());
        return Check(copy, ServerAuth, intermediates);
    }
}
