using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.RegularExpressions;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Yizhan.Sops;

/// <summary>YAML: values are replaced where they stand, so that order, comments and layout stay.</summary>
internal sealed partial class SopsYaml : SopsTree
{
    private const int MaxDepth = 64;
    private static readonly JsonSerializerOptions Quoted = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly string _text;
    private readonly Parser _parser;
    private readonly List<SopsLeaf> _leaves = [];
    private readonly List<(int Start, int End, bool Flow)> _places = [];
    private readonly List<string> _path = [];
    private readonly Dictionary<string, List<string>> _metadata = [];
    private readonly (int Start, int End)? _block;
    private bool _inMetadata;

    public SopsYaml(string text)
    {
        _text = text.Replace("\r\n", "\n", StringComparison.Ordinal);
        _parser = new Parser(new StringReader(_text));
        try
        {
            _parser.Consume<StreamStart>();
            _parser.Consume<DocumentStart>();
            _parser.Consume<MappingStart>();
            while (!_parser.Accept<MappingEnd>(out _))
            {
                var key = _parser.Consume<Scalar>();
                _inMetadata = key.Value == "sops";
                _path.Add(key.Value);
                Item(flow: false, 1);
                _path.RemoveAt(0);
                if (_inMetadata)
                {
                    var next = _parser.Accept<Scalar>(out var following) ? (int)following.Start.Index : _text.Length;
                    _block = ((int)key.Start.Index, next);
                }
            }

            _parser.Consume<MappingEnd>();
            _parser.Consume<DocumentEnd>();
            if (!_parser.Accept<StreamEnd>(out _))
            {
                throw new SopsException("There is a second document; accepted: one.");
            }
        }
        catch (YamlException e)
        {
            throw new SopsException($"Line {e.Start.Line}, column {e.Start.Column}: this is not YAML with keys at its top.", e);
        }
    }

    public override IReadOnlyList<SopsLeaf> Leaves => _leaves;

    public override SopsMetadata? Metadata => _block is null ? null : new SopsMetadata(
        [.. Found("age.recipient").Zip(Found("age.enc"))], One("lastmodified"), One("mac"),
        new SopsRules
        {
            UnencryptedSuffix = Optional("unencrypted_suffix"),
            EncryptedSuffix = Optional("encrypted_suffix"),
            EncryptedRegex = Optional("encrypted_regex"),
            UnencryptedRegex = Optional("unencrypted_regex"),
            MacOnlyEncrypted = Optional("mac_only_encrypted") == "true",
        },
        Optional("version") ?? "");

    public override string Render(IReadOnlyList<SopsValue> values, SopsMetadata? metadata)
    {
        var text = new StringBuilder();
        var at = 0;
        for (var i = 0; i < values.Count; i++)
        {
            var (start, end, flow) = _places[i];
            if (_block is var (blockStart, blockEnd) && at <= blockStart && blockStart < start)
            {
                text.Append(_text, at, blockStart - at);
                at = blockEnd;
            }

            text.Append(_text, at, start - at);
            text.Append(values[i] == _leaves[i].Value ? _text[start..end] : Written(values[i], flow) + (_text[end - 1] == '\n' && end > start ? "\n" : ""));
            at = end;
        }

        text.Append(_text, at, (_block is var (tail, _) && tail >= at ? tail : _text.Length) - at);
        if (_block is var (_, after) && after > at && after < _text.Length)
        {
            text.Append(_text, after, _text.Length - after);
        }

        return metadata is null ? text.ToString() : $"{text.ToString().TrimEnd('\n')}\n{Block(metadata)}";
    }

    private static string Written(SopsValue value, bool flow) => value.Type switch
    {
        "str" when value.IsEncrypted && !flow => value.Text,
        "bool" => value.Text.ToLowerInvariant(),
        "int" or "int64" or "float" => value.Text,
        _ => JsonSerializer.Serialize(value.Text, Quoted),
    };

