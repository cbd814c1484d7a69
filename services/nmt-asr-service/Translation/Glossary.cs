using System.Text.RegularExpressions;

namespace Yizhan.NmtAsr.Translation;

/// <summary>One thing and how it is written: any of the forms of a language will do.</summary>
internal sealed record Term(IReadOnlyList<string> Chinese, IReadOnlyList<string> English)
{
    public IReadOnlyList<string> In(string language) => language == "zh" ? Chinese : English;
}

/// <summary>Terms that a translation must honour: names of drugs, diseases, findings. Lines of <c>Chinese TAB English</c>, forms with '|' between.</summary>
internal sealed class Glossary
{
    private const int MaxTerms = 50_000;

    private readonly Dictionary<string, Term> _chinese = new(StringComparer.Ordinal), _english = new(StringComparer.OrdinalIgnoreCase);
    private Regex? _inChinese, _inEnglish;

    /// <summary>All terms.</summary>
    public int Count { get; private set; }

    /// <summary>Reads a file of terms; later files say more.</summary>
    /// <exception cref="InvalidDataException">A line is not one of two columns.</exception>
    public void Read(string path)
    {
        foreach (var (line, number) in File.ReadLines(path).Select((l, i) => (l, i + 1)).Where(l => l.l.Length > 0 && l.l[0] != '#'))
        {
            var columns = line.Split('\t');
            if (columns.Length != 2 || columns.Any(c => c.Trim().Length == 0) || Count == MaxTerms)
            {
                throw new InvalidDataException($"Line {number} of the glossary {Path.GetFileName(path)} is not 'Chinese TAB English', or there are more than {MaxTerms} terms.");
            }

            var term = new Term(Forms(columns[0]), Forms(columns[1]));
            Count++;
            foreach (var form in term.Chinese)
            {
                _chinese[form] = term;
            }

            foreach (var form in term.English)
            {
                _english[form] = term;
            }
        }

        // The longest form first: 高血压 is not 血压.
        _inChinese = _chinese.Count == 0 ? null : new Regex(string.Join('|', _chinese.Keys.OrderByDescending(k => k.Length).Select(Regex.Escape)), RegexOptions.CultureInvariant, TimeSpan.FromSeconds(1));
        _inEnglish = _english.Count == 0 ? null : new Regex(
            $"(?<![a-z])(?:{string.Join('|', _english.Keys.OrderByDescending(k => k.Length).Select(Regex.Escape))})(?![a-z])", RegexOptions.CultureInvariant | RegexOptions.IgnoreCase, TimeSpan.FromSeconds(1));
    }

    /// <summary>The term that a whole text is; null when it is none.</summary>
    public Term? Find(string text, string language) => (language == "zh" ? _chinese : _english).GetValueOrDefault(text.Trim().TrimEnd('.', '。', '?', '？'));

    /// <summary>Where terms are in a text.</summary>
    public IEnumerable<(int Index, int Length, Term Term)> Within(string text, string language) => (language == "zh" ? _inChinese : _inEnglish) is { } pattern
        ? pattern.Matches(text).Select(m => (m.Index, m.Length, (language == "zh" ? _chinese : _english)[m.Value])) : [];

    /// <summary>Terms of the source that the target does not have.</summary>
    public IEnumerable<Term> Lost(string source, string from, string target, string to)
    {
        var there = Within(target, to).Select(t => t.Term).ToList();
        return Within(source, from).Select(t => t.Term).Where(t => !there.Remove(t)).ToArray();
    }

    private static string[] Forms(string column) => [.. column.Split('|').Select(f => f.Trim()).Where(f => f.Length > 0)];
}
