using System.Buffers;
using System.Globalization;

namespace Yizhan.Gs1;

/// <summary>A part of the value of an application identifier.</summary>
/// <param name="Set">N digits, X set 82, Y set 39, Z base64url (GS1 General Specifications §7.11).</param>
/// <param name="MinLength">Fewest characters.</param>
/// <param name="MaxLength">Most characters.</param>
/// <param name="IsOptional">Whether it may be missing at the end.</param>
/// <param name="Checks">What is checked besides.</param>
public sealed record ValuePart(char Set, int MinLength, int MaxLength, bool IsOptional, IReadOnlyList<string> Checks)
{
    private const string Set82 = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
    private const string Set39 = "#-/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    private const string Base64Url = "-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=";

    private static readonly SearchValues<char> Digits = SearchValues.Create("0123456789"), In82 = SearchValues.Create(Set82), In39 = SearchValues.Create(Set39), InBase64Url = SearchValues.Create(Base64Url);

    // Prime weights of the check characters of a GMN, from the right (GS1 General Specifications §7.9.5).
    private static readonly int[] Primes = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83];

    private readonly SearchValues<char> _accepted = Set switch { 'N' => Digits, 'X' => In82, 'Y' => In39, _ => InBase64Url };
    private readonly Rule[] _rules = [.. Checks.Select(RuleOf).OfType<Rule>()];

    private delegate string? Rule(ReadOnlySpan<char> value);

    /// <summary>Reads the table's notation, for example <c>[N13],csum</c> or <c>X..20</c>.</summary>
    internal static ValuePart Read(string text)
    {
        var words = text.Split(',');
        var optional = words[0].StartsWith('[');
        var size = words[0].Trim('[', ']')[1..];
        var upTo = size.StartsWith("..", StringComparison.Ordinal);
        var length = int.Parse(upTo ? size[2..] : size, CultureInfo.InvariantCulture);
        return new ValuePart(words[0].TrimStart('[')[0], upTo ? 1 : length, length, optional, words[1..]);
    }

    /// <summary>What is wrong with a value of this part; null when nothing is.</summary>
    internal string? Check(ReadOnlySpan<char> value)
    {
        if (value.IndexOfAnyExcept(_accepted) is >= 0 and var at)
        {
            return Set == 'N' ? "only digits are accepted" : $"the character U+{(int)value[at]:X4} is not in the set of characters that GS1 has for it";
        }

        foreach (var rule in _rules)
        {
            if (rule(value) is { } wrong)
            {
                return wrong;
            }
        }

        return null;
    }

    /// <summary>The check digit of what is before it: weights 3 and 1 from the right, modulo 10 (§7.9.1).</summary>
    public static char CheckDigit(ReadOnlySpan<char> digits)
    {
        var sum = 0;
        for (var i = 0; i < digits.Length; i++)
        {
            sum += (digits[^(i + 1)] - '0') * (i % 2 == 0 ? 3 : 1);
        }

        return (char)('0' + ((10 - (sum % 10)) % 10));
    }

    /// <summary>What a check of the table does; null for one that names a list which changes without GS1, or a coupon: there only the characters are checked.</summary>
    private static Rule? RuleOf(string check) => check switch
    {
        "csum" => value => CheckDigit(value[..^1]) is var digit && digit == value[^1] ? null : $"its check digit would be {digit}",
        "csumalpha" => value => CheckCharacters(value),
        "gcppos1" => value => Prefix(value, 0),
        "gcppos2" => value => Prefix(value, 1),
        "yymmdd" => value => Gs1Date.IsDate(value, dayMayBeZero: false) ? null : "no such day; YYMMDD is accepted",
        "yymmd0" => value => Gs1Date.IsDate(value, dayMayBeZero: true) ? null : "no such day; YYMMDD is accepted, with day 00 for the last of the month",
        "yyyymmdd" => value => DateOnly.TryParseExact(value, "yyyyMMdd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _) ? null : "no such day; YYYYMMDD is accepted",
        "hhmi" => value => Below(value[..2], 24) && Below(value[2..], 60) ? null : "no such time; HHMM is accepted",
        "hh" => value => Below(value, 24) ? null : "no such hour",
        "mi" or "ss" => value => Below(value, 60) ? null : "00 to 59 is accepted",
        "yesno" => value => value is "0" or "1" ? null : "0 (no) and 1 (yes) are accepted",
        "zero" => value => value.IndexOfAnyExcept('0') < 0 ? null : "0 is accepted",
        "nonzero" => value => value.IndexOfAnyExcept('0') >= 0 ? null : "it must not be 0",
        "nozeroprefix" => value => value.Length == 1 || value[0] != '0' ? null : "it must not begin with 0",
        "hasnondigit" => value => value.IndexOfAnyExceptInRange('0', '9') >= 0 ? null : "it must hold a character that is no digit",
        "pieceoftotal" => value => Number(value[..2]) is > 0 and var piece && Number(value[2..]) is > 0 and var total && piece <= total ? null : "a piece number from 01 and not above the total is accepted",
        "winding" => value => value is "0" or "1" or "9" ? null : "0, 1 and 9 are accepted",
        "iso5218" => value => value is "0" or "1" or "2" or "9" ? null : "0, 1, 2 and 9 are accepted",
        "latitude" => value => long.Parse(value, CultureInfo.InvariantCulture) <= 1_800_000_000 ? null : "0000000000 to 1800000000 is accepted",
        "longitude" => value => long.Parse(value, CultureInfo.InvariantCulture) <= 3_600_000_000 ? null : "0000000000 to 3600000000 is accepted",
        "hyphen" => value => value is "-" ? null : "'-' is accepted",
        "mediatype" => value => Number(value) is >= 1 and <= 10 or >= 80 and <= 99 ? null : "01 to 10 and 80 to 99 are accepted",
        "importeridx" => value => value is "-" || char.IsAsciiLetterOrDigit(value[0]) || value is "_" ? null : "a letter, a digit, '-' or '_' is accepted",
        "posinseqslash" => value => value[1] == '/' && char.IsAsciiDigit(value[0]) && char.IsAsciiDigit(value[2]) && value[0] != '0' && value[0] <= value[2] ? null : "N/M is accepted, with N from 1 and not above M",
        "pcenc" => value => IsPercentEncoded(value) ? null : "after '%' two hexadecimal digits are accepted",
        "iban" => value => IsIban(value) ? null : "no valid international bank account number",
        "iso3166" or "iso3166999" or "iso4217" or "iso3166alpha2" or "packagetype" or "couponcode" or "couponposoffer" => null,
        _ => throw new NotSupportedException($"The table of application identifiers names the check '{check}', which nobody wrote."),
    };

    private static string? Prefix(ReadOnlySpan<char> value, int start) =>
        value.Length >= start + 4 && value.Slice(start, 4).IndexOfAnyExceptInRange('0', '9') < 0 ? null : "a company prefix of at least four digits is accepted";

    private static bool Below(ReadOnlySpan<char> digits, int limit) => Number(digits) < limit;

    private static int Number(ReadOnlySpan<char> pair) => ((pair[0] - '0') * 10) + pair[1] - '0';

    private static bool IsPercentEncoded(ReadOnlySpan<char> value)
    {
        while (value.IndexOf('%') is >= 0 and var at)
        {
            if (value.Length < at + 3 || !char.IsAsciiHexDigit(value[at + 1]) || !char.IsAsciiHexDigit(value[at + 2]))
            {
                return false;
            }

            value = value[(at + 3)..];
        }

        return true;
    }

    private static bool IsIban(ReadOnlySpan<char> value)
    {
        if (value.Length < 5 || !char.IsAsciiLetterUpper(value[0]) || !char.IsAsciiLetterUpper(value[1]))
        {
            return false;
        }

        var rest = 0;
        for (var i = 0; i < value.Length; i++)
        {
            var c = value[(i + 4) % value.Length];
            if (char.IsAsciiDigit(c))
            {
                rest = ((rest * 10) + c - '0') % 97;
            }
            else if (char.IsAsciiLetterUpper(c))
            {
                rest = ((rest * 100) + c - 'A' + 10) % 97;
            }
            else
            {
                return false;
            }
        }

        return rest == 1;
    }

    private static string? CheckCharacters(ReadOnlySpan<char> value)
    {
        const string Characters = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
        if (value.Length < 3)
        {
            return "two check characters are needed";
        }

        var sum = 0;
        for (var i = 0; i < value.Length - 2; i++)
        {
            sum += Set82.IndexOf(value[^(i + 3)], StringComparison.Ordinal) * Primes[i];
        }

        sum %= 1021;
        ReadOnlySpan<char> pair = [Characters[sum >> 5], Characters[sum & 31]];
        return value.EndsWith(pair) ? null : $"its check characters would be {pair}";
    }
}
