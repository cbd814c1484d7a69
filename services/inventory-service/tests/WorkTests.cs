using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Dapper;
using Hl7.Fhir.Model;
using Hl7.Fhir.Serialization;
using Microsoft.Extensions.Time.Testing;
using MiniExcelLibs;
using Yizhan.Contracts;
using Yizhan.Inventory.Collect;
using Yizhan.Inventory.Ledger;
using Yizhan.Inventory.Work;
using static Yizhan.Inventory.Tests.Node;
using Task = System.Threading.Tasks.Task;

namespace Yizhan.Inventory.Tests;

/// <summary>What people do with the ledger: forecasts, plots, files and FHIR.</summary>
public sealed class WorkTests : IDisposable
{
    private static readonly DateTimeOffset Now = new(2026, 3, 1, 8, 0, 0, TimeSpan.Zero);
    private readonly Folder _folder = new();
    private readonly FakeTimeProvider _clock = new(Now);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Days_of_cover_come_from_what_was_used_and_what_expires_first_is_used_first()
    {
        await using var node = await StartAsync(_folder.Path, _clock);
        await node.DefineAsync();

        // Two a day for thirty days; 40 are left, 30 of them expire in ten days.
        await node.Ledger.RecordAsync(
            Batch("in", Move("receive", 90, Now.AddDays(-30)) with { Expiry = "2026-03-10" }, Move("receive", 10, Now.AddDays(-30), "L2") with { Expiry = "2027-12-31" }), Cancel);
        for (var day = 29; day >= 0; day--)
        {
            await node.Ledger.RecordAsync(Batch($"out-{day}", Move("issue", 2, Now.AddDays(-day))), Cancel);
        }

        var shortage = await node.Http.GetFromJsonAsync("shortage?all=true", ContractsJson.Default.ShortageView, Cancel);
        var item = Assert.Single(shortage!.Items);
        Assert.Equal((40m, 40.0, 2.0), (item.OnHand, item.Usable, item.PerDay!.Value));
        Assert.Equal(15, item.DaysOfCover);
        Assert.Equal(new DateOnly(2026, 3, 16), item.RunsOutOn);
        Assert.Equal(10, item.WillExpire);
        Assert.Equal(28, item.ReorderPoint);
        Assert.False(item.Order);
        Assert.Contains("first-expired-first-out", shortage.Method, StringComparison.Ordinal);

        await node.Ledger.RecordAsync(Batch("recall", Move("recall", 0, Now)), Cancel);
        item = Assert.Single((await node.Http.GetFromJsonAsync("shortage", ContractsJson.Default.ShortageView, Cancel))!.Items);
        Assert.Equal((10.0, 5.0, true), (item.Usable, item.DaysOfCover!.Value, item.Order));
    }

    [Fact]
    public async Task A_week_of_history_is_needed_and_what_a_count_finds_missing_was_used()
    {
        await using var node = await StartAsync(_folder.Path, _clock);
        await node.DefineAsync();
        await node.Ledger.RecordAsync(Batch("1", Move("receive", 10, Now.AddDays(-6)), Move("issue", 5, Now.AddDays(-1))), Cancel);
        Assert.Null(Assert.Single(node.Service<Forecast>().Of(Site)).DaysOfCover);

        _clock.Advance(TimeSpan.FromDays(4));
        await node.Ledger.RecordAsync(Batch("2", Move("count", 0, Now.AddDays(4))), Cancel);
        Assert.Equal(1, Assert.Single(node.Service<Forecast>().Of(Site)).PerDay);
    }

    [Fact]
    public async Task The_history_of_an_item_ends_with_its_balance()
    {
        await using var node = await StartAsync(_folder.Path, _clock);
        await node.DefineAsync();
        await node.Ledger.RecordAsync(Batch("1", Move("receive", 9, Now.AddDays(-3)), Move("issue", 4, Now.AddDays(-1)), Move("receive", 1, Now.AddDays(-1), "L2")), Cancel);
        Assert.Equal([0, 9, 9, 6, 6], node.Service<History>().Of(null, "gloves", 5));
    }

