namespace Yizhan.Hl7v2;

/// <summary>The characters that a message declares in MSH-1 and MSH-2 (HL7 v2.5.1 §2.5.4).</summary>
/// <param name="Field">MSH-1, usually <c>|</c>.</param>
/// <param name="Component">First of MSH-2, usually <c>^</c>.</param>
/// <param name="Repetition">Second, usually <c>~</c>; NUL where the message has none.</param>
/// <param name="Escape">Third, usually <c>\</c>; NUL where the message has none.</param>
/// <param name="Subcomponent">Fourth, usually <c>&amp;</c>; NUL where the message has none.</param>
/// <param name="Truncation">Fifth since v2.7, usually <c>#</c>; NUL where the message has none.</param>
public readonly record struct Hl7Delimiters(char Field, char Component, char Repetition, char Escape, char Subcomponent, char Truncation)
{
    /// <summary><c>|^~\&amp;</c>.</summary>
    public static Hl7Delimiters Standard { get; } = new('|', '^', '~', '\\', '&', '\0');

    /// <summary>MSH-2 as it is written.</summary>
    public string EncodingCharacters
    {
        get
        {
            Span<char> all = [Component, Repetition, Escape, Subcomponent, Truncation];
            var written = 0;
            foreach (var c in all)
            {
                if (c != '\0')
                {
                    all[written++] = c;
                }
            }

            return new string(all[..written]);
        }
    }

    /// <summary>Reads them from the start of a header segment (MSH, FHS, BHS).</summary>
    /// <exception cref="Hl7Exception">They are not usable as delimiters.</exception>
    internal static Hl7Delimiters Read(ReadOnlySpan<char> header)
    {
        if (header.Length < 5 || !IsDelimiter(header[3]))
        {
            throw new Hl7Exception(Hl7Error.RequiredFieldMissing, "MSH-1 is not a separator: a character after 'MSH' that is no letter, digit or control is needed, usually '|'.", "MSH-1");
        }

        var end = header[4..].IndexOf(header[3]);
        var set = end < 0 ? header[4..] : header[4..(4 + end)];
        if (set.Length is 0 or > 5)
        {
            throw new Hl7Exception(Hl7Error.RequiredFieldMissing, $"MSH-2 has {set.Length} characters: 1 to 5 are accepted, usually ^~\\&.", "MSH-2");
        }

        for (var i = 0; i < set.Length; i++)
        {
            if (!IsDelimiter(set[i]) || set[i] == header[3] || set[..i].Contains(set[i]))
            {
                throw new Hl7Exception(Hl7Error.DataType, $"MSH-2 uses {Name(set[i])} as a delimiter: each must be another sign that is no letter, digit, blank or control.", "MSH-2");
            }
        }

        // Seen from systems that never escape: "^~&". By position the subcomponent separator would be the escape character.
        return set.Length == 3 && set[2] == '&'
            ? new Hl7Delimiters(header[3], set[0], set[1], '\0', set[2], '\0')
            : new Hl7Delimiters(header[3], set[0], At(set, 1), At(set, 2), At(set, 3), At(set, 4));
    }

    private static char At(ReadOnlySpan<char> set, int index) => index < set.Length ? set[index] : '\0';

    private static bool IsDelimiter(char c) => c is > ' ' and < '\x7F' && !char.IsAsciiLetterOrDigit(c);

    private static string Name(char c) => c is > ' ' and < '\x7F' ? $"'{c}'" : $"U+{(int)c:X4}";
}
