using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Inventory.Equipment;

namespace Yizhan.Inventory.Collect;

/// <summary>
/// Reads a FHIR server, R4 or R5: Device (equipment), SupplyDelivery (goods that came) and, in R5, InventoryReport (what was counted). All pages, or the run has failed. A resource's
/// identity is its id and version, so reading it again changes nothing.
/// </summary>
internal sealed class FhirPull(RestClient rest)
{
    private const int MaxPages = 10_000;

    /// <summary>Reads all three.</summary>
    public async Task<bool> ReadAsync(SourceOptions source, Sink sink, CancellationToken cancellationToken)
    {
        using var metadata = await rest.GetAsync(source, "metadata", "application/fhir+json", cancellationToken);
        var version = metadata.RootElement.Text("fhirVersion");
        if (!version.StartsWith("4.", StringComparison.Ordinal) && !version.StartsWith("5.", StringComparison.Ordinal))
        {
            throw new FormatException($"The server speaks FHIR '{version}'; accepted: 4.x (R4, R4B) and 5.x (R5).");
        }

        var found = false;
        await foreach (var device in AllAsync(source, sink, "Device", cancellationToken))
        {
            found = true;
            await sink.ReportAsync(Device(source, sink, device), cancellationToken);
        }

        await foreach (var delivery in AllAsync(source, sink, "SupplyDelivery", cancellationToken))
        {
            found = true;
            await DeliveryAsync(source, sink, delivery, cancellationToken);
        }

        if (version[0] == '5')
        {
            await foreach (var report in AllAsync(source, sink, "InventoryReport", cancellationToken))
            {
                found = true;
                await ReportAsync(source, sink, report, cancellationToken);
            }
        }

        return found;
    }

    private async IAsyncEnumerable<JsonElement> AllAsync(
        SourceOptions source, Sink sink, string type, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        string? next = $"{type}?_count=200";
        var (found, total) = (0L, 0L);
        for (var page = 0; next is not null; page++)
        {
            if (page == MaxPages)
            {
                throw new FormatException($"{type} has more than {MaxPages} pages.");
            }

            using var bundle = await rest.GetAsync(source, next, "application/fhir+json", cancellationToken);
            if (bundle.RootElement.Text("resourceType") != "Bundle")
            {
                throw new FormatException($"A search for {type} was not answered with a Bundle.");
            }

            total = Math.Max(total, bundle.RootElement.TryGetProperty("total", out var said) && said.TryGetInt64(out var all) ? all : 0);
            foreach (var resource in bundle.RootElement.List("entry").Select(e => e.TryGetProperty("resource", out var r) ? r : default))
            {
                if (resource.Text("resourceType") == type)
                {
                    found++;
                    yield return resource;
                }
                else if (resource.Text("resourceType") == "OperationOutcome")
                {
                    sink.Refuse($"{type}: {resource.Text("issue", "diagnostics")}{resource.Text("issue", "details", "text")}");
                }
            }

            next = bundle.RootElement.List("link").Where(l => l.Text("relation") == "next").Select(l => l.Text("url")).FirstOrDefault(u => u.Length > 0);
        }

        if (found < total)
        {
            // A server that has more than it gives on one page, and no link to the next.
            sink.Refuse($"{type}: the server says that it has {total} and gave {found}; accepted: links of relation next to the rest.");
        }
    }

    private static AssetReported Device(SourceOptions source, Sink sink, JsonElement device)
    {
        var udi = device.Text("udiCarrier", "deviceIdentifier");
        var serial = device.Text("serialNumber");
        return new AssetReported(
            source.Name, IdOf(device), Lenient.Ms(device.Text("meta", "lastUpdated")) is { } ms && ms <= sink.NowMs ? ms : sink.NowMs, "modality",
            device.Text("deviceName", "name") is { Length: > 0 } named ? named : device.Text("name", "value") is { Length: > 0 } r5 ? r5 : device.Text("id"),
            device.Text("manufacturer"), device.Text("modelNumber"),
            AssetKeys.All([
                ("serial", serial), ("agent", $"fhir/{source.Name}/{device.Text("id")}"), ("udi", udi.Length > 0 && serial.Length > 0 ? $"{udi}{serial}" : null),
                .. device.List("identifier").Select(i => ("tag", (string?)i.Text("value")))]),
            [], [.. device.List("version").Select(v => new AssetSoftware(v.Text("type", "text") is { Length: > 0 } n ? n : "version", v.Text("value"))).Where(v => v.Version.Length > 0)]);
    }

