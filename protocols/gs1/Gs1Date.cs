namespace Yizhan.Gs1;

/// <summary>Dates of six digits, YYMMDD (GS1 General Specifications §3.4.2 and §7.12).</summary>
public static class Gs1Date
{
    /// <summary>
    /// The day that is meant. Day 00 is the last of the month. The century is the one in which the year is at most 49 years ago and
    /// at most 50 ahead.
    /// </summary>
    /// <param name="digits">Six digits that were checked.</param>
    /// <param name="today">What the century is counted from.</param>
    public static DateOnly Read(ReadOnlySpan<char> digits, DateOnly today)
    {
        var (year, month, day) = (Number(digits[..2]), Number(digits[2..4]), Number(digits[4..6]));
        var ahead = year - (today.Year % 100);
        var century = (today.Year / 100) + (ahead > 50 ? -1 : ahead < -49 ? 1 : 0);
        year += century * 100;
        return new DateOnly(year, month, day == 0 ? DateTime.DaysInMonth(year, month) : Math.Min(day, DateTime.DaysInMonth(year, month)));
    }

    /// <summary>Whether a century has such a day.</summary>
    internal static bool IsDate(ReadOnlySpan<char> digits, bool dayMayBeZero)
    {
        var (year, month, day) = (Number(digits[..2]), Number(digits[2..4]), Number(digits[4..6]));

        // 00 is a leap year in this century and in none of the neighbours.
        return month is >= 1 and <= 12 && day <= DateTime.DaysInMonth(2000 + year, month) && (day > 0 || dayMayBeZero);
    }

    private static int Number(ReadOnlySpan<char> pair) => ((pair[0] - '0') * 10) + pair[1] - '0';
}