    private static string Block(SopsMetadata metadata)
    {
        var text = new StringBuilder("sops:\n    kms: []\n    gcp_kms: []\n    azure_kv: []\n    hc_vault: []\n    age:\n");
        foreach (var (recipient, enc) in metadata.Recipients)
        {
            text.Append(CultureInfo.InvariantCulture, $"        - recipient: {recipient}\n          enc: |\n");
            foreach (var line in enc.TrimEnd('\n').Split('\n'))
            {
                text.Append("            ").Append(line).Append('\n');
            }
        }

        text.Append(CultureInfo.InvariantCulture, $"    lastmodified: \"{metadata.LastModified}\"\n    mac: {metadata.Mac}\n    pgp: []\n");
        foreach (var (name, value) in SopsDotenv.RulesOf(metadata.Rules))
        {
            text.Append(CultureInfo.InvariantCulture, $"    {name}: {(value == "true" ? value : JsonSerializer.Serialize(value, Quoted))}\n");
        }

        return text.Append(CultureInfo.InvariantCulture, $"    version: {metadata.Version}\n").ToString();
    }

    private void Item(bool flow, int depth)
    {
        var node = _parser.Consume<ParsingEvent>();
        if (node is AnchorAlias || node is NodeEvent { Anchor.IsEmpty: false } || depth > MaxDepth)
        {
            throw new SopsException($"Line {node.Start.Line}: anchors, aliases and more than {MaxDepth} levels are not accepted.");
        }

        switch (node)
        {
            case Scalar scalar:
                Leaf(scalar, flow);
                break;
            case SequenceStart list:
                while (!_parser.Accept<SequenceEnd>(out _))
                {
                    Item(flow || list.Style == SequenceStyle.Flow, depth + 1);
                }

                _parser.Consume<SequenceEnd>();
                break;
            case MappingStart map:
                while (!_parser.Accept<MappingEnd>(out _))
                {
                    _path.Add(_parser.Consume<Scalar>().Value);
                    Item(flow || map.Style == MappingStyle.Flow, depth + 1);
                    _path.RemoveAt(_path.Count - 1);
                }

                _parser.Consume<MappingEnd>();
                break;
            default:
                throw new SopsException($"Line {node.Start.Line}: a value is missing.");
        }
    }

    private void Leaf(Scalar scalar, bool flow)
    {
        if (scalar.Style == ScalarStyle.Plain && Null().IsMatch(scalar.Value))
        {
            return;
        }

        if (_inMetadata)
        {
            var name = string.Join('.', _path.Skip(1));
            (_metadata.TryGetValue(name, out var values) ? values : _metadata[name] = []).Add(scalar.Value);
            return;
        }

        _leaves.Add(new SopsLeaf([.. _path], ValueOf(scalar)));
        _places.Add(((int)scalar.Start.Index, (int)scalar.End.Index, flow));
    }

    private static SopsValue ValueOf(Scalar scalar)
    {
        var text = scalar.Value;
        return scalar.Style != ScalarStyle.Plain ? SopsValue.Of(text)
            : Bool().IsMatch(text) ? new("bool", char.ToLowerInvariant(text[0]) == 't' ? "True" : "False")
            : Int().IsMatch(text) ? new("int", text.TrimStart('+'))
            : Float().IsMatch(text) ? new("float", SopsValue.Decimal(double.Parse(text, CultureInfo.InvariantCulture)))
            : Ambiguous().IsMatch(text)
                ? throw new SopsException($"Line {scalar.Start.Line}, column {scalar.Start.Column}: readers of YAML do not agree on what this value is; accepted: the same in quotes.")
            : SopsValue.Of(text);
    }

    private List<string> Found(string name) => _metadata.TryGetValue(name, out var values) ? values : [];

    private string? Optional(string name) => Found(name).FirstOrDefault();

    private string One(string name) => Optional(name) ?? throw new SopsException($"The block 'sops' has no '{name}'.");

    [GeneratedRegex(@"\A(~|null|Null|NULL|)\z")]
    private static partial Regex Null();

    [GeneratedRegex(@"\A(true|True|TRUE|false|False|FALSE)\z")]
    private static partial Regex Bool();

    [GeneratedRegex(@"\A[-+]?(0|[1-9][0-9]{0,17})\z")]
    private static partial Regex Int();

    [GeneratedRegex(@"\A[-+]?(0|[1-9][0-9]*)?\.[0-9]+\z")]
    private static partial Regex Float();

    // Octal, hexadecimal, exponents, underscores, dates, infinities: one reader sees a number where another sees text.
    [GeneratedRegex(@"\A([-+]?([0-9][0-9_]*\.?[0-9_]*([eE][-+]?[0-9]+)?|\.[0-9_]+([eE][-+]?[0-9]+)?|0[xXoObB][0-9a-fA-F_]+|\.(inf|Inf|INF)|[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?)"
        + @"|\.(nan|NaN|NAN)|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?)\z")]
    private static partial Regex Ambiguous();
}
