using System.Globalization;

namespace Yizhan.Console.Language;

/// <summary>Numbers, times and names as people read them; the same digits in every language.</summary>
internal static class Display
{
    private static readonly string[] Units = ["B", "kB", "MB", "GB", "TB", "PB"];

    /// <summary>Bytes with three significant digits in units of 1000 (as disks and links are sold): <c>999 B</c>, <c>1.50 kB</c>, <c>15.0 GB</c>.</summary>
    public static string Size(long bytes)
    {
        var value = (double)Math.Max(0, bytes);
        var unit = 0;
        while (unit < Units.Length - 1 && Math.Round(value, value < 10 ? 2 : value < 100 ? 1 : 0) >= 1000)
        {
            value /= 1000;
            unit++;
        }

        // 9.999 would round to 10.00: digits are chosen after rounding.
        var digits = unit == 0 ? 0 : Math.Round(value, 2) < 10 ? 2 : Math.Round(value, 1) < 100 ? 1 : 0;
        return string.Create(CultureInfo.InvariantCulture, $"{value.ToString("F" + digits, CultureInfo.InvariantCulture)} {Units[unit]}");
    }

    /// <summary>A duration in its two largest units, rounded down: <c>45 s</c>, <c>3 min 20 s</c>, <c>2 h 14 min</c>, <c>3 days 4 h</c>.</summary>
    public static string Duration(TimeSpan duration, Texts texts)
    {
        var (large, small) = duration switch
        {
            { TotalSeconds: < 60 } => (texts.Seconds(Math.Max(0, (long)duration.TotalSeconds)), null),
            { TotalMinutes: < 60 } => (texts.Minutes(duration.Minutes), duration is { Minutes: < 10, Seconds: > 0 } ? texts.Seconds(duration.Seconds) : null),
            { TotalHours: < 24 } => (texts.Hours(duration.Hours), duration.Minutes > 0 ? texts.Minutes(duration.Minutes) : null),
            _ => (texts.Days((long)duration.TotalDays), duration is { Days: < 10, Hours: > 0 } ? texts.Hours(duration.Hours) : (string?)null),
        };
        return small is null ? large : $"{large} {small}";
    }

    /// <summary>How long ago in the largest unit (a list of ages is not to change each second), or the time itself when it lies in the future by more than clocks usually differ.</summary>
    public static string Ago(DateTimeOffset time, DateTimeOffset now, TimeZoneInfo zone, Texts texts) => (now - time) switch
    {
        { TotalMinutes: < -2 } => Absolute(time, zone),
        { TotalSeconds: < 2 } => texts.JustNow,
        { TotalSeconds: < 60 } past => texts.Ago(texts.Seconds((long)past.TotalSeconds)),
        { TotalMinutes: < 60 } past => texts.Ago(texts.Minutes((long)past.TotalMinutes)),
        { TotalHours: < 24 } past => texts.Ago(texts.Hours((long)past.TotalHours)),
        var past => texts.Ago(texts.Days((long)past.TotalDays)),
    };

    /// <summary>Date, time and offset: <c>2026-11-23 08:15:04 +08:00</c>.</summary>
    public static string Absolute(DateTimeOffset time, TimeZoneInfo zone) =>
        TimeZoneInfo.ConvertTime(time, zone).ToString("yyyy-MM-dd HH:mm:ss zzz", CultureInfo.InvariantCulture);

    /// <summary>A time as short as it is clear: <c>14:05</c> of the same day, <c>11-20 14:05</c> of the same year, else with the year.</summary>
    public static string Since(DateTimeOffset time, Network.Moment moment)
    {
        var (local, now) = (TimeZoneInfo.ConvertTime(time, moment.Zone), TimeZoneInfo.ConvertTime(moment.Now, moment.Zone));
        var text = local.ToString(local.Date == now.Date ? "HH:mm" : local.Year == now.Year ? "MM-dd HH:mm" : "yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture);

        // Until the browser has said where it is.
        return moment.Zone == TimeZoneInfo.Utc ? text + " UTC" : text;
    }

    /// <summary>A DICOM date (PS3.5 §6.2, DA) with hyphens; what is not one stays as it is.</summary>
    public static string Date(string da) =>
        DateOnly.TryParseExact(da, "yyyyMMdd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var date)
            ? date.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)
            : da;

    /// <summary>
    /// A person name (PS3.5 §6.2.1) in reading order: the ideographic group first when there is one, the alphabetic beside it.
    /// Ideographic families and given names stand together (王小东), alphabetic ones apart (Wang XiaoDong).
    /// </summary>
    public static (string Name, string? Second) Person(string pn)
    {
        var groups = pn.Split('=');
        var alphabetic = Components(groups[0], " ");
        var ideographic = groups.Length > 1 ? Components(groups[1], "") : "";
        return ideographic.Length == 0 ? (alphabetic.Any(IsIdeograph) ? Components(groups[0], "") : alphabetic, null)
            : (ideographic, alphabetic.Length == 0 || alphabetic == ideographic ? null : alphabetic);
    }

    private static string Components(string group, string separator) =>
        string.Join(separator, group.Split('^', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries));

    private static bool IsIdeograph(char c) => c is >= '\u3400' and <= '\u9fff' or >= '\uf900' and <= '\ufaff';
}
