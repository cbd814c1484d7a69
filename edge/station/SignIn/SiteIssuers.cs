using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.IdentityModel.Tokens;
using Yizhan.Platform.Identity;

namespace Yizhan.Station.SignIn;

/// <summary>The site's own issuer: its tokens are signed with the key of its certificate and may name no other site.</summary>
internal sealed class SiteIssuer(SiteSignIn signIn, LinkService link, TimeProvider clock) : ITrustedIssuer
{
    private const int MaxKeys = 4;

    private readonly Lock _gate = new();
    private readonly List<(string Thumbprint, SecurityKey Key, DateTimeOffset LastUsed)> _keys = [];

    public string Issuer => link.Files is null ? "" : signIn.Issuer;

    public bool MaySpeakFor(string site) => signIn.Issuer == $"urn:yizhan:site:{site}";

    public ValueTask<IReadOnlyCollection<SecurityKey>> KeysAsync(string? keyId, CancellationToken cancellationToken) => new(Keys());

    /// <summary>The key of the certificate, and after a renewal the one before for as long as a token of it may live.</summary>
    public SecurityKey[] Keys()
    {
        if (link.Files is not { } files)
        {
            return [];
        }

        lock (_gate)
        {
            var (now, certificate) = (clock.GetUtcNow(), files.Certificate);
            var at = _keys.FindIndex(k => k.Thumbprint == certificate.Thumbprint);
            if (at >= 0)
            {
                _keys[at] = _keys[at] with { LastUsed = now };
            }
            else
            {
                _keys.Add((certificate.Thumbprint, new ECDsaSecurityKey(Public(certificate)) { KeyId = certificate.Thumbprint }, now));
            }

            _keys.RemoveAll(k => k.LastUsed + SiteSignIn.LongestEmergency + SiteSignIn.TokenLife < now);
            if (_keys.Count > MaxKeys)
            {
                _keys.RemoveRange(0, _keys.Count - MaxKeys);
            }

            return [.. _keys.Select(k => k.Key)];
        }
    }

    private static ECDsa Public(X509Certificate2 certificate) => certificate.GetECDsaPublicKey() ?? throw new CryptographicException("The site's certificate has no ECDSA key.");
}

/// <summary>The centre's issuer, as the signed list of the site has it: its tokens are believed while the centre is away.</summary>
internal sealed class CentreIssuer(SiteSignIn signIn, TimeProvider clock) : ITrustedIssuer
{
    private (string Json, SecurityKey[] Keys)? _read;

    public string Issuer => signIn.List?.Issuer ?? "";

    public ValueTask<IReadOnlyCollection<SecurityKey>> KeysAsync(string? keyId, CancellationToken cancellationToken)
    {
        if (signIn.List is not { } list || clock.GetUtcNow() - DateTimeOffset.FromUnixTimeMilliseconds(list.IssuedMs) > AccountList.Life)
        {
            throw new TokenRefusedException($"The keys of the centre's issuer are older than {AccountList.Life.TotalDays:0} days.");
        }

        var json = list.Keys.GetRawText();
        if (_read is not { } read || read.Json != json)
        {
            _read = read = (json, [.. new JsonWebKeySet(json).GetSigningKeys().Where(key => key is not SymmetricSecurityKey)]);
        }

        return new(read.Keys);
    }
}
