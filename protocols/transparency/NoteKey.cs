using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using NSec.Cryptography;

namespace Yizhan.Transparency;

/// <summary>
/// A public key that checks signatures on notes. Text form (<c>vkey</c>): <c>name+id+base64(type ‖ key)</c>. Types: 0x01 Ed25519,
/// 0x02 ECDSA with SHA-256 (SubjectPublicKeyInfo), 0x04 Ed25519 cosignature with a time (C2SP tlog-cosignature).
/// </summary>
public sealed class NoteKey
{
    internal const byte Ed25519 = 0x01;
    internal const byte Ecdsa = 0x02;
    internal const byte Cosignature = 0x04;

    private static readonly byte[] Ed25519Prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

    private readonly byte _type;
    private readonly byte[] _key;

    internal NoteKey(string name, byte type, byte[] key)
    {
        (Name, _type, _key) = (name, type, key);
        Id = IdOf(name, type, key);
    }

    /// <summary>Name of the key; for a log the origin of its checkpoints.</summary>
    public string Name { get; }

    /// <summary>What tells keys of one name apart.</summary>
    public uint Id { get; }

    /// <summary>Reads a <c>vkey</c>; false when it is malformed, of an unknown type, or its id is not that of its key.</summary>
    public static bool TryParse(string? text, [NotNullWhen(true)] out NoteKey? key)
    {
        key = null;
        if (text?.Trim().Split('+', 3) is not [var name, { Length: 8 } id, var base64] || !IsName(name)
            || !uint.TryParse(id, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var parsedId))
        {
            return false;
        }

        var bytes = new byte[base64.Length];
        if (!Convert.TryFromBase64String(base64, bytes, out var length) || length < 2)
        {
            return false;
        }

        var candidate = new NoteKey(name, bytes[0], bytes[1..length]);
        key = candidate.Id == parsedId && candidate.IsUsable() ? candidate : null;
        return key is not null;
    }

    /// <summary>True when the note has a right signature of this key and no wrong one.</summary>
    public bool Signs(SignedNote note)
    {
        var mine = note.Signatures.Where(s => s.Name == Name && s.KeyId == Id).ToArray();
        return mine.Length > 0 && mine.All(s => IsRight(note.Text, s.Bytes.Span));
    }

    /// <summary>The key as other programs read it: SubjectPublicKeyInfo in PEM (RFC 8410 for Ed25519).</summary>
    public string ToPem() => System.Security.Cryptography.PemEncoding.WriteString("PUBLIC KEY", _type == Ecdsa ? _key : [.. Ed25519Prefix, .. _key]);

    /// <summary>True when signatures are Ed25519 over the text, which <c>openssl pkeyutl -rawin</c> verifies.</summary>
    internal bool IsEd25519 => _type == Ed25519;

    /// <inheritdoc/>
    public override string ToString() => $"{Name}+{Id:x8}+{Convert.ToBase64String([_type, .. _key])}";

    internal static bool IsName(string name) =>
        name.Length is > 0 and <= 255 && !name.Any(c => char.IsWhiteSpace(c) || c == '+' || char.IsControl(c));

    /// <summary>What a cosignature signs: that at this time (Unix seconds) the witness had seen no fork before this checkpoint.</summary>
    internal static byte[] CosignedMessage(long unixSeconds, string text) =>
        Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"cosignature/v1\ntime {unixSeconds}\n{text}"));

    private bool IsRight(string text, ReadOnlySpan<byte> signature)
    {
        switch (_type)
        {
            case Ed25519:
                return VerifyEd25519(Encoding.UTF8.GetBytes(text), signature);
            case Cosignature when signature.Length > sizeof(ulong):
                var seconds = BinaryPrimitives.ReadInt64BigEndian(signature);
                return seconds >= 0 && VerifyEd25519(CosignedMessage(seconds, text), signature[sizeof(ulong)..]);
            case Ecdsa:
                using (var ecdsa = ECDsa.Create())
                {
                    ecdsa.ImportSubjectPublicKeyInfo(_key, out _);
                    return ecdsa.VerifyData(
                        Encoding.UTF8.GetBytes(text), signature, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
                }

            default:
                return false;
        }
    }

    private bool VerifyEd25519(ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature) =>
        SignatureAlgorithm.Ed25519.Verify(PublicKey.Import(SignatureAlgorithm.Ed25519, _key, KeyBlobFormat.RawPublicKey), message, signature);

    private bool IsUsable()
    {
        if (_type != Ecdsa)
        {
            return _type is Ed25519 or Cosignature
                && PublicKey.TryImport(SignatureAlgorithm.Ed25519, _key, KeyBlobFormat.RawPublicKey, out _);
        }

        try
        {
            using var ecdsa = ECDsa.Create();
            ecdsa.ImportSubjectPublicKeyInfo(_key, out var read);
            return read == _key.Length;
        }
        catch (CryptographicException)
        {
            return false;
        }
    }

    private static uint IdOf(string name, byte type, byte[] key)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(type == Ecdsa ? key : [.. Encoding.UTF8.GetBytes(name), (byte)'\n', type, .. key], hash);
        return BinaryPrimitives.ReadUInt32BigEndian(hash);
    }
}
