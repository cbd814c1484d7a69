using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.AiInfer.Clinical.Dicom;
using Yizhan.AiInfer.Repository;

namespace Yizhan.AiInfer.Clinical;

/// <summary>Findings as FHIR R4 Observations, one for each: preliminary, as nobody has looked at them.</summary>
internal static class Observations
{
    private static readonly JsonSerializerOptions Readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static IReadOnlyList<string> Write(Producer producer, Analysis analysis, double? urgentAboveMl, string? patientId) => [.. analysis.Findings.Select(finding =>
    {
        var observation = new JsonObject
        {
            ["resourceType"] = "Observation",
            ["identifier"] = new JsonArray(new JsonObject { ["system"] = "urn:ietf:rfc:3986", ["value"] = "urn:oid:" + producer.Uid($"finding {finding.Number}") }),
            ["status"] = "preliminary",
            ["category"] = new JsonArray(new JsonObject
            {
                ["coding"] = new JsonArray(new JsonObject { ["system"] = "http://terminology.hl7.org/CodeSystem/observation-category", ["code"] = "imaging" }),
            }),
            ["code"] = Concept(finding.Segment.Type),
            ["valueCodeableConcept"] = Concept(new Code("52101004", "SCT", "Present")),
            ["effectiveDateTime"] = producer.At.ToString("yyyy-MM-ddTHH:mm:ssZ", System.Globalization.CultureInfo.InvariantCulture),
            ["derivedFrom"] = new JsonArray(new JsonObject
            {
                ["type"] = "ImagingStudy", ["identifier"] = new JsonObject { ["system"] = "urn:dicom:uid", ["value"] = "urn:oid:" + producer.Series.StudyUid },
            }),
            ["device"] = new JsonObject { ["display"] = $"{producer.Bundle.Manifest.Name} {producer.Bundle.Manifest.Version}" },
            ["component"] = new JsonArray(new JsonObject
            {
                ["code"] = Concept(new Code("118565006", "SCT", "Volume")),
                ["valueQuantity"] = new JsonObject { ["value"] = Math.Round(finding.VolumeMl, 3), ["unit"] = "mL", ["system"] = "http://unitsofmeasure.org", ["code"] = "mL" },
            }),
        };
        if (urgentAboveMl is { } limit && finding.VolumeMl >= limit)
        {
            observation["interpretation"] = new JsonArray(Concept("http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", "AA", "Critical abnormal"));
        }

        if (patientId is not null)
        {
            observation["subject"] = new JsonObject { ["type"] = "Patient", ["identifier"] = new JsonObject { ["value"] = patientId } };
        }

        if (producer.Warning is { } warning)
        {
            observation["note"] = new JsonArray(new JsonObject { ["text"] = warning });
        }

        return observation.ToJsonString(Readable);
    })];

    /// <summary>URI of a coding scheme (PS3.16 §8); empty for a local one.</summary>
    public static string SystemOf(string scheme) => scheme switch { "SCT" or "SRT" => "http://snomed.info/sct", "DCM" => "http://dicom.nema.org/resources/ontology/DCM", "LN" => "http://loinc.org", _ => "" };

    private static JsonObject Concept(Code code) => Concept(SystemOf(code.Scheme), code.Value, code.Meaning);

    private static JsonObject Concept(string system, string code, string meaning)
    {
        var coding = new JsonObject { ["code"] = code, ["display"] = meaning };
        if (system.Length > 0)
        {
            coding["system"] = system;
        }

        return new JsonObject { ["coding"] = new JsonArray(coding) };
    }
}
