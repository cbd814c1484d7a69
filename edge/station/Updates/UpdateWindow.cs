using System.Globalization;

namespace Yizhan.Station.Updates;

/// <summary>Hours of the day in which a site may be restarted, such as <c>22:00-05:00</c>, by the clock on its wall.</summary>
/// <param name="From">Begin.</param>
/// <param name="To">End, exclusive; before <paramref name="From"/> it is on the next day.</param>
internal readonly record struct UpdateWindow(TimeOnly From, TimeOnly To)
{
    public static bool TryParse(string text, out UpdateWindow window)
    {
        var parts = text.Split('-');
        window = default;
        if (parts.Length != 2 || !Time(parts[0], out var from) || !Time(parts[1], out var to) || from == to)
        {
            return false;
        }

        window = new(from, to);
        return true;
    }

    public bool Contains(TimeOnly time) => time.IsBetween(From, To);

    private static bool Time(string text, out TimeOnly time) =>
        TimeOnly.TryParseExact(text, "HH:mm", CultureInfo.InvariantCulture, DateTimeStyles.None, out time);
}
