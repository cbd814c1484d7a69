using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yizhan.Inventory;

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(IReadOnlyDictionary<string, decimal>))]
[JsonSerializable(typeof(IReadOnlyList<string>))]
[JsonSerializable(typeof(JsonElement))]
internal sealed partial class InventoryJson : JsonSerializerContext;
