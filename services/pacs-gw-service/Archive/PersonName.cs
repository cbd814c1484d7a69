using System.Text;

namespace Yizhan.PacsGw.Archive;

/// <summary>Names made comparable (PS3.4 §C.2.2.2.1: matching of PN may ignore case and accents of form).</summary>
internal static class PersonName
{
    /// <summary>
    /// One component group in the form that both sides of a comparison have: compatibility characters unified (full width, half
    /// width), upper case, no empty components at its end, no outer spaces of components.
    /// </summary>
    public static string Fold(string group)
    {
        var components = group.Normalize(NormalizationForm.FormKC).ToUpperInvariant().Split('^');
        return string.Join('^', components.Select(c => c.Trim())).TrimEnd('^');
    }

    /// <summary>The component groups of a whole name (<c>alphabetic=ideographic=phonetic</c>), folded; empty ones left out.</summary>
    public static IEnumerable<string> FoldGroups(string name) =>
        name.Split('=').Select(Fold).Where(group => group.Length > 0);
}
