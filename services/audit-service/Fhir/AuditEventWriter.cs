using System.Globalization;
using System.Text.Json;

namespace Yizhan.Audit.Fhir;

/// <summary>Writes an entry as FHIR R4 AuditEvent: what came as one as it came, everything else out of its facts.</summary>
internal static class AuditEventWriter
{
    private const string Dicom = "http://dicom.nema.org/resources/ontology/DCM";
    private const string EntityType = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
    private const string EntityRole = "http://terminology.hl7.org/CodeSystem/object-role";

    public static void Write(Utf8JsonWriter json, AuditEntry entry)
    {
        if (entry.Payload!.ToMessage() is { Format: AuditMessage.Fhir } message)
        {
            json.WriteRawValue(message.Original);
            return;
        }

        var facts = entry.Facts!;
        json.WriteStartObject();
        json.WriteString("resourceType", "AuditEvent");
        json.WriteString("id", entry.Index.ToString(CultureInfo.InvariantCulture));
        WriteCode(json, "type", Dicom, facts.Type);
        if (facts.Subtypes.Count > 0)
        {
            json.WriteStartArray("subtype");
            foreach (var subtype in facts.Subtypes)
            {
                WriteCode(json, null, null, subtype);
            }

            json.WriteEndArray();
        }

        json.WriteString("action", facts.Action);
        json.WriteString("recorded", DateTimeOffset.FromUnixTimeMilliseconds(facts.RecordedMs).ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture));
        json.WriteString("outcome", facts.Outcome.ToString(CultureInfo.InvariantCulture));
        if (facts.Detail is not null)
        {
            json.WriteString("outcomeDesc", facts.Detail);
        }

        WriteAgents(json, facts);
        json.WriteStartObject("source");
        json.WriteString("site", facts.SourceSite ?? entry.Leaf.Source.Site);
        WriteIdentifier(json, "observer", facts.Source);
        json.WriteEndObject();
        WriteEntities(json, facts);
        json.WriteEndObject();
    }

    private static void WriteAgents(Utf8JsonWriter json, AuditFacts facts)
    {
        json.WriteStartArray("agent");
        for (var i = 0; i < facts.Agents.Count; i++)
        {
            json.WriteStartObject();
            WriteIdentifier(json, "who", facts.Agents[i]);
            json.WriteBoolean("requestor", i == 0);
            if (i < facts.Addresses.Count)
            {
                json.WriteStartObject("network");
                json.WriteString("address", facts.Addresses[i]);
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteEntities(Utf8JsonWriter json, AuditFacts facts)
    {
        if (facts.Entities.Count + facts.Patients.Count == 0)
        {
            return;
        }

        json.WriteStartArray("entity");
        foreach (var patient in facts.Patients)
        {
            json.WriteStartObject();
            WriteIdentifier(json, "what", patient);
            WriteCode(json, "type", EntityType, "1");
            WriteCode(json, "role", EntityRole, "1");
            json.WriteEndObject();
        }

        foreach (var entity in facts.Entities)
        {
            json.WriteStartObject();
            WriteIdentifier(json, "what", entity);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteCode(Utf8JsonWriter json, string? name, string? system, string code)
    {
        if (name is null)
        {
            json.WriteStartObject();
        }
        else
        {
            json.WriteStartObject(name);
        }

        if (system is not null)
        {
            json.WriteString("system", system);
        }

        json.WriteString("code", code);
        json.WriteEndObject();
    }

    private static void WriteIdentifier(Utf8JsonWriter json, string name, string value)
    {
        json.WriteStartObject(name);
        json.WriteStartObject("identifier");
        json.WriteString("value", value);
        json.WriteEndObject();
        json.WriteEndObject();
    }
}
