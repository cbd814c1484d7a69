using NSec.Cryptography;

namespace Yizhan.Sops;

/// <summary>A public age key, <c>age1…</c>: whoever has its private half can read.</summary>
public sealed record AgeRecipient
{
    private const string Prefix = "age";

    private AgeRecipient(byte[] publicKey) => PublicKey = publicKey;

    internal byte[] PublicKey { get; }

    /// <summary>Reads a recipient.</summary>
    /// <exception cref="SopsException">It is not one.</exception>
    public static AgeRecipient Parse(string text) => Bech32.Decode(Prefix, text.Trim()) is { Length: 32 } key && !text.Any(char.IsUpper)
        ? new(key)
        : throw new SopsException($"'{(text.Length > 20 ? text[..20] + "…" : text)}' is not a public age key; accepted: age1 and 58 characters.");

    internal static AgeRecipient Of(byte[] publicKey) => new(publicKey);

    /// <inheritdoc/>
    public override string ToString() => Bech32.Encode(Prefix, PublicKey);
}

/// <summary>A private age key, <c>AGE-SECRET-KEY-1…</c>.</summary>
public sealed class AgeIdentity : IDisposable
{
    private const string Prefix = "age-secret-key-";
    private readonly Key _key;

    private static KeyCreationParameters Exportable => new() { ExportPolicy = KeyExportPolicies.AllowPlaintextExport };

    private AgeIdentity(Key key) => _key = key;

    /// <summary>Its public half.</summary>
    public AgeRecipient Recipient => AgeRecipient.Of(_key.PublicKey.Export(KeyBlobFormat.RawPublicKey));

    /// <summary>A new key.</summary>
    public static AgeIdentity Generate() => new(Key.Create(KeyAgreementAlgorithm.X25519, Exportable));

    /// <summary>Reads the keys of a file as <c>age-keygen</c> writes it: one a line, '#' begins a comment.</summary>
    /// <exception cref="SopsException">A line is not a key; the message does not repeat it.</exception>
    public static IReadOnlyList<AgeIdentity> ParseFile(string text)
    {
        var identities = new List<AgeIdentity>();
        var line = 0;
        foreach (var row in text.Split('\n').Select(r => r.Trim()))
        {
            line++;
            if (row.Length == 0 || row.StartsWith('#'))
            {
                continue;
            }

            identities.Add(Bech32.Decode(Prefix, row) is { Length: 32 } key && !row.Any(char.IsLower)
                ? new(Key.Import(KeyAgreementAlgorithm.X25519, key, KeyBlobFormat.RawPrivateKey, Exportable))
                : throw new SopsException($"Line {line} is not a private age key; accepted: AGE-SECRET-KEY-1 and 58 characters."));
        }

        return identities;
    }

    /// <summary>The text of the key: a secret.</summary>
    public string ToSecretText() => Bech32.Encode(Prefix, _key.Export(KeyBlobFormat.RawPrivateKey)).ToUpperInvariant();

    /// <summary>Key that wraps a file key between this key and a share; null for a share of low order.</summary>
    internal byte[]? Agree(byte[] share, ReadOnlySpan<byte> salt)
    {
        if (!PublicKey.TryImport(KeyAgreementAlgorithm.X25519, share, KeyBlobFormat.RawPublicKey, out var publicKey))
        {
            return null;
        }

        using var shared = KeyAgreementAlgorithm.X25519.Agree(_key, publicKey!);
        return shared is null ? null : KeyDerivationAlgorithm.HkdfSha256.DeriveBytes(shared, salt, "age-encryption.org/v1/X25519"u8, 32);
    }

    /// <inheritdoc/>
    public void Dispose() => _key.Dispose();
}

/// <summary>A file is not of its format, cannot be opened with the keys at hand, or was altered. The message never holds a secret.</summary>
public sealed class SopsException(string message, Exception? inner = null) : Exception(message, inner);
