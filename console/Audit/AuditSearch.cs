using System.Globalization;

namespace Yizhan.Console.Audit;

/// <summary>What an auditor looks for. Empty fields do not matter; all others must match.</summary>
public sealed class AuditSearch
{
    /// <summary>Id of the patient, without its issuer.</summary>
    public string Patient { get; set; } = "";

    /// <summary>Who: a user, an AE title, an address.</summary>
    public string Agent { get; set; } = "";

    /// <summary>Study Instance UID.</summary>
    public string Study { get; set; } = "";

    /// <summary>C, R, U, D or E; empty for any.</summary>
    public string Action { get; set; } = "";

    /// <summary>First day, in the time of the one who looks.</summary>
    public DateOnly? From { get; set; }

    /// <summary>Last day, which is included.</summary>
    public DateOnly? To { get; set; }

    /// <summary>Zone of the days.</summary>
    public TimeZoneInfo Zone { get; set; } = TimeZoneInfo.Utc;

    /// <summary>The parameters of <c>GET /audit/records</c>, each with a leading ampersand.</summary>
    public string Query => string.Concat(
        Term("patient", Patient),
        Term("agent", Agent),
        Term("entity", Study.Trim() is { Length: > 0 } study ? "study/" + study : ""),
        Term("action", Action),
        Term("from", Start(From)),
        Term("to", Start(To is { } last && last < DateOnly.MaxValue ? last.AddDays(1) : null)));

    private static string Term(string name, string value) => value.Trim() is { Length: > 0 } said ? $"&{name}={Uri.EscapeDataString(said)}" : "";

    private string Start(DateOnly? day)
    {
        if (day is not { } date)
        {
            return "";
        }

        var midnight = date.ToDateTime(TimeOnly.MinValue);

        // A midnight that the clocks skip begins an hour later.
        var utc = TimeZoneInfo.ConvertTimeToUtc(Zone.IsInvalidTime(midnight) ? midnight.AddHours(1) : midnight, Zone);
        return new DateTimeOffset(utc).ToUnixTimeMilliseconds().ToString(CultureInfo.InvariantCulture);
    }
}
