using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Npgsql;
using Yizhan.Contracts;
using Yizhan.Gs1;
using Yizhan.Inventory.Ledger;
using Yizhan.Storage;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench inventory</c>: movements a second that are decided, in the ledger and durable, in batches as sites send them; balances out of many movements; scans. Beside
/// plain inserts into SQLite and PostgreSQL, which decide nothing, in the same run; where nothing is alike, beside our goal.
/// </summary>
internal static class InventoryBench
{
    private const int Sites = 1000;
    private const int Items = 5000;
    private const int Batch = 1000;
    private const int Deep = 20_000;
    private const string Peers = "services/inventory-service/tests/peers";

    private static readonly string[] Scans =
    [
        "]C1010690123456789217271231" + "10A213B1\x1D" + "21SN0001",
        "]d20106934567890122" + "1728020010L-1",
        "0106901234567892112601001728020010L-1",
        "(01)06901234567892(11)141231(17)150707(10)A213B1(21)1234",
    ];

    public static Command Create()
    {
        var movements = new Option<int>("--movements") { Description = "Movements in the ledger when balances are asked, such as 50000000.", DefaultValueFactory = _ => 2_000_000 };
        var seconds = new Option<double>("--seconds") { Description = "Time of each measurement.", DefaultValueFactory = _ => 4 };
        var json = new Option<bool>("--json") { Description = "Print only the JSON object." };
        var command = new Command("inventory", "Durable movements/s, balance queries and GS1 scans: us, plain SQLite and PostgreSQL.") { movements, seconds, json };
        command.SetAction((parsed, cancellationToken) => RunAsync(
            parsed.GetValue(movements), TimeSpan.FromSeconds(parsed.GetValue(seconds)), parsed.GetValue(json), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(int movements, TimeSpan time, bool json, CancellationToken cancellationToken)
    {
        if (!Directory.Exists(Path.Combine(Peers, "node_modules")) || !File.Exists("/usr/bin/node"))
        {
            await Console.Error.WriteLineAsync($"The peer from npm is not installed: apt-get install nodejs npm, then npm ci in {Peers}.");
            return 1;
        }

        void Say(string text) => (json ? Console.Error : Console.Out).WriteLine(text);
        var folder = Path.Combine(Path.GetFullPath("artifacts"), "bench", "inventory");
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }

        Directory.CreateDirectory(folder);
        var rows = new List<BenchRow>();
        Say($"Batches of {Batch}, each durable ...");
        using var file = new LedgerFile(Path.Combine(folder, "ledger.db"));
        using var book = file.OpenBook();
        var next = 0;
        var ours = Rate(time, () => Record(book, next++, 1));
        var plain = PlainSqlite(Path.Combine(folder, "plain.db"), time);
        rows.Add(BenchRow.More($"sqlite, plain insert of {Batch}: decided, in the ledger, durable", ours, plain, "movements/s"));
        rows.Add(BenchRow.More("goal 20000: decided, in the ledger, durable", ours, 20_000, "movements/s"));
        await using (var postgres = await AuditBenchPostgres.StartAsync(cancellationToken))
        {
            rows.Add(BenchRow.More($"postgresql, insert of {Batch} and balances upserted: decided, in the ledger, durable", ours, await PostgresAsync(postgres.Source, time, cancellationToken), "movements/s"));
        }

        Say($"{movements} movements ...");
        var watch = Stopwatch.StartNew();
        for (; next * Batch < movements; next += 10)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Record(book, next, 10);
        }

        Say(string.Create(CultureInfo.InvariantCulture, $"loaded in {watch.Elapsed.TotalSeconds:0} s; the file has {new FileInfo(Path.Combine(folder, "ledger.db")).Length / 1_000_000} MB"));
        var queries = new LedgerQueries(file);
        rows.Add(BenchRow.Less(Text($"goal 5 ms: balance of an item at a site, {next * (long)Batch} movements: p99"), P99(random => queries.Stock(new StockFilter(SiteOf(random.Next(Sites)), ItemOf(random.Next(Items))), 10)), 5, "ms"));
        rows.Add(BenchRow.Less(Text($"goal 5 ms: the same as of a time in the past: p99"), P99(random => queries.StockAt(new StockFilter(SiteOf(random.Next(Sites)), ItemOf(random.Next(Items))), Start + 5000, null, 10)), 5, "ms"));
        RecordDeep(book);
        rows.Add(BenchRow.Less(Text($"goal 5 ms: a stock of {Deep} movements as of any time in the past: p99"), P99(random => queries.StockAt(new StockFilter("deep", ItemOf(1)), Start + random.Next(Deep), null, 10)), 5, "ms"));
        rows.Add(BenchRow.Less(Text($"goal 5 ms: recall of a lot at all sites: p99"), P99(random => queries.Recall(ItemOf(random.Next(Items)), "L1", 100)), 5, "ms"));
        Say("Scans ...");
        var scans = 0L;
        watch.Restart();
        await Task.WhenAll(Enumerable.Range(0, Environment.ProcessorCount).Select(_ => Task.Run(
            () =>
            {
                var done = 0;
                for (; watch.Elapsed < time; done += 1000)
                {
                    for (var i = 0; i < 1000; i++)
                    {
                        ElementString.Parse(Scans[i % Scans.Length]);
                    }
                }

                Interlocked.Add(ref scans, done);
            },
            cancellationToken)));
        rows.Add(BenchRow.More(Text($"goal 1000000: GS1 element strings, {Environment.ProcessorCount} threads"), scans / watch.Elapsed.TotalSeconds, 1_000_000, "scans/s"));
        rows.Add(await PeerScansAsync(folder, time, cancellationToken));
        BenchTable.Print("inventory", rows, json);
        book.Dispose();
        file.Dispose();
        Directory.Delete(folder, recursive: true);
        return 0;
    }

    private const long Start = 1_767_225_600_000;

    /// <summary>Batches of one site after the other: items one after the other, goods coming, so that nothing is refused.</summary>
    private static void Record(LedgerBook book, int first, int batches)
    {
        book.Begin();
        for (var n = first; n < first + batches; n++)
        {
            if (book.Apply(SiteOf(n % Sites), BatchOf(n)) is not ApplyResult.Applied)
            {
                throw new InvalidOperationException($"Batch {n} was not applied.");
            }
        }

        book.MoveCursor("bench", first);
        book.Commit();
    }

    private static MovementBatch BatchOf(int n) => new(
        $"b{n}", "bench", "bench",
        [.. Enumerable.Range(0, Batch).Select(i => new Movement("receive", ItemOf(((n / Sites * Batch) + i) % Items), 5, "", Start + n, "L1", "2027-12-31", BaseQuantity: 5))], Start + n);

    /// <summary>One stock that is touched each millisecond: a balance of its past is not to walk all of it.</summary>
    private static void RecordDeep(LedgerBook book)
    {
        book.Begin();
        for (var first = 0; first < Deep; first += Batch)
        {
            var movements = Enumerable.Range(first, Batch).Select(i => new Movement("receive", ItemOf(1), 5, "", Start + i, "L1", "2027-12-31", BaseQuantity: 5));
            if (book.Apply("deep", new MovementBatch(Text($"deep-{first}"), "bench", "bench", [.. movements], Start + first)) is not ApplyResult.Applied)
            {
                throw new InvalidOperationException($"Batch deep-{first} was not applied.");
            }
        }

        book.Commit();
    }

    /// <summary>gs1-barcode-parser on the scans that both read (it knows no parentheses), one thread each; lot and expiry are taken.</summary>
    private static async Task<BenchRow> PeerScansAsync(string folder, TimeSpan time, CancellationToken cancellationToken)
    {
        var scans = Scans.Where(s => s[0] != '(').ToArray();
        var (watch, done, sum, today) = (Stopwatch.StartNew(), 0, 0, new DateOnly(2026, 1, 1));
        for (; watch.Elapsed < time; done += 1000)
        {
            for (var i = 0; i < 1000; i++)
            {
                var read = ElementString.Parse(scans[i % scans.Length]);
                sum += (read.Lot?.Length ?? 0) + (read.Expiry(today)?.Day ?? 0);
            }
        }

        var ours = done / watch.Elapsed.TotalSeconds;
        var file = Path.Combine(folder, "scans.json");
        await File.WriteAllTextAsync(file, System.Text.Json.JsonSerializer.Serialize(scans), cancellationToken);
        var peer = await EmrBench.NodeAsync(Path.Combine(Peers, "gs1-parse.mjs"), cancellationToken, file, Text($"{(int)time.TotalMilliseconds}"));
        return sum == 0 ? throw new InvalidOperationException("Nothing was read.") : BenchRow.More("gs1-barcode-parser: GS1 element strings with lot and expiry, one thread", ours, peer, "scans/s");
    }

    private static string SiteOf(int site) => Text($"site-{site}");

    private static string ItemOf(int item) => Text($"gtin:0690123456{item:D4}");

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private static double Rate(TimeSpan time, Action one)
    {
        var watch = Stopwatch.StartNew();
        var done = 0;
        for (; watch.Elapsed < time; done++)
        {
            one();
        }

        return done * (double)Batch / watch.Elapsed.TotalSeconds;
    }

    private static double P99(Action<Random> query)
    {
        var random = new Random(7);
        var times = new List<double>();
        for (var i = 0; i < 2000; i++)
        {
            var began = Stopwatch.GetTimestamp();
            query(random);
            times.Add(Stopwatch.GetElapsedTime(began).TotalMilliseconds);
        }

        return times[200..].Order().ElementAt((int)(1800 * 0.99));
    }

    /// <summary>The same rows into a table with one index, durable in batches; nothing is decided, no balance is kept.</summary>
    private static double PlainSqlite(string path, TimeSpan time)
    {
        using var db = SqliteFile.OpenWriter(
            path, "CREATE TABLE movement (id INTEGER PRIMARY KEY, site TEXT, item TEXT, lot TEXT, effective INTEGER, quantity INTEGER); CREATE INDEX by_item ON movement (site, item)");
        using var begin = new Statement(db, "BEGIN IMMEDIATE", 0);
        using var commit = new Statement(db, "COMMIT", 0);
        using var insert = new Statement(db, "INSERT INTO movement (site, item, lot, effective, quantity) VALUES (?1, ?2, ?3, ?4, ?5)", 5);
        var n = 0;
        return Rate(time, () =>
        {
            begin.Run();
            var batch = BatchOf(n);
            foreach (var m in batch.Movements)
            {
                insert.Run(SiteOf(n % Sites), m.Item, m.Lot, m.EffectiveMs, 5000L);
            }

            commit.Run();
            n++;
        });
    }

    private static async Task<double> PostgresAsync(NpgsqlDataSource source, TimeSpan time, CancellationToken cancellationToken)
    {
        await using (var create = source.CreateCommand(
            """
            CREATE TABLE movement (id bigserial PRIMARY KEY, site text, item text, lot text, effective bigint, quantity bigint);
            CREATE INDEX ON movement (site, item);
            CREATE TABLE balance (site text, item text, lot text, quantity bigint CHECK (quantity >= 0), PRIMARY KEY (site, item, lot))
            """))
        {
            await create.ExecuteNonQueryAsync(cancellationToken);
        }

        var (watch, n) = (Stopwatch.StartNew(), 0);
        for (; watch.Elapsed < time; n++)
        {
            var movements = BatchOf(n).Movements;
            await using var command = source.CreateCommand(
                """
                WITH news AS (INSERT INTO movement (site, item, lot, effective, quantity) SELECT $1, unnest($2::text[]), 'L1', $3, 5000 RETURNING site, item, lot, quantity)
                INSERT INTO balance SELECT site, item, lot, quantity FROM news ON CONFLICT (site, item, lot) DO UPDATE SET quantity = balance.quantity + excluded.quantity
                """);
            command.Parameters.Add(new NpgsqlParameter { Value = SiteOf(n % Sites) });
            command.Parameters.Add(new NpgsqlParameter { Value = movements.Select(m => m.Item).ToArray() });
            command.Parameters.Add(new NpgsqlParameter { Value = Start + n });
            await command.ExecuteNonQueryAsync(cancellationToken);
        }

        return n * (double)Batch / watch.Elapsed.TotalSeconds;
    }
}
