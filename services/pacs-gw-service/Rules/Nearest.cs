namespace Yizhan.PacsGw.Rules;

/// <summary>What somebody who mistyped a name may have meant.</summary>
internal static class Nearest
{
    private const int MaxListed = 12;

    /// <summary>"Did you mean …?", or what there is when nothing is near.</summary>
    public static string Hint(string name, IEnumerable<string> known)
    {
        var names = known.Order(StringComparer.Ordinal).ToList();
        var nearest = names.MinBy(k => Distance(k, name));
        return nearest is not null && Distance(nearest, name) <= Math.Max(2, name.Length / 3) ? $"Did you mean '{nearest}'?"
            : names.Count is 0 ? "None is defined."
            : names.Count <= MaxListed ? $"Known: {string.Join(", ", names)}."
            : "Keywords of PS3.6 and tags such as (0008,0060) are accepted.";
    }

    /// <summary>Levenshtein distance without regard to case.</summary>
    private static int Distance(string a, string b)
    {
        Span<int> row = b.Length < 256 ? stackalloc int[b.Length + 1] : new int[b.Length + 1];
        for (var j = 0; j <= b.Length; j++)
        {
            row[j] = j;
        }

        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var replace = diagonal + (char.ToLowerInvariant(a[i - 1]) == char.ToLowerInvariant(b[j - 1]) ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(replace, 1 + Math.Min(row[j], row[j - 1]));
            }
        }

        return row[^1];
    }
}