    [Fact]
    public async Task A_long_history_is_read_from_its_last_checkpoint_on_and_says_the_same()
    {
        await using var node = await StartAsync(_folder.Path, _clock);
        await node.DefineAsync();
        await node.Ledger.RecordAsync(Batch("in", Move("receive", 1090, Now.AddDays(-200))), Cancel);
        for (var day = 199; day >= 0; day--)
        {
            if (day == 59)
            {
                await node.Ledger.RecordAsync(Batch("many", Move("issue", 90, Now.AddDays(-60).AddHours(1))), Cancel);
            }

            // Three a day, and many at once two months ago.
            await node.Ledger.RecordAsync(Batch($"{day}", Move("issue", 1, Now.AddDays(-day).AddHours(-16)), Move("issue", 1, Now.AddDays(-day).AddHours(-8)), Move("issue", 1, Now.AddDays(-day))), Cancel);
        }

        Assert.Equal(2, node.Service<LedgerFile>().Read(db => db.ExecuteScalar<long>("SELECT count(*) FROM checkpoint")));
        Assert.Equal(Enumerable.Range(0, 90).Select(i => 400.0 + (3 * (89 - i)) + (89 - i >= 60 ? 90 : 0)), node.Service<History>().Of(Site, "gloves", 90));
        Assert.Equal(4, Assert.Single(node.Service<Forecast>().Of(Site)).PerDay);
        Assert.Equal(1090 - (3 * 100), Assert.Single(node.Queries.StockAt(new StockFilter(Site, "gloves"), Now.AddDays(-100).ToUnixTimeMilliseconds(), null, 10)).Quantity);

        // What is recorded later about the middle counts from there on.
        await node.Ledger.RecordAsync(Batch("late", Move("waste", 5, Now.AddDays(-150).AddHours(1))), Cancel);
        Assert.Equal(1090 - (3 * 100) - 5, Assert.Single(node.Queries.StockAt(new StockFilter(Site, "gloves"), Now.AddDays(-100).ToUnixTimeMilliseconds(), null, 10)).Quantity);
        Assert.Equal(395, node.Service<History>().Of(Site, "gloves", 90)[^1]);
    }

    [Fact]
    public async Task What_is_exported_comes_back_and_runs_in_no_spreadsheet()
    {
        await using var node = await StartAsync(_folder["node"], _clock);
        await node.Ledger.DefineAsync(ItemOf("gloves") with { Name = "=HYPERLINK(\"http://x\")" }, Cancel);
        await node.Ledger.RecordAsync(Batch("1", Move("receive", 2.5m) with { Expiry = "2027-12-31", Location = "库, \"A\"" }), Cancel);
        var csv = await node.Http.GetByteArrayAsync("export?what=stock", Cancel);
        Assert.Equal([0xEF, 0xBB, 0xBF], csv[..3]);
        Assert.Contains("'=HYPERLINK", Encoding.UTF8.GetString(csv), StringComparison.Ordinal);
        Assert.Contains("\"库, \"\"A\"\"\"", Encoding.UTF8.GetString(csv), StringComparison.Ordinal);

        File.WriteAllBytes(_folder["stock.xlsx"], await node.Http.GetByteArrayAsync("export?what=stock&format=xlsx", Cancel));
        var row = Assert.Single(MiniExcel.Query(_folder["stock.xlsx"], useHeaderRow: true).Cast<IDictionary<string, object>>());
        Assert.Equal(("gloves", 2.5), (row["item"], row["quantity"]));

        // And in again: the workbook is a stock list like another.
        var file = await DropFolder.InspectAsync(_folder["stock.xlsx"], Cancel);
        var (movement, _) = Assert.Single(StockTable.Read(file, ""));
        Assert.Equal(("count", "gloves", 2.5m, "L1", "2027-12-31", "库, \"A\""), (movement.Kind, movement.Item, movement.Quantity, movement.Lot, movement.Expiry, movement.Location));
    }

