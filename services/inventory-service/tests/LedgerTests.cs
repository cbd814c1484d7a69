using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Contracts;
using Yizhan.Inventory.Ledger;
using Yizhan.Platform;
using Yizhan.Storage;
using static Yizhan.Inventory.Tests.Node;

namespace Yizhan.Inventory.Tests;

/// <summary>What a node promises about the batches that it is given.</summary>
public sealed class LedgerTests : IDisposable
{
    private static readonly DateTimeOffset Day = new(2026, 3, 1, 8, 0, 0, TimeSpan.Zero);
    private readonly Folder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    [Trait("Clause", "S6")]
    public async Task Writers_that_race_for_the_last_pieces_get_exactly_what_is_there()
    {
        await using var node = await StartAsync(_folder.Path);
        await node.DefineAsync();
        Assert.IsType<ApplyResult.Applied>(await node.Ledger.RecordAsync(Batch("in", Move("receive", 100)), Cancel));

        var results = await Task.WhenAll(Enumerable.Range(0, 250).Select(i => Task.Run(() => node.Ledger.RecordAsync(Batch($"out-{i}", Move("issue", 1, Day)), Cancel))));

        Assert.Equal(100, results.Count(r => r is ApplyResult.Applied));
        Assert.Equal(150, results.Count(r => r is ApplyResult.Impossible));
        Assert.Equal(0, node.Balance());
    }

