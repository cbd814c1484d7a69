using System.Text;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Yizhan.Platform.SiteFiles;

/// <summary>A value of a YAML file with the place where it stands; line and column count from 1.</summary>
internal abstract record YamlItem(int Line, int Column);

/// <summary>A single value. <paramref name="Plain"/>: without quotes, so that 123 and true are not text.</summary>
internal sealed record YamlScalar(int Line, int Column, string Text, bool Plain) : YamlItem(Line, Column);

internal sealed record YamlList(int Line, int Column, IReadOnlyList<YamlItem> Items) : YamlItem(Line, Column);

internal sealed record YamlMap(int Line, int Column, IReadOnlyList<(YamlScalar Key, YamlItem Value)> Entries) : YamlItem(Line, Column);

/// <summary>
/// The part of YAML that a person can read without knowing YAML: block and flow mappings, lists and single values. What makes a file
/// mean something else than it seems (tabs, doubled keys, anchors, tags, several documents) is refused, with its place.
/// </summary>
internal sealed class StrictYaml
{
    public const int MaxBytes = 256 * 1024;
    private const int MaxDepth = 8;
    private const int MaxItems = 20_000;

    private readonly Parser _parser;
    private int _items;

    private StrictYaml(string text) => _parser = new Parser(new StringReader(text));

    /// <summary>The mapping at the top of a file.</summary>
    /// <exception cref="StrictYamlException">With the place of the first fault.</exception>
    public static YamlMap Parse(ReadOnlySpan<byte> utf8)
    {
        if (utf8.Length > MaxBytes)
        {
            throw new StrictYamlException(1, 1, $"The file has {utf8.Length} bytes; accepted: up to {MaxBytes}.");
        }

        var text = Decode(utf8);
        RefuseTabs(text);
        try
        {
            return new StrictYaml(text).Document();
        }
        catch (YamlException e)
        {
            throw new StrictYamlException((int)e.Start.Line, (int)e.Start.Column, $"This is not YAML: {e.Message}");
        }
    }

    private static string Decode(ReadOnlySpan<byte> utf8)
    {
        try
        {
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(utf8.StartsWith(Encoding.UTF8.Preamble) ? utf8[3..] : utf8);
        }
        catch (DecoderFallbackException e)
        {
            var before = utf8[..Math.Clamp(e.Index, 0, utf8.Length)];
            throw new StrictYamlException(before.Count((byte)'\n') + 1, before.Length - before.LastIndexOf((byte)'\n'), "This byte is not UTF-8. Save the file as UTF-8.");
        }
    }

    private static void RefuseTabs(string text)
    {
        var line = 0;
        foreach (var row in text.AsSpan().EnumerateLines())
        {
            line++;
            var indent = row[..(row.Length - row.TrimStart(" \t").Length)];
            if (indent.IndexOf('\t') is >= 0 and var tab)
            {
                throw new StrictYamlException(line, tab + 1, "A tab indents this line; accepted: spaces.");
            }
        }
    }

    private YamlMap Document()
    {
        _parser.Consume<StreamStart>();
        if (_parser.Accept<StreamEnd>(out _))
        {
            throw new StrictYamlException(1, 1, "The file is empty; accepted: 'key: value' lines that begin with siteId.");
        }

        _parser.Consume<DocumentStart>();
        var root = Item(0);
        _parser.Consume<DocumentEnd>();
        if (!_parser.Accept<StreamEnd>(out _))
        {
            throw Wrong(_parser.Current!, "A second document begins here; accepted: one site a file.");
        }

        return root as YamlMap ?? throw new StrictYamlException(root.Line, root.Column, "The file must have 'key: value' lines at its top.");
    }

    private YamlItem Item(int depth)
    {
        var current = _parser.Consume<ParsingEvent>();
        if (++_items > MaxItems || depth > MaxDepth)
        {
            throw Wrong(current, $"Too much: accepted are {MaxItems} values, nested {MaxDepth} deep.");
        }

        if (current is AnchorAlias alias)
        {
            throw Wrong(current, $"'*{alias.Value}' repeats another value; accepted: the value itself.");
        }

        var node = (NodeEvent)current;
        if (!node.Anchor.IsEmpty)
        {
            throw Wrong(current, $"'&{node.Anchor}' names a value for repetition; accepted: each value where it belongs.");
        }

        if (!node.Tag.IsEmpty)
        {
            throw Wrong(current, $"'{node.Tag}' is a tag; accepted: values without one.");
        }

        var (line, column) = ((int)node.Start.Line, (int)node.Start.Column);
        return node switch
        {
            Scalar scalar => new YamlScalar(line, column, scalar.Value, scalar.Style == ScalarStyle.Plain),
            SequenceStart => new YamlList(line, column, Items(depth)),
            _ => new YamlMap(line, column, Entries(depth)),
        };
    }

    private List<YamlItem> Items(int depth)
    {
        var items = new List<YamlItem>();
        while (!_parser.Accept<SequenceEnd>(out _))
        {
            items.Add(Item(depth + 1));
        }

        _parser.Consume<SequenceEnd>();
        return items;
    }

    private List<(YamlScalar, YamlItem)> Entries(int depth)
    {
        var entries = new List<(YamlScalar Key, YamlItem Value)>();
        var seen = new Dictionary<string, int>(StringComparer.Ordinal);
        while (!_parser.Accept<MappingEnd>(out _))
        {
            var key = Item(depth + 1);
            if (key is not YamlScalar { Text.Length: > 0 } name)
            {
                throw new StrictYamlException(key.Line, key.Column, "A key must be one word.");
            }

            if (!seen.TryAdd(name.Text, name.Line))
            {
                throw new StrictYamlException(name.Line, name.Column, $"The key '{name.Text}' is there already, on line {seen[name.Text]}.");
            }

            entries.Add((name, Item(depth + 1)));
        }

        _parser.Consume<MappingEnd>();
        return entries;
    }

    private static StrictYamlException Wrong(ParsingEvent at, string message) => new((int)at.Start.Line, (int)at.Start.Column, message);
}

/// <summary>A file is not YAML that we accept; at which place, and why.</summary>
internal sealed class StrictYamlException(int line, int column, string message) : Exception(message)
{
    public int Line { get; } = line;

    public int Column { get; } = column;
}
