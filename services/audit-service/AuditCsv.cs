using System.Globalization;

namespace Yizhan.Audit;

/// <summary>Records as CSV (RFC 4180) for auditors. A cell that a spreadsheet would run as a formula gets an apostrophe before it.</summary>
internal static class AuditCsv
{
    public const string Header = "entry,recorded,site,type,subtype,action,outcome,agents,addresses,patients,entities,source,detail\r\n";

    public static string Line(AuditEntry entry)
    {
        var facts = entry.Facts!;
        string[] cells =
        [
            entry.Index.ToString(CultureInfo.InvariantCulture),
            DateTimeOffset.FromUnixTimeMilliseconds(facts.RecordedMs).ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture),
            entry.Leaf.Source.Site,
            facts.Type,
            string.Join("; ", facts.Subtypes),
            facts.Action,
            facts.Outcome.ToString(CultureInfo.InvariantCulture),
            string.Join("; ", facts.Agents),
            string.Join("; ", facts.Addresses),
            string.Join("; ", facts.Patients),
            string.Join("; ", facts.Entities),
            facts.Source,
            facts.Detail ?? "",
        ];
        return string.Join(',', cells.Select(Cell)) + "\r\n";
    }

    private static string Cell(string value)
    {
        value = value is ['=' or '+' or '-' or '@' or '\t', ..] ? "'" + value : value;
        return value.AsSpan().ContainsAny(",\"\r\n") ? $"\"{value.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : value;
    }
}
