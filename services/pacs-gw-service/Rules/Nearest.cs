using Yizhan.Platform;

namespace Yizhan.PacsGw.Rules;

/// <summary>What somebody who mistyped a name may have meant.</summary>
internal static class Nearest
{
    private const int MaxListed = 12;

    /// <summary>"Did you mean …?", or what there is when nothing is near.</summary>
    public static string Hint(string name, IEnumerable<string> known)
    {
        var names = known.Order(StringComparer.Ordinal).ToList();
        return Spelling.Nearest(name, names) is { } nearest ? $"Did you mean '{nearest}'?"
            : names.Count is 0 ? "None is defined."
            : names.Count <= MaxListed ? $"Known: {string.Join(", ", names)}."
            : "Keywords of PS3.6 and tags such as (0008,0060) are accepted.";
    }
}
