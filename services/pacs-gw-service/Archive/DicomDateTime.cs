namespace Yizhan.PacsGw.Archive;

/// <summary>Values of DA made comparable as text.</summary>
internal static class DicomDate
{
    /// <summary>YYYYMMDD; the retired form with dots (PS3.5 §6.2 note) loses them. Anything else stays as it is.</summary>
    public static string Normalize(string value) =>
        value.Length == 10 && value[4] == '.' && value[7] == '.' ? value.Replace(".", "", StringComparison.Ordinal) : value;

    /// <summary>True for eight digits.</summary>
    public static bool IsValid(string value) => value.Length == 8 && value.All(char.IsAsciiDigit);
}

/// <summary>Values of TM made comparable as text.</summary>
internal static class DicomTime
{
    private const int Digits = 12;

    /// <summary>HHMMSSFFFFFF, zeros where the value is less precise; empty for an empty value.</summary>
    public static string Normalize(string value) => value.Length == 0 ? "" : Earliest(value);

    /// <summary>The first instant that a value of any precision covers.</summary>
    public static string Earliest(string value) => Pad(value, '0');

    /// <summary>The last instant that a value of any precision covers.</summary>
    public static string Latest(string value) => Pad(value, '9');

    /// <summary>True for HH, HHMM, HHMMSS or HHMMSS.F to HHMMSS.FFFFFF.</summary>
    public static bool IsValid(string value)
    {
        var fraction = value.IndexOf('.', StringComparison.Ordinal);
        var whole = fraction < 0 ? value : value[..fraction];
        return whole.All(char.IsAsciiDigit)
            && (fraction < 0 ? whole.Length is 2 or 4 or 6 : whole.Length == 6)
            && (fraction < 0 || (value.Length - fraction is > 1 and <= 7 && value[(fraction + 1)..].All(char.IsAsciiDigit)));
    }

    private static string Pad(string value, char with)
    {
        // Colons are the retired form of ACR-NEMA; files still have them.
        var digits = value.Replace(".", "", StringComparison.Ordinal).Replace(":", "", StringComparison.Ordinal);
        return (digits.Length > Digits ? digits[..Digits] : digits).PadRight(Digits, with);
    }
}

/// <summary>Values of DT made comparable as text. The offset from UTC is left out: sites of one hospital share a zone.</summary>
internal static class DicomDateTime
{
    private const int Digits = 20;

    /// <summary>YYYYMMDDHHMMSSFFFFFF, zeros where the value is less precise; empty for what is no DT.</summary>
    public static string Normalize(string value) => Digit(value) is { } digits ? digits.PadRight(Digits, '0') : "";

    /// <summary>The two ends of a single value or a range; an open end is empty.</summary>
    public static bool TryParseRange(string value, out string from, out string to)
    {
        // A hyphen may also begin an offset from UTC: four digits up to 14 hours, then the end or another hyphen.
        var dash = -1;
        for (var i = 0; i < value.Length && dash < 0; i++)
        {
            dash = value[i] == '-' && !IsOffset(value.AsSpan(i + 1)) ? i : -1;
        }

        var (first, last) = dash < 0 ? (value, value) : (value[..dash], value[(dash + 1)..]);
        var (firstDigits, lastDigits) = (Digit(first), Digit(last));
        from = firstDigits?.PadRight(Digits, '0') ?? "";
        to = lastDigits?.PadRight(Digits, '9') ?? "";
        return (firstDigits is not null || first.Length == 0) && (lastDigits is not null || last.Length == 0) && value.Length > 0 && value != "-";
    }

    private static bool IsOffset(ReadOnlySpan<char> rest) =>
        rest.Length >= 4 && (rest.Length == 4 || rest[4] == '-') && !rest[..4].ContainsAnyExceptInRange('0', '9')
        && (rest[0] == '0' || (rest[0] == '1' && rest[1] <= '4'));

    private static string? Digit(string value)
    {
        var sign = value.AsSpan().IndexOfAny('+', '-');
        var digits = (sign < 0 ? value : value[..sign]).Replace(".", "", StringComparison.Ordinal);
        return digits.Length is >= 4 and <= Digits && digits.All(char.IsAsciiDigit) ? digits : null;
    }
}
