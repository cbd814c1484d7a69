using System.Security.Cryptography;
using Yizhan.Transparency;

namespace Yizhan.Audit.Sealing;

/// <summary>
/// A record as it is kept beside the tree: id of the key (16 bytes) ‖ nonce (12) ‖ AES-256-GCM of salt (32) ‖ payload ‖ tag (16). The salt
/// makes the hash in the tree say nothing to who guesses the payload; it is lost with the key.
/// </summary>
internal static class SealedRecord
{
    public const int SaltBytes = 32;
    public const int OverheadBytes = KeyIdBytes + NonceBytes + SaltBytes + TagBytes;
    private const int KeyIdBytes = 16;
    private const int NonceBytes = 12;
    private const int TagBytes = 16;

    /// <summary>Seals a payload.</summary>
    /// <param name="key">Key of its subject.</param>
    /// <param name="payload">The bytes.</param>
    /// <param name="hash">SHA-256 of salt ‖ payload, for the leaf.</param>
    public static byte[] Seal(SubjectKey key, ReadOnlySpan<byte> payload, out TreeHash hash)
    {
        var sealedBytes = new byte[OverheadBytes + payload.Length];
        var plain = new byte[SaltBytes + payload.Length];
        var nonce = sealedBytes.AsSpan(KeyIdBytes, NonceBytes);
        RandomNumberGenerator.Fill(plain.AsSpan(0, SaltBytes));
        RandomNumberGenerator.Fill(nonce);
        payload.CopyTo(plain.AsSpan(SaltBytes));
        hash = TreeHash.Of(plain);
        key.Id.TryWriteBytes(sealedBytes);
        using var aes = new AesGcm(key.Bytes, TagBytes);
        aes.Encrypt(
            nonce, plain, sealedBytes.AsSpan(KeyIdBytes + NonceBytes, plain.Length), sealedBytes.AsSpan(sealedBytes.Length - TagBytes), sealedBytes.AsSpan(0, KeyIdBytes));
        return sealedBytes;
    }

    /// <summary>The id of the key that a record is sealed under.</summary>
    public static Guid KeyIdOf(ReadOnlySpan<byte> sealedBytes) => new(sealedBytes[..KeyIdBytes]);

    /// <summary>Opens what <see cref="Seal"/> made; null when the key is gone.</summary>
    /// <exception cref="InvalidDataException">The bytes are not what was sealed, or not what the leaf says.</exception>
    public static OpenedRecord? Open(SubjectKeys keys, ReadOnlySpan<byte> sealedBytes, AuditLeaf leaf)
    {
        if (keys.Find(KeyIdOf(sealedBytes)) is not { } key)
        {
            return null;
        }

        var plain = new byte[sealedBytes.Length - OverheadBytes + SaltBytes];
        try
        {
            using var aes = new AesGcm(key, TagBytes);
            aes.Decrypt(
                sealedBytes.Slice(KeyIdBytes, NonceBytes), sealedBytes[(KeyIdBytes + NonceBytes)..^TagBytes], sealedBytes[^TagBytes..], plain, sealedBytes[..KeyIdBytes]);
        }
        catch (AuthenticationTagMismatchException e)
        {
            throw new InvalidDataException("A sealed audit record is not what its key sealed. Run: yizhan audit verify", e);
        }

        return TreeHash.Of(plain) == leaf.Payload
            ? new OpenedRecord(plain.AsMemory(0, SaltBytes), plain.AsMemory(SaltBytes))
            : throw new InvalidDataException("A sealed audit record does not have the hash of its leaf. Run: yizhan audit verify");
    }
}

/// <summary>What was sealed: SHA-256 of both, one after the other, is in the leaf.</summary>
internal sealed record OpenedRecord(ReadOnlyMemory<byte> Salt, ReadOnlyMemory<byte> Payload);
