using System.Diagnostics;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Configuration.Memory;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Yizhan.Platform;

internal static class YamlConfiguration
{
    /// <summary>Adds a YAML file as a source. Mappings become sections, sequences numbered keys, as .NET's configuration has it.</summary>
    /// <exception cref="SettingException">The file is missing or is not a YAML mapping; the message has file and line.</exception>
    public static void AddYamlFile(this ConfigurationManager configuration, string path)
    {
        if (!File.Exists(path))
        {
            throw new SettingException($"The configuration file '{path}' does not exist.");
        }

        var values = new List<KeyValuePair<string, string?>>();
        try
        {
            var yaml = new YamlStream();
            using var reader = File.OpenText(path);
            yaml.Load(reader);
            if (yaml.Documents.Count > 1)
            {
                throw Wrong(yaml.Documents[1].RootNode, "Only one document is accepted.");
            }

            if (yaml.Documents.Count > 0)
            {
                var root = yaml.Documents[0].RootNode;
                Flatten(root as YamlMappingNode ?? throw Wrong(root, "Expected 'key: value' lines."), "", values, depth: 0);
            }
        }
        catch (YamlException e)
        {
            throw new SettingException($"{path}:{e.Start.Line}:{e.Start.Column}: {e.InnerException?.Message ?? e.Message}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SettingException($"The configuration file '{path}' cannot be read: {e.Message}");
        }

        ((IConfigurationBuilder)configuration).Add(new MemoryConfigurationSource { InitialData = values });
    }

    private static void Flatten(YamlNode node, string path, List<KeyValuePair<string, string?>> values, int depth)
    {
        // An alias may repeat its anchor without end; nothing of ours is nested deeper than a few levels.
        if (depth > 16 || values.Count > 10_000)
        {
            throw Wrong(node, "The file is nested too deeply or has too many values.");
        }

        switch (node)
        {
            case YamlMappingNode mapping:
                // Keys of the configuration have no case: two that differ in it alone would hide one another.
                var keys = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
                foreach (var (key, value) in mapping.Children)
                {
                    if (key is not YamlScalarNode { Value: { Length: > 0 } name })
                    {
                        throw Wrong(key, "A key must be one word.");
                    }

                    if (!keys.Add(name))
                    {
                        throw Wrong(key, $"The key '{Join(path, name)}' is there twice.");
                    }

                    Flatten(value, Join(path, name), values, depth + 1);
                }

                break;
            case YamlSequenceNode sequence:
                for (var i = 0; i < sequence.Children.Count; i++)
                {
                    Flatten(sequence.Children[i], Join(path, $"{i}"), values, depth + 1);
                }

                break;
            case YamlScalarNode scalar:
                values.Add(new(path, scalar.Value));
                break;
            default:
                throw new UnreachableException($"YAML has no node of type {node.NodeType} once it is loaded.");
        }
    }

    private static YamlException Wrong(YamlNode node, string message) => new(node.Start, node.End, message);

    private static string Join(string path, string key) => path.Length == 0 ? key : $"{path}:{key}";
}
