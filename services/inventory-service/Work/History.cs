using Dapper;
using Yizhan.Inventory.Ledger;

namespace Yizhan.Inventory.Work;

/// <summary>Stock of an item at the end of each of some days, for plots.</summary>
internal sealed class History(LedgerFile file, TimeProvider clock)
{
    private const long DayMs = 86_400_000;

    /// <summary>Balances of an item, the oldest day first; the last is now.</summary>
    public IReadOnlyList<double> Of(string? site, string item, int days) => file.Read(db =>
    {
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var ends = new double[days];
        foreach (var stock in db.Query<long>($"SELECT pk FROM stock WHERE item = @item {(site is null ? "" : "AND site = @site")}", new { item, site }))
        {
            var (before, seq, balance) = LedgerQueries.Checkpoint(db, stock, now - (days * DayMs));
            var day = 0;
            foreach (var (effective, kind, quantity) in db.Query<(long, long, long)>(
                "SELECT effective, kind, quantity FROM movement WHERE stock = @stock AND (effective, seq) > (@before, @seq) AND effective <= @now ORDER BY effective, seq", new { stock, before, seq, now }))
            {
                for (; day < days && now - ((days - 1 - day) * DayMs) < effective; day++)
                {
                    ends[day] += balance / 1000.0;
                }

                balance = kind == (long)MovementKind.Count ? quantity : balance + quantity;
            }

            for (; day < days; day++)
            {
                ends[day] += balance / 1000.0;
            }
        }

        return (IReadOnlyList<double>)ends;
    });
}
