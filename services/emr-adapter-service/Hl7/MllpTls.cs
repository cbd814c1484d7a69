using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Yizhan.Platform.Certificates;

namespace Yizhan.EmrAdapter.Hl7;

/// <summary>TLS of MLLP connections (IHE ATNA's secure node), where the settings have certificates.</summary>
internal static class MllpTls
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>Our certificate; null when the settings have none.</summary>
    /// <exception cref="InvalidOperationException">There is a certificate without a key.</exception>
    public static X509Certificate2? Certificate(string? certificateFile, string? keyFile)
    {
        if (certificateFile is null)
        {
            return null;
        }

        using var pem = X509Certificate2.CreateFromPemFile(
            certificateFile, keyFile ?? throw new InvalidOperationException("emr-adapter:hl7:keyFile is missing: the certificate needs its key."));

        // A key that is only in memory is not shown to the peer by every TLS library; one from PKCS #12 is.
        return X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null);
    }

    /// <summary>The stream as it is, or TLS over it; with a root the sender needs a certificate of it.</summary>
    public static async Task<Stream> ServeAsync(Stream stream, X509Certificate2? certificate, CertificateTrust? trust, CancellationToken stopping)
    {
        if (certificate is null)
        {
            return stream;
        }

        var tls = new SslStream(stream);
        try
        {
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(stopping);
            patience.CancelAfter(Patience);
            await tls.AuthenticateAsServerAsync(
                new SslServerAuthenticationOptions
                {
                    ServerCertificate = certificate,
                    ClientCertificateRequired = trust is not null,
                    EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                    RemoteCertificateValidationCallback = (_, sent, _, _) => trust is null || (sent is not null && IsTrusted(trust, sent, CertificateTrust.ClientAuth)),
                },
                patience.Token);
            return tls;
        }
        catch
        {
            await tls.DisposeAsync();
            throw;
        }
    }

    /// <summary>TLS over the stream to a system whose certificate is of a root.</summary>
    public static async Task<Stream> ConnectAsync(Stream stream, string host, CertificateTrust trust, CancellationToken cancellationToken)
    {
        var tls = new SslStream(stream);
        try
        {
            await tls.AuthenticateAsClientAsync(
                new SslClientAuthenticationOptions
                {
                    TargetHost = host,
                    EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                    RemoteCertificateValidationCallback = (_, sent, _, errors) =>
                        sent is not null && (errors & SslPolicyErrors.RemoteCertificateNameMismatch) == 0 && IsTrusted(trust, sent, CertificateTrust.ServerAuth),
                },
                cancellationToken);
            return tls;
        }
        catch
        {
            await tls.DisposeAsync();
            throw;
        }
    }

    private static bool IsTrusted(CertificateTrust trust, X509Certificate sent, string purpose)
    {
        using var copy = X509CertificateLoader.LoadCertificate(sent.GetRawCertData());
        return trust.Check(copy, purpose) == CertificateVerdict.Valid;
    }
}
