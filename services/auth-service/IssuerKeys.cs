using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Primitives;
using Microsoft.IdentityModel.Tokens;
using OpenIddict.Server;
using Yizhan.Platform;
using Yizhan.Platform.Identity;

namespace Yizhan.Auth;

/// <summary>
/// The keys of the embedded issuer, made at the first start, mode 0600: one that signs tokens (ES256), one that seals codes and
/// refresh tokens, which only the issuer itself reads. In this process its tokens are believed without asking over HTTP.
/// </summary>
/// <remarks>
/// Signing keys change every <c>auth:keyDays</c>, with an overlap at both ends: a key is published for a tenth of that time before it signs, so
/// that everybody has it, and as long after it has signed its last token, so that every token outlives its key. The file's name is the time of
/// its making; a file that somebody puts there or takes away counts with the next start or change.
/// </remarks>
internal sealed class IssuerKeys : ITrustedIssuer, IOptionsChangeTokenSource<OpenIddictServerOptions>, IDisposable
{
    private const string Extension = ".pem";

    private static readonly TimeSpan BetweenLooks = TimeSpan.FromMinutes(10);

    private readonly string _folder;
    private readonly TimeSpan _life;
    private readonly TimeProvider _clock;
    private readonly Lock _gate = new();
    private readonly List<Pair> _pairs;
    private readonly ITimer _timer;
    private CancellationTokenSource _changed = new();
    private string _said;

    public IssuerKeys(IOptions<NodeOptions> node, IOptions<AuthOptions> options, IOptions<WebOptions> web, TimeProvider clock)
    {
        Address = new Uri(options.Value.Issuer.Length > 0 ? options.Value.Issuer : web.Value.Url.Split(';')[0].TrimEnd('/') + "/auth");
        (_clock, _life) = (clock, TimeSpan.FromDays(options.Value.KeyDays));
        _folder = Path.GetDirectoryName(node.Value.PathOf("auth", "keys", "signing", "x"))!;
        TakeOldFile(node.Value.PathOf("auth", "keys", "signing.pem"));
        _pairs = [.. Directory.EnumerateFiles(_folder, "*" + Extension).Select(Read).OfType<Pair>().OrderBy(p => p.MadeMs)];
        Sealing = new SymmetricSecurityKey(Convert.FromHexString(ReadOrMake(node.Value.PathOf("auth", "keys", "sealing.key"),
            () => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(64)))));
        _said = Said();
        _timer = clock.CreateTimer(_ => Look(), null, BetweenLooks, BetweenLooks);
    }

    /// <summary>The options by this name are made anew when the keys have changed.</summary>
    public string? Name => Options.DefaultName;

    public Uri Address { get; }

    public string Issuer => Address.AbsoluteUri;

    /// <summary>Time for which a key is published before it signs and after it has.</summary>
    public TimeSpan Overlap => _life / 10;

    public SymmetricSecurityKey Sealing { get; }

    /// <summary>All signing keys with their private halves, the one that signs now first, then those that only check.</summary>
    public IReadOnlyList<ECDsaSecurityKey> Signing
    {
        get
        {
            lock (_gate)
            {
                Turn();
                var (now, overlap) = (_clock.GetUtcNow().ToUnixTimeMilliseconds(), (long)Overlap.TotalMilliseconds);
                var signs = _pairs.FindLast(p => now >= p.MadeMs + overlap) ?? _pairs[0];
                return [signs.Private, .. _pairs.Where(p => p != signs).Select(p => p.Private)];
            }
        }
    }

    public ValueTask<IReadOnlyCollection<SecurityKey>> KeysAsync(string? keyId, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            Turn();
            return new([.. _pairs.Select(p => p.Public)]);
        }
    }

    /// <summary>The public keys as JSON (RFC 7517).</summary>
    public JsonElement Set()
    {
        lock (_gate)
        {
            Turn();
            return JsonSerializer.SerializeToElement(new
            {
                keys = _pairs.Select(p => JsonWebKeyConverter.ConvertFromECDsaSecurityKey((ECDsaSecurityKey)p.Public))
                    .Select(k => new { kty = k.Kty, crv = k.Crv, x = k.X, y = k.Y, kid = k.Kid, use = "sig", alg = "ES256" }),
            });
        }
    }

    public IChangeToken GetChangeToken() => new CancellationChangeToken(_changed.Token);

    public void Dispose()
    {
        _timer.Dispose();
        _changed.Dispose();
        _pairs.ForEach(p => p.Private.ECDsa.Dispose());
    }

    private string Said() => string.Join(' ', Signing.Select(key => key.KeyId));

    private void Look()
    {
        CancellationTokenSource before;
        lock (_gate)
        {
            var says = Said();
            if (says == _said)
            {
                return;
            }

            _said = says;
            (before, _changed) = (_changed, new CancellationTokenSource());
        }

        // Not disposed: whoever asked for its token before may still look at it.
        before.Cancel();
    }

    /// <summary>Makes the next key when its time has come and forgets those that have signed nothing that still counts.</summary>
    private void Turn()
    {
        lock (_gate)
        {
            var (now, life, overlap) = (_clock.GetUtcNow().ToUnixTimeMilliseconds(), (long)_life.TotalMilliseconds, (long)Overlap.TotalMilliseconds);
            if (_pairs.Count == 0 || now >= _pairs[^1].MadeMs + life)
            {
                using var made = ECDsa.Create(ECCurve.NamedCurves.nistP256);
                var path = Path.Combine(_folder, now.ToString(CultureInfo.InvariantCulture) + Extension);
                ReadOrMake(path, made.ExportPkcs8PrivateKeyPem);
                _pairs.Add(Read(path)!);
            }

            // A successor signs from its making and one overlap on; another overlap later no token of the key before is left.
            while (_pairs.Count > 1 && now >= _pairs[1].MadeMs + (2 * overlap))
            {
                // It is not disposed: an answer that is being written may still be reading its public half.
                File.Delete(_pairs[0].Path);
                _pairs.RemoveAt(0);
            }
        }
    }

    /// <summary>The one key of earlier versions goes on as one that was made when its file was.</summary>
    private void TakeOldFile(string path)
    {
        if (File.Exists(path))
        {
            var made = new DateTimeOffset(File.GetLastWriteTimeUtc(path), TimeSpan.Zero).ToUnixTimeMilliseconds();
            File.Move(path, Path.Combine(_folder, made.ToString(CultureInfo.InvariantCulture) + Extension), overwrite: true);
        }
    }

    private static Pair? Read(string path)
    {
        if (!long.TryParse(Path.GetFileNameWithoutExtension(path), NumberStyles.None, CultureInfo.InvariantCulture, out var made))
        {
            return null;
        }

        var key = ECDsa.Create();
        key.ImportFromPem(File.ReadAllText(path));
        var id = Convert.ToHexStringLower(SHA256.HashData(key.ExportSubjectPublicKeyInfo()).AsSpan(0, 8));
        return new Pair(
            path, made, new ECDsaSecurityKey(key) { KeyId = id },
            new ECDsaSecurityKey(ECDsa.Create(key.ExportParameters(includePrivateParameters: false))) { KeyId = id });
    }

    private static string ReadOrMake(string path, Func<string> make)
    {
        // Of two that start at once the first one's file counts.
        if (!File.Exists(path))
        {
            AtomicFile.Write(path, Encoding.ASCII.GetBytes(make()), secret: true, overwrite: false);
        }

        return File.ReadAllText(path).Trim();
    }

    private sealed record Pair(string Path, long MadeMs, ECDsaSecurityKey Private, SecurityKey Public);
}
