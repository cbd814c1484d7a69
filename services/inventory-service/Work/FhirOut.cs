using System.Globalization;
using System.Text.Json.Nodes;
using Yizhan.Contracts;

namespace Yizhan.Inventory.Work;

/// <summary>What the inventory has, in FHIR: R4 Device and SupplyDelivery, R5 InventoryReport.</summary>
internal static class FhirOut
{
    private const string Gs1 = "http://hl7.org/fhir/NamingSystem/gs1-di";
    private const string Gtin = "https://www.gs1.org/gtin";

    /// <summary>A Bundle of type collection.</summary>
    public static JsonObject Bundle(IEnumerable<JsonObject> resources)
    {
        var entries = new JsonArray();
        foreach (var resource in resources)
        {
            entries.Add(new JsonObject { ["resource"] = resource });
        }

        return new JsonObject { ["resourceType"] = "Bundle", ["type"] = "collection", ["entry"] = entries };
    }

    /// <summary>A lot of a device with a GTIN or an MA identifier, with its UDI (R4 Device.udiCarrier); null for what has none.</summary>
    public static JsonObject? Device(StockView stock, ItemDefinition? item)
    {
        var code = new[] { stock.Item }.Concat(item?.Codes ?? []).FirstOrDefault(c => c.StartsWith("gtin:", StringComparison.Ordinal) || c.StartsWith("ma:", StringComparison.Ordinal));
        if (code is null)
        {
            return null;
        }

        var (isGs1, identifier) = (code[0] == 'g', code[(code.IndexOf(':', StringComparison.Ordinal) + 1)..]);
        var human = isGs1
            ? $"(01){identifier}{(stock.Expiry.Length == 10 ? $"(17){stock.Expiry[2..4]}{stock.Expiry[5..7]}{stock.Expiry[8..]}" : "")}{(stock.Lot.Length > 0 ? $"(10){stock.Lot}" : "")}"
            : $"{identifier}{(stock.Lot.Length > 0 ? $".L{stock.Lot}" : "")}{(stock.Expiry.Length == 10 ? $".E{stock.Expiry.Replace("-", "", StringComparison.Ordinal)}" : "")}";
        var device = new JsonObject
        {
            ["resourceType"] = "Device",
            ["udiCarrier"] = new JsonArray(new JsonObject
            {
                ["deviceIdentifier"] = identifier,
                ["issuer"] = isGs1 ? Gs1 : "urn:iac:MA",
                ["jurisdiction"] = "https://udi.nmpa.gov.cn",
                ["carrierHRF"] = human,
            }),
            ["deviceName"] = new JsonArray(new JsonObject { ["name"] = stock.Name, ["type"] = "user-friendly-name" }),
            ["note"] = new JsonArray(new JsonObject { ["text"] = string.Create(CultureInfo.InvariantCulture, $"{stock.Quantity} {stock.Unit} at {stock.Site} {stock.Location}").TrimEnd() }),
        };
        if (stock.Lot.Length > 0)
        {
            device["lotNumber"] = stock.Lot;
        }

        if (stock.Expiry.Length == 10)
        {
            // A day alone is no dateTime with a time: FHIR's dateTime may be a date.
            device["expirationDate"] = stock.Expiry;
        }

        return device;
    }

    /// <summary>A piece of equipment (R4 Device).</summary>
    public static JsonObject Device(AssetView asset)
    {
        var device = new JsonObject
        {
            ["resourceType"] = "Device",
            ["id"] = asset.Id,
            ["identifier"] = new JsonArray([.. asset.Keys.Select(k => (JsonNode)new JsonObject { ["system"] = "urn:yizhan:asset-key", ["value"] = k })]),
            ["status"] = "active",
        };
        Set("manufacturer", asset.Last.Manufacturer);
        Set("modelNumber", asset.Last.Model);
        Set("serialNumber", asset.Keys.FirstOrDefault(k => k.StartsWith("serial:", StringComparison.Ordinal))?[7..]);
        if (asset.Last.Name.Length > 0)
        {
            device["deviceName"] = new JsonArray(new JsonObject { ["name"] = asset.Last.Name, ["type"] = "user-friendly-name" });
        }

        if (asset.Last.Software.Where(s => s.Version.Length > 0).ToList() is { Count: > 0 } software)
        {
            device["version"] = new JsonArray([.. software.Take(1000).Select(s => (JsonNode)new JsonObject { ["type"] = new JsonObject { ["text"] = s.Name }, ["value"] = s.Version })]);
        }

        return device;

        void Set(string name, string? value)
        {
            if (!string.IsNullOrEmpty(value))
            {
                device[name] = value;
            }
        }
    }

    /// <summary>Goods that came (R4 SupplyDelivery, completed).</summary>
    public static JsonObject Delivery(MovementView movement, string unit) => new()
    {
        ["resourceType"] = "SupplyDelivery",
        ["id"] = string.Create(CultureInfo.InvariantCulture, $"m{movement.Sequence}"),
        ["status"] = "completed",
        ["suppliedItem"] = new JsonObject { ["quantity"] = Quantity(movement.Quantity, unit), ["itemCodeableConcept"] = Concept(movement.Item, null) },
        ["occurrenceDateTime"] = Time(movement.EffectiveMs),
    };

    /// <summary>What is there now (R5 InventoryReport, snapshot), a listing for each place.</summary>
    public static JsonObject Report(string site, IEnumerable<StockView> stock, long nowMs) => new()
    {
        ["resourceType"] = "InventoryReport",
        ["identifier"] = new JsonArray(new JsonObject { ["system"] = "urn:yizhan:inventory", ["value"] = string.Create(CultureInfo.InvariantCulture, $"{site}/{nowMs}") }),
        ["status"] = "active",
        ["countType"] = "snapshot",
        ["reportedDateTime"] = Time(nowMs),
        ["inventoryListing"] = new JsonArray([.. stock.GroupBy(s => s.Location).Select(place => (JsonNode)new JsonObject
        {
            ["location"] = new JsonObject { ["display"] = place.Key.Length > 0 ? $"{site}/{place.Key}" : site },
            ["countingDateTime"] = Time(nowMs),
            ["item"] = new JsonArray([.. place.Select(s => (JsonNode)new JsonObject
            {
                ["quantity"] = Quantity(s.Quantity, s.Unit),
                ["item"] = new JsonObject { ["concept"] = Concept(s.Item, s.Lot.Length > 0 ? $"{s.Name}, lot {s.Lot}" : s.Name) },
            })]),
        })]),
    };

    private static JsonObject Quantity(decimal value, string unit)
    {
        var quantity = new JsonObject { ["value"] = value };
        if (unit.Length > 0)
        {
            quantity["unit"] = unit;
        }

        return quantity;
    }

    private static JsonObject Concept(string code, string? text)
    {
        var concept = new JsonObject
        {
            ["coding"] = new JsonArray(code.StartsWith("gtin:", StringComparison.Ordinal)
                ? new JsonObject { ["system"] = Gtin, ["code"] = code[5..] }
                : new JsonObject { ["system"] = "urn:yizhan:item", ["code"] = code }),
        };
        if (text is not null)
        {
            concept["text"] = text;
        }

        return concept;
    }

    private static string Time(long ms) => DateTimeOffset.FromUnixTimeMilliseconds(ms).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
