namespace Yizhan.Platform;

/// <summary>What somebody probably meant.</summary>
public static class Spelling
{
    /// <summary>"Did you mean …?" when a known name is near, and else the known names.</summary>
    /// <param name="name">What was written.</param>
    /// <param name="known">What would have been accepted.</param>
    /// <param name="prefix">Put before the name that is suggested.</param>
    public static string Hint(string name, IEnumerable<string> known, string prefix)
    {
        var names = known.Order(StringComparer.Ordinal).ToArray();
        return Nearest(name, names) is { } nearest ? $"Did you mean '{prefix}{nearest}'?"
            : names.Length == 0 ? "Nothing is known here."
            : $"Known here: {string.Join(", ", names)}.";
    }

    /// <summary>The known name that is meant; null when none is near.</summary>
    public static string? Nearest(string name, IEnumerable<string> known) =>
        known.Where(k => Distance(k, name) <= Math.Max(2, name.Length / 3)).OrderBy(k => Distance(k, name)).ThenBy(k => k, StringComparer.Ordinal).FirstOrDefault();

    /// <summary>Levenshtein distance without regard to case.</summary>
    private static int Distance(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
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
