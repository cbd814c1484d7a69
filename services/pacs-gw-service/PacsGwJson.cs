using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yizhan.PacsGw;

/// <summary>JSON of this service that is no contract between services.</summary>
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(IReadOnlyList<string>))]
internal sealed partial class PacsGwJson : JsonSerializerContext;
