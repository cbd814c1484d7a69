using System.Text;

namespace Yizhan.Transcripts;

/// <summary>
/// What is counted. The normalisation is stated because a figure without it says nothing: Unicode NFKC, lower case (invariant), punctuation dropped but for a point
/// between digits and an apostrophe within a word, control characters as spaces. Traditional characters are not folded into simplified ones.
/// </summary>
public static class TranscriptTokens
{
    /// <summary>Units that are said in more than one way.</summary>
    private static readonly (string Said, string Symbol)[] Units =
    [
        ("毫米汞柱", "mmhg"), ("毫克", "mg"), ("微克", "µg"), ("毫升", "ml"), ("千克", "kg"), ("公斤", "kg"), ("厘米", "cm"), ("毫米", "mm"), ("摄氏度", "°c"), ("millimeters of mercury", "mmhg"),
        ("milligrams", "mg"), ("milligram", "mg"), ("milliliters", "ml"), ("milliliter", "ml"),
    ];

    /// <summary>
    /// The mixed tokens that the error rate of the alert is made of: each Han character, each word of another script, each number. Numbers in characters become digits
    /// (一百四十 and 140 are one token), units their symbols.
    /// </summary>
    public static IReadOnlyList<string> Mixed(string text)
    {
        var normal = Normalise(text);
        foreach (var (said, symbol) in Units)
        {
            normal = normal.Replace(said, $" {symbol} ", StringComparison.Ordinal);
        }

        var tokens = new List<string>();
        for (var i = 0; i < normal.Length;)
        {
            var c = normal[i];
            if (c == ' ')
            {
                i++;
            }
            else if (ChineseNumber.IsPart(c) && Run(normal, i, ChineseNumber.IsPart) is var end && IsFolded(normal.AsSpan(i, end - i), out var number))
            {
                tokens.Add(number);
                i = end;
            }
            else if (IsHan(normal, i, out var length))
            {
                tokens.Add(normal.Substring(i, length));
                i += length;
            }
            else if (char.IsAsciiDigit(c))
            {
                var stop = Run(normal, i, d => char.IsAsciiDigit(d) || d == '.');
                tokens.Add(normal[i..stop].Trim('.'));
                i = stop;
            }
            else
            {
                var stop = i;
                while (stop < normal.Length && normal[stop] != ' ' && !char.IsAsciiDigit(normal[stop]) && !IsHan(normal, stop, out _))
                {
                    stop++;
                }

                tokens.Add(normal[i..stop]);
                i = stop;
            }
        }

        return tokens;
    }

    /// <summary>Words, split at spaces: the word error rate of languages that write them.</summary>
    public static IReadOnlyList<string> Words(string text) => Normalise(text).Split(' ', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>Characters without spaces: the character error rate.</summary>
    public static IReadOnlyList<string> Characters(string text)
    {
        var tokens = new List<string>();
        foreach (var rune in Normalise(text).EnumerateRunes())
        {
            if (rune.Value != ' ')
            {
                tokens.Add(rune.ToString());
            }
        }

        return tokens;
    }

    /// <summary>The text as it is compared; one space between words.</summary>
    public static string Normalise(string text)
    {
        var normal = WellFormed(text).Normalize(NormalizationForm.FormKC).ToLowerInvariant();
        var result = new StringBuilder(normal.Length);
        for (var i = 0; i < normal.Length; i++)
        {
            var c = normal[i];
            var between = i > 0 && i + 1 < normal.Length;
            var kept = char.IsLetterOrDigit(c) || char.IsSurrogate(c) || c is '%' or '°' or 'µ' or 'μ'
                || char.GetUnicodeCategory(c) is System.Globalization.UnicodeCategory.NonSpacingMark or System.Globalization.UnicodeCategory.SpacingCombiningMark
                || c == '.' && between && char.IsAsciiDigit(normal[i - 1]) && char.IsAsciiDigit(normal[i + 1])
                || c is '\'' or '’' && between && char.IsLetter(normal[i - 1]) && char.IsLetter(normal[i + 1]);
            if (kept)
            {
                result.Append(c switch { '’' => '\'', 'μ' => 'µ', _ => c });
            }
            else if (result.Length > 0 && result[^1] != ' ')
            {
                result.Append(' ');
            }
        }

        return result.ToString().TrimEnd(' ');
    }

    /// <summary>A lone half of a surrogate pair cannot be normalised; it becomes U+FFFD.</summary>
    public static string WellFormed(string text)
    {
        foreach (var rune in text.EnumerateRunes())
        {
            if (rune == Rune.ReplacementChar)
            {
                return string.Concat(text.EnumerateRunes().Select(r => r.ToString()));
            }
        }

        return text;
    }

    /// <summary>One character alone is a number only when it is a digit: 千 and 万 are names too, and 一下 is no count. Longer runs are numbers when they can be read.</summary>
    private static bool IsFolded(ReadOnlySpan<char> run, out string number) => ChineseNumber.TryParse(run, out number) && (run.Length > 1 || run[0] is '十');

    private static int Run(string text, int from, Func<char, bool> holds)
    {
        var i = from;
        while (i < text.Length && holds(text[i]))
        {
            i++;
        }

        return i;
    }

    private static bool IsHan(string text, int index, out int length)
    {
        length = Rune.TryGetRuneAt(text, index, out var rune) ? rune.Utf16SequenceLength : 1;
        return rune.Value is >= 0x4E00 and <= 0x9FFF or >= 0x3400 and <= 0x4DBF or >= 0x20000 and <= 0x3FFFF or >= 0xF900 and <= 0xFAFF or 0x3007;
    }
}
