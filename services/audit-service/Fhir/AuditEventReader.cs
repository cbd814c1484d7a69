using System.Globalization;
using System.Text.Json;

namespace Yizhan.Audit.Fhir;

/// <summary>
/// Reads the facts out of a FHIR R4 AuditEvent (as BALP and the RESTful ATNA feed send it). Tolerant: what another system has recorded
/// is kept as it came, and only what a search or a proof cannot do without is asked for.
/// </summary>
internal static class AuditEventReader
{
    private const string Person = "1";
    private const string PatientRole = "1";
    private const int MaxValues = 256;
    private const int MaxLength = 1024;

    /// <summary>Reads a resource.</summary>
    /// <exception cref="FormatException">Names the element and what would be accepted.</exception>
    public static AuditFacts Read(JsonElement resource)
    {
        if (resource.ValueKind != JsonValueKind.Object || Text(resource, "resourceType") is not "AuditEvent")
        {
            throw new FormatException("resourceType is not AuditEvent.");
        }

        var agents = Items(resource, "agent").ToArray();
        var source = Member(resource, "source");
        var observer = Member(source, "observer");
        var (patients, entities) = EntitiesOf(resource);
        return new AuditFacts(
            Text(Member(resource, "type"), "code") ?? throw new FormatException("type.code is missing."),
            Some(Items(resource, "subtype").Select(s => Text(s, "code"))),
            ActionOf(Text(resource, "action")),
            OutcomeOf(Text(resource, "outcome")),
            RecordedOf(Text(resource, "recorded")),
            agents.Length == 0 ? throw new FormatException("agent is missing; at least one is needed.") : AgentsOf(agents),
            Some(agents.Select(a => Text(Member(a, "network"), "address"))),
            patients,
            entities,
            Reference(observer).Append(Text(observer, "display")).FirstOrDefault(s => s is not null) ?? throw new FormatException("source.observer is missing."),
            Text(source, "site"),
            Text(resource, "outcomeDesc"));
    }

    private static string[] AgentsOf(JsonElement[] agents)
    {
        var names = Some(agents.SelectMany(a => Reference(Member(a, "who")).Append(Text(a, "altId")).Append(Text(a, "name"))));
        return names.Length > 0 ? names : ["unknown"];
    }

    private static (string[] Patients, string[] Entities) EntitiesOf(JsonElement resource)
    {
        var (patients, entities) = (new List<string?>(), new List<string?>());
        foreach (var entity in Items(resource, "entity"))
        {
            var what = Reference(Member(entity, "what")).ToArray();
            entities.AddRange(what);
            entities.AddRange(what.Select(w => w is not null && w.StartsWith("urn:oid:", StringComparison.Ordinal) ? "study/" + w["urn:oid:".Length..] : null));
            if (what.Any(IsPatient) || (Text(Member(entity, "type"), "code") is Person && Text(Member(entity, "role"), "code") is PatientRole))
            {
                patients.AddRange(what.Select(w => IsPatient(w) ? w!.Split('/')[^1] : w));
            }
        }

        return (Some(patients), Some(entities));

        static bool IsPatient(string? reference) => reference is not null && (reference.StartsWith("Patient/", StringComparison.Ordinal) || reference.Contains("/Patient/", StringComparison.Ordinal));
    }

    private static string ActionOf(string? action) =>
        action is null ? "E" : action is "C" or "R" or "U" or "D" or "E" ? action : throw new FormatException($"action is '{Shown(action)}'; accepted: C, R, U, D, E.");

    private static int OutcomeOf(string? outcome) =>
        outcome is null ? 0 : outcome is "0" or "4" or "8" or "12" ? int.Parse(outcome, CultureInfo.InvariantCulture)
        : throw new FormatException($"outcome is '{Shown(outcome)}'; accepted: 0, 4, 8, 12.");

    private static long RecordedOf(string? recorded) =>
        recorded is not null && recorded.Contains('T', StringComparison.Ordinal)
            && DateTimeOffset.TryParse(recorded, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) && time.ToUnixTimeMilliseconds() >= 0
            ? time.ToUnixTimeMilliseconds()
            : throw new FormatException($"recorded is '{Shown(recorded)}'; accepted: an instant since 1970, such as 2026-03-01T08:00:00.000Z.");

    /// <summary>Identifier and reference of a Reference.</summary>
    private static IEnumerable<string?> Reference(JsonElement reference) =>
        [Text(Member(reference, "identifier"), "value"), Text(reference, "reference")];

    private static string[] Some(IEnumerable<string?> values) =>
        [.. values.Where(v => v is { Length: > 0 and <= MaxLength }).Select(v => v!).Distinct().Take(MaxValues)];

    private static JsonElement Member(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out var value) ? value : default;

    private static IEnumerable<JsonElement> Items(JsonElement element, string name) =>
        Member(element, name) is { ValueKind: JsonValueKind.Array } array ? array.EnumerateArray().Take(MaxValues) : [];

    private static string? Text(JsonElement element, string name) => Member(element, name) is { ValueKind: JsonValueKind.String } text ? text.GetString() : null;

    private static string Shown(string? value) => value is { Length: > 30 } ? value[..30] + "…" : value ?? "";
}
