using System.Globalization;
using Yizhan.Contracts;

namespace Yizhan.Inventory.Collect;

/// <summary>
/// Reads what is on hand from OpenMRS's stock management module (<c>/ws/rest/v1/stockmanagement/stockiteminventory</c>), by location, item and batch. All pages, or the run has failed;
/// a server that counts more than it gives makes it partial.
/// </summary>
internal sealed class OpenMrsPull(RestClient rest)
{
    private const int Page = 100;
    private const int MaxRows = 1_000_000;

    /// <summary>Reads all of it.</summary>
    public async Task<bool> ReadAsync(SourceOptions source, Sink sink, CancellationToken cancellationToken)
    {
        var now = sink.NowMs;
        var (start, total) = (0, 0L);
        while (start < MaxRows)
        {
            using var page = await rest.GetAsync(
                source,
                $"ws/rest/v1/stockmanagement/stockiteminventory?v=default&groupBy=LocationStockItemBatchNo&totalCount=true&startIndex={start.ToString(CultureInfo.InvariantCulture)}&limit={Page}",
                "application/json", cancellationToken);
            if (!page.RootElement.TryGetProperty("results", out var results) || results.ValueKind != System.Text.Json.JsonValueKind.Array)
            {
                throw new FormatException("The answer has no results; is the stock management module installed?");
            }

            total = long.TryParse(page.RootElement.Text("totalCount"), NumberStyles.None, CultureInfo.InvariantCulture, out var said) ? said : total;
            var movements = new List<Movement>();
            foreach (var row in results.EnumerateArray())
            {
                if (row.Text("stockItemUuid") is not { Length: > 0 } uuid || !decimal.TryParse(row.Text("quantity"), NumberStyles.Float, CultureInfo.InvariantCulture, out var quantity) || quantity < 0)
                {
                    sink.Refuse($"A row has no stockItemUuid or the quantity '{row.Text("quantity")}'; accepted: 0 or more.");
                    continue;
                }

                var unit = row.Text("quantityUoM") is { Length: > 0 } uom ? uom : "piece";
                var name = row.Text("drugName") is { Length: > 0 } drug ? drug : row.Text("conceptName") is { Length: > 0 } concept ? concept : uuid;
                await sink.EnsureItemAsync(new ItemDefinition($"openmrs:{uuid}", name, row.Text("drugName").Length > 0 ? "drug" : "consumable", unit), cancellationToken);
                movements.Add(new Movement(
                    "count", $"openmrs:{uuid}", quantity, unit, now, row.Text("batchNumber"), Lenient.Day(row.Text("expiration")),
                    row.Text("partyName") is { Length: > 0 } place ? place : source.Location));
            }

            if (movements.Count > 0)
            {
                await sink.RecordAsync(string.Create(CultureInfo.InvariantCulture, $"{now}-{start}"), movements, cancellationToken);
            }

            var count = results.GetArrayLength();
            start += count;
            if (count < Page)
            {
                break;
            }
        }

        if (start < total)
        {
            sink.Refuse($"The server counts {total} rows and gave {start}.");
        }

        return start > 0;
    }
}
