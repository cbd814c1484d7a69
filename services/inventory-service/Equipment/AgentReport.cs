using System.Text.Json;
using System.Xml;
using System.Xml.Linq;
using Yizhan.Contracts;

namespace Yizhan.Inventory.Equipment;

/// <summary>
/// Inventories of GLPI and FusionInventory agents: JSON (inventory format 1.x) and XML of old, of computers, phones, and of network equipment and printers that an agent asked.
/// </summary>
internal static class AgentReport
{
    private const int MaxDevices = 1000;
    private const int MaxSoftware = 4000;
    private const int MaxText = 200;

    // An element takes a hundred times the memory of its four bytes, and attributes of one element are read all at once: both are counted while they are bytes.
    // A thousand switches with fifty ports each have a million and a half.
    private const int MaxTags = 2_000_000;
    private const int MaxAttributes = 200_000;

    /// <summary>What an inventory says: one thing, or as many as an agent found on its network.</summary>
    /// <param name="bytes">JSON or XML.</param>
    /// <param name="source">Name of the source.</param>
    /// <param name="reportId">Identity of the report.</param>
    /// <param name="seenMs">When it came.</param>
    /// <exception cref="FormatException">It is neither, or has no content.</exception>
    public static IReadOnlyList<AssetReported> Read(ReadOnlyMemory<byte> bytes, string source, string reportId, long seenMs)
    {
        var first = bytes.Span.IndexOfAnyExcept(" \t\r\n\uFEFF"u8);
        try
        {
            return first >= 0 && bytes.Span[first] == (byte)'{' ? [Json(bytes[first..], source, reportId, seenMs)] : Xml(bytes, source, reportId, seenMs);
        }
        catch (Exception e) when (e is JsonException or XmlException)
        {
            throw new FormatException($"It is no inventory: {e.Message}", e);
        }
    }

    private static AssetReported Json(ReadOnlyMemory<byte> bytes, string source, string reportId, long seenMs)
    {
        using var document = JsonDocument.Parse(bytes, new JsonDocumentOptions { MaxDepth = 32 });
        var root = document.RootElement;
        if (Text(root, "deviceid").Length == 0 || !root.TryGetProperty("content", out var content) || content.ValueKind != JsonValueKind.Object)
        {
            throw new FormatException("The inventory has no deviceid or no content.");
        }

        var agent = Text(root, "deviceid");
        if (content.TryGetProperty("network_device", out var device))
        {
            return DeviceReport(
                source, reportId, seenMs, Kind(Text(root, "itemtype") is { Length: > 0 } type ? type : Text(device, "type")), n => Text(device, n), Values(device, "ips"),
                Objects(content, "firmwares").Select(f => new AssetSoftware(Text(f, "name"), Text(f, "version"))));
        }

        var (bios, hardware, system) = (Object(content, "bios"), Object(content, "hardware"), Object(content, "operatingsystem"));
        return ComputerReport(
            source, reportId, seenMs, Kind(Text(root, "itemtype")), agent, (section, n) => Text(section switch { "bios" => bios, "hardware" => hardware, _ => system }, n),
            Objects(content, "networks").Select(n => (Text(n, "mac"), Text(n, "ipaddress") is { Length: > 0 } v4 ? v4 : Text(n, "ipaddress6"), Text(n, "virtualdev") == "true")),
            Objects(content, "softwares").Select(s => new AssetSoftware(Text(s, "name"), Text(s, "version"))),
            root.TryGetProperty("partial", out var partial) && partial.ValueKind == JsonValueKind.True);
    }

    private static List<AssetReported> Xml(ReadOnlyMemory<byte> bytes, string source, string reportId, long seenMs)
    {
        if (bytes.Span.Count((byte)'<') is > MaxTags and var tags)
        {
            throw new FormatException($"The inventory has {tags} tags; accepted are {MaxTags}.");
        }

        if (bytes.Span.Count((byte)'=') is > MaxAttributes and var signs)
        {
            throw new FormatException($"The inventory has {signs} signs of equality; accepted are {MaxAttributes}.");
        }

        using var reader = XmlReader.Create(new MemoryStream(bytes.ToArray()), new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit, MaxCharactersInDocument = 64 * 1024 * 1024 });
        var root = XDocument.Load(reader).Root!;
        var content = root.Element("CONTENT");
        if (root.Name != "REQUEST" || content is null)
        {
            throw new FormatException($"The inventory begins with <{root.Name}> and has no <CONTENT>; accepted: <REQUEST><CONTENT>.");
        }

        var agent = Text(root, "DEVICEID");
        var devices = content.Elements("DEVICE").Take(MaxDevices).ToList();
        if (devices.Count > 0)
        {
            return [.. devices.Select((device, i) => Device(device, i == 0 ? reportId : $"{reportId}-{i}"))];
        }

