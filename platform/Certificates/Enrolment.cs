using System.Net;
using System.Net.Http.Json;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yizhan.Platform.Certificates;

/// <summary>What an operator carries to a new device: a secret for one use within the hour. The file has mode 0600.</summary>
/// <param name="Site">The site that it makes of the device.</param>
/// <param name="Centre">Where to enrol, such as <c>https://centre.example:8444</c>.</param>
/// <param name="Root">Root certificate of the installation, PEM: by it the device recognises the centre.</param>
/// <param name="Token">The secret, 256 bits, base64url.</param>
/// <param name="ExpiresMs">Unix milliseconds.</param>
public sealed record EnrolmentToken(string Site, Uri Centre, string Root, string Token, long ExpiresMs)
{
    /// <summary>It does not belong into a log.</summary>
    public override string ToString() => $"{nameof(EnrolmentToken)} of {Site}";
}

/// <summary>What a device sends: the secret, and its request (PKCS #10, PEM).</summary>
public sealed record EnrolmentRequest(string Token, string Request)
{
    /// <summary>It does not belong into a log.</summary>
    public override string ToString() => nameof(EnrolmentRequest);
}

/// <summary>A request for the next certificate.</summary>
/// <param name="Request">PKCS #10, PEM.</param>
public sealed record RenewalRequest(string Request);

/// <summary>A request for the next certificate that travels in a file: signed with the key of the present one.</summary>
/// <param name="Site">The site.</param>
/// <param name="Certificate">Its present certificate with its chain, PEM.</param>
/// <param name="Request">PKCS #10, PEM.</param>
/// <param name="Signature">ECDSA with SHA-256 over the request's text by the present key, base64 (RFC 3279 §2.2.3).</param>
public sealed record RenewalBundle(string Site, string Certificate, string Request, string Signature);

/// <summary>The answer to each of these.</summary>
/// <param name="Certificate">The certificate with its chain, PEM, the certificate first.</param>
/// <param name="Revocations">What the asker does not know yet of revocations; may be empty.</param>
public sealed record CertificateAnswer(string Certificate, IReadOnlyList<string> Revocations);

/// <summary>Revocations after a number.</summary>
/// <param name="Statements">At most <see cref="Certificates.Revocations.MostAtOnce"/> signed statements.</param>
public sealed record RevocationDelta(IReadOnlyList<string> Statements);

/// <summary>JSON of enrolment, renewal and revocation.</summary>
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, WriteIndented = true)]
[JsonSerializable(typeof(EnrolmentToken))]
[JsonSerializable(typeof(EnrolmentRequest))]
[JsonSerializable(typeof(RenewalRequest))]
[JsonSerializable(typeof(RenewalBundle))]
[JsonSerializable(typeof(CertificateAnswer))]
[JsonSerializable(typeof(RevocationDelta))]
public sealed partial class EnrolmentJson : JsonSerializerContext;

/// <summary>The device's side: its key is made in its folder and never leaves it.</summary>
public static class Enrolment
{
    /// <summary>Route at the door for new devices.</summary>
    public const string Route = "/enrolment/v1/certificate";

    /// <summary>Most bytes of a body or an answer.</summary>
    public const int MaxBytes = 64 * 1024;

    /// <summary>The files of an identity in a folder.</summary>
    public static (string Certificate, string Key, string Root) FilesIn(string folder) =>
        (Path.Combine(folder, "certificate.pem"), Path.Combine(folder, "key.pem"), Path.Combine(folder, "root.crt"));

    /// <summary>
    /// Enrols: makes a key, asks, and writes key, certificate and root into a folder. It can be repeated after a lost answer: the key
    /// that waits there is used again, and the centre answers the same request with the same certificate.
    /// </summary>
    /// <returns>The certificate.</returns>
    /// <exception cref="CertificateRefusedException">The centre refused, or answered with something else than our certificate.</exception>
    /// <exception cref="HttpRequestException">The centre does not answer.</exception>
    /// <exception cref="IOException">The folder cannot be written, or has an identity already.</exception>
    public static async Task<X509Certificate2> EnrolAsync(EnrolmentToken token, string folder, TimeProvider clock, CancellationToken cancellationToken)
    {
        var files = FilesIn(folder);
        if (File.Exists(files.Certificate))
        {
            throw new IOException($"{files.Certificate} exists: this device is enrolled. To enrol it anew, move the folder away.");
        }

        var (keyPath, requestPath) = (files.Key + ".next", Path.Combine(folder, "request.pem"));
        if (!File.Exists(requestPath) || !File.Exists(keyPath))
        {
            var fresh = SiteRequest.MakeKey();
            PemFile.Write(keyPath, fresh, secret: true, overwrite: true);
            PemFile.Write(requestPath, SiteRequest.Make(token.Site, fresh) + "\n", secret: false, overwrite: true);
        }

        using var root = X509Certificate2.CreateFromPem(token.Root);

        // A board without a battery begins in 1970. The token was made at most an hour before its end: so long ago at the most was now.
        var notEarlierThan = DateTimeOffset.FromUnixTimeMilliseconds(token.ExpiresMs);
        using var http = Client(token.Centre, new CertificateTrust(root, clock, notEarlierThan > root.NotBefore ? notEarlierThan : root.NotBefore));
        var request = await File.ReadAllTextAsync(requestPath, cancellationToken);
        using var body = new ByteArrayContent(
            JsonSerializer.SerializeToUtf8Bytes(new EnrolmentRequest(token.Token, request), EnrolmentJson.Default.EnrolmentRequest));
        using var answer = await http.PostAsync(Route, body, cancellationToken);
        if (!answer.IsSuccessStatusCode)
        {
            throw new CertificateRefusedException(await ReasonAsync(answer, cancellationToken));
        }

        var issued = await answer.Content.ReadFromJsonAsync(EnrolmentJson.Default.CertificateAnswer, cancellationToken)
            ?? throw new CertificateRefusedException("The centre answered null.");
        var key = await File.ReadAllTextAsync(keyPath, cancellationToken);
        var certificate = Check(issued.Certificate, key, token.Site, root);
        PemFile.Write(files.Root, token.Root.TrimEnd() + "\n", secret: false, overwrite: true);
        new CertificateFiles(files.Certificate, files.Key).Replace(issued.Certificate, key);
        File.Delete(requestPath);
        return certificate;
    }

