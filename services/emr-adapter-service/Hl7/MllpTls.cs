using System.Net.Security;
using System.Security.Authentication;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Flows;

namespace Yizhan.EmrAdapter.Hl7;

/// <summary>TLS to a system, where the settings have its root.</summary>
internal static class MllpTls
{
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
                        sent is not null && (errors & SslPolicyErrors.RemoteCertificateNameMismatch) == 0 && TlsFiles.IsTrusted(trust, sent, CertificateTrust.ServerAuth),
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
}
