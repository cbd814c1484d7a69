using System.Text.Json;
using System.Text.Json.Serialization;
using Yizhan.NmtAsr.Batch;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Live;
using Yizhan.NmtAsr.Packs;
using Yizhan.NmtAsr.Translation;

namespace Yizhan.NmtAsr;

/// <summary>The one way in which this service's own records become JSON.</summary>
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(IReadOnlyList<PackView>))]
[JsonSerializable(typeof(LiveStart))]
[JsonSerializable(typeof(LiveMessage))]
[JsonSerializable(typeof(NoteRequest))]
[JsonSerializable(typeof(NoteView))]
[JsonSerializable(typeof(TranscriptView))]
[JsonSerializable(typeof(JobView))]
[JsonSerializable(typeof(IReadOnlyList<JobView>))]
[JsonSerializable(typeof(SpeechResult))]
[JsonSerializable(typeof(IReadOnlyList<LanguageView>))]
[JsonSerializable(typeof(IReadOnlyList<DetectedView>))]
[JsonSerializable(typeof(TranslationView))]
[JsonSerializable(typeof(TranslationsView))]
[JsonSerializable(typeof(TranslationError))]
internal sealed partial class SpeechJson : JsonSerializerContext;
