using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Yizhan.Cli;

/// <summary>How commands print their <c>--json</c> line: one line, camelCase, readable characters.</summary>
internal static class CliJson
{
    public static JsonSerializerOptions Options { get; } = new(JsonSerializerDefaults.Web) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Any JSON, for an answer of which little is read.</summary>
    public static JsonTypeInfo<JsonElement> Element { get; } =
        (JsonTypeInfo<JsonElement>)new JsonSerializerOptions(JsonSerializerDefaults.Web) { TypeInfoResolver = new DefaultJsonTypeInfoResolver() }
            .GetTypeInfo(typeof(JsonElement));
}
