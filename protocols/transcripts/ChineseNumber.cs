using System.Globalization;

namespace Yizhan.Transcripts;

/// <summary>Numbers in Chinese characters.</summary>
public static class ChineseNumber
{
    private const string Digits = "零一二三四五六七八九";

    /// <summary>Whether a character may be part of a number.</summary>
    public static bool IsPart(char c) => c is '两' or '〇' or '十' or '百' or '千' or '万' or '亿' or '点' || Digits.Contains(c, StringComparison.Ordinal);

    /// <summary>
    /// Reads a run of such characters: 一百四十 is 140, 三点五 is 3.5, 一三八 is 138 (digit by digit, as a telephone number). False when the run is no number, such as
    /// 点 alone or 十百.
    /// </summary>
    public static bool TryParse(ReadOnlySpan<char> text, out string number)
    {
        number = "";
        if (text.Length is 0 or > 24)
        {
            return false;
        }

        var point = text.IndexOf('点');
        var whole = point < 0 ? text : text[..point];
        if (!TryWhole(whole, out var value))
        {
            return false;
        }

        if (point < 0)
        {
            number = value;
            return true;
        }

        var places = text[(point + 1)..];
        Span<char> decimals = stackalloc char[places.Length];
        for (var i = 0; i < places.Length; i++)
        {
            if (DigitOf(places[i]) is not (>= 0 and var digit))
            {
                return false;
            }

            decimals[i] = (char)('0' + digit);
        }

        number = $"{value}.{decimals}";
        return places.Length > 0;
    }

    private static bool TryWhole(ReadOnlySpan<char> text, out string number)
    {
        number = "";
        if (text.Length == 0)
        {
            return false;
        }

        if (text.IndexOfAny("十百千万亿") < 0)
        {
            Span<char> digits = stackalloc char[text.Length];
            for (var i = 0; i < text.Length; i++)
            {
                digits[i] = (char)('0' + DigitOf(text[i]));
            }

            number = digits.ToString();
            return true;
        }

        long total = 0, section = 0, digit = -1, last = long.MaxValue;
        foreach (var c in text)
        {
            if (DigitOf(c) is >= 0 and var value)
            {
                if (digit > 0)
                {
                    return false;
                }

                digit = value;
                continue;
            }

            var unit = c switch { '十' => 10L, '百' => 100, '千' => 1000, '万' => 10_000, _ => 100_000_000 };
            if (unit >= 10_000)
            {
                section += Math.Max(digit, 0);
                if (section == 0 || total != 0 && unit >= 100_000_000)
                {
                    return false;
                }

                (total, section, digit, last) = ((total + section) * unit, 0, -1, unit);
                if (c == '万' && total >= 100_000_000_000)
                {
                    return false;
                }

                continue;
            }

            // 百 after 十 in one section is no number.
            if (unit >= last && last < 10_000 || digit == 0 || digit < 0 && unit != 10)
            {
                return false;
            }

            section += (digit < 0 ? 1 : digit) * unit;
            (digit, last) = (-1, unit);
        }

        // 一百五 is 150 where nothing was said between.
        section += digit <= 0 ? 0 : last is 100 or 1000 && !text.Contains('零') && !text.Contains('〇') ? digit * last / 10 : digit;
        number = (total + section).ToString(CultureInfo.InvariantCulture);
        return true;
    }

    private static int DigitOf(char c) => c switch
    {
        '两' => 2,
        '〇' => 0,
        _ => Digits.IndexOf(c, StringComparison.Ordinal),
    };
}
