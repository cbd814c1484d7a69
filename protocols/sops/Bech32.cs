using System.Text;

namespace Yizhan.Sops;

/// <summary>Bech32 (BIP 173) without its length limit, as age uses it for keys.</summary>
internal static class Bech32
{
    private const string Charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    private static readonly uint[] Generator = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];

    public static string Encode(string prefix, ReadOnlySpan<byte> data)
    {
        var values = Regroup(data, 8, 5, pad: true)!;
        var checksum = Polymod([.. Expand(prefix), .. values, 0, 0, 0, 0, 0, 0]) ^ 1;
        var text = new StringBuilder(prefix).Append('1');
        foreach (var value in values)
        {
            text.Append(Charset[value]);
        }

        for (var i = 0; i < 6; i++)
        {
            text.Append(Charset[(int)((checksum >> (5 * (5 - i))) & 31)]);
        }

        return text.ToString();
    }

    /// <summary>The data of a text with that prefix; null when it is not one. Mixed case is none.</summary>
    public static byte[]? Decode(string prefix, string text)
    {
        var lower = text.ToLowerInvariant();
        if ((text.Any(char.IsUpper) && text.Any(char.IsLower)) || !lower.StartsWith(prefix + "1", StringComparison.Ordinal) || lower.Length < prefix.Length + 7)
        {
            return null;
        }

        var values = new byte[lower.Length - prefix.Length - 1];
        for (var i = 0; i < values.Length; i++)
        {
            var value = Charset.IndexOf(lower[prefix.Length + 1 + i], StringComparison.Ordinal);
            if (value < 0)
            {
                return null;
            }

            values[i] = (byte)value;
        }

        return Polymod([.. Expand(prefix), .. values]) == 1 ? Regroup(values.AsSpan(0, values.Length - 6), 5, 8, pad: false) : null;
    }

    private static IEnumerable<byte> Expand(string prefix) =>
        prefix.Select(c => (byte)(c >> 5)).Append((byte)0).Concat(prefix.Select(c => (byte)(c & 31)));

    private static uint Polymod(IEnumerable<byte> values)
    {
        uint check = 1;
        foreach (var value in values)
        {
            var top = check >> 25;
            check = ((check & 0x1ffffff) << 5) ^ value;
            for (var i = 0; i < 5; i++)
            {
                check ^= ((top >> i) & 1) == 1 ? Generator[i] : 0;
            }
        }

        return check;
    }

    private static byte[]? Regroup(ReadOnlySpan<byte> data, int from, int to, bool pad)
    {
        var result = new List<byte>();
        var (accumulator, bits) = (0, 0);
        foreach (var value in data)
        {
            accumulator = ((accumulator << from) | value) & 0xFFF;
            bits += from;
            while (bits >= to)
            {
                bits -= to;
                result.Add((byte)((accumulator >> bits) & ((1 << to) - 1)));
            }
        }

        var rest = accumulator & ((1 << bits) - 1);
        if (pad && bits > 0)
        {
            result.Add((byte)(rest << (to - bits)));
        }

        return !pad && (bits >= from || rest != 0) ? null : [.. result];
    }
}
