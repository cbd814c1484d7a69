using System.Globalization;
using Yizhan.Contracts;
using Yizhan.Gs1;

namespace Yizhan.Inventory.Scan;

/// <summary>
/// Reads what a scanner types: the three issuers of unique device identifiers in China (GS1, ZIIOT's MA, Ali Health's AHM) and the 医保 code of consumables.
/// </summary>
internal static class Udi
{
    private const int MaxCharacters = 4096;

    /// <summary>What a label says, with the identifier as item.</summary>
    /// <exception cref="FormatException">It is none of the four, or can be read in two ways; the message is for whoever holds the scanner.</exception>
    public static ScanResult Read(string scan, DateOnly today)
    {
        // A keyboard wedge ends with Enter or Tab.
        var text = scan.TrimEnd('\r', '\n', '\t', ' ');
        if (text.Length is 0 or > MaxCharacters)
        {
            throw new FormatException($"The scan has {text.Length} characters; accepted: 1 to {MaxCharacters}.");
        }

        if (text.StartsWith("MA.", StringComparison.Ordinal))
        {
            return Ma(text, today);
        }

        if (IsNhsa(text))
        {
            return new ScanResult("nhsa", $"nhsa:{text}", text, "", "", "", "");
        }

        return IsAhm(text) ? new ScanResult("ahm", $"ahm:{text}", text, "", "", "", "") : Gs1(text, today);
    }

    private static ScanResult Gs1(string text, DateOnly today)
    {
        ElementString elements;
        try
        {
            elements = ElementString.Parse(text);
        }
        catch (Gs1Exception e)
        {
            throw new FormatException(e.Message, e);
        }

        var gtin = elements.Gtin ?? throw new FormatException("The label has no (01) GTIN: it names a parcel or a place, not an item.");
        return new ScanResult("gs1", $"gtin:{gtin}", gtin, elements.Lot ?? "", elements.Serial ?? "", Day(elements.Expiry(today)), Day(elements.Production(today)));
    }

    /// <summary><c>MA.156.M0.rrrrrr.pppppppp</c>, then units of a separator, a letter and a value: L lot, S serial, M made, V valid until, E expiry, D sterilisation lot.</summary>
    private static ScanResult Ma(string text, DateOnly today)
    {
        var parts = text.Split('.');
        if (parts.Length < 5 || parts[1].Length != 3 || !parts[1].All(char.IsAsciiDigit) || parts[2] != "M0" || parts[3].Length != 6 || parts[4].Length != 8
            || !parts[3].All(char.IsAsciiLetterOrDigit) || !parts[4].All(char.IsAsciiLetterOrDigit))
        {
            throw new FormatException($"'{text}' is no MA identifier of a medical device; accepted: MA, country, M0, six and eight characters, such as MA.156.M0.123456.0ABC1235.");
        }

        var (lot, serial, expiry, made) = ("", "", "", "");
        var seen = new HashSet<char>();
        foreach (var part in parts.Skip(5))
        {
            if (part.Length < 2 || !seen.Add(part[0]))
            {
                throw new FormatException($"'.{part}' of the MA code is empty or there twice; accepted: L, S, M, V, E or D and its value, each once.");
            }

            switch (part[0])
            {
                case 'L':
                    lot = part[1..];
                    break;
                case 'S':
                    serial = part[1..];
                    break;
                case 'M':
                    made = MaDay(part, today);
                    break;
                case 'E':
                    expiry = MaDay(part, today);
                    break;
                case 'V' when expiry.Length == 0:
                    expiry = MaDay(part, today);
                    break;
                case 'D' or 'V':
                    break;
                default:
                    throw new FormatException($"'.{part}' of the MA code is not known; accepted: L, S, M, V, E or D and its value.");
            }
        }

        var identifier = string.Join('.', parts.Take(5));
        return new ScanResult("ma", $"ma:{identifier}", identifier, lot, serial, expiry, made);
    }

    private static string MaDay(string part, DateOnly today)
    {
        var digits = part[1..];
        if (digits.Length == 8 && DateOnly.TryParseExact(digits, "yyyyMMdd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day))
        {
            return Day(day);
        }

        // Two digits of the year: the century as GS1 has it.
        return digits.Length == 6 && digits.All(char.IsAsciiDigit)
            && DateOnly.TryParseExact($"20{digits}", "yyyyMMdd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _)
            ? Day(Gs1Date.Read(digits, today))
            : throw new FormatException($"'.{part}' of the MA code is no day; accepted: YYMMDD or YYYYMMDD.");
    }

    /// <summary>医保 code of a consumable: C and 26 digits.</summary>
    private static bool IsNhsa(string text) => text.Length == 27 && text[0] == 'C' && text.AsSpan(1).IndexOfAnyExceptInRange('0', '9') < 0;

    /// <summary>20 digits; a GS1 element string of 20 digits is a parcel (00), which has a check digit and begins with 00.</summary>
    private static bool IsAhm(string text) => text.Length == 20 && text[0] == '8' && text.AsSpan().IndexOfAnyExceptInRange('0', '9') < 0;

    private static string Day(DateOnly? day) => day?.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture) ?? "";
}
