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
    private const string CutOff = "";

    private static readonly ApplicationIdentifier[] Table = Read();

    // Identifiers that begin with the same two digits are equally long: so one knows where the value begins.
    private static readonly int[] Lengths = LengthsOf(Table);

    // By length and number: those of two digits from 0, of three from 100, of four from 1100.
    private static readonly ApplicationIdentifier?[] ByNumber = NumbersOf(Table);

    private readonly ValuePart[] _parts = [.. Parts];
    private int[] _excludes = [];
    private int[][][][] _requires = [];

    /// <summary>Every identifier that there is.</summary>
    public static IReadOnlyCollection<ApplicationIdentifier> All => Table;

    /// <summary>Fewest characters of a value.</summary>
    public int MinLength { get; } = Parts.Where(p => !p.IsOptional).Sum(p => p.MinLength);

    /// <summary>Most characters of a value.</summary>
    public int MaxLength { get; } = Parts.Sum(p => p.MaxLength);

    /// <summary>Place in the table: the number of its bit in a <see cref="Gs1Set"/>.</summary>
    internal int Index { get; private set; }

    /// <summary>The identifier that a text begins with; null when there is none.</summary>
    public static ApplicationIdentifier? At(ReadOnlySpan<char> text)
    {
        if (text.Length < 2 || !char.IsAsciiDigit(text[0]) || !char.IsAsciiDigit(text[1]))
        {
            return null;
        }

        var number = ((text[0] - '0') * 10) + text[1] - '0';
        var length = Lengths[number];
        if (length == 0 || text.Length < length)
        {
            return null;
        }

        for (var i = 2; i < length; i++)
        {
            if (!char.IsAsciiDigit(text[i]))
            {
                return null;
            }

            number = (number * 10) + text[i] - '0';
        }

        return ByNumber[Offset(length) + number];
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

        return Wrong(value, out var part) switch
        {
            null => null,
            CutOff => $"({Code}) {Title} ends within a part of {part.End} characters.",
            { } wrong => $"({Code}) {Title} holds '{value[part]}': {wrong}.",
        };
    }

    /// <summary>Whether nothing is wrong with a value; says no more, and costs no more.</summary>
    internal bool Accepts(ReadOnlySpan<char> value) => value.Length >= MinLength && value.Length <= MaxLength && Wrong(value, out _) is null;

    /// <summary>Whether one that must not be beside it is.</summary>
    internal bool IsExcludedBy(in Gs1Set present) => present.HasAny(_excludes);

    /// <summary>The first of its demands that is not met; null when all are.</summary>
    internal IReadOnlyList<IReadOnlyList<string>>? Lacks(in Gs1Set present)
    {
        for (var i = 0; i < _requires.Length; i++)
        {
            if (!IsMet(_requires[i], present))
            {
                return Requires[i];
            }
        }

        return null;
    }

    /// <summary>Whether an identifier is meant by a pattern such as 35nn.</summary>
    internal static bool Matches(string pattern, string code) =>
        pattern.Length == code.Length && pattern.Zip(code).All(pair => pair.First == 'n' || pair.First == pair.Second);

    private static bool IsMet(int[][][] alternatives, in Gs1Set present)
    {
        foreach (var set in alternatives)
        {
            var all = true;
            foreach (var pattern in set)
            {
                all = all && present.HasAny(pattern);
            }

            if (all)
            {
                return true;
            }
        }

        return false;
    }

    private string? Wrong(ReadOnlySpan<char> value, out Range part)
    {
        var start = 0;
        foreach (var expected in _parts)
        {
            if (expected.IsOptional && start == value.Length)
            {
                break;
            }

            var length = Math.Min(expected.MaxLength, value.Length - start);
            if (length < expected.MinLength)
            {
                part = ..expected.MinLength;
                return CutOff;
            }

            if (expected.Check(value.Slice(start, length)) is { } wrong)
            {
                part = start..(start + length);
                return wrong;
            }

            start += length;
        }

        part = default;
        return null;
    }

    private static int Offset(int length) => length switch { 2 => 0, 3 => 100, _ => 1100 };

    private static int[] LengthsOf(ApplicationIdentifier[] table)
    {
        var lengths = new int[100];
        foreach (var group in table.GroupBy(i => int.Parse(i.Code.AsSpan(0, 2), NumberStyles.None, CultureInfo.InvariantCulture)))
        {
            lengths[group.Key] = group.Select(i => i.Code.Length).Distinct().Single();
        }

        return lengths;
    }

    private static ApplicationIdentifier?[] NumbersOf(ApplicationIdentifier[] table)
    {
        var numbers = new ApplicationIdentifier?[11_100];
        foreach (var identifier in table)
        {
            numbers[Offset(identifier.Code.Length) + int.Parse(identifier.Code, NumberStyles.None, CultureInfo.InvariantCulture)] = identifier;
        }

        return numbers;
    }

    private static ApplicationIdentifier[] Read()
    {
        using var stream = typeof(ApplicationIdentifier).Assembly.GetManifestResourceStream("ApplicationIdentifiers.txt")!;
        using var lines = new StreamReader(stream);
        var table = new List<ApplicationIdentifier>();
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
                table.Add(new ApplicationIdentifier(
                    code.ToString(CultureInfo.InvariantCulture).PadLeft(range[0].Length, '0'),
                    columns[1] == "fixed",
                    [.. columns[2].Split(' ').Select(ValuePart.Read)],
                    [.. Values("req=").Select(alternatives => (IReadOnlyList<IReadOnlyList<string>>)[.. alternatives.Split(',').Select(set => set.Split('+'))])],
                    [.. Values("ex=").SelectMany(list => list.Split(','))],
                    columns[4])
                {
                    Index = table.Count,
                });
            }

            IEnumerable<string> Values(string key) => attributes.Where(a => a.StartsWith(key, StringComparison.Ordinal)).Select(a => a[key.Length..]);
        }

        ArgumentOutOfRangeException.ThrowIfGreaterThan(table.Count, Gs1Set.Capacity);
        foreach (var identifier in table)
        {
            identifier._excludes = [.. identifier.Excludes.SelectMany(Meant).Where(i => i != identifier.Index)];
            identifier._requires = [.. identifier.Requires.Select(alternatives => alternatives.Select(set => set.Select(Meant).ToArray()).ToArray())];
        }

        return [.. table];

        int[] Meant(string pattern) => [.. table.Where(i => Matches(pattern, i.Code)).Select(i => i.Index)];
    }
}
