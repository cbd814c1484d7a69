using System.Text.Json.Nodes;

namespace Yizhan.Console.Configuration;

/// <summary>One key of a site file.</summary>
/// <param name="Path">Such as <c>modalities[].aeTitle</c>.</param>
/// <param name="Required">It has to be there.</param>
/// <param name="Description">What it means.</param>
/// <param name="Accepted">Its values, where they are a list or a range; empty otherwise.</param>
internal sealed record SchemaKey(string Path, bool Required, string Description, string Accepted);

/// <summary>The schema of site files as people read it.</summary>
internal static class SchemaHelp
{
    /// <summary>All keys, in the order of the schema.</summary>
    public static IReadOnlyList<SchemaKey> Keys { get; } = [.. Walk(Schema(), "")];

    /// <summary>The published schema; a test compares it with the code that reads site files.</summary>
    private static JsonNode Schema()
    {
        using var text = typeof(SchemaHelp).Assembly.GetManifestResourceStream("site.schema.json")!;
        return JsonNode.Parse(text)!;
    }

    private static IEnumerable<SchemaKey> Walk(JsonNode schema, string path)
    {
        var required = (schema["required"] as JsonArray ?? []).Select(name => name!.ToString()).ToHashSet(StringComparer.Ordinal);
        foreach (var (name, key) in schema["properties"] as JsonObject ?? [])
        {
            var list = key!["items"] is not null;
            var at = (path.Length == 0 ? name : $"{path}.{name}") + (list ? "[]" : "");
            var type = list ? key["items"]! : key;
            yield return new(at, required.Contains(name), key["description"]?.ToString() ?? "", Accepted(type));
            foreach (var inner in Walk(type, at))
            {
                yield return inner;
            }
        }
    }

    private static string Accepted(JsonNode type) =>
        type["enum"] is JsonArray values ? string.Join(", ", values)
        : type["minimum"] is { } least && type["maximum"] is { } most ? $"{least} – {most}"
        : type["type"]?.ToString() == "boolean" ? "true, false"
        : "";
}
