using System.Globalization;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Primitives;
using Yizhan.Audit.Index;

namespace Yizhan.Audit.Fhir;

/// <summary>The search parameters of Retrieve ATNA Audit Event (IHE ITI-81) and of AuditEvent in FHIR R4, and <c>study</c>.</summary>
internal static partial class AuditEventQuery
{
    /// <summary>Records of a page when <c>_count</c> does not say it, and the most that it may say.</summary>
    public const int DefaultCount = 50;
    public const int MaxCount = 1000;

    private static readonly Dictionary<string, string> Fields = new(StringComparer.Ordinal)
    {
        ["action"] = Field.Action,
        ["address"] = Field.Address,
        ["agent"] = Field.Agent,
        ["agent.identifier"] = Field.Agent,
        ["agent-name"] = Field.Agent,
        ["altid"] = Field.Agent,
        ["entity"] = Field.Entity,
        ["entity.identifier"] = Field.Entity,
        ["outcome"] = Field.Outcome,
        ["patient"] = Field.Patient,
        ["patient.identifier"] = Field.Patient,
        ["site"] = Field.Site,
        ["source"] = Field.Source,
        ["source.identifier"] = Field.Source,
        ["study"] = Field.Entity,
        ["subtype"] = Field.Subtype,
        ["type"] = Field.Type,
        ["user"] = Field.Agent,
    };

    /// <summary>Reads the query string. What is not known is refused: a search that ignores a condition shows too much.</summary>
    /// <exception cref="FormatException">Names the parameter and what would be accepted.</exception>
    public static AuditQuery Read(IEnumerable<KeyValuePair<string, StringValues>> parameters)
    {
        var terms = new List<(string, string)>();
        var (from, to, count, before) = (default(long?), default(long?), DefaultCount, default(FoundLeaf?));
        foreach (var (name, values) in parameters)
        {
            foreach (var value in values.Select(v => v ?? ""))
            {
                switch (name)
                {
                    case "date":
                        var (first, end) = RangeOf(value);
                        (from, to) = (Max(from, first), Min(to, end));
                        break;
                    case "_count" when int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out count) && count is >= 1 and <= MaxCount:
                        break;
                    case "_cursor" when value.Split('.') is [var ms, var leaf] && long.TryParse(ms, out var recorded) && long.TryParse(leaf, out var index):
                        before = new FoundLeaf(index, recorded);
                        break;
                    case "_sort" when value == "-date":
                    case "_format" when value.Contains("json", StringComparison.Ordinal):
                        break;
                    case "_id":
                        terms.Add((Field.Id, value));
                        break;
                    default:
                        terms.Add(TermOf(name, value));
                        break;
                }
            }
        }

        return new AuditQuery(terms, from, to, count, before);
    }

    private static (string, string) TermOf(string name, string value)
    {
        if (!Fields.TryGetValue(name, out var field) || value.Length == 0)
        {
            throw new FormatException(name.StartsWith('_') || field is not null
                ? $"{name} is '{value}'; accepted: _count 1 to {MaxCount}, _sort -date, _format json, and values that are not empty."
                : $"There is no search parameter '{name}'. Accepted: date, _id, _count, {string.Join(", ", Fields.Keys)}.");
        }

        // A token is system|code; the log is searched by the code.
        value = value[(value.LastIndexOf('|') + 1)..];
        return (field, name switch
        {
            "study" => "study/" + value,
            "patient" => value.Split('/')[^1],
            _ => value,
        });
    }

    /// <summary>A FHIR date with its prefix, as [first, end) in milliseconds: <c>2026-03</c> is the whole month.</summary>
    private static (long? First, long? End) RangeOf(string value)
    {
        var match = DatePattern().Match(value);
        var text = match.Groups["date"].Value;
        string[] formats = ["yyyy", "yyyy-MM", "yyyy-MM-dd"];
        DateTimeOffset end;
        if (match.Success && DateTimeOffset.TryParseExact(text, formats, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var first))
        {
            end = text.Length switch
            {
                4 => first.AddYears(1),
                7 => first.AddMonths(1),
                _ => first.AddDays(1),
            };
        }
        else if (match.Success && text.Contains('T', StringComparison.Ordinal) && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out first))
        {
            end = text.Contains('.', StringComparison.Ordinal) ? first.AddMilliseconds(1) : first.AddSeconds(1);
        }
        else
        {
            throw new FormatException($"date is '{value}'; accepted: eq, ge, gt, le or lt before 2026, 2026-03, 2026-03-01 or 2026-03-01T08:00:00Z.");
        }

        var (a, b) = (first.ToUnixTimeMilliseconds(), end.ToUnixTimeMilliseconds());
        return match.Groups["prefix"].Value switch
        {
            "ge" => (a, null),
            "gt" => (b, null),
            "le" => (null, b),
            "lt" => (null, a),
            _ => (a, b),
        };
    }

    private static long? Max(long? a, long? b) => a is null ? b : b is null ? a : Math.Max(a.Value, b.Value);

    private static long? Min(long? a, long? b) => a is null ? b : b is null ? a : Math.Min(a.Value, b.Value);

    [GeneratedRegex("^(?<prefix>eq|ge|gt|le|lt)?(?<date>[0-9T:.+Z -]+)$", RegexOptions.ExplicitCapture)]
    private static partial Regex DatePattern();
}
