using System.Security.Cryptography;
using System.Text;

namespace Yizhan.Snmp;

/// <summary>How messages are signed.</summary>
public enum SnmpAuthentication
{
    /// <summary>usmHMAC192SHA256AuthProtocol (RFC 7860).</summary>
    Sha256,

    /// <summary>usmHMACSHAAuthProtocol (RFC 3414 §7), for devices that have nothing newer.</summary>
    Sha1,
}

/// <summary>A user of the user-based security model, with authentication and encryption.</summary>
/// <param name="Name">User name.</param>
/// <param name="Authentication">How messages are signed.</param>
/// <param name="Password">Password of authentication, at least 8 characters (RFC 3414 §11.2).</param>
/// <param name="PrivacyPassword">Password of encryption (AES-128), at least 8 characters.</param>
public sealed record UsmUser(string Name, SnmpAuthentication Authentication, string Password, string PrivacyPassword)
{
    private const int PasswordBytes = 1024 * 1024;

    internal int SignatureBytes => Authentication == SnmpAuthentication.Sha256 ? 24 : 12;

    internal byte[] AuthenticationKey(ReadOnlySpan<byte> engine) => Localized(Password, engine);

    internal byte[] PrivacyKey(ReadOnlySpan<byte> engine) => Localized(PrivacyPassword, engine)[..16];

    internal byte[] Sign(byte[] key, ReadOnlySpan<byte> message) => Authentication == SnmpAuthentication.Sha256
        ? HMACSHA256.HashData(key, message)[..24]
        : Sha1(key, message)[..12];

    /// <summary>RFC 3414 §2.6 and appendix A.2: a megabyte of the password, hashed, then bound to the engine.</summary>
    private byte[] Localized(string password, ReadOnlySpan<byte> engine)
    {
        var text = Encoding.UTF8.GetBytes(password);
        if (text.Length < 8)
        {
            throw new ArgumentException($"The password of SNMP user '{Name}' has {text.Length} bytes; at least 8 are needed.");
        }

        var name = Authentication == SnmpAuthentication.Sha256 ? HashAlgorithmName.SHA256 : HashAlgorithmName.SHA1;
        using var hash = IncrementalHash.CreateHash(name);
        var block = new byte[text.Length * 64];
        for (var i = 0; i < block.Length; i++)
        {
            block[i] = text[i % text.Length];
        }

        for (var left = PasswordBytes; left > 0; left -= block.Length)
        {
            hash.AppendData(block, 0, Math.Min(left, block.Length));
        }

        var key = hash.GetHashAndReset();
        hash.AppendData(key);
        hash.AppendData(engine);
        hash.AppendData(key);
        return hash.GetHashAndReset();
    }

#pragma warning disable CA5350 // SHA-1 is what half of the switches in hospitals have; nobody is forced to choose it.
    private static byte[] Sha1(byte[] key, ReadOnlySpan<byte> message) => HMACSHA1.HashData(key, message);
#pragma warning restore CA5350
}
