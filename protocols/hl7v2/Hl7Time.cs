using System.Globalization;

namespace Yizhan.Hl7v2;

/// <summary>Points in time of data types DTM and TS: <c>YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]</c> (HL7 v2.5.1 §2.A.22).</summary>
public static class Hl7Time
{
    private static readonly string[] Formats = ["yyyy", "yyyyMM", "yyyyMMdd", "yyyyMMddHH", "yyyyMMddHHmm", "yyyyMMddHHmmss"];

    /// <summary>Writes to the second, with the offset.</summary>
    public static string Format(DateTimeOffset time) => time.ToString("yyyyMMddHHmmsszzz", CultureInfo.InvariantCulture).Replace(":", "", StringComparison.Ordinal);

    /// <summary>Reads a time.</summary>
    /// <param name="text">The text.</param>
    /// <param name="defaultOffset">The sender's offset, where the text has none.</param>
    /// <param name="time">The start of the year, month, day ... that is named.</param>
    /// <returns>False when it is not a time.</returns>
    public static bool TryParse(ReadOnlySpan<char> text, TimeSpan defaultOffset, out DateTimeOffset time)
    {
        time = default;
        var offset = defaultOffset;
        if (text.LastIndexOfAny('+', '-') is >= 0 and var sign)
        {
            var zone = text[(sign + 1)..];
            if (zone.Length != 4 || !TimeSpan.TryParseExact(zone, "hhmm", CultureInfo.InvariantCulture, out offset) || offset > TimeSpan.FromHours(14))
            {
                return false;
            }

            offset = text[sign] == '-' ? -offset : offset;
            text = text[..sign];
        }

        var ticks = 0L;
        if (text.IndexOf('.') is >= 0 and var point)
        {
            var fraction = text[(point + 1)..];
            if (point != 14 || fraction.Length is 0 or > 4 || fraction.ContainsAnyExceptInRange('0', '9'))
            {
                return false;
            }

            ticks = int.Parse(fraction, NumberStyles.None, CultureInfo.InvariantCulture) * TimeSpan.TicksPerSecond / (long)Math.Pow(10, fraction.Length);
            text = text[..point];
        }

        if (text.Length is < 4 or > 14 || text.Length % 2 != 0 || !DateTime.TryParseExact(text, Formats[(text.Length - 4) / 2], CultureInfo.InvariantCulture, DateTimeStyles.None, out var local))
        {
            return false;
        }

        // The first and the last year of the calendar have no room for an offset.
        if (local.Year is 1 or 9999)
        {
            return false;
        }

        time = new DateTimeOffset(local.AddTicks(ticks), offset);
        return true;
    }
}