    private static async Task DeliveryAsync(SourceOptions source, Sink sink, JsonElement delivery, CancellationToken cancellationToken)
    {
        if (delivery.Text("status") != "completed")
        {
            return;
        }

        var supplied = delivery.TryGetProperty("suppliedItem", out var item) ? item.ValueKind == JsonValueKind.Array ? item.EnumerateArray().ToList() : [item] : [];
        var movements = new List<Movement>();
        foreach (var one in supplied)
        {
            var (system, code) = (one.Text("itemCodeableConcept", "coding", "system"), one.Text("itemCodeableConcept", "coding", "code"));
            if (code.Length == 0 || !decimal.TryParse(one.Text("quantity", "value"), NumberStyles.Float, CultureInfo.InvariantCulture, out var quantity))
            {
                sink.Refuse($"SupplyDelivery/{delivery.Text("id")} has an item without code or quantity.");
                return;
            }

            var definition = ItemOf(system, code, one.Text("itemCodeableConcept", "coding", "display"), one.Text("quantity", "unit"));
            await sink.EnsureItemAsync(definition, cancellationToken);
            movements.Add(new Movement(
                "receive", definition.Code, quantity, "", Lenient.Ms(delivery.Text("occurrenceDateTime")) ?? Lenient.Ms(delivery.Text("meta", "lastUpdated")) ?? sink.NowMs,
                Location: source.Location, Reference: $"SupplyDelivery/{delivery.Text("id")}"));
        }

        if (movements.Count > 0)
        {
            // A delivery happens once, whatever is corrected in its text afterwards.
            await sink.RecordAsync($"SupplyDelivery/{delivery.Text("id")}", movements, cancellationToken);
        }
    }

    private static async Task ReportAsync(SourceOptions source, Sink sink, JsonElement report, CancellationToken cancellationToken)
    {
        if (report.Text("status") != "active" || report.Text("countType") is not ("snapshot" or "difference"))
        {
            return;
        }

        var movements = new List<Movement>();
        var time = Lenient.Ms(report.Text("reportedDateTime")) ?? sink.NowMs;
        foreach (var listing in report.List("inventoryListing"))
        {
            foreach (var item in listing.List("item"))
            {
                var concept = item.TryGetProperty("item", out var reference) ? reference : default;
                var (system, code) = (concept.Text("concept", "coding", "system"), concept.Text("concept", "coding", "code"));
                if (code.Length == 0 || !decimal.TryParse(item.Text("quantity", "value"), NumberStyles.Float, CultureInfo.InvariantCulture, out var quantity))
                {
                    sink.Refuse($"InventoryReport/{report.Text("id")} has an item without code or quantity.");
                    return;
                }

                var definition = ItemOf(system, code, concept.Text("concept", "coding", "display"), item.Text("quantity", "unit"));
                await sink.EnsureItemAsync(definition, cancellationToken);
                movements.Add(new Movement(
                    report.Text("countType") == "snapshot" ? "count" : "adjust", definition.Code, quantity, "", Lenient.Ms(listing.Text("countingDateTime")) ?? time,
                    Location: listing.Text("location", "display") is { Length: > 0 } place ? place : source.Location, Reference: $"InventoryReport/{report.Text("id")}"));
            }
        }

        foreach (var (part, i) in movements.Chunk(1000).Select((part, i) => (part, i)))
        {
            await sink.RecordAsync($"{IdOf(report)}-{i.ToString(CultureInfo.InvariantCulture)}", part, cancellationToken);
        }
    }

    private static ItemDefinition ItemOf(string system, string code, string display, string unit)
    {
        var own = system == "https://www.gs1.org/gtin" ? $"gtin:{code}" : code;
        return new ItemDefinition(own, display.Length > 0 ? display : code, "consumable", unit.Length > 0 ? unit : "piece");
    }

    /// <summary>Identity of a resource as it is now. A server without versions changes its content.</summary>
    private static string IdOf(JsonElement resource)
    {
        var version = resource.Text("meta", "versionId") is { Length: > 0 } given ? given
            : Convert.ToHexStringLower(SHA256.HashData(JsonSerializer.SerializeToUtf8Bytes(resource, InventoryJson.Default.JsonElement)).AsSpan(0, 8));
        return $"{resource.Text("resourceType")}/{resource.Text("id")}/{version}";
    }
}
