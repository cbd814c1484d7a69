using System.Buffers.Binary;
using Yizhan.Platform.Identity;

namespace Yizhan.Auth;

/// <summary>The framework's hash of a password, version 3, as the form that sites check: the same numbers in text.</summary>
internal static class PasswordFormat
{
    private const byte Version3 = 1;
    private const uint HmacSha512 = 2;
    private const int Header = 13;

    /// <summary>Marker, function, iterations and length of the salt (big endian, four bytes each after the marker), salt, hash.</summary>
    /// <exception cref="InvalidDataException">It is of another version: PBKDF2 with HMAC-SHA-512 is expected.</exception>
    public static string ToPinHash(string passwordHash)
    {
        var bytes = Convert.FromBase64String(passwordHash).AsSpan();
        if (bytes.Length <= Header || bytes[0] != Version3 || BinaryPrimitives.ReadUInt32BigEndian(bytes[1..]) != HmacSha512
            || BinaryPrimitives.ReadUInt32BigEndian(bytes[9..]) is var salt && salt > bytes.Length - Header - 16)
        {
            throw new InvalidDataException("The hash of a password is not version 3 with HMAC-SHA-512.");
        }

        var rest = bytes[Header..];
        return PinHash.OfSha512((int)BinaryPrimitives.ReadUInt32BigEndian(bytes[5..]), rest[..(int)salt], rest[(int)salt..]);
    }
}
