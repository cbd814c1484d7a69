using System.Text.Json;
using System.Text.Json.Serialization;
using Yizhan.NmtAsr.Batch;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Live;
using Yizhan.NmtAsr.Packs;

namespace Yizhan.NmtAsr;

/// <summary>The one way in which this service's own records become JSON.</summary>
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(IReadOnlyList<PackView>))]
[JsonSerializable(typeof(LiveStart))]
[JsonSerializable(typeof(LiveMessage))]
[JsonSerializable(typeof(NoteRequest))]
[JsonSerializable(typeof(NoteView))]
[JsonSerializable(typeof(TranscriptView))]
[JsonSerializable(typeof(SpeechResult))]
internal sealed partial class SpeechJson : JsonSerializerContext;
