namespace Yizhan.EmrAdapter.Patients;

/// <summary>
/// Numbers of resident identity cards (GB 11643-1999, ISO 7064 MOD 11-2), also those of residence permits for Hong Kong, Macao and Taiwan (810000,
/// 820000, 830000). Digits 7 to 14 are the date of birth, the 17th is odd for men.
/// </summary>
internal static class ResidentIdentity
{
    /// <summary>The OID that WS/T 500 documents give the number (身份证号).</summary>
    public const string System = "urn:oid:2.16.156.10011.1.3";

    private const string CheckCharacters = "10X98765432";

    private static readonly int[] Weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];

    /// <summary>What is wrong with a number, without the number; null when nothing is.</summary>
    public static string? Problem(string number)
    {
        if (number.Length == 15 && number.All(char.IsAsciiDigit))
        {
            // The form before 1999 has no check character; its year has two digits.
            return IsDate($"19{number.AsSpan(6, 6)}") ? null : "A resident identity number of 15 digits holds a date that does not exist.";
        }

        if (number.Length != 18 || !number.AsSpan(0, 17).ContainsOnlyDigits() || !(char.IsAsciiDigit(number[17]) || number[17] == 'X'))
        {
            return $"A resident identity number has 17 digits and a digit or X, not {number.Length} characters like these.";
        }

        if (!IsDate(number.AsSpan(6, 8)))
        {
            return "A resident identity number holds a date that does not exist.";
        }

        var sum = 0;
        for (var i = 0; i < Weights.Length; i++)
        {
            sum += (number[i] - '0') * Weights[i];
        }

        return CheckCharacters[sum % 11] == number[17] ? null : "The check character of a resident identity number is wrong.";
    }

    /// <summary>Birth date (YYYYMMDD) and sex that a valid number of 18 characters says.</summary>
    public static (string BirthDate, string Sex) Read(string number) => (number[6..14], (number[16] - '0') % 2 == 1 ? "M" : "F");

    /// <summary>True when an identifier is said to be such a number: by its OID, or as NI or NNCHN of table 0203.</summary>
    public static bool IsMeant(string system, string type) => system == System || type is "NNCHN" || (type is "NI" && system.Length == 0);

    private static bool IsDate(ReadOnlySpan<char> date) =>
        DateOnly.TryParseExact(date, "yyyyMMdd", global::System.Globalization.CultureInfo.InvariantCulture, global::System.Globalization.DateTimeStyles.None, out _);

    private static bool ContainsOnlyDigits(this ReadOnlySpan<char> text) => !text.ContainsAnyExceptInRange('0', '9');
}
