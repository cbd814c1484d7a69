using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yizhan.Platform.Releases;

/// <summary>Whose signatures count, at the centre and at each site (<c>trust.json</c>).</summary>
/// <param name="Serial">Grows with each change; an older file never replaces a newer one.</param>
/// <param name="Approvals">How many others than the proposer must have signed. Default 2.</param>
/// <param name="Keys">Keys of people.</param>
public sealed record ReleaseTrust(int Serial, int Approvals, IReadOnlyList<TrustedKey> Keys)
{
    /// <summary>Largest trust file, in bytes.</summary>
    public const int MaxBytes = 64 * 1024;

    /// <summary>Reads a trust file.</summary>
    /// <exception cref="ReleaseRefusedException">It is not one.</exception>
    public static ReleaseTrust Parse(ReadOnlySpan<byte> json) => Parse(json, "The trust file");

    private static ReleaseTrust Parse(ReadOnlySpan<byte> json, string name)
    {
        try
        {
            var trust = JsonSerializer.Deserialize(json, ReleaseJson.Default.ReleaseTrust) ?? throw new JsonException("It is null.");
            var names = trust.Keys.Select(k => k.Name).ToArray();
            return trust.Approvals is < 0 or > 16 ? throw new JsonException($"approvals is {trust.Approvals}; accepted: 0 to 16.")
                : names.Distinct(StringComparer.Ordinal).Count() != names.Length ? throw new JsonException("A name is there twice.")
                : names.Concat(trust.Keys.Select(k => k.Person)).FirstOrDefault(n => !ReleaseBundle.KeyName().IsMatch(n)) is { } wrong ? throw new JsonException($"The name '{wrong}' is not of a-z, 0-9 and '-'.")
                : trust;
        }
        catch (JsonException e)
        {
            throw new ReleaseRefusedException(ReleaseRefusal.Malformed, $"{name} is no trust file: {(e.LineNumber is null ? e.Message : $"line {e.LineNumber + 1}, byte {e.BytePositionInLine} is not JSON of one.")}");
        }
    }

    /// <summary>Reads a trust file from disk; null when there is none.</summary>
    /// <exception cref="ReleaseRefusedException">It is not one.</exception>
    public static ReleaseTrust? Load(string path) =>
        !File.Exists(path) ? null
        : new FileInfo(path).Length > MaxBytes ? throw new ReleaseRefusedException(ReleaseRefusal.TooLarge, $"'{path}' has more than {MaxBytes} bytes.")
        : Parse(File.ReadAllBytes(path), $"'{path}'");

    /// <summary>The file's bytes.</summary>
    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, ReleaseJson.Default.ReleaseTrust);

    /// <summary>Who has approved a release. Every signature on it must be right, and one of them its proposer's.</summary>
    /// <returns>People other than the proposer, in order; who signed with two keys is there once.</returns>
    /// <exception cref="ReleaseRefusedException">A signature is missing, wrong, or of a key that does not count.</exception>
    public IReadOnlyList<string> ApproversOf(ReleaseBundle release)
    {
        foreach (var (name, signature) in release.Signatures)
        {
            Check(release, name, signature);
        }

        return release.Signatures.ContainsKey(release.Manifest.ProposedBy)
            ? Others(release)
            : throw new ReleaseRefusedException(ReleaseRefusal.NoSignature, $"{release.Version} is not signed by '{release.Manifest.ProposedBy}', who proposed it.");
    }

    /// <summary>Whose signatures other than the proposer's are on a release, whether they are right or not.</summary>
    public IReadOnlyList<string> Others(ReleaseBundle release) =>
        [.. release.Signatures.Keys.Select(PersonOf).Where(person => person != PersonOf(release.Manifest.ProposedBy)).Distinct(StringComparer.Ordinal)];

    /// <summary>Whose key it is; a key that nobody trusts is its own.</summary>
    public string PersonOf(string keyName) => Keys.FirstOrDefault(k => k.Name == keyName)?.Person ?? keyName;

    /// <summary>Checks one signature.</summary>
    /// <exception cref="ReleaseRefusedException">It is wrong, or of a key that does not count.</exception>
    public void Check(ReleaseBundle release, string name, ReadOnlySpan<byte> signature)
    {
        if (Keys.FirstOrDefault(k => k.Name == name) is not { } key)
        {
            throw new ReleaseRefusedException(
                ReleaseRefusal.UnknownKey, $"{release.Version} is signed by '{name}', whom nobody trusts here; accepted: {string.Join(", ", Keys.Where(k => !k.Revoked).Select(k => k.Name))}.");
        }

        if (key.Revoked)
        {
            throw new ReleaseRefusedException(ReleaseRefusal.RevokedKey, $"{release.Version} is signed by '{name}', whose key was revoked.");
        }

        if (!key.Verifies(release.SignedBytes.Span, signature))
        {
            throw new ReleaseRefusedException(ReleaseRefusal.WrongSignature, $"The signature of '{name}' is not of this {release.Version}.");
        }
    }

    /// <summary>Everything that makes a release acceptable: signatures, approvals, order, time, and the keys that it brings.</summary>
    /// <param name="release">The release, or a slice.</param>
    /// <param name="now">Now.</param>
    /// <param name="newest">Version and digest of the newest that was ever taken here; null when none was.</param>
    /// <exception cref="ReleaseRefusedException">It is not acceptable.</exception>
    public void Accept(ReleaseBundle release, DateTimeOffset now, (ReleaseVersion Version, string Digest)? newest)
    {
        Require(release);
        if (newest is var (version, digest) && !release.Version.IsNewerThan(version) && (release.Version, release.Digest) != (version, digest))
        {
            throw new ReleaseRefusedException(ReleaseRefusal.Older, $"{release.Version} is not newer than {version}, which was here already.");
        }

        if (now.ToUnixTimeMilliseconds() > release.Manifest.ExpiresMs)
        {
            throw new ReleaseRefusedException(
                ReleaseRefusal.Expired, $"{release.Version} could be installed until {DateTimeOffset.FromUnixTimeMilliseconds(Math.Clamp(release.Manifest.ExpiresMs, 0, 253_402_300_799_999)):u}.");
        }

        if (release.NewTrust is not { } brought)
        {
            return;
        }

        if (brought.Serial < Serial)
        {
            throw new ReleaseRefusedException(ReleaseRefusal.OlderTrust, $"{release.Version} brings keys with serial {brought.Serial}; accepted: {Serial} or more.");
        }

        // As a root of TUF: who signs a change of keys must count before and after it.
        brought.Require(release);
    }

    private void Require(ReleaseBundle release)
    {
        var approvers = ApproversOf(release);
        if (approvers.Count < Approvals)
        {
            throw new ReleaseRefusedException(
                ReleaseRefusal.NotEnoughApprovals, $"{release.Version} is approved by {approvers.Count} ({string.Join(", ", approvers)}); accepted: {Approvals} others than {release.Manifest.ProposedBy}.");
        }
    }
}

