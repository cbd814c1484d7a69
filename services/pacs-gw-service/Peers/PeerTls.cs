using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Options;
using Yizhan.Platform.Certificates;

namespace Yizhan.PacsGw.Peers;

/// <summary>
/// DICOM over TLS by the BCP 195 profile (PS3.15 §B.12): TLS 1.2 with forward secrecy and authenticated encryption, or TLS 1.3; both sides show a
/// certificate under the one configured root.
/// </summary>
internal sealed class PeerTls(IOptions<PacsGwOptions> options, TimeProvider clock)
{
    private readonly Lazy<(SslStreamCertificateContext Own, CertificateTrust Trust)> _keys = new(() =>
    {
        var settings = options.Value;
        var certificate = X509Certificate2.CreateFromPemFile(settings.TlsCertificatePath!, settings.TlsKeyPath);
        return (SslStreamCertificateContext.Create(certificate, null, offline: true), CertificateTrust.FromFile(settings.TlsRootPath!, clock));
    });

    // RFC 9325 §4.2, and the suites of TLS 1.3. Null where the system's own policy cannot be narrowed (not on Linux).
    private static readonly CipherSuitesPolicy? Suites = OperatingSystem.IsLinux()
        ? new CipherSuitesPolicy(
        [
            TlsCipherSuite.TLS_AES_128_GCM_SHA256,
            TlsCipherSuite.TLS_AES_256_GCM_SHA384,
            TlsCipherSuite.TLS_CHACHA20_POLY1305_SHA256,
            TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            TlsCipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            TlsCipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ])
        : null;

    /// <summary>Reads certificate, key and root: what is wrong with them stops the start, not the first peer.</summary>
    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="System.Security.Cryptography.CryptographicException">A file is not what it should be.</exception>
    public void Check() => _ = _keys.Value;

    /// <summary>Secures an accepted connection.</summary>
    /// <param name="stream">The connection; the result owns it.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>The secured stream and the certificate that the peer showed.</returns>
    /// <exception cref="AuthenticationException">The peer showed none, or one that is not under our root.</exception>
    public async Task<(Stream Stream, X509Certificate2 Certificate)> AcceptAsync(Stream stream, CancellationToken cancellationToken)
    {
        var (own, trust) = _keys.Value;
        var secured = new SslStream(stream);
        CertificateVerdict? verdict = null;
        try
        {
            await secured.AuthenticateAsServerAsync(
                new SslServerAuthenticationOptions
                {
                    ServerCertificateContext = own,
                    ClientCertificateRequired = true,
                    EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                    CipherSuitesPolicy = Suites,
                    RemoteCertificateValidationCallback = (_, certificate, _, _) =>
                        certificate is X509Certificate2 shown && (verdict = trust.Check(shown, CertificateTrust.ClientAuth)) == CertificateVerdict.Valid,
                },
                cancellationToken);
            return (secured, X509CertificateLoader.LoadCertificate(secured.RemoteCertificate!.GetRawCertData()));
        }
        catch (AuthenticationException e)
        {
            await secured.DisposeAsync();
            throw Refusal(e, verdict, pinned: true);
        }
        catch
        {
            await secured.DisposeAsync();
            throw;
        }
    }

    /// <summary>Secures a connection that we opened.</summary>
    /// <param name="stream">The connection; the result owns it.</param>
    /// <param name="peer">Who was called: its host must be named by its certificate.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="AuthenticationException">Its certificate is not under our root, not for this host, or not the configured one.</exception>
    public async Task<Stream> RequestAsync(Stream stream, PeerOptions peer, CancellationToken cancellationToken)
    {
        var (own, trust) = _keys.Value;
        var secured = new SslStream(stream);
        CertificateVerdict? verdict = null;
        var pinned = true;
        try
        {
            await secured.AuthenticateAsClientAsync(
                new SslClientAuthenticationOptions
                {
                    TargetHost = peer.Host,
                    ClientCertificateContext = own,
                    EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                    CipherSuitesPolicy = Suites,
                    RemoteCertificateValidationCallback = (_, certificate, _, errors) =>
                        (verdict = trust.CheckServer(certificate, errors)) == CertificateVerdict.Valid
                        && (pinned = peer.CertificateSha256 is null || string.Equals(
                            peer.CertificateSha256,
                            certificate!.GetCertHashString(System.Security.Cryptography.HashAlgorithmName.SHA256),
                            StringComparison.OrdinalIgnoreCase)),
                },
                cancellationToken);
            return secured;
        }
        catch (AuthenticationException e)
        {
            await secured.DisposeAsync();
            throw Refusal(e, verdict, pinned);
        }
        catch
        {
            await secured.DisposeAsync();
            throw;
        }
    }

    /// <summary>What the operator can act on: the platform only says that a callback of ours did not agree, or names an inner exception.</summary>
    private static AuthenticationException Refusal(AuthenticationException e, CertificateVerdict? verdict, bool pinned) => new(
        verdict is { } found and not CertificateVerdict.Valid ? $"The peer's certificate is refused: {found}."
        : !pinned ? "The peer's certificate is not the one of its certificateSha256."
        : $"No TLS connection: {(e.InnerException ?? e).Message}",
        e);
}
