using System.Globalization;

namespace Yizhan.Sops;

/// <summary>dotenv: <c>KEY=value</c> lines; the block is flattened into keys that begin with <c>sops_</c>.</summary>
internal sealed class SopsDotenv : SopsTree
{
    private const string Prefix = "sops_";

    private readonly List<(string? Key, string Text)> _lines = [];
    private readonly Dictionary<string, string> _metadata = [];

    public SopsDotenv(string text)
    {
        var number = 0;
        foreach (var line in text.Replace("\r\n", "\n", StringComparison.Ordinal).Split('\n'))
        {
            number++;
            var equals = line.IndexOf('=', StringComparison.Ordinal);
            if (line.Length == 0 || line[0] == '#')
            {
                _lines.Add((null, line));
            }
            else if (equals <= 0)
            {
                throw new SopsException($"Line {number} has no '='; accepted: KEY=value, a comment, or nothing.");
            }
            else if (line.StartsWith(Prefix, StringComparison.Ordinal))
            {
                _metadata[line[Prefix.Length..equals]] = Unescape(line[(equals + 1)..]);
            }
            else
            {
                _lines.Add((line[..equals], Unescape(line[(equals + 1)..])));
            }
        }

        Leaves = [.. _lines.Where(l => l.Key is not null).Select(l => new SopsLeaf([l.Key!], SopsValue.Of(l.Text)))];
    }

    public override IReadOnlyList<SopsLeaf> Leaves { get; }

    public override SopsMetadata? Metadata
    {
        get
        {
            if (_metadata.Count == 0)
            {
                return null;
            }

            string One(string name) => _metadata.GetValueOrDefault(name) ?? throw new SopsException($"'{Prefix}{name}' is missing.");
            var recipients = new List<(string, string)>();
            while (_metadata.TryGetValue(At(recipients.Count, "recipient"), out var recipient))
            {
                recipients.Add((recipient, One(At(recipients.Count, "enc"))));
            }

            return new(
                recipients, One("lastmodified"), One("mac"),
                new SopsRules
                {
                    UnencryptedSuffix = _metadata.GetValueOrDefault("unencrypted_suffix"),
                    EncryptedSuffix = _metadata.GetValueOrDefault("encrypted_suffix"),
                    EncryptedRegex = _metadata.GetValueOrDefault("encrypted_regex"),
                    UnencryptedRegex = _metadata.GetValueOrDefault("unencrypted_regex"),
                    MacOnlyEncrypted = _metadata.GetValueOrDefault("mac_only_encrypted") == "true",
                },
                _metadata.GetValueOrDefault("version") ?? "");
        }
    }

    public override string Render(IReadOnlyList<SopsValue> values, SopsMetadata? metadata)
    {
        var i = 0;
        var lines = _lines.ConvertAll(line => line.Key is null ? line.Text : $"{line.Key}={Escape(values[i++].Text)}");
        var text = string.Join('\n', lines).TrimEnd('\n') + "\n";
        if (metadata is null)
        {
            return text;
        }

        var block = new SortedDictionary<string, string>(StringComparer.Ordinal)
        {
            ["lastmodified"] = metadata.LastModified,
            ["mac"] = metadata.Mac,
            ["version"] = metadata.Version,
        };
        for (var r = 0; r < metadata.Recipients.Count; r++)
        {
            block[At(r, "recipient")] = metadata.Recipients[r].Recipient;
            block[At(r, "enc")] = metadata.Recipients[r].Enc;
        }

        foreach (var (name, value) in RulesOf(metadata.Rules))
        {
            block[name] = value;
        }

        return text + string.Concat(block.Select(m => $"{Prefix}{m.Key}={Escape(m.Value)}\n"));
    }

    /// <summary>The rules that are set, by the name that they have in a block.</summary>
    internal static IEnumerable<(string Name, string Value)> RulesOf(SopsRules rules) =>
        new (string Name, string? Value)[]
        {
            ("unencrypted_suffix", rules.UnencryptedSuffix),
            ("encrypted_suffix", rules.EncryptedSuffix),
            ("encrypted_regex", rules.EncryptedRegex),
            ("unencrypted_regex", rules.UnencryptedRegex),
            ("mac_only_encrypted", rules.MacOnlyEncrypted ? "true" : null),
        }.Where(r => r.Value is not null).Select(r => (r.Name, r.Value!));

    private static string At(int index, string name) => string.Create(CultureInfo.InvariantCulture, $"age__list_{index}__map_{name}");

    private static string Escape(string text) => text.Replace("\n", "\\n", StringComparison.Ordinal);

    private static string Unescape(string text) => text.Replace("\\n", "\n", StringComparison.Ordinal);
}