        return
        [
            ComputerReport(
                source, reportId, seenMs, Kind(Text(root, "ITEMTYPE")), agent, (section, name) => Text(content.Element(section.ToUpperInvariant()), name),
                content.Elements("NETWORKS").Select(n => (Text(n, "MACADDR") is { Length: > 0 } mac ? mac : Text(n, "MAC"), Text(n, "IPADDRESS"), Text(n, "VIRTUALDEV") == "1")),
                content.Elements("SOFTWARES").Select(s => new AssetSoftware(Text(s, "NAME"), Text(s, "VERSION"))), false),
        ];

        AssetReported Device(XElement device, string id)
        {
            var info = device.Element("INFO") ?? device;
            return DeviceReport(
                source, id, seenMs, Kind(Text(info, "TYPE")), name => Text(info, name), info.Descendants("IP").Select(ip => ip.Value.Trim()),
                device.Elements("FIRMWARES").Select(f => new AssetSoftware(Text(f, "NAME"), Text(f, "VERSION"))));
        }
    }

    private static AssetReported ComputerReport(
        string source, string reportId, long seenMs, string kind, string agent, Func<string, string, string> text,
        IEnumerable<(string Mac, string Address, bool IsVirtual)> networks, IEnumerable<AssetSoftware> software, bool partial)
    {
        var all = networks.ToList();
        var system = text("operatingsystem", "full_name");
        return new AssetReported(
            source, reportId, seenMs, kind, Cut(text("hardware", "name")), Cut(text("bios", "smanufacturer")), Cut(text("bios", "smodel")),
            AssetKeys.All([
                ("uuid", text("hardware", "uuid")), ("serial", text("bios", "ssn")), ("board", text("bios", "msn")), ("agent", agent), ("host", text("hardware", "name")),
                .. all.Where(n => !n.IsVirtual).Select(n => ("mac", (string?)n.Mac))]),
            [.. all.Select(n => n.Address).Where(a => a.Length > 0 && a is not ("127.0.0.1" or "::1")).Distinct().Take(100)],
            [.. (system.Length > 0 ? [new AssetSoftware(Cut(system), Cut(text("operatingsystem", "kernel_version")))] : Array.Empty<AssetSoftware>())
                .Concat(software.Where(s => s.Name.Length > 0).Take(MaxSoftware).Select(s => new AssetSoftware(Cut(s.Name), Cut(s.Version))))],
            partial);
    }

    private static AssetReported DeviceReport(
        string source, string reportId, long seenMs, string kind, Func<string, string> text, IEnumerable<string> addresses, IEnumerable<AssetSoftware> firmware)
    {
        string Any(string name) => text(name) is { Length: > 0 } lower ? lower : text(name.ToUpperInvariant());
        var main = Any("firmware");
        return new AssetReported(
            source, reportId, seenMs, kind, Cut(Any("name")), Cut(Any("manufacturer")), Cut(Any("model")),
            AssetKeys.All(("serial", Any("serial")), ("mac", Any("mac")), ("host", Any("name"))),
            [.. addresses.Where(a => a is not ("" or "127.0.0.1")).Distinct().Take(100)],
            [.. firmware.Where(f => f.Name.Length > 0).Append(new AssetSoftware("firmware", main)).Where(f => f.Version.Length > 0).Distinct().Take(MaxSoftware)
                .Select(f => new AssetSoftware(Cut(f.Name), Cut(f.Version)))]);
    }

    private static string Kind(string type) => type.ToUpperInvariant() switch
    {
        "NETWORKEQUIPMENT" or "NETWORKING" or "NETWORK" => "network",
        "PRINTER" => "printer",
        "PHONE" => "phone",
        "STORAGE" or "POWER" or "VIDEO" => "network",
        _ => "computer",
    };

    private static string Cut(string text) => text.Length > MaxText ? text[..MaxText] : text;

    private static JsonElement Object(JsonElement parent, string name) =>
        parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Object ? value : default;

    private static IEnumerable<JsonElement> Objects(JsonElement parent, string name) =>
        parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Array ? value.EnumerateArray().Where(v => v.ValueKind == JsonValueKind.Object) : [];

    private static IEnumerable<string> Values(JsonElement parent, string name) =>
        parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Array ? value.EnumerateArray().Select(v => v.ToString()) : [];

    private static string Text(JsonElement parent, string name) =>
        parent.ValueKind == JsonValueKind.Object && parent.TryGetProperty(name, out var value)
            ? value.ValueKind switch { JsonValueKind.True => "true", JsonValueKind.String or JsonValueKind.Number => value.ToString().Trim(), _ => "" }
            : "";

    private static string Text(XElement? parent, string name) => parent?.Element(name.ToUpperInvariant())?.Value.Trim() ?? "";
}
