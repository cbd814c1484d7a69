using System.Globalization;

namespace Yizhan.Gs1;

/// <summary>One application identifier of the GS1 General Specifications §3.2.</summary>
/// <param name="Code">Two to four digits.</param>
/// <param name="IsPredefined">Its length is known from its first two digits, so no separator follows (§7.8.5).</param>
/// <param name="Parts">What its value consists of, in order.</param>
/// <param name="Requires">Each must hold: one of the alternatives, each a set of identifiers that must be there, too (§4.13.2).</param>
/// <param name="Excludes">Identifiers, with n for any digit, that must not be beside it (§4.13.1).</param>
/// <param name="Title">GS1's data title.</param>
public sealed record ApplicationIdentifier(
    string Code, bool IsPredefined, IReadOnlyList<ValuePart> Parts, IReadOnlyList<IReadOnlyList<IReadOnlyList<string>>> Requires,
    IReadOnlyList<string> Excludes, string Title)
{
    private static readonly Dictionary<string, ApplicationIdentifier> Table = Read();

    // Identifiers that begin with the same two digits are equally long: so one knows where the value begins.
    private static readonly Dictionary<string, int> Lengths = Table.Keys.GroupBy(code => code[..2]).ToDictionary(g => g.Key, g => g.Select(code => code.Length).Distinct().Single());

    /// <summary>Every identifier that there is.</summary>
    public static IReadOnlyCollection<ApplicationIdentifier> All => Table.Values;

    /// <summary>Fewest characters of a value.</summary>
    public int MinLength => Parts.Where(p => !p.IsOptional).Sum(p => p.MinLength);

    /// <summary>Most characters of a value.</summary>
    public int MaxLength => Parts.Sum(p => p.MaxLength);

    /// <summary>The identifier that a text begins with; null when there is none.</summary>
    public static ApplicationIdentifier? At(ReadOnlySpan<char> text)
    {
        if (text.Length < 2 || !Lengths.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(text[..2], out var length) || text.Length < length)
        {
            return null;
        }

        return Table.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(text[..length], out var found) ? found : null;
    }

    /// <summary>What is wrong with a value; null when nothing is.</summary>
    public string? Check(ReadOnlySpan<char> value)
    {
        if (value.Length < MinLength || value.Length > MaxLength)
        {
            return MinLength == MaxLength
                ? $"({Code}) {Title} has {MinLength} characters, not {value.Length}."
                : $"({Code}) {Title} has {MinLength} to {MaxLength} characters, not {value.Length}.";
        }

        foreach (var part in Parts)
        {
            if (part.IsOptional && value.IsEmpty)
            {
                break;
            }

            var length = Math.Min(part.MaxLength, value.Length);
            if (length < part.MinLength)
            {
                return $"({Code}) {Title} ends within a part of {part.MinLength} characters.";
            }

            if (part.Check(value[..length]) is { } wrong)
            {
                return $"({Code}) {Title} holds '{value[..length]}': {wrong}.";
            }

            value = value[length..];
        }

        return null;
    }

    /// <summary>Whether an identifier is meant by a pattern such as 35nn.</summary>
    internal static bool Matches(string pattern, string code) =>
        pattern.Length == code.Length && pattern.Zip(code).All(pair => pair.First == 'n' || pair.First == pair.Second);

    private static Dictionary<string, ApplicationIdentifier> Read()
    {
        using var stream = typeof(ApplicationIdentifier).Assembly.GetManifestResourceStream("ApplicationIdentifiers.txt")!;
        using var lines = new StreamReader(stream);
        var table = new Dictionary<string, ApplicationIdentifier>();
        while (lines.ReadLine() is { } line)
        {
            if (line.StartsWith('#'))
            {
                continue;
            }

            var columns = line.Split('\t');
            var range = columns[0].Split('-');
            var attributes = columns[3].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            for (var code = int.Parse(range[0], CultureInfo.InvariantCulture); code <= int.Parse(range[^1], CultureInfo.InvariantCulture); code++)
            {
                var name = code.ToString(CultureInfo.InvariantCulture).PadLeft(range[0].Length, '0');
                table.Add(name, new ApplicationIdentifier(
                    name,
                    columns[1] == "fixed",
                    [.. columns[2].Split(' ').Select(ValuePart.Read)],
                    [.. Values("req=").Select(alternatives => (IReadOnlyList<IReadOnlyList<string>>)[.. alternatives.Split(',').Select(set => set.Split('+'))])],
                    [.. Values("ex=").SelectMany(list => list.Split(','))],
                    columns[4]));
            }

            IEnumerable<string> Values(string key) => attributes.Where(a => a.StartsWith(key, StringComparison.Ordinal)).Select(a => a[key.Length..]);
        }

        return table;
    }
}
