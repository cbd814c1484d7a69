using System.Net.Security;
using System.Security.Cryptography.X509Certificates;

namespace Yizhan.Platform.Certificates;

/// <summary>A leaf as it leaves the authority: two PEM texts. The key exists nowhere else.</summary>
/// <param name="CertificatePem">The certificate, and the intermediate above it if there is one.</param>
/// <param name="KeyPem">Its private key, PKCS #8.</param>
public sealed record IssuedCertificate(string CertificatePem, string KeyPem)
{
    /// <summary>The certificate with its key, ready for TLS.</summary>
    public X509Certificate2 ToCertificate() => X509Certificate2.CreateFromPem(CertificatePem, KeyPem);

    /// <summary>The same with the intermediates that came along, ready for TLS with a peer that knows the root alone.</summary>
    public SslStreamCertificateContext ToContext()
    {
        var all = new X509Certificate2Collection();
        all.ImportFromPem(CertificatePem);
        return SslStreamCertificateContext.Create(ToCertificate(), [.. all.Skip(1)], offline: true);
    }

    /// <summary>Writes both files durably, each in one step; the key gets mode 0600. What was there is replaced.</summary>
    public void WriteTo(string certificatePath, string keyPath)
    {
        PemFile.Write(keyPath, KeyPem + "\n", secret: true, overwrite: true);
        PemFile.Write(certificatePath, CertificatePem + "\n", secret: false, overwrite: true);
    }

    /// <summary>Neither text belongs into a log.</summary>
    public override string ToString() => nameof(IssuedCertificate);
}
