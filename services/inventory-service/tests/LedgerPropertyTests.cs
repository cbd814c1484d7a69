using CsCheck;
using Yizhan.Contracts;
using Yizhan.Inventory.Ledger;

namespace Yizhan.Inventory.Tests;

/// <summary>The ledger against a model that keeps all movements in a list and adds them up each time.</summary>
public sealed class LedgerPropertyTests
{
    private static readonly string[] Kinds = ["receive", "receive", "issue", "issue", "adjust", "count", "transfer", "waste", "recall"];

    /// <summary>A movement by small numbers, so that they meet: which kind, lot, place, hour and how much.</summary>
    private static readonly Gen<(int Kind, int Lot, int Place, int Hour, int Quantity)[][]> Batches =
        Gen.Select(Gen.Int[0, 8], Gen.Int[0, 1], Gen.Int[0, 1], Gen.Int[1, 40], Gen.Int[-6, 12]).Array[1, 4].Array[1, 60];

    [Fact]
    public void Random_movements_in_any_order_of_time_have_the_models_balances_now_then_and_as_known_then() => Batches.Sample(
        batches =>
        {
            using var folder = new Folder();
            using var file = new LedgerFile(folder["ledger.db"]);
            var queries = new LedgerQueries(file);
            var model = new Model();
            // A checkpoint behind every third movement of a stock, so that most balances of the past start at one.
            var book = file.OpenBook(3);
            book.Begin();
            book.Define("s", Node.ItemOf("gloves"));
            book.Commit();
            for (var i = 0; i < batches.Length; i++)
            {
                var batch = new MovementBatch($"b{i}", "t", "t", [.. batches[i].Select(Of)], RecordedMs: i + 1);
                book.Begin();
                var result = book.Apply("s", batch);
                book.Commit();
                Assert.Equal(model.Apply(batch), result is ApplyResult.Applied);
                if (i % 10 == 9)
                {
                    // The process ends and comes back: nothing was only in memory.
                    book.Dispose();
                    book = file.OpenBook(3);
                }
            }

            book.Dispose();
            foreach (var (lot, place) in from lot in Enumerable.Range(0, 2) from place in Enumerable.Range(0, 2) select ($"L{lot}", $"P{place}"))
            {
                var filter = new StockFilter("s", "gloves", lot, place, WithEmpty: true);
                Assert.Equal(model.Balance(lot, place, long.MaxValue, long.MaxValue), queries.Stock(filter, 9).Sum(s => s.Quantity));
                for (var hour = 0; hour <= 41; hour += 3)
                {
                    foreach (var known in new long[] { batches.Length / 3, batches.Length })
                    {
                        Assert.Equal(
                            model.Balance(lot, place, Model.Hour(hour), known), queries.StockAt(filter, Model.Hour(hour), known, 9).Sum(s => s.Quantity));
                    }
                }
            }
        },
        iter: 60, threads: 1);

    private static Movement Of((int Kind, int Lot, int Place, int Hour, int Quantity) n)
    {
        var kind = Kinds[n.Kind];
        var quantity = kind switch { "recall" => 0, "adjust" => n.Quantity == 0 ? 1 : n.Quantity, "count" => Math.Abs(n.Quantity), _ => Math.Abs(n.Quantity) + 1 };
        return new Movement(
            kind, "gloves", quantity, "", Model.Hour(n.Hour), $"L{n.Lot}", "", $"P{n.Place}", ToLocation: kind == "transfer" ? $"P{1 - n.Place}" : "", BaseQuantity: quantity);
    }

    private sealed class Model
    {
        private readonly List<(string Lot, string Place, long Effective, long Known, bool IsCount, decimal Quantity)> _rows = [];
        private readonly List<(string Lot, long Effective)> _recalls = [];
        private long _known;

        public static long Hour(int hour) => 1_750_000_000_000 + (hour * 3_600_000L);

        public bool Apply(MovementBatch batch)
        {
            _known++;
            var (rows, recalls) = (_rows.Count, _recalls.Count);
            foreach (var m in batch.Movements)
            {
                if (m.Kind is "issue" or "transfer" && _recalls.Any(r => r.Lot == m.Lot && r.Effective <= m.EffectiveMs))
                {
                    return Undo();
                }

                switch (m.Kind)
                {
                    case "recall":
                        _recalls.Add((m.Lot, m.EffectiveMs));
                        Add(m, m.Location, 0);
                        break;
                    case "transfer":
                        Add(m, m.Location, -m.Quantity);
                        if (!HoldsEverywhere())
                        {
                            return Undo();
                        }

                        Add(m, m.ToLocation, m.Quantity);
                        break;
                    default:
                        Add(m, m.Location, m.Kind is "issue" or "waste" ? -m.Quantity : m.Quantity);
                        break;
                }

                if (!HoldsEverywhere())
                {
                    return Undo();
                }
            }

            return true;

            bool Undo()
            {
                _rows.RemoveRange(rows, _rows.Count - rows);
                _recalls.RemoveRange(recalls, _recalls.Count - recalls);
                return false;
            }
        }

        public decimal Balance(string lot, string place, long at, long known) =>
            History(lot, place).Where(r => r.Effective <= at && r.Known <= known).Aggregate(0m, (sum, r) => r.IsCount ? r.Quantity : sum + r.Quantity);

        private void Add(Movement m, string place, decimal quantity) => _rows.Add((m.Lot, place, m.EffectiveMs, _known, m.Kind == "count", quantity));

        private bool HoldsEverywhere() => _rows.Select(r => (r.Lot, r.Place)).Distinct().All(stock =>
        {
            var sum = 0m;
            return History(stock.Lot, stock.Place).All(r => (sum = r.IsCount ? r.Quantity : sum + r.Quantity) >= 0);
        });

        // OrderBy keeps the order of those of one time.
        private IEnumerable<(string Lot, string Place, long Effective, long Known, bool IsCount, decimal Quantity)> History(string lot, string place) =>
            _rows.Where(r => r.Lot == lot && r.Place == place).OrderBy(r => r.Effective);
    }
}
