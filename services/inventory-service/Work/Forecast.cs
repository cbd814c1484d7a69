using Dapper;
using Microsoft.Data.Sqlite;
using Yizhan.Contracts;
using Yizhan.Inventory.Ledger;

namespace Yizhan.Inventory.Work;

/// <summary>How long stock lasts, from what was really used.</summary>
/// <remarks>
/// Consumption of a day is what was issued on it, and what a count found missing. The mean and the deviation are of the last 90 days, or of the days since the item's first
/// movement when there are fewer (at least 7 are needed). Stock is used up first-expired-first-out at the mean rate: what a lot cannot give before its last day is expected to expire.
/// The reorder point is the item's own, else mean × lead time + 1.64 × deviation × √lead time: one order in twenty comes late (normal demand).
/// </remarks>
internal sealed class Forecast(LedgerFile file, TimeProvider clock)
{
    /// <summary>What the figures rest on, for whoever reads them.</summary>
    public const string Method =
        "mean and deviation of issues and count losses of the last 90 days (at least 7); first-expired-first-out; reorder point = mean x lead + 1.64 x deviation x sqrt(lead) unless the item has one";

    private const int WindowDays = 90;
    private const int MinDays = 7;
    private const double Service = 1.64;
    private const long DayMs = 86_400_000;

    /// <summary>The items of a site, the scarcest first.</summary>
    public IReadOnlyList<ForecastView> Of(string site) => file.Read(db =>
    {
        var now = clock.GetUtcNow();
        var today = DateOnly.FromDateTime(now.UtcDateTime);
        var items = db.Query<(string Code, string Name, string Unit, long? Point, long Lead)>(
            "SELECT code, name, unit, reorder_point, lead_days FROM item WHERE site = @site", new { site }).ToList();
        return (IReadOnlyList<ForecastView>)[.. items.Select(item => One(db, site, item, now.ToUnixTimeMilliseconds(), today))
            .OrderBy(f => f.DaysOfCover ?? double.MaxValue).ThenBy(f => f.Item, StringComparer.Ordinal)];
    });

    private static ForecastView One(SqliteConnection db, string site, (string Code, string Name, string Unit, long? Point, long Lead) item, long nowMs, DateOnly today)
    {
        var stocks = db.Query<(long Pk, string Expiry, long Balance, long Recalled)>(
            """
            SELECT s.pk, s.expiry, s.balance, r.lot IS NOT NULL FROM stock s LEFT JOIN recall r ON r.site = s.site AND r.item = s.item AND r.lot = s.lot
            WHERE s.site = @site AND s.item = @code
            """, new { site, code = item.Code }).ToList();
        var days = new double[WindowDays];
        var first = nowMs;
        foreach (var stock in stocks)
        {
            first = Math.Min(first, Consumption(db, stock.Pk, nowMs, days));
        }

        var window = (int)Math.Clamp((nowMs - first) / DayMs, 0, WindowDays);
        var lots = stocks.Where(s => s.Balance > 0 && s.Recalled == 0)
            .Select(s => (Days: s.Expiry.Length == 0 ? double.MaxValue : DateOnly.Parse(s.Expiry, null).DayNumber - today.DayNumber + 1, Quantity: s.Balance / 1000.0))
            .Where(l => l.Days > 0).OrderBy(l => l.Days).ToList();
        var usable = lots.Sum(l => l.Quantity);
        var onHand = Thousandths.ToDecimal(stocks.Sum(s => s.Balance));
        if (window < MinDays)
        {
            return new ForecastView(site, item.Code, item.Name, item.Unit, onHand, usable, null, null, null, 0, Point(item.Point), item.Point is { } p && usable * 1000 <= p);
        }

        var used = days[..window];
        var mean = used.Sum() / window;
        var deviation = Math.Sqrt(used.Sum(d => (d - mean) * (d - mean)) / window);
        var point = Point(item.Point) ?? (mean * item.Lead) + (Service * deviation * Math.Sqrt(item.Lead));
        var (cover, expires) = UseUp(lots, mean);
        return new ForecastView(
            site, item.Code, item.Name, item.Unit, onHand, usable, Round(mean), cover is { } c ? Round(c) : null,
            cover is { } until && until < 36_500 ? today.AddDays((int)until) : null, Round(expires), Round(point), usable <= point && (mean > 0 || item.Point is not null));
    }

    /// <summary>Lots in the order of their last day, used at a rate: how many days they last, and what of them expires first.</summary>
    internal static (double? Days, double Expires) UseUp(IEnumerable<(double Days, double Quantity)> lots, double perDay)
    {
        if (perDay <= 0)
        {
            return (null, 0);
        }

        var (time, expires) = (0.0, 0.0);
        foreach (var (days, quantity) in lots)
        {
            var taken = Math.Min(quantity, Math.Max(0, days - time) * perDay);
            time += taken / perDay;
            expires += quantity - taken;
        }

        return (time, expires);
    }

    /// <summary>Adds what was used of a stock on each of the last days, today first; returns the time of its first movement.</summary>
    private static long Consumption(SqliteConnection db, long stock, long nowMs, double[] days)
    {
        var (before, seq, start) = LedgerQueries.Checkpoint(db, stock, nowMs - (WindowDays * DayMs));
        var (balance, first) = (start, seq > 0 ? before : nowMs);
        foreach (var (effective, kind, quantity) in db.Query<(long, long, long)>(
            "SELECT effective, kind, quantity FROM movement WHERE stock = @stock AND (effective, seq) > (@before, @seq) ORDER BY effective, seq", new { stock, before, seq }))
        {
            first = Math.Min(first, effective);
            var had = balance;
            balance = kind == (long)MovementKind.Count ? quantity : balance + quantity;
            var used = kind == (long)MovementKind.Issue || (kind == (long)MovementKind.Count && balance < had) ? had - balance : 0;
            var day = (nowMs - effective) / DayMs;
            if (used > 0 && day is >= 0 and < WindowDays)
            {
                days[day] += used / 1000.0;
            }
        }

        return first;
    }

    private static double? Point(long? thousandths) => thousandths is { } t ? t / 1000.0 : null;

    private static double Round(double value) => Math.Round(value, 2);
}
