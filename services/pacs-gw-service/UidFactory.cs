using System.Numerics;
using System.Security.Cryptography;
using System.Text;

namespace Yizhan.PacsGw;

/// <summary>
/// Makes the UIDs that are ours: under the organisation's root (<c>pacs-gw:uidRoot</c> or the environment's <c>DICOM_UID_ROOT</c>), or
/// under <c>2.25</c>, which everybody may use for UUIDs (PS3.5 §B.2).
/// </summary>
internal sealed class UidFactory
{
    /// <summary>The root for UUIDs.</summary>
    public const string UuidRoot = "2.25";

    /// <summary>What the environment says the root is; null when it says nothing.</summary>
    public static string? FromEnvironment => Environment.GetEnvironmentVariable("DICOM_UID_ROOT") is { Length: > 0 } root ? root : null;

    /// <summary>A longer root would leave less than 20 digits, and two UIDs might be equal.</summary>
    public const int MaxRootLength = Uid.MaxLength - 21;

    private readonly string _root;
    private readonly BigInteger _bound;

    /// <param name="root">A root that <see cref="Problem"/> finds nothing wrong with; null for <see cref="UuidRoot"/>.</param>
    public UidFactory(string? root)
    {
        _root = root ?? UuidRoot;
        _bound = _root == UuidRoot ? BigInteger.One << 128 : BigInteger.Pow(10, Math.Min(39, Uid.MaxLength - _root.Length - 1));
    }

    /// <summary>What is wrong with a root, as a sentence; null when nothing is.</summary>
    public static string? Problem(string root)
    {
        var components = root.Split('.');
        return root.Length > MaxRootLength ? $"it has {root.Length} characters; at most {MaxRootLength} leave room for what follows"
            : components.Length < 2 ? "it has one component; a root has at least two, such as 1.2.840.113619"
            : components.Any(c => c.Length == 0 || c.Any(d => d is < '0' or > '9')) ? "a component is not a number"
            : components.Any(c => c.Length > 1 && c[0] == '0') ? "a component begins with 0"
            : components[0] is not ("0" or "1" or "2") ? "the first component is 0, 1 or 2"
            : components[0] != "2" && (components[1].Length > 2 || int.Parse(components[1], System.Globalization.CultureInfo.InvariantCulture) > 39) ? "below 0 and 1 the second component is at most 39"
            : root.StartsWith("1.2.840.10008", StringComparison.Ordinal) ? "1.2.840.10008 belongs to the standard itself"
            : null;
    }

    /// <summary>A new UID.</summary>
    public string Create(TimeProvider clock) =>
        Of(Guid.CreateVersion7(clock.GetUtcNow()).ToByteArray(bigEndian: true));

    /// <summary>The UID that stands for another one, the same each time for the same key.</summary>
    public string Derive(ReadOnlySpan<byte> key, string uid) =>
        Of(HMACSHA256.HashData(key, Encoding.UTF8.GetBytes("uid:" + uid)).AsSpan(0, 16));

    private string Of(ReadOnlySpan<byte> bytes) => $"{_root}.{new BigInteger(bytes, isUnsigned: true, isBigEndian: true) % _bound}";
}
