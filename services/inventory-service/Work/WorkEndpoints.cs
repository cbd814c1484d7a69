using System.Globalization;
using System.Text.Json.Nodes;
using CsvHelper;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using MiniExcelLibs;
using Yizhan.Contracts;
using Yizhan.Inventory.Ledger;
using Yizhan.Platform;
using Yizhan.Platform.Identity;

namespace Yizhan.Inventory.Work;

/// <summary>Forecasts, plots, FHIR and files out.</summary>
internal static class WorkEndpoints
{
    private const int MaxRows = 1_000_000;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/shortage", Shortage).Needs(Permission.ReadStock);
        routes.MapGet("/history", HistoryOf).Needs(Permission.ReadStock);
        routes.MapGet("/export", Export).Needs(Permission.ReadStock);
        routes.MapGet("/fhir/Device", Devices).Needs(Permission.ReadStock);
        routes.MapGet("/fhir/SupplyDelivery", Deliveries).Needs(Permission.ReadStock);
        routes.MapGet("/fhir/InventoryReport", Report).Needs(Permission.ReadStock);
    }

    /// <summary>Items that last fewer days than asked (their lead time when left out) or are at their reorder point; all of them with <c>all</c>.</summary>
    private static Results<Ok<ShortageView>, ProblemHttpResult> Shortage(Forecast forecast, IOptions<NodeOptions> node, string? site, double? days, bool all = false, int skip = 0, int limit = 1000)
    {
        if (!LedgerEndpoints.TryPage(skip, limit, out _, out var problem))
        {
            return problem;
        }

        if (days is < 0 or > 3650)
        {
            return TypedResults.Problem(string.Create(CultureInfo.InvariantCulture, $"days is {days}; accepted: 0 to 3650."), statusCode: 400);
        }

        var items = forecast.Of(string.IsNullOrEmpty(site) ? node.Value.SiteId : site).Where(i => all || i.Order || (days is { } d && i.DaysOfCover < d)).Skip(skip).Take(limit + 1).ToList();
        return TypedResults.Ok(new ShortageView(Forecast.Method, [.. items.Take(limit)], items.Count > limit));
    }

    private static Results<Ok<IReadOnlyList<double>>, ProblemHttpResult> HistoryOf(History history, string item, string? site, int days = 90) =>
        days is < 1 or > 730 ? TypedResults.Problem($"days is {days}; accepted: 1 to 730.", statusCode: 400) : TypedResults.Ok(history.Of(site, item, days));

    /// <summary>Stock or movements as CSV (UTF-8 with byte order mark, for spreadsheets) or XLSX.</summary>
    private static Results<FileStreamHttpResult, ProblemHttpResult> Export(LedgerQueries ledger, string? site, string? item, string format = "csv", string what = "stock")
    {
        if (format is not ("csv" or "xlsx") || what is not ("stock" or "movements"))
        {
            return TypedResults.Problem($"format is '{format}' and what is '{what}'; accepted: csv or xlsx, stock or movements.", statusCode: 400);
        }

        var filter = new StockFilter(site, item);
        var rows = what == "stock" ? ledger.Stock(filter, MaxRows).Select(RowOf) : ledger.Movements(filter, long.MaxValue, MaxRows).Select(RowOf);
        var stream = new FileStream(Path.GetTempFileName(), FileMode.Create, FileAccess.ReadWrite, FileShare.None, 64 * 1024, FileOptions.DeleteOnClose);
        if (format == "xlsx")
        {
            stream.SaveAs(rows.ToList(), sheetName: what);
        }
        else
        {
            using var writer = new StreamWriter(stream, new System.Text.UTF8Encoding(true), leaveOpen: true);
            using var csv = new CsvWriter(writer, CultureInfo.InvariantCulture);
            var isFirst = true;
            foreach (var row in rows)
            {
                if (isFirst)
                {
                    Line(csv, row.Keys);
                    isFirst = false;
                }

                Line(csv, row.Values.Select(Safe));
            }
        }

        stream.Position = 0;
        return TypedResults.File(stream, format == "csv" ? "text/csv" : "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", $"{what}.{format}");
    }

    private static JsonHttpResult<JsonObject> Devices(LedgerQueries ledger, string? site)
    {
        var items = ledger.Items(site, MaxRows).DistinctBy(i => i.Code).ToDictionary(i => i.Code, StringComparer.Ordinal);
        return Fhir(FhirOut.Bundle(
            ledger.Stock(new StockFilter(site), 10_000).Select(s => FhirOut.Device(s, items.GetValueOrDefault(s.Item))).OfType<JsonObject>()
                .Concat(ledger.Assets(site, 10_000).Select(FhirOut.Device))));
    }

    private static JsonHttpResult<JsonObject> Deliveries(LedgerQueries ledger, string? site, string? item)
    {
        var units = ledger.Items(site, MaxRows).DistinctBy(i => i.Code).ToDictionary(i => i.Code, i => i.Unit, StringComparer.Ordinal);
        return Fhir(FhirOut.Bundle(ledger.Movements(new StockFilter(site, item), long.MaxValue, 10_000).Where(m => m.Kind == "receive")
            .Select(m => FhirOut.Delivery(m, units.GetValueOrDefault(m.Item, "")))));
    }

    private static JsonHttpResult<JsonObject> Report(LedgerQueries ledger, IOptions<NodeOptions> node, TimeProvider clock, string? site) =>
        Fhir(FhirOut.Report(site ?? node.Value.SiteId, ledger.Stock(new StockFilter(site ?? node.Value.SiteId), MaxRows), clock.GetUtcNow().ToUnixTimeMilliseconds()));

    private static JsonHttpResult<JsonObject> Fhir(JsonObject resource) => TypedResults.Json(resource, contentType: "application/fhir+json");

    private static Dictionary<string, object> RowOf(StockView s) => new()
    {
        ["site"] = s.Site,
        ["location"] = s.Location,
        ["item"] = s.Item,
        ["name"] = s.Name,
        ["lot"] = s.Lot,
        ["expiry"] = s.Expiry,
        ["quantity"] = s.Quantity,
        ["unit"] = s.Unit,
        ["recalled"] = s.Recalled ? "yes" : "no",
    };

    private static Dictionary<string, object> RowOf(MovementView m) => new()
    {
        ["time"] = DateTimeOffset.FromUnixTimeMilliseconds(m.EffectiveMs).ToString("O", CultureInfo.InvariantCulture),
        ["site"] = m.Site,
        ["kind"] = m.Kind,
        ["item"] = m.Item,
        ["lot"] = m.Lot,
        ["location"] = m.Location,
        ["quantity"] = m.Quantity,
        ["source"] = m.Source,
        ["actor"] = m.Actor,
        ["batch"] = m.BatchId,
        ["reference"] = m.Reference,
    };

    private static void Line(CsvWriter csv, IEnumerable<object> fields)
    {
        foreach (var field in fields)
        {
            csv.WriteField(Convert.ToString(field, CultureInfo.InvariantCulture));
        }

        csv.NextRecord();
    }

    /// <summary>A spreadsheet runs what begins like a formula: text that does is quoted.</summary>
    private static object Safe(object value) => value is string { Length: > 0 } text && "=+-@\t".Contains(text[0], StringComparison.Ordinal) ? $"'{text}" : value;
}
