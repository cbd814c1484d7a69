using System.Collections;
using System.Globalization;

namespace Yizhan.Platform.SiteFiles;

/// <summary>One value that differs between two site files.</summary>
/// <param name="Path">Where, elements of lists by their name: <c>modalities[CT room 1].aeTitle</c>.</param>
/// <param name="Before">Value before; null when there was none.</param>
/// <param name="After">Value after; null when there is none any more.</param>
public sealed record SiteChange(string Path, string? Before, string? After)
{
    /// <inheritdoc/>
    public override string ToString() => (Before, After) switch
    {
        (null, _) => $"+ {Path}: {After}",
        (_, null) => $"- {Path}: {Before}",
        _ => $"~ {Path}: {Before} → {After}",
    };
}

/// <summary>What differs in meaning: not the order of keys, comments, quotes, or a default that is written out.</summary>
public static class SiteDiff
{
    /// <summary>Changes from one file to another, in the order of the record; no file counts as an empty one.</summary>
    public static IReadOnlyList<SiteChange> Between(SiteFile? before, SiteFile? after)
    {
        var (old, now) = (Flatten(before), Flatten(after));
        return
        [
            .. now.Where(v => !old.TryGetValue(v.Key, out var was) || was != v.Value).Select(v => new SiteChange(v.Key, old.GetValueOrDefault(v.Key), v.Value)),
            .. old.Where(v => !now.ContainsKey(v.Key)).Select(v => new SiteChange(v.Key, v.Value, null)),
        ];
    }

    private static OrderedDictionary<string, string> Flatten(SiteFile? site)
    {
        var values = new OrderedDictionary<string, string>();
        if (site is not null)
        {
            Add(values, "", site);
        }

        return values;
    }

    private static void Add(OrderedDictionary<string, string> values, string path, object value)
    {
        switch (value)
        {
            case string or int or bool:
                values[path] = value is bool flag ? (flag ? "true" : "false") : Convert.ToString(value, CultureInfo.InvariantCulture)!;
                break;
            case IEnumerable list:
                AddList(values, path, [.. list.Cast<object>()]);
                break;
            default:
                foreach (var (key, property) in SiteFileReader.Members(value.GetType()))
                {
                    if (property.GetValue(value) is { } member)
                    {
                        Add(values, path.Length == 0 ? key : $"{path}.{key}", member);
                    }
                }

                break;
        }
    }

    private static void AddList(OrderedDictionary<string, string> values, string path, object[] items)
    {
        // The order of plain values has a meaning (the first dialect is the most spoken): they are compared as a whole.
        if (items.Length > 0 && items.All(item => item is string))
        {
            values[path] = string.Join(", ", items);
            return;
        }

        for (var i = 0; i < items.Length; i++)
        {
            var identity = items[i].GetType().GetProperties().FirstOrDefault(p => p.IsDefined(typeof(IdentityAttribute), inherit: false));
            Add(values, $"{path}[{(identity?.GetValue(items[i]) is string name ? name : (i + 1).ToString(CultureInfo.InvariantCulture))}]", items[i]);
        }
    }
}