    [Fact]
    public async Task Firely_reads_our_devices_and_deliveries_strictly()
    {
        await using var node = await StartAsync(_folder.Path, _clock);
        await node.Ledger.DefineAsync(ItemOf("stent") with { Codes = ["gtin:06901234567892"] }, Cancel);
        await node.Ledger.RecordAsync(Batch("1", Move("receive", 2, item: "stent", lot: "A213B1") with { Expiry = "2027-12-31" }), Cancel);
        await node.Ledger.CaughtUpAsync(Cancel);
        var options = new JsonSerializerOptions().ForFhir(ModelInfo.ModelInspector);

        var devices = JsonSerializer.Deserialize<Bundle>(await node.Http.GetStringAsync("fhir/Device", Cancel), options)!;
        var stent = Assert.Single(devices.Entry.Select(e => e.Resource!).Cast<Device>(), d => d.UdiCarrier.Count > 0);
        Assert.Equal(("06901234567892", "(01)06901234567892(17)271231(10)A213B1"), (stent.UdiCarrier[0].DeviceIdentifier, stent.UdiCarrier[0].CarrierHRF));
        Assert.Equal(("A213B1", "2027-12-31"), (stent.LotNumber, stent.ExpirationDate));
        var delivery = Assert.Single(JsonSerializer.Deserialize<Bundle>(await node.Http.GetStringAsync("fhir/SupplyDelivery", Cancel), options)!.Entry);
        Assert.Equal(2, ((SupplyDelivery)delivery.Resource!).SuppliedItem!.Quantity!.Value);

        // R5: no library for it here; its shape as the specification has it.
        var report = JsonDocument.Parse(await node.Http.GetStringAsync("fhir/InventoryReport", Cancel)).RootElement;
        Assert.Equal(("InventoryReport", "active", "snapshot"), (report.Text("resourceType"), report.Text("status"), report.Text("countType")));
        Assert.Equal("2", report.GetProperty("inventoryListing")[0].GetProperty("item")[0].GetProperty("quantity").GetProperty("value").ToString());
    }

    [Theory]
    [InlineData("GB18030", false)]
    [InlineData("GB18030", true)]
    [InlineData("utf-8", true)]
    [InlineData("utf-16", true)]
    public async Task A_list_in_any_encoding_with_quotes_and_line_ends_in_them_is_read(string encoding, bool mark)
    {
        var text = "物资编码;名称;批号;有效期;库存数量;单位\r\n\"C;1\";\"造影剂 \"\"优\"\"\r\n100 ml\";L1;2027年1月5日;1,200.5;瓶\r\n";
        var gb = CodePagesEncodingProvider.Instance.GetEncoding(encoding) ?? Encoding.GetEncoding(encoding);
        byte[] head = !mark ? [] : encoding == "GB18030" ? [0x84, 0x31, 0x95, 0x33] : gb.GetPreamble();
        File.WriteAllBytes(_folder["list.csv"], [.. head, .. gb.GetBytes(text)]);
        var (movement, item) = Assert.Single(StockTable.Read(await DropFolder.InspectAsync(_folder["list.csv"], Cancel), "store"));
        Assert.Equal(("C;1", 1200.5m, "2027-01-05", "瓶", "store"), (movement.Item, movement.Quantity, movement.Expiry, movement.Unit, movement.Location));
        Assert.Equal("造影剂 \"优\"\r\n100 ml", item!.Name);
    }

    [Fact]
    public async Task A_list_with_the_mark_of_another_encoding_is_read_for_what_it_is()
    {
        File.WriteAllBytes(_folder["list.csv"], [0xEF, 0xBB, 0xBF, .. CodePagesEncodingProvider.Instance.GetEncoding("GB18030")!.GetBytes("编码,数量\n碘,1\n")]);
        Assert.Equal("碘", Assert.Single(StockTable.Read(await DropFolder.InspectAsync(_folder["list.csv"], Cancel), "")).Movement.Item);
    }

    [Fact]
    public async Task The_counting_page_and_all_that_it_caches_are_served_and_run_no_foreign_script()
    {
        await using var node = await StartAsync(_folder.Path, _clock);
        var page = await node.Http.GetAsync("app/", Cancel);
        Assert.Contains("default-src 'self'", page.Headers.GetValues("Content-Security-Policy").Single(), StringComparison.Ordinal);
        var html = await page.Content.ReadAsStringAsync(Cancel);
        Assert.DoesNotContain("http", html, StringComparison.Ordinal);
        var worker = await node.Http.GetStringAsync("app/sw.js", Cancel);
        foreach (var file in new[] { "app.css", "app.js", "manifest.webmanifest" })
        {
            Assert.Contains($"'{file}'", worker, StringComparison.Ordinal);
            Assert.Contains(file, html, StringComparison.Ordinal);
            Assert.True((await node.Http.GetAsync($"app/{file}", Cancel)).IsSuccessStatusCode);
        }

        Assert.Equal(System.Net.HttpStatusCode.NotFound, (await node.Http.GetAsync("app/other", Cancel)).StatusCode);
    }
}
