using System.Text;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.Audit;

/// <summary>What an audit record must be, whoever made it.</summary>
internal static class AuditRecordRules
{
    /// <summary>Largest body of an intake request, in bytes.</summary>
    public const int MaxRequestBytes = 64 * 1024;

    // Emergency override started and stopped (PS3.16 CID 401): may not wait behind the daily record on a slow link.
    private static readonly string[] BreakGlass = ["110127", "110138"];

    private const long LastMs = 253_402_300_799_999;

    /// <summary>What is wrong and what would be accepted; null when nothing is.</summary>
    public static string? ProblemOf(AuditRecord record) =>
        record.Action is not ("C" or "R" or "U" or "D" or "E") ? $"action is '{Shown(record.Action)}'; accepted: C, R, U, D, E."
        : record.Outcome is not (0 or 4 or 8 or 12) ? $"outcome is {record.Outcome}; accepted: 0, 4, 8, 12."
        : record.RecordedMs is < 0 or > LastMs ? $"recordedMs is {record.RecordedMs}; accepted: Unix milliseconds from 0 to {LastMs}."
        : Required("eventId", record.EventId, 32) ?? Required("agent", record.Agent, 256) ?? Required("source", record.Source, 256)
            ?? Required("entity", record.Entity, 1024) ?? Optional("agentAddress", record.AgentAddress, 256) ?? Optional("detail", record.Detail, 4096)
            ?? Optional("patient", record.Patient, AuditRecord.MaxPatientLength);

    /// <summary>The lane on which a record goes to the centre.</summary>
    public static Lane LaneOf(string eventId) => BreakGlass.Contains(eventId) ? Lane.Urgent : Lane.Normal;

    private static string? Required(string name, string? value, int max) =>
        string.IsNullOrWhiteSpace(value) ? $"{name} is missing." : Optional(name, value, max);

    private static string? Optional(string name, string? value, int max) =>
        value is null ? null
        : value.Length > max ? $"{name} has {value.Length} characters; accepted: up to {max}."
        : !IsWellFormed(value) ? $"{name} has half a surrogate pair; accepted: Unicode text."
        : null;

    private static bool IsWellFormed(string value)
    {
        foreach (var rune in value.EnumerateRunes())
        {
            if (rune == Rune.ReplacementChar && !value.Contains('\uFFFD', StringComparison.Ordinal))
            {
                return false;
            }
        }

        return true;
    }

    private static string Shown(string? value) => value is { Length: > 8 } ? value[..8] + "…" : value ?? "";
}
