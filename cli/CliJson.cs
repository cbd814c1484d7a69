using System.Text.Encodings.Web;
using System.Text.Json;

namespace Yizhan.Cli;

/// <summary>How commands print their <c>--json</c> line: one line, camelCase, readable characters.</summary>
internal static class CliJson
{
    public static JsonSerializerOptions Options { get; } = new(JsonSerializerDefaults.Web) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
}
