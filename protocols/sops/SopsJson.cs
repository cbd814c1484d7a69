using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Yizhan.Sops;

/// <summary>JSON: written anew, members in their order.</summary>
internal sealed class SopsJson : SopsTree
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, IndentCharacter = '\t', IndentSize = 1, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly JsonObject _root;
    private readonly List<SopsLeaf> _leaves = [];

    public SopsJson(string text)
    {
        try
        {
            _root = JsonNode.Parse(text, documentOptions: new JsonDocumentOptions { AllowDuplicateProperties = false }) as JsonObject ?? throw new SopsException("The file is not a JSON object.");
        }
        catch (JsonException e)
        {
            throw new SopsException($"Line {e.LineNumber + 1}: this is not JSON.", e);
        }

        Map(_root, [], (path, node) =>
        {
            _leaves.Add(new(path, ValueOf(node)));
            return null;
        });
    }

    public override IReadOnlyList<SopsLeaf> Leaves => _leaves;

    public override SopsMetadata? Metadata
    {
        get
        {
            if (_root["sops"] is not JsonObject sops)
            {
                return null;
            }

            string? Text(string name) => sops[name] is JsonValue value && value.TryGetValue<string>(out var text) ? text : null;
            string One(string name) => Text(name) ?? throw new SopsException($"The block 'sops' has no '{name}'.");
            var age = (sops["age"] as JsonArray ?? []).OfType<JsonObject>().Select(a => ((string?)a["recipient"] ?? "", (string?)a["enc"] ?? ""));
            return new(
                [.. age], One("lastmodified"), One("mac"),
                new SopsRules
                {
                    UnencryptedSuffix = Text("unencrypted_suffix"),
                    EncryptedSuffix = Text("encrypted_suffix"),
                    EncryptedRegex = Text("encrypted_regex"),
                    UnencryptedRegex = Text("unencrypted_regex"),
                    MacOnlyEncrypted = sops["mac_only_encrypted"]?.GetValueKind() == JsonValueKind.True,
                },
                Text("version") ?? "");
        }
    }

    public override string Render(IReadOnlyList<SopsValue> values, SopsMetadata? metadata)
    {
        var root = (JsonObject)_root.DeepClone();
        var i = 0;
        Map(root, [], (_, _) => NodeOf(values[i++]));
        root.Remove("sops");
        if (metadata is not null)
        {
            root["sops"] = Block(metadata);
        }

        return root.ToJsonString(Indented) + "\n";
    }

    private static JsonObject Block(SopsMetadata metadata)
    {
        var block = new JsonObject
        {
            ["age"] = new JsonArray([.. metadata.Recipients.Select(r => (JsonNode)new JsonObject { ["recipient"] = r.Recipient, ["enc"] = r.Enc })]),
            ["lastmodified"] = metadata.LastModified,
            ["mac"] = metadata.Mac,
        };
        foreach (var (name, value) in SopsDotenv.RulesOf(metadata.Rules))
        {
            block[name] = value == "true" ? true : value;
        }

        block["version"] = metadata.Version;
        return block;
    }

    /// <summary>Calls for each value in order; what is returned takes its place, null leaves it.</summary>
    private static void Map(JsonNode node, string[] path, Func<string[], JsonValue, JsonNode?> change)
    {
        if (node is JsonObject members)
        {
            foreach (var (name, member) in members.ToArray())
            {
                if (path.Length == 0 && name == "sops")
                {
                    continue;
                }

                if (member is JsonValue value)
                {
                    if (change([.. path, name], value) is { } changed)
                    {
                        members[name] = changed;
                    }
                }
                else if (member is not null)
                {
                    Map(member, [.. path, name], change);
                }
            }
        }
        else if (node is JsonArray elements)
        {
            for (var i = 0; i < elements.Count; i++)
            {
                if (elements[i] is JsonValue value)
                {
                    if (change(path, value) is { } changed)
                    {
                        elements[i] = changed;
                    }
                }
                else if (elements[i] is { } element)
                {
                    Map(element, path, change);
                }
            }
        }
    }

    private static SopsValue ValueOf(JsonValue node) => node.GetValueKind() switch
    {
        JsonValueKind.True => new("bool", "True"),
        JsonValueKind.False => new("bool", "False"),
        JsonValueKind.Number when long.TryParse(node.ToJsonString(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) => new("int", number.ToString(CultureInfo.InvariantCulture)),
        JsonValueKind.Number => new("float", SopsValue.Decimal(double.Parse(node.ToJsonString(), CultureInfo.InvariantCulture))),
        _ => SopsValue.Of(node.GetValue<string>()),
    };

    private static JsonNode NodeOf(SopsValue value) => value.Type switch
    {
        "bool" => JsonValue.Create(value.Text == "True"),
        "int" or "int64" or "float" => JsonNode.Parse(value.Text)!,
        _ => JsonValue.Create(value.Text),
    };
}
