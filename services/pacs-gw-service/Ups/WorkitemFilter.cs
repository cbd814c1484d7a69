using Yizhan.Dicom;
using Yizhan.PacsGw.Query;

namespace Yizhan.PacsGw.Ups;

/// <summary>Attributes and the values that a workitem must have; without any it takes all.</summary>
internal sealed class WorkitemFilter
{
    private readonly List<(DicomTag[] Path, string Value)> _keys = [];

    /// <summary>Reads keywords or tags and their values.</summary>
    /// <returns>Null when one names no attribute, which <paramref name="unknown"/> is then.</returns>
    public static WorkitemFilter? Of(IEnumerable<KeyValuePair<string, string>> keys, out string? unknown)
    {
        var filter = new WorkitemFilter();
        foreach (var (name, value) in keys)
        {
            if (MatchKey.Find(name) is not { } key)
            {
                unknown = name;
                return null;
            }

            filter._keys.Add(([.. key.Path.Select(tag => new DicomTag(tag))], value));
        }

        unknown = null;
        return filter;
    }

    /// <summary>Reads <c>attribute=value,attribute=value</c> (PS3.18 §11.10.1.2). A piece without <c>=</c> belongs to the value before it: UIDs are listed so.</summary>
    /// <inheritdoc cref="Of"/>
    public static WorkitemFilter? Parse(string text, out string? unknown)
    {
        var keys = new List<KeyValuePair<string, string>>();
        foreach (var piece in text.Split(','))
        {
            if (piece.IndexOf('=', StringComparison.Ordinal) is >= 0 and var equals)
            {
                keys.Add(new(piece[..equals], piece[(equals + 1)..]));
            }
            else if (keys.Count > 0)
            {
                keys[^1] = new(keys[^1].Key, $"{keys[^1].Value},{piece}");
            }
            else
            {
                unknown = piece;
                return null;
            }
        }

        return Of(keys, out unknown);
    }

    /// <summary>The value that a top-level attribute must have; null when any will do.</summary>
    public string? Only(DicomTag tag) => _keys.Find(key => key.Path is [var only] && only == tag).Value;

    /// <summary>True when the workitem has them all.</summary>
    public bool Matches(DicomDataset workitem) => _keys.TrueForAll(key => Matches(workitem, key.Path, key.Value));

    /// <summary>Single value, wildcard, list of UIDs, or range of dates (PS3.4 §C.2.2.2).</summary>
    private static bool Matches(DicomDataset dataset, ReadOnlySpan<DicomTag> path, string value)
    {
        if (path.Length > 1)
        {
            foreach (var item in dataset.GetItems(path[0]))
            {
                if (Matches(item, path[1..], value))
                {
                    return true;
                }
            }

            return false;
        }

        if (value.Length == 0)
        {
            return true;
        }

        var tag = path[0];
        var vr = DicomDictionary.GetVr(tag);
        foreach (var known in dataset.GetStrings(tag))
        {
            var hit = vr switch
            {
                DicomVr.UI => value.Split(',', '\\').Contains(known),
                DicomVr.DA or DicomVr.DT or DicomVr.TM when value.IndexOf('-', StringComparison.Ordinal) is >= 0 and var dash =>
                    string.CompareOrdinal(known, value[..dash]) >= 0
                    && (dash == value.Length - 1 || string.CompareOrdinal(known, value[(dash + 1)..] + "~") <= 0),
                DicomVr.DA or DicomVr.DT or DicomVr.TM => known.StartsWith(value, StringComparison.Ordinal),
                _ => System.IO.Enumeration.FileSystemName.MatchesSimpleExpression(value, known, ignoreCase: vr == DicomVr.PN),
            };
            if (hit)
            {
                return true;
            }
        }

        return false;
    }
}