/// <summary>A person's key.</summary>
/// <param name="Name">1 to 41 of a-z, 0-9 and '-'.</param>
/// <param name="PublicKey">ECDSA P-256 public key, SubjectPublicKeyInfo in base64.</param>
/// <param name="Revoked">True: signatures of it make a release unacceptable.</param>
/// <param name="Of">Of whom it is a further key, by the name of their first; null, and not in the file: it is the first. A node that does not know this member refuses the file.</param>
public sealed record TrustedKey(
    string Name, string PublicKey, bool Revoked = false, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Of = null)
{
    /// <summary>Whose it is. All keys of a person count once, and none of them for what one of them proposed.</summary>
    [JsonIgnore]
    public string Person => Of ?? Name;

    /// <summary>SHA-256 of the public key in groups of four hex digits: what two people read to each other.</summary>
    [JsonIgnore]
    public string Fingerprint
    {
        get
        {
            var bytes = new byte[PublicKey.Length];
            return Convert.TryFromBase64String(PublicKey, bytes, out var length)
                ? string.Join(' ', Convert.ToHexStringLower(SHA256.HashData(bytes.AsSpan(0, length))).Chunk(4).Select(four => new string(four)))
                : "";
        }
    }

    /// <summary>True when the signature is of this key.</summary>
    public bool Verifies(ReadOnlySpan<byte> signedBytes, ReadOnlySpan<byte> signature)
    {
        try
        {
            using var key = ECDsa.Create();
            key.ImportSubjectPublicKeyInfo(Convert.FromBase64String(PublicKey), out _);
            return key.KeySize == 256 && key.VerifyData(signedBytes, signature, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
        }
        catch (Exception e) when (e is CryptographicException or FormatException)
        {
            return false;
        }
    }
}

/// <summary>The private half: signs releases. Its file is PKCS#8 PEM, so that <c>openssl</c> can use it too.</summary>
public sealed class ReleaseKey : IDisposable
{
    private readonly ECDsa _key;

    private ReleaseKey(string name, ECDsa key) => (Name, _key) = (name, key);

    /// <summary>Name of its owner.</summary>
    public string Name { get; }

    /// <summary>What goes into the trust file.</summary>
    public TrustedKey Public => new(Name, Convert.ToBase64String(_key.ExportSubjectPublicKeyInfo()));

    /// <summary>A new key.</summary>
    /// <exception cref="ArgumentException">The name is not of a-z, 0-9 and '-'.</exception>
    public static ReleaseKey Create(string name) => ReleaseBundle.KeyName().IsMatch(name)
        ? new(name, ECDsa.Create(ECCurve.NamedCurves.nistP256))
        : throw new ArgumentException($"'{name}' is not a name for a key; accepted: 1 to 41 of a-z, 0-9 and '-'.", nameof(name));

    /// <summary>Reads a key file; the name of the key is that of the file without extension.</summary>
    /// <exception cref="IOException">It cannot be read.</exception>
    /// <exception cref="ArgumentException">It is not a key.</exception>
    public static ReleaseKey Load(string path)
    {
        var key = ECDsa.Create();
        try
        {
            key.ImportFromPem(File.ReadAllText(path));
            return new(Path.GetFileNameWithoutExtension(path), key);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            key.Dispose();
            throw new ArgumentException($"'{path}' is not a private key of P-256 in PEM: {e.Message}", nameof(path), e);
        }
    }

    /// <summary>Writes <c>NAME.pem</c> below a folder, readable by its owner only; never over another file.</summary>
    /// <returns>Its path.</returns>
    /// <exception cref="IOException">It exists already.</exception>
    public string Save(string folder)
    {
        var path = Path.Combine(folder, Name + ".pem");
        if (File.Exists(path))
        {
            throw new IOException($"'{path}' exists already.");
        }

        AtomicFile.Write(path, System.Text.Encoding.ASCII.GetBytes(_key.ExportPkcs8PrivateKeyPem() + "\n"), secret: true, overwrite: false);
        return path;
    }

    /// <summary>Signs a release.</summary>
    public byte[] Sign(ReleaseBundle release) => Sign(release.SignedBytes.Span);

    /// <summary>Signs bytes, such as the manifest of a bundle of models.</summary>
    public byte[] Sign(ReadOnlySpan<byte> bytes) => _key.SignData(bytes, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);

    /// <inheritdoc/>
    public void Dispose() => _key.Dispose();
}
