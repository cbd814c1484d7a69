using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.Tokens;
using Yizhan.Platform;
using Yizhan.Platform.Identity;

namespace Yizhan.Auth;

/// <summary>
/// The keys of the embedded issuer, made at the first start, mode 0600: one that signs tokens (ES256), one that seals codes and
/// refresh tokens, which only the issuer itself reads. In this process its tokens are believed without asking over HTTP.
/// </summary>
internal sealed class IssuerKeys : ITrustedIssuer, IDisposable
{
    private readonly ECDsa _key;
    private readonly SecurityKey[] _public;

    public IssuerKeys(IOptions<NodeOptions> node, IOptions<AuthOptions> options, IOptions<WebOptions> web)
    {
        Address = new Uri(options.Value.Issuer.Length > 0 ? options.Value.Issuer : web.Value.Url.Split(';')[0].TrimEnd('/') + "/auth");
        _key = ECDsa.Create();
        _key.ImportFromPem(ReadOrMake(node.Value.PathOf("auth", "keys", "signing.pem"), () =>
        {
            using var made = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            return made.ExportPkcs8PrivateKeyPem();
        }));
        Signing = new ECDsaSecurityKey(_key) { KeyId = Convert.ToHexStringLower(SHA256.HashData(_key.ExportSubjectPublicKeyInfo()).AsSpan(0, 8)) };
        Sealing = new SymmetricSecurityKey(Convert.FromHexString(ReadOrMake(node.Value.PathOf("auth", "keys", "sealing.key"),
            () => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(64)))));
        _public = [new ECDsaSecurityKey(ECDsa.Create(_key.ExportParameters(includePrivateParameters: false))) { KeyId = Signing.KeyId }];
    }

    public Uri Address { get; }

    public string Issuer => Address.AbsoluteUri;

    public ECDsaSecurityKey Signing { get; }

    public SymmetricSecurityKey Sealing { get; }

    public ValueTask<IReadOnlyCollection<SecurityKey>> KeysAsync(string? keyId, CancellationToken cancellationToken) => new(_public);

    public void Dispose() => _key.Dispose();

    private static string ReadOrMake(string path, Func<string> make)
    {
        // Of two that start at once the first one's file counts.
        if (!File.Exists(path))
        {
            AtomicFile.Write(path, Encoding.ASCII.GetBytes(make()), secret: true, overwrite: false);
        }

        return File.ReadAllText(path).Trim();
    }
}
