using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Org.BouncyCastle.Crypto;
using Org.BouncyCastle.Crypto.Engines;
using Org.BouncyCastle.Crypto.Modes;
using Org.BouncyCastle.Crypto.Parameters;

namespace Yizhan.Sops;

/// <summary>A value with its type. <paramref name="Text"/> is what SOPS encrypts and hashes: True and False, decimals without exponent.</summary>
/// <param name="Type">str, int, float, bool, time or bytes.</param>
/// <param name="Text">Its text.</param>
public sealed partial record SopsValue(string Type, string Text)
{
    private const int NonceBytes = 32;
    private const int TagBits = 128;

    /// <summary>A text.</summary>
    public static SopsValue Of(string text) => new("str", text);

    internal bool IsEncrypted => Type == "str" && Encrypted().IsMatch(Text);

    /// <summary>The value as <c>ENC[AES256_GCM,…]</c>; an empty text stays empty.</summary>
    /// <param name="key">Data key, 32 bytes.</param>
    /// <param name="aad">Path of the value, keys joined by ':' and ended by one.</param>
    internal SopsValue Encrypt(byte[] key, string aad)
    {
        if (Text.Length == 0)
        {
            return this;
        }

        var nonce = RandomNumberGenerator.GetBytes(NonceBytes);
        var output = Gcm(true, key, nonce, aad, Encoding.UTF8.GetBytes(Text));
        return Of($"ENC[AES256_GCM,data:{Base64(output.AsSpan(..^16))},iv:{Base64(nonce)},tag:{Base64(output.AsSpan(^16..))},type:{Type}]");
    }

    /// <summary>The value that was encrypted.</summary>
    /// <exception cref="SopsException">It is not such a value, or it was altered or moved to another key.</exception>
    internal SopsValue Decrypt(byte[] key, string aad)
    {
        if (Text.Length == 0)
        {
            return this;
        }

        if (Encrypted().Match(Text) is not { Success: true } match)
        {
            throw new SopsException($"'{aad.TrimEnd(':')}' is not encrypted and should be.");
        }

        try
        {
            byte[] output = [.. Convert.FromBase64String(match.Groups[1].Value), .. Convert.FromBase64String(match.Groups[3].Value)];
            return new(match.Groups[4].Value, Encoding.UTF8.GetString(Gcm(false, key, Convert.FromBase64String(match.Groups[2].Value), aad, output)));
        }
        catch (Exception e) when (e is InvalidCipherTextException or FormatException or ArgumentException)
        {
            throw new SopsException($"'{aad.TrimEnd(':')}' was altered, or moved from another key.", e);
        }
    }

    /// <summary>A number as Go's strconv 'f' with the fewest digits has it, which is what SOPS hashes.</summary>
    internal static string Decimal(double number)
    {
        var shortest = number.ToString("R", CultureInfo.InvariantCulture);
        if (!shortest.Contains('E', StringComparison.Ordinal))
        {
            return shortest;
        }

        var parts = shortest.Split('E');
        var negative = parts[0].StartsWith('-');
        var digits = parts[0].TrimStart('-').Replace(".", "", StringComparison.Ordinal);
        var point = 1 + int.Parse(parts[1], CultureInfo.InvariantCulture);
        var whole = point <= 0 ? "0." + new string('0', -point) + digits
            : point >= digits.Length ? digits + new string('0', point - digits.Length)
            : digits[..point] + "." + digits[point..];
        return negative ? "-" + whole : whole;
    }

    private static byte[] Gcm(bool encrypt, byte[] key, byte[] nonce, string aad, byte[] input)
    {
        var cipher = new GcmBlockCipher(new AesEngine());
        cipher.Init(encrypt, new AeadParameters(new KeyParameter(key), TagBits, nonce, Encoding.UTF8.GetBytes(aad)));
        var output = new byte[cipher.GetOutputSize(input.Length)];
        var length = cipher.ProcessBytes(input, 0, input.Length, output, 0);
        length += cipher.DoFinal(output, length);
        return output[..length];
    }

    private static string Base64(ReadOnlySpan<byte> bytes) => Convert.ToBase64String(bytes);

    [GeneratedRegex(@"\AENC\[AES256_GCM,data:([A-Za-z0-9+/=]*),iv:([A-Za-z0-9+/=]+),tag:([A-Za-z0-9+/=]+),type:(str|int|int64|float|bool|time|bytes)\]\z")]
    private static partial Regex Encrypted();
}
