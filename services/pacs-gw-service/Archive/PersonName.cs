using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Yizhan.PacsGw.Archive;

/// <summary>Names made comparable (PS3.4 §C.2.2.2.1: matching of PN may ignore case and accents).</summary>
internal static class PersonName
{
    /// <summary>
    /// One component group in the form that both sides of a comparison have: compatibility characters unified (full width, half
    /// width), no accents, upper case, no empty components at its end, no outer spaces of components.
    /// </summary>
    public static string Fold(string group)
    {
        var components = WithoutAccents(group).ToUpperInvariant().Split('^');
        return string.Join('^', components.Select(c => c.Trim())).TrimEnd('^');
    }

    /// <summary>The component groups of a whole name (<c>alphabetic=ideographic=phonetic</c>), folded; empty ones left out.</summary>
    public static IEnumerable<string> FoldGroups(string name) =>
        name.Split('=').Select(Fold).Where(group => group.Length > 0);

    /// <summary>The words of a name in all its groups: folded runs of letters and digits.</summary>
    public static IEnumerable<string> Words(string name) => FoldGroups(name).SelectMany(WordsOf);

    /// <summary>
    /// What a fuzzy search may begin with: each word of each group, and the words of a group joined, family name first and last, because
    /// neither 王小东 nor WangXiaoDong says where the family name ends.
    /// </summary>
    public static IEnumerable<string> SearchWords(string name) => FoldGroups(name).SelectMany(group =>
    {
        var words = WordsOf(group).ToArray();
        return words.Length < 2 ? words : [.. words, string.Concat(words), string.Concat(words.Skip(1)) + words[0]];
    }).Distinct(StringComparer.Ordinal);

    /// <summary>True when each word of the search begins a word of the name, or all of them joined do.</summary>
    /// <param name="json">The name as in DICOM JSON: an object with its component groups.</param>
    /// <param name="search">A name, or words of one.</param>
    public static bool MatchesFuzzily(string json, string search)
    {
        using var groups = JsonDocument.Parse(json);
        var name = string.Join('=', groups.RootElement.EnumerateObject().Select(group => group.Value.GetString()));
        var known = SearchWords(name).ToList();
        var words = Words(search).ToList();
        return words.TrueForAll(Begins) || Begins(string.Concat(words));

        bool Begins(string word) => known.Exists(k => k.StartsWith(word, StringComparison.Ordinal));
    }

    private static IEnumerable<string> WordsOf(string group)
    {
        var start = 0;
        for (var i = 0; i <= group.Length; i++)
        {
            // What only separates the syllables of one word (Xiao-Dong, O'Brien) is left out of it.
            if (i == group.Length || group[i] is '^' or ' ' or ',' or '·' or '\u3000')
            {
                var word = string.Concat(group[start..i].Where(c => char.IsLetterOrDigit(c) || char.IsSurrogate(c)));
                if (word.Length > 0)
                {
                    yield return word;
                }

                start = i + 1;
            }
        }
    }

    /// <summary>Only the combining marks of European scripts go: the voiced sound marks of Japanese make other syllables.</summary>
    private static string WithoutAccents(string text)
    {
        if (Ascii.IsValid(text))
        {
            return text;
        }

        var decomposed = text.Normalize(NormalizationForm.FormKD);
        var kept = new StringBuilder(decomposed.Length);
        foreach (var c in decomposed)
        {
            if (c is < '\u0300' or > '\u036F' || CharUnicodeInfo.GetUnicodeCategory(c) != UnicodeCategory.NonSpacingMark)
            {
                kept.Append(c);
            }
        }

        return kept.ToString().Normalize(NormalizationForm.FormKC);
    }
}
