using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yizhan.Inventory;

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(IReadOnlyDictionary<string, decimal>))]
[JsonSerializable(typeof(IReadOnlyList<string>))]
internal sealed partial class InventoryJson : JsonSerializerContext;
