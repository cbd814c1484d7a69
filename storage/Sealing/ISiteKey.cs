namespace Yizhan.Storage;

/// <summary>
/// The key of one site, under which the keys of days are kept. <see cref="SiteKeyFile"/> is a file; a provider on a TPM 2.0 (TPM2_Create under the
/// storage root key, TPM2_Unseal at start) or an RPMB partition does the same with a key that never is a file.
/// </summary>
public interface ISiteKey
{
    /// <summary>Tells which key it is, and nothing about it: 16 hex digits. Kept beside everything that is wrapped.</summary>
    string Id { get; }

    /// <summary>Wraps a key of 32 bytes.</summary>
    /// <param name="key">The key.</param>
    /// <param name="label">Bound to it: <see cref="Unwrap"/> has to be given the same.</param>
    /// <returns>At most 256 bytes.</returns>
    byte[] Wrap(ReadOnlySpan<byte> key, ReadOnlySpan<byte> label);

    /// <summary>Gives a wrapped key back.</summary>
    /// <exception cref="System.Security.Cryptography.CryptographicException">It was not wrapped by this key with this label.</exception>
    byte[] Unwrap(ReadOnlySpan<byte> wrapped, ReadOnlySpan<byte> label);
}
