using System.ComponentModel.DataAnnotations;
using System.Reflection;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Xml.Linq;

namespace Yizhan.Platform.SiteFiles;

/// <summary>The JSON schema of site files for editors, made from <see cref="SiteFile"/>. What it cannot say, the reader checks.</summary>
public static class SiteSchema
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The text of <c>sites/site.schema.json</c>.</summary>
    /// <exception cref="FileNotFoundException">The descriptions (Yizhan.Platform.xml) do not stand beside the program.</exception>
    public static string Generate()
    {
        var documentation = XDocument.Load(Path.ChangeExtension(typeof(SiteFile).Assembly.Location, ".xml")).Descendants("member")
            .ToDictionary(m => (string)m.Attribute("name")!, m => string.Join(' ', (m.Element("summary")?.Value ?? "").Split(default(char[]), StringSplitOptions.RemoveEmptyEntries)));
        var schema = Record(typeof(SiteFile), documentation);
        schema.Insert(0, "$schema", "https://json-schema.org/draft/2020-12/schema");
        schema.Insert(1, "title", "Yizhan site file");
        return schema.ToJsonString(Indented) + "\n";
    }

    private static JsonObject Record(Type type, Dictionary<string, string> documentation)
    {
        var defaults = Activator.CreateInstance(type)!;
        var properties = new JsonObject();
        var required = new JsonArray();
        foreach (var (key, property) in SiteFileReader.Members(type))
        {
            var schema = Value(property.PropertyType, property, documentation);
            schema.Insert(0, "description", documentation[$"P:{type.FullName}.{property.Name}"]);
            if (property.IsDefined(typeof(RequiredAttribute)))
            {
                required.Add(key);
            }
            else if (property.GetValue(defaults) is (string or int or bool) and var value)
            {
                schema["default"] = JsonSerializer.SerializeToNode(value);
            }

            properties[key] = schema;
        }

        var record = new JsonObject { ["type"] = "object", ["additionalProperties"] = false, ["properties"] = properties };
        if (required.Count > 0)
        {
            record["required"] = required;
        }

        return record;
    }

    private static JsonObject Value(Type type, PropertyInfo property, Dictionary<string, string> documentation)
    {
        if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(IReadOnlyList<>))
        {
            var length = property.GetCustomAttribute<LengthAttribute>()!;
            return new JsonObject
            {
                ["type"] = "array",
                ["minItems"] = length.MinimumLength,
                ["maxItems"] = length.MaximumLength,
                ["items"] = Value(type.GetGenericArguments()[0], property, documentation),
            };
        }

        return type == typeof(bool) ? new JsonObject { ["type"] = "boolean" }
            : type == typeof(int) ? Number(property.GetCustomAttribute<RangeAttribute>()!)
            : type == typeof(string) ? Text(property)
            : Record(type, documentation);
    }

    private static JsonObject Number(RangeAttribute range) =>
        new() { ["type"] = "integer", ["minimum"] = (int)range.Minimum, ["maximum"] = (int)range.Maximum };

    private static JsonObject Text(PropertyInfo property)
    {
        var schema = new JsonObject { ["type"] = "string" };
        if (property.GetCustomAttribute<AllowedValuesAttribute>() is { } allowed)
        {
            schema["enum"] = new JsonArray([.. allowed.Values.Select(v => (JsonNode)(string)v!)]);
        }
        else if (property.GetCustomAttribute<FormatAttribute>() is { } format)
        {
            schema["pattern"] = SiteFormats.Of(format.Name).Pattern;
        }
        else if (property.PropertyType == typeof(string) && property.GetCustomAttribute<LengthAttribute>() is { } length)
        {
            schema["minLength"] = length.MinimumLength;
            schema["maxLength"] = length.MaximumLength;
        }

        return schema;
    }
}
