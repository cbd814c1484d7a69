using System.Text.Json;
using System.Text.Json.Serialization;
using Yizhan.EmrAdapter.Outbox;

namespace Yizhan.EmrAdapter;

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(Outgoing))]
internal sealed partial class EmrJson : JsonSerializerContext;
