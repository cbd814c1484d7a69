using System.Globalization;
using Microsoft.Extensions.Primitives;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Query;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>A search request as understood (PS3.18 §8.3.4 and §10.6.1.2).</summary>
internal sealed class QidoQuery : ArchiveQuery
{
    /// <summary>Attributes wanted besides the ones that the level has by itself.</summary>
    public HashSet<uint> Include { get; } = [];

    /// <summary>True for <c>includefield=all</c>.</summary>
    public bool IncludeAll { get; private set; }

    /// <summary>Reads the query parameters.</summary>
    /// <param name="level">Level of the resource.</param>
    /// <param name="parameters">Of the request.</param>
    /// <param name="study">Only of this study; null for all.</param>
    /// <param name="series">Only of this series; null for all.</param>
    /// <param name="maxResults">The server's own limit.</param>
    /// <param name="problem">What is wrong with them, for the client; null when the query was understood.</param>
    public static QidoQuery Parse(
        ArchiveLevel level,
        IEnumerable<KeyValuePair<string, StringValues>> parameters,
        string? study,
        string? series,
        int maxResults,
        out string? problem)
    {
        var query = new QidoQuery { Level = level, Study = study, Series = series, Limit = maxResults };
        problem = null;
        foreach (var (name, values) in parameters)
        {
            problem ??= query.Take(name, values, maxResults);
        }

        return query;
    }

    private string? Take(string name, StringValues values, int maxResults)
    {
        switch (name.ToLowerInvariant())
        {
            case "limit":
                Limit = Math.Min(maxResults, Number(values));
                return Number(values) < 0 ? "limit must be a number of results." : null;
            case "offset":
                Offset = Number(values);
                return Offset < 0 ? "offset must be a number of results." : null;
            case "fuzzymatching":
                Fuzzy = values == "true";
                return values.Count == 1 && values[0] is "true" or "false" ? null : "fuzzymatching must be true or false.";
            case "includefield":
                return values.SelectMany(v => (v ?? "").Split(',')).Select(TakeField).FirstOrDefault(p => p is not null);
            case "accept" or "charset":
                return null;
            default:
                return TakeMatch(name, values);
        }
    }

    private string? TakeField(string field)
    {
        if (field == "all")
        {
            IncludeAll = true;
        }
        else if (MatchKey.TryFindTag(field.Split('.')[0], out var entry))
        {
            Include.Add(entry.Tag.Value);
        }
        else
        {
            return $"includefield names '{Shown(field)}', which is no attribute of PS3.6; accepted are keywords, eight hex digits, and all.";
        }

        return null;
    }

    private string? TakeMatch(string name, StringValues values)
    {
        var key = MatchKey.Find(name);
        if (key is null)
        {
            return $"'{Shown(name)}' is neither a parameter of this service nor an attribute that can be matched.";
        }

        if (values.Count != 1 || Matches.Exists(m => m.Key.Path.SequenceEqual(key.Path)))
        {
            return $"{key.Keyword} is given more than once.";
        }

        if (key.Level > Level)
        {
            return $"{key.Keyword} is an attribute of a lower level than what is searched for.";
        }

        Include.Add(key.Path[0]);
        Matches.Add(new MatchTerm(key, values[0] ?? ""));
        return null;
    }

    private static int Number(StringValues values) =>
        values.Count == 1 && int.TryParse(values[0], NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : -1;

    /// <summary>A name from outside, short and without anything but letters, so that it can be sent back.</summary>
    private static string Shown(string name) =>
        new([.. name.Take(64).Select(c => char.IsAsciiLetterOrDigit(c) || c == '.' ? c : '?')]);
}
