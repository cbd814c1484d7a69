using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Yizhan.Platform.Certificates;

/// <summary>
/// A certificate with its chain and key in PEM files that somebody renews: the station, cert-manager, an administrator. They are
/// looked at for each new connection and read when they changed; connections that are open keep what they began with.
/// </summary>
/// <remarks>
/// While the files do not fit together, what was read last goes on: a half-made change never takes the service away. A renewal
/// writes the new key beside the old one (<c>.next</c>), then the certificate, then moves the key: each step leaves a pair that fits.
/// </remarks>
public sealed class CertificateFiles(string certificatePath, string keyPath)
{
    private readonly Lock _gate = new();
    private (DateTime, long, DateTime, long) _seen;
    private SslStreamCertificateContext? _context;

    /// <summary>The certificate that counts now.</summary>
    /// <exception cref="CryptographicException">It was never read before, and the files do not fit together.</exception>
    /// <exception cref="IOException">It was never read before, and a file cannot be read.</exception>
    public X509Certificate2 Certificate => Context.TargetCertificate;

    /// <summary>The same with its intermediates, for TLS.</summary>
    /// <exception cref="CryptographicException">It was never read before, and the files do not fit together.</exception>
    /// <exception cref="IOException">It was never read before, and a file cannot be read.</exception>
    public SslStreamCertificateContext Context
    {
        get
        {
            lock (_gate)
            {
                var (certificate, key) = (new FileInfo(certificatePath), new FileInfo(keyPath));
                var seen = (certificate.LastWriteTimeUtc, certificate.Exists ? certificate.Length : -1, key.LastWriteTimeUtc, key.Exists ? key.Length : -1);
                if (_context is null || seen != _seen)
                {
                    try
                    {
                        _context = Read();
                        _seen = seen;
                    }
                    catch (Exception e) when (_context is not null && e is CryptographicException or IOException or UnauthorizedAccessException)
                    {
                        Problem = e.Message;
                        return _context;
                    }

                    Problem = null;
                }

                return _context;
            }
        }
    }

    /// <summary>Why the files as they are now are not used; null when they are.</summary>
    public string? Problem { get; private set; }

    /// <summary>Whether a renewal is due: a third of its life is left, or less.</summary>
    public bool IsDue(DateTimeOffset now)
    {
        var certificate = Certificate;
        var (begin, end) = (certificate.NotBefore.ToUniversalTime(), certificate.NotAfter.ToUniversalTime());
        return now.UtcDateTime > end - ((end - begin) / 3);
    }

    /// <summary>Replaces both files; a power cut between any two steps leaves a pair that fits.</summary>
    public void Replace(string certificatePem, string keyPem)
    {
        // What an earlier power cut left half done is done first: the key that waits is the only one for the present certificate.
        if (File.Exists(Next) && File.Exists(certificatePath) && Fits(File.ReadAllText(certificatePath), File.ReadAllText(Next)) is { } waiting)
        {
            waiting.Dispose();
            File.Move(Next, keyPath, overwrite: true);
        }

        PemFile.Write(Next, keyPem.TrimEnd() + "\n", secret: true, overwrite: true);
        PemFile.Write(certificatePath, certificatePem.TrimEnd() + "\n", secret: false, overwrite: true);
        File.Move(Next, keyPath, overwrite: true);
    }

    private string Next => keyPath + ".next";

    private SslStreamCertificateContext Read()
    {
        // Somebody may be in the middle of replacing them: then the next look finds a pair.
        const int Looks = 5;
        for (var look = 1; ; look++)
        {
            var (pem, key) = (File.ReadAllText(certificatePath), File.ReadAllText(keyPath));
            if ((Fits(pem, key) ?? (TryRead(Next) is { } next ? Fits(pem, next) : null)) is { } certificate)
            {
                var all = new X509Certificate2Collection();
                all.ImportFromPem(pem);
                return SslStreamCertificateContext.Create(certificate, [.. all.Skip(1)], offline: true);
            }

            if (look == Looks)
            {
                throw new CryptographicException($"{certificatePath} and {keyPath} do not hold a certificate and its private key in PEM.");
            }
        }
    }

    private static X509Certificate2? Fits(string certificate, string key)
    {
        try
        {
            return X509Certificate2.CreateFromPem(certificate, key);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            return null;
        }
    }

    private static string? TryRead(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (FileNotFoundException)
        {
            return null;
        }
    }
}