    [Fact]
    public async Task The_same_batch_twice_is_recorded_once_and_its_name_takes_no_other_movements()
    {
        await using var node = await StartAsync(_folder.Path);
        await node.DefineAsync();
        var batch = Batch("b", Move("receive", 7));

        var results = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => node.Ledger.RecordAsync(batch, Cancel)));
        Assert.Single(results, r => r is ApplyResult.Applied);
        Assert.Equal(19, results.Count(r => r is ApplyResult.Known));
        Assert.Equal(7, node.Balance());
        var taken = Assert.IsType<ApplyResult.NameTaken>(await node.Ledger.RecordAsync(Batch("b", Move("receive", 8)), Cancel));
        Assert.Contains("'b'", taken.Problem, StringComparison.Ordinal);
        Assert.Single(await node.Events.ReadAsync(0, 100, Cancel), e => e.Entry.Type == MovementBatch.EventType);
    }

    [Fact]
    public async Task A_call_on_which_the_ledger_itself_fails_gets_an_answer()
    {
        await using var node = await StartAsync(_folder.Path);
        // A feed without a name is refused by the table.
        var failed = await Assert.ThrowsAsync<IOException>(() => node.Ledger.RememberAsync(null!, 1, Cancel).WaitAsync(TimeSpan.FromMinutes(2), Cancel));
        Assert.StartsWith("The batch was not recorded", failed.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_batch_of_which_one_movement_is_impossible_changes_nothing()
    {
        await using var node = await StartAsync(_folder.Path);
        await node.DefineAsync();
        await node.Ledger.RecordAsync(Batch("in", Move("receive", 5)), Cancel);

        var refused = Assert.IsType<ApplyResult.Impossible>(await node.Ledger.RecordAsync(Batch("b", Move("issue", 3, Day), Move("issue", 3, Day)), Cancel));

        Assert.StartsWith("movements[1]", refused.Problem, StringComparison.Ordinal);
        Assert.Contains("-1 of 'gloves'", refused.Problem, StringComparison.Ordinal);
        Assert.Equal(5, node.Balance());
        Assert.IsType<ApplyResult.Applied>(await node.Ledger.RecordAsync(Batch("b", Move("issue", 3, Day)), Cancel));
    }

    [Fact]
    public async Task A_backdated_issue_is_refused_when_the_stock_was_not_there_then_although_it_is_now()
    {
        await using var node = await StartAsync(_folder.Path);
        await node.DefineAsync();
        await node.Ledger.RecordAsync(Batch("in", Move("receive", 5, Day)), Cancel);

        Assert.IsType<ApplyResult.Impossible>(await node.Ledger.RecordAsync(Batch("before", Move("issue", 1, Day.AddDays(-1))), Cancel));
        Assert.IsType<ApplyResult.Applied>(await node.Ledger.RecordAsync(Batch("after", Move("issue", 1, Day.AddDays(1))), Cancel));
    }

    [Fact]
    public async Task What_was_counted_stands_whatever_is_recorded_later_about_the_time_before()
    {
        await using var node = await StartAsync(_folder.Path);
        await node.DefineAsync();
        await node.Ledger.RecordAsync(Batch("1", Move("receive", 10, Day)), Cancel);
        await node.Ledger.RecordAsync(Batch("2", Move("count", 8, Day.AddDays(5))), Cancel);
        Assert.IsType<ApplyResult.Applied>(await node.Ledger.RecordAsync(Batch("3", Move("issue", 2, Day.AddDays(3))), Cancel));

        Assert.Equal(8, node.Balance());
        var then = node.Queries.StockAt(new StockFilter(Site, "gloves"), Day.AddDays(4).ToUnixTimeMilliseconds(), null, 10);
        Assert.Equal(8, Assert.Single(then).Quantity);
        Assert.IsType<ApplyResult.Impossible>(await node.Ledger.RecordAsync(Batch("4", Move("issue", 9, Day.AddDays(4))), Cancel));
    }

    [Fact]
    public void What_was_known_at_a_time_is_known_of_each_site_by_its_own_times()
    {
        using var file = new LedgerFile(_folder["ledger.db"]);
        using (var book = file.OpenBook())
        {
            // The far site's batch came through the link an hour after it was recorded there, behind what the near one recorded in that hour.
            Take("near", "n1", 10, Day.AddMinutes(30));
            Take("near", "n2", 1, Day.AddMinutes(50));
            Take("far", "f1", 5, Day);
            Take("far", "f2", 7, Day.AddMinutes(60));

            void Take(string site, string id, decimal quantity, DateTimeOffset recorded)
            {
                book.Begin();
                book.Define(site, ItemOf("gloves"));
                var (batch, _) = book.InBaseUnits(site, Batch(id, Move("receive", quantity)) with { RecordedMs = recorded.ToUnixTimeMilliseconds() });
                Assert.IsType<ApplyResult.Applied>(book.Apply(site, batch!));
                book.Commit();
            }
        }

        var queries = new LedgerQueries(file);
        Assert.Equal(("near", 10m), Known("near", 40));
        Assert.Equal(("far", 5m), Known("far", 40));
        Assert.Equal([("far", 5m), ("near", 10m)], All(40));
        Assert.Equal([("far", 5m)], All(10));
        Assert.Equal([("far", 12m), ("near", 11m)], All(60));
        Assert.Empty(All(-1));

        (string, decimal) Known(string site, int minutes) => Assert.Single(Ask(site, minutes));
        (string, decimal)[] All(int minutes) => Ask(null, minutes);
        (string, decimal)[] Ask(string? site, int minutes) =>
            [.. queries.StockAt(new StockFilter(site, "gloves"), long.MaxValue, Day.AddMinutes(minutes).ToUnixTimeMilliseconds(), 10).Select(s => (s.Site, s.Quantity))];
    }

    [Fact]
    public async Task Units_of_the_site_are_converted_and_what_does_not_come_out_even_is_refused()
    {
        await using var node = await StartAsync(_folder.Path);
        await node.DefineAsync();
        await node.Ledger.RecordAsync(Batch("1", Move("receive", 2.5m, unit: "box")), Cancel);
        Assert.Equal(25, node.Balance());

        // A box of twelve from now on; what was received stays what it was.
        await node.Ledger.DefineAsync(ItemOf("gloves") with { Units = new Dictionary<string, decimal> { ["box"] = 12 } }, Cancel);
        await node.Ledger.RecordAsync(Batch("2", Move("receive", 1, Day, unit: "box")), Cancel);
        Assert.Equal(37, node.Balance());
        Assert.Contains("box", Assert.IsType<ApplyResult.Invalid>(await node.Ledger.RecordAsync(Batch("3", Move("receive", 1, unit: "crate")), Cancel)).Problem, StringComparison.Ordinal);
        Assert.IsType<ApplyResult.Invalid>(await node.Ledger.RecordAsync(Batch("4", Move("receive", 0.0001m)), Cancel));
        Assert.IsType<ApplyResult.Invalid>(await node.Ledger.RecordAsync(Batch("5", Move("receive", 1, item: "unknown")), Cancel));
    }

    [Fact]
    public async Task A_report_from_the_future_is_refused_with_both_times()
    {
        var clock = new FakeTimeProvider(Day);
        await using var node = await StartAsync(_folder.Path, clock);
        await node.DefineAsync();

        var refused = Assert.IsType<ApplyResult.Invalid>(await node.Ledger.RecordAsync(Batch("b", Move("receive", 1, Day.AddMinutes(6))), Cancel));
        Assert.Contains("2026-03-01 08:06:00Z", refused.Problem, StringComparison.Ordinal);
        Assert.IsType<ApplyResult.Applied>(await node.Ledger.RecordAsync(Batch("b", Move("receive", 1, Day.AddMinutes(5))), Cancel));
    }

    [Fact]
    public async Task A_recalled_lot_is_not_issued_and_its_users_are_found_in_one_query()
    {
        await using var node = await StartAsync(_folder.Path);
        await node.DefineAsync();
        await node.Ledger.RecordAsync(
            Batch("1", Move("receive", 10), Move("issue", 2, Day) with { PatientId = "p-7", StudyInstanceUid = "1.2.3" }, Move("issue", 1, Day)), Cancel);
        await node.Ledger.RecordAsync(Batch("2", Move("recall", 0, Day.AddDays(1)) with { Reference = "NMPA-1" }), Cancel);

        Assert.Contains("NMPA-1", Assert.IsType<ApplyResult.Impossible>(await node.Ledger.RecordAsync(Batch("3", Move("issue", 1, Day.AddDays(2))), Cancel)).Problem, StringComparison.Ordinal);
        Assert.IsType<ApplyResult.Applied>(await node.Ledger.RecordAsync(Batch("4", Move("waste", 1, Day.AddDays(2))), Cancel));
        var recall = await node.Http.GetFromJsonAsync("recall?lot=L1&item=gloves", ContractsJson.Default.RecallView, Cancel);
        Assert.Equal(6, Assert.Single(recall!.Stock).Quantity);
        Assert.True(recall.Stock[0].Recalled);
        Assert.Equal(("p-7", "1.2.3", 2m), Assert.Single(recall.Uses) is var use ? (use.PatientId, use.StudyInstanceUid, use.Quantity) : default);
        Assert.Equal([Site], recall.Sites);
    }

    [Fact]
    [Trait("Clause", "S6")]
    public async Task A_recall_finds_every_place_and_site_to_which_a_lot_was_moved_also_when_nothing_is_left_there()
    {
        await using var node = await StartAsync(_folder.Path, site: "centre");
        var epoch = Guid.CreateVersion7(Day);
        var moved = Move("transfer", 4, Day) with { Location = "store", ToLocation = "ward" };
        (string Site, MovementBatch Batch)[] batches =
        [
            ("a", Batch("1", Move("receive", 10) with { Location = "store" }, moved)),
            ("a", Batch("2", Move("transfer", 3, Day.AddDays(1)) with { Location = "store", ToSite = "b" })),
            ("b", Batch("3", Move("receive", 3, Day.AddDays(1)), Move("issue", 3, Day.AddDays(2)) with { PatientId = "p-b", StudyInstanceUid = "1.2.4" })),
        ];
        foreach (var of in batches.GroupBy(b => b.Site))
        {
            await node.Events.ReceiveAsync(
                [.. of.Select((b, i) => new LoggedEntry(0, new EntryIdentity(of.Key, epoch, Lane.Normal, i + 1), EntryOf(b.Batch with { Movements = [.. b.Batch.Movements.Select(m => m with { BaseQuantity = m.Quantity })] })))],
                Cancel);
        }

        await node.Ledger.CaughtUpAsync(Cancel);
        Assert.Empty(node.Queries.Parked(10));

        var recall = await node.Http.GetFromJsonAsync("recall?lot=L1&item=gloves", ContractsJson.Default.RecallView, Cancel);
        Assert.Equal([("a", "store", 3m), ("a", "ward", 4m)], recall!.Stock.Select(s => (s.Site, s.Location, s.Quantity)));
        Assert.Equal(["a", "b"], recall.Sites);
        Assert.Equal(("b", "p-b", "1.2.4"), Assert.Single(recall.Uses) is var use ? (use.Site, use.PatientId, use.StudyInstanceUid) : default);
    }

    [Fact]
    public async Task A_batch_that_the_log_has_and_the_ledger_has_not_is_there_after_the_next_start()
    {
        var batch = Batch("lost", Move("receive", 3) with { BaseQuantity = 3 });
        await using (var node = await StartAsync(_folder.Path))
        {
            await node.DefineAsync();
        }

        // As a process leaves it that ends between the two: the entry alone.
        await using (var alone = new ServiceHost([$"--node:dataFolder={_folder.Path}", $"--node:siteId={Site}", "--web:url=http://127.0.0.1:0", "--log:level=Error"]).Add<LogOnly>().Build())
        {
            await alone.Services.GetRequiredService<IEventLog>().AppendAsync([EntryOf(batch)], Cancel);
        }

        await using var again = await StartAsync(_folder.Path);
        await Wait.UntilAsync(() => again.Balance() == 3);
        Assert.IsType<ApplyResult.Known>(await again.Ledger.RecordAsync(Batch("lost", Move("receive", 3)), Cancel));
        Assert.Equal(3, again.Balance());
    }

    [Fact]
    public async Task A_batch_of_another_site_that_cannot_be_true_waits_for_a_person_and_stops_nothing()
    {
        await using var node = await StartAsync(_folder.Path, site: "centre");
        var epoch = Guid.CreateVersion7(Day);
        MovementBatch[] batches =
        [
            Batch("1", Move("receive", 5) with { BaseQuantity = 5 }),
            Batch("2", Move("issue", 6, Day) with { BaseQuantity = 6 }),
            Batch("3", Move("issue", 4, Day) with { BaseQuantity = 4 }),
        ];
        await node.Events.ReceiveAsync([.. batches.Select((b, i) => new LoggedEntry(0, new EntryIdentity(Site, epoch, Lane.Normal, i + 1), EntryOf(b)))], Cancel);

        await Wait.UntilAsync(() => node.Balance() == 1);
        var parked = Assert.Single(node.Queries.Parked(10));
        Assert.Equal((Site, "inventory/batch/2"), (parked.Site, parked.BatchId));
        Assert.Equal("Degraded", await node.Http.GetStringAsync("/healthz", Cancel));
    }

    [Fact]
    public async Task Over_HTTP_each_refusal_has_its_status_and_names_what_is_wrong()
    {
        await using var node = await StartAsync(_folder.Path);
        Assert.Equal(HttpStatusCode.NoContent, (await node.Http.PutAsJsonAsync("items", ItemOf("gloves"), ContractsJson.Default.ItemDefinition, Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.Created, (await PostAsync(Batch("1", Move("receive", 5)))).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await PostAsync(Batch("1", Move("receive", 5)))).StatusCode);
        await RefusedAsync(HttpStatusCode.Conflict, "movements", Batch("1", Move("receive", 6)));
        await RefusedAsync(HttpStatusCode.Conflict, "cannot be negative", Batch("2", Move("issue", 6, Day)));
        await RefusedAsync(HttpStatusCode.BadRequest, "a part is missing", Batch("3", Move("receive", 1)) with { Count = 2 });
        await RefusedAsync(HttpStatusCode.BadRequest, "'take'", Batch("4", Move("take", 1)));
        await RefusedAsync(HttpStatusCode.BadRequest, "2026-02-30", Batch("5", Move("receive", 1) with { Expiry = "2026-02-30" }));
        await RefusedAsync(HttpStatusCode.BadRequest, "batchId", Batch("", Move("receive", 1)));
        await RefusedAsync(HttpStatusCode.BadRequest, "0 movements", Batch("6"));
        await RefusedAsync(HttpStatusCode.BadRequest, "-1", Batch("7", Move("issue", -1)));
        await RefusedAsync(HttpStatusCode.BadRequest, "toLocation", Batch("8", Move("transfer", 1)));
        var half = JsonSerializer.SerializeToUtf8Bytes(Batch("9", Move("receive", 1)), ContractsJson.Default.MovementBatch)[..^9];
        using var body = new StringContent(Encoding.UTF8.GetString(half), Encoding.UTF8, "application/json");
        Assert.Equal(HttpStatusCode.BadRequest, (await node.Http.PostAsync("movements", body, Cancel)).StatusCode);

        var stock = await node.Http.GetFromJsonAsync("stock?item=gloves", ContractsJson.Default.IReadOnlyListStockView, Cancel);
        Assert.Equal(5, Assert.Single(stock!).Quantity);
        var movements = await node.Http.GetFromJsonAsync("movements?item=gloves", ContractsJson.Default.IReadOnlyListMovementView, Cancel);
        Assert.Equal(("receive", 5m, "1"), Assert.Single(movements!) is var m ? (m.Kind, m.Quantity, m.BatchId) : default);
        Assert.Equal(HttpStatusCode.BadRequest, (await node.Http.GetAsync("stock?at=yesterday", Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await node.Http.GetAsync("stock?limit=0", Cancel)).StatusCode);

        Task<HttpResponseMessage> PostAsync(MovementBatch batch) => node.Http.PostAsJsonAsync("movements", batch, ContractsJson.Default.MovementBatch, Cancel);

        async Task RefusedAsync(HttpStatusCode status, string names, MovementBatch batch)
        {
            using var answer = await PostAsync(batch);
            Assert.Equal(status, answer.StatusCode);
            Assert.Contains(names, JsonDocument.Parse(await answer.Content.ReadAsStringAsync(Cancel)).RootElement.GetProperty("detail").GetString(), StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("stock?", 7)]
    [InlineData("stock?search=GLO", 7)]
    [InlineData("expiring?days=3650&", 7)]
    [InlineData("items?", 2)]
    [InlineData("sources?", 3)]
    [InlineData("shortage?all=true&", 2)]
    [InlineData("recall?lot=L1&item=gloves&", 7)]
    [InlineData("assets?", 3)]
    [Trait("Clause", "S6")]
    public async Task Every_list_comes_in_parts_that_together_are_the_whole(string list, int rows)
    {
        await using var node = await StartAsync(_folder.Path);
        await node.DefineAsync();
        await node.DefineAsync("tape");
        for (var i = 0; i < 7; i++)
        {
            await node.Ledger.RecordAsync(Batch($"{i}", Move("receive", 2) with { Location = $"shelf {i}", Expiry = "2027-01-31" }, Move("issue", 1, Day) with { Location = $"shelf {i}", PatientId = $"p-{i}" }), Cancel);
        }

        foreach (var name in new[] { "a", "b" })
        {
            var asset = new AssetReported(name, "1", 1000, "device", name, "", "", [$"serial:{name}-4711", $"mac:00163e00000{name}"], [], []);
            var run = new SourceCollected(name, "csv", 1000, "complete", "", 1, 0, 1000, 60);
            await node.Events.AppendAsync(
                [new Entry(Lane.Normal, AssetReported.EventType, $"asset/{name}", "inventory", 1000, JsonSerializer.SerializeToUtf8Bytes(asset, ContractsJson.Default.AssetReported)),
                    new Entry(Lane.Normal, SourceCollected.EventType, $"run/{name}", "inventory", 1000, JsonSerializer.SerializeToUtf8Bytes(run, ContractsJson.Default.SourceCollected))], Cancel);
        }

        // And the node itself, which is a source and equipment.
        await Wait.UntilAsync(() => node.Queries.Sources(Site, 10).Count == 3 && node.Queries.Assets(Site, 10).Count == 3);
        var path = list.EndsWith('&') || list.EndsWith('?') ? list : list + "&";
        var whole = await RowsAsync($"{path}limit=10000");
        Assert.Equal(rows, whole.Count);
        var parts = new List<string>();
        for (var skip = 0; skip <= rows; skip++)
        {
            var part = await RowsAsync($"{path}skip={skip}&limit=1");
            Assert.Equal(skip < rows ? 1 : 0, part.Count);
            parts.AddRange(part);
        }

        Assert.Equal(whole, parts);
        foreach (var bad in new[] { "skip=-1", "skip=10000001", "limit=0", "limit=10001" })
        {
            using var refused = await node.Http.GetAsync(path + bad, Cancel);
            Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
            Assert.Contains("accepted: ", await refused.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        }

        // What waits of the parts says so: the last one has nothing behind it.
        async Task<List<string>> RowsAsync(string at)
        {
            var answer = JsonDocument.Parse(await node.Http.GetStringAsync(at, Cancel)).RootElement;
            if (answer.ValueKind == JsonValueKind.Array)
            {
                return [.. answer.EnumerateArray().Select(e => e.GetRawText())];
            }

            var found = (answer.TryGetProperty("items", out var items) ? items : answer.GetProperty("stock")).EnumerateArray().Select(e => e.GetRawText()).ToList();
            var more = answer.TryGetProperty("more", out var m) ? m.GetBoolean() : answer.GetProperty("moreStock").GetBoolean();
            Assert.Equal(at.Contains("limit=1&", StringComparison.Ordinal) || at.EndsWith("limit=1", StringComparison.Ordinal) ? int.Parse(at.Split("skip=")[1].Split('&')[0], null) + 1 < rows : false, more);
            if (answer.TryGetProperty("uses", out var uses))
            {
                Assert.Equal(found.Count, uses.GetArrayLength());
                Assert.Equal(more, answer.GetProperty("moreUses").GetBoolean());
                Assert.Equal(Site, answer.GetProperty("sites")[0].GetString());
            }

            return found;
        }
    }

    [Fact]
    public async Task The_calendar_counts_the_lots_of_each_month_and_what_has_expired()
    {
        await using var node = await StartAsync(_folder.Path, new FakeTimeProvider(Day));
        await node.DefineAsync();
        await node.Ledger.RecordAsync(
            Batch("1", Expires("A", "2026-02-28"), Expires("B", "2026-03-01"), Expires("C", "2026-03-31"), Expires("D", "2027-02-28"), Expires("E", "2027-03-01"), Expires("F", "")), Cancel);
        var calendar = await node.Http.GetFromJsonAsync("expiry-calendar?months=12", ContractsJson.Default.IReadOnlyListExpiryMonth, Cancel);
        Assert.Equal([("", 1L), ("2026-03", 2), ("2027-02", 1)], calendar!.Where(m => m.Lots > 0).Select(m => (m.Month, m.Lots)));
        Assert.Equal(13, calendar!.Count);
        Assert.Equal($"[\"{Site}\"]", await node.Http.GetStringAsync("sites", Cancel));

        static Movement Expires(string lot, string day) => Move("receive", 1, lot: lot) with { Expiry = day };
    }

    private sealed class LogOnly : IServiceModule
    {
        public static string Name => "log";

        public static void Register(Microsoft.Extensions.Hosting.IHostApplicationBuilder builder) => builder.AddEventLog();

        public static void Map(Microsoft.AspNetCore.Routing.IEndpointRouteBuilder routes)
        {
        }
    }

    private static Entry EntryOf(MovementBatch batch) => new(
        Lane.Normal, MovementBatch.EventType, $"inventory/batch/{batch.BatchId}", "inventory", 1, JsonSerializer.SerializeToUtf8Bytes(batch, ContractsJson.Default.MovementBatch));
}
