using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Yizhan.Platform;

/// <summary>
/// Statements that are signed once and checked without a network: JSON Web Signatures in compact form (RFC 7515 §3.1), ES256 and
/// nothing else. The type in the header says what the statement is for, so that none can stand in for another (RFC 8725 §3.11).
/// </summary>
public static class CompactJws
{
    /// <summary>Longest statement that is read, characters.</summary>
    public const int MaxLength = 256 * 1024;

    /// <summary>Signs a statement.</summary>
    /// <param name="key">A key on P-256.</param>
    /// <param name="type">What it is for, such as <c>yizhan-licence+jws</c>.</param>
    /// <param name="payload">Its bytes.</param>
    public static string Sign(ECDsa key, string type, ReadOnlySpan<byte> payload)
    {
        var header = JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, string> { ["alg"] = "ES256", ["typ"] = type });
        var signed = $"{Base64Url.EncodeToString(header)}.{Base64Url.EncodeToString(payload)}";
        var signature = key.SignData(Encoding.ASCII.GetBytes(signed), HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
        return $"{signed}.{Base64Url.EncodeToString(signature)}";
    }

    /// <summary>The payload of a statement; null when it is not one of this type under this key.</summary>
    public static byte[]? Verify(ECDsa key, string type, string statement)
    {
        if (statement.Length > MaxLength || statement.Split('.') is not [var header, var payload, var signature])
        {
            return null;
        }

        try
        {
            using var head = JsonDocument.Parse(Base64Url.DecodeFromChars(header));
            var signed = Encoding.ASCII.GetBytes($"{header}.{payload}");
            return Text(head.RootElement, "alg") == "ES256" && Text(head.RootElement, "typ") == type
                && !head.RootElement.TryGetProperty("crit", out _)
                && key.VerifyData(
                    signed, Base64Url.DecodeFromChars(signature), HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation)
                ? Base64Url.DecodeFromChars(payload)
                : null;
        }
        catch (Exception e) when (e is FormatException or JsonException)
        {
            return null;
        }
    }

    private static string? Text(JsonElement header, string name) =>
        header.ValueKind == JsonValueKind.Object && header.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()
            : null;
}
