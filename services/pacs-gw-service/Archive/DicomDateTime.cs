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