    /// <summary>Writes a request for the next certificate to travel in a file; its key waits beside the present one.</summary>
    /// <exception cref="CryptographicException">The present files do not fit together.</exception>
    public static RenewalBundle Ask(string certificatePath, string keyPath)
    {
        var (certificatePem, keyPem) = (File.ReadAllText(certificatePath), File.ReadAllText(keyPath));
        using var present = X509Certificate2.CreateFromPem(certificatePem, keyPem);
        var site = SitePrincipal.From(present)?.SiteId ?? throw new CryptographicException($"{certificatePath} is not the certificate of a site.");
        var waiting = keyPath + ".offline";
        if (!File.Exists(waiting))
        {
            PemFile.Write(waiting, SiteRequest.MakeKey(), secret: true, overwrite: true);
        }

        var request = SiteRequest.Make(site, File.ReadAllText(waiting));
        using var key = present.GetECDsaPrivateKey()!;
        var signature = key.SignData(System.Text.Encoding.UTF8.GetBytes(request), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
        return new RenewalBundle(site, certificatePem, request, Convert.ToBase64String(signature));
    }

    /// <summary>Takes the answer to <see cref="Ask"/>.</summary>
    /// <exception cref="CertificateRefusedException">It is not our certificate under this root.</exception>
    public static X509Certificate2 Take(CertificateAnswer answer, string certificatePath, string keyPath, string rootPath)
    {
        using var present = X509Certificate2.CreateFromPem(File.ReadAllText(certificatePath));
        using var root = X509Certificate2.CreateFromPem(File.ReadAllText(rootPath));
        var waiting = keyPath + ".offline";
        if (!File.Exists(waiting))
        {
            throw new CertificateRefusedException($"No request waits here ({waiting}): make one with yizhan certificate request.");
        }

        var key = File.ReadAllText(waiting);
        var certificate = Check(answer.Certificate, key, SitePrincipal.From(present)!.SiteId, root);
        new CertificateFiles(certificatePath, keyPath).Replace(answer.Certificate, key);
        File.Delete(waiting);
        return certificate;
    }

    /// <summary>What came must be for our key and our site, under our root: else the files that work stay.</summary>
    /// <exception cref="CertificateRefusedException">It is not.</exception>
    public static X509Certificate2 Check(string certificatePem, string keyPem, string site, X509Certificate2 root)
    {
        try
        {
            var certificate = X509Certificate2.CreateFromPem(certificatePem, keyPem);
            var chain = new X509Certificate2Collection();
            chain.ImportFromPem(certificatePem);

            // By the time of the certificate itself: the clock of a new device is not to be trusted yet.
            var verdict = new CertificateTrust(root, new Still(certificate.NotBefore)).Check(certificate, CertificateTrust.ClientAuth, chain);
            return verdict == CertificateVerdict.Valid && SitePrincipal.From(certificate)?.SiteId == site
                ? certificate
                : throw new CertificateRefusedException($"The certificate that came is not one of {site} under this root: {verdict}.");
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw new CertificateRefusedException($"The certificate that came does not fit our key: {e.Message}", e);
        }
    }

    private static HttpClient Client(Uri centre, CertificateTrust trust) => new(new SocketsHttpHandler
    {
        UseProxy = false,
        UseCookies = false,
        AllowAutoRedirect = false,
        ConnectTimeout = TimeSpan.FromSeconds(30),
        SslOptions = new()
        {
            EnabledSslProtocols = SslProtocols.Tls13,
            RemoteCertificateValidationCallback = (_, certificate, _, errors) => trust.CheckServer(certificate, errors) is var verdict
                && verdict == CertificateVerdict.Valid ? true : throw new AuthenticationException($"the centre's certificate is not accepted: {verdict}."),
        },
    })
    {
        BaseAddress = centre,
        Timeout = TimeSpan.FromSeconds(60),
        DefaultRequestVersion = HttpVersion.Version20,
        DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        MaxResponseContentBufferSize = MaxBytes,
    };

    private static async Task<string> ReasonAsync(HttpResponseMessage answer, CancellationToken cancellationToken)
    {
        try
        {
            using var problem = JsonDocument.Parse(await answer.Content.ReadAsStringAsync(cancellationToken));
            return problem.RootElement.TryGetProperty("detail", out var detail) ? $"{detail}" : $"The centre answered {(int)answer.StatusCode}.";
        }
        catch (JsonException)
        {
            return $"The centre answered {(int)answer.StatusCode}.";
        }
    }

    private sealed class Still(DateTime at) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => new(at.ToUniversalTime());
    }
}
