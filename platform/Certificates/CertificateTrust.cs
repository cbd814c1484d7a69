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
public sealed class CertificateTrust(X509Certificate2 root, TimeProvider clock, DateTimeOffset notEarlierThan = default)
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
    public static CertificateTrust FromFile(string rootFile, TimeProvider clock, DateTimeOffset notEarlierThan = default) =>
        new(X509Certificate2.CreateFromPem(File.ReadAllText(rootFile)), clock, notEarlierThan);

    /// <summary>Checks a certificate for one purpose.</summary>
    /// <param name="certificate">The peer's.</param>
    /// <param name="purpose"><see cref="ServerAuth"/> or <see cref="ClientAuth"/>.</param>
    public CertificateVerdict Check(X509Certificate2 certificate, string purpose)
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

        // Within the tolerance the nearest moment of its life counts; the very last second is outside for the chain builder.
        var last = end.AddSeconds(-1);
        chain.ChainPolicy.VerificationTime = (now < begin ? begin : now > last ? last : now).LocalDateTime;
        var trusted = chain.Build(certificate);
        foreach (var element in chain.ChainElements)
        {
            element.Certificate.Dispose();
        }

        return trusted ? CertificateVerdict.Valid : CertificateVerdict.UnknownIssuer;
    }

    /// <summary>Checks a server's certificate as TLS presents it to a client.</summary>
    public CertificateVerdict CheckServer(X509Certificate? certificate, SslPolicyErrors errors)
    {
        // The platform has compared the name with the host already; its opinion on the chain is about roots that are not ours.
        if (certificate is null || (errors & ~SslPolicyErrors.RemoteCertificateChainErrors) != SslPolicyErrors.None)
        {
            return CertificateVerdict.WrongName;
        }

        using var copy = X509CertificateLoader.LoadCertificate(certificate.GetRawCertData());
        return Check(copy, ServerAuth);
    }
}
