namespace Yizhan.Inventory.Equipment;

/// <summary>What equipment may be known by, and what only looks like it.</summary>
internal static class AssetKeys
{
    /// <summary>Keys of which a thing has one: two different ones of a type are two things, or a repair.</summary>
    public static readonly string[] Single = ["uuid", "serial", "agent", "engine", "ae"];

    private const int MaxValue = 150;

    // What firmware says when nobody filled it in, in upper case without spaces and punctuation.
    private static readonly HashSet<string> Placeholders = new(StringComparer.Ordinal)
    {
        "TOBEFILLEDBYOEM", "DEFAULTSTRING", "SYSTEMSERIALNUMBER", "SYSTEMPRODUCTNAME", "CHASSISSERIALNUMBER", "BASEBOARDSERIALNUMBER", "SERIALNUMBER", "NONE",
        "NOTSPECIFIED", "NOTAVAILABLE", "NOTAPPLICABLE", "NA", "UNKNOWN", "INVALID", "OEM", "EMPTY", "NULL", "SERIAL", "XXXXXXX", "123456789", "0123456789", "1234567890",
        "NOASSETINFORMATION", "FILLBYOEM", "QEMU", "VMWARE", "BSN12345678901234567", "ASSET1234567890",

        // UUIDs that whole series of boards shipped with.
        "03000200040005000006000700080009", "FEFEFEFEFEFEFEFEFEFEFEFEFEFEFEFE", "12345678123456789012345678901234", "4C4C454400202010802080C04F202020",
    };

    /// <summary>The key as it is compared, <c>type:VALUE</c>; null when it is a placeholder or empty.</summary>
    public static string? Of(string type, string? value)
    {
        var text = (value ?? "").Trim();
        var plain = string.Concat(text.ToUpperInvariant().Where(char.IsLetterOrDigit));
        if (plain.Length < 3 || text.Length > MaxValue || Placeholders.Contains(plain) || plain.All(c => c == plain[0]))
        {
            return null;
        }

        return type switch
        {
            "mac" => IsRealMac(plain) ? $"mac:{plain}" : null,
            "uuid" => plain.Length >= 8 ? $"uuid:{plain}" : null,
            "host" => $"host:{text.ToLowerInvariant()}",
            "agent" => $"agent:{text}",
            _ => $"{type}:{plain}",
        };
    }

    /// <summary>The keys that are some, each once, sorted.</summary>
    public static IReadOnlyList<string> All(params IEnumerable<(string Type, string? Value)> keys) =>
        [.. keys.Select(k => Of(k.Type, k.Value)).OfType<string>().Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];

    /// <summary>Type of a key.</summary>
    public static string TypeOf(string key) => key[..key.IndexOf(':', StringComparison.Ordinal)];

    /// <summary>An address of the maker: 48 bits, of one station, not given locally (virtual machines, containers, tunnels).</summary>
    private static bool IsRealMac(string plain) =>
        plain.Length == 12 && plain.All(char.IsAsciiHexDigit) && (Convert.ToByte(plain[..2], 16) & 0b11) == 0;
}
