using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.EmrAdapter.Terms;

namespace Yizhan.EmrAdapter.Fhir;

/// <summary>Results as FHIR R4 resources. Pure: the same fact is the same resource.</summary>
internal static class FhirResults
{
    /// <summary>Identifier system of what we make: the value is the identity of a report, finding or note.</summary>
    public const string FactSystem = "urn:yizhan:fact";

    /// <summary>Identifier system of the message that a resource was last written by.</summary>
    public const string MessageSystem = "urn:yizhan:message";

    /// <summary>Identifier system of models.</summary>
    public const string ModelSystem = "urn:yizhan:model";

    /// <summary>A study (http://hl7.org/fhir/R4/imagingstudy.html).</summary>
    public static JsonObject ImagingStudy(OutboxMessage message, string patient, string? order)
    {
        var study = message.Content.Study!;
        var resource = new JsonObject
        {
            ["resourceType"] = "ImagingStudy",
            ["identifier"] = new JsonArray(Identifier("urn:dicom:uid", $"urn:oid:{message.Content.StudyInstanceUid}"), Identifier(MessageSystem, message.ControlId)),
            ["status"] = "available",
            ["subject"] = Reference(patient),
            ["numberOfSeries"] = study.Series.Count,
            ["numberOfInstances"] = study.Instances,
        };
        if (message.Content.AccessionNumber.Length > 0)
        {
            resource["identifier"]!.AsArray().Add(Accession(message.Content.AccessionNumber));
        }

        if (order is not null)
        {
            resource["basedOn"] = new JsonArray(Reference(order));
        }

        if (Started(study.Started) is { } started)
        {
            resource["started"] = started;
        }

        if (study.Modality.Length > 0)
        {
            var modality = new JsonObject { ["system"] = "http://dicom.nema.org/resources/ontology/DCM", ["code"] = study.Modality };
            resource["modality"] = new JsonArray(modality);
            resource["series"] = new JsonArray([.. study.Series.Select(uid => new JsonObject { ["uid"] = uid, ["modality"] = modality.DeepClone() })]);
        }

        return resource;
    }

    /// <summary>A report of a study (http://hl7.org/fhir/R4/diagnosticreport.html), category RAD.</summary>
    public static JsonObject DiagnosticReport(OutboxMessage message, string patient, string? order, byte[]? pdf)
    {
        var (content, report) = (message.Content, message.Content.Report!);
        var resource = Report(content, report.ReportId, message.ControlId, report.Status, patient, order, report.IssuedMs);
        resource["conclusion"] = report.Text;
        if (report.Author.Length > 0)
        {
            resource["resultsInterpreter"] = new JsonArray(new JsonObject { ["display"] = report.Author });
        }

        if (pdf is not null)
        {
            resource["presentedForm"] = new JsonArray(new JsonObject { ["contentType"] = "application/pdf", ["data"] = Convert.ToBase64String(pdf), ["title"] = report.Title });
        }

        return resource;
    }

    /// <summary>The report that carries what a model found: preliminary, until a person has read the study.</summary>
    public static JsonObject FindingReport(OutboxMessage message, string patient, string? order, IReadOnlyList<string> observations)
    {
        var (content, analysis) = (message.Content, message.Content.Analysis!);
        var resource = Report(content, analysis.ReportUid!, message.ControlId, "preliminary", patient, order, analysis.TimeMs);
        resource["conclusion"] = AnalysisText.Of(analysis);
        resource["performer"] = new JsonArray(new JsonObject { ["display"] = $"{analysis.Model} {analysis.Version}" });
        if (observations.Count > 0)
        {
            resource["result"] = new JsonArray([.. observations.Select(Reference)]);
        }

        return resource;
    }

    /// <summary>Identity of a finding: that of the analysis and its number.</summary>
    public static string FindingId(AnalysisFinished analysis, int index) => string.Create(CultureInfo.InvariantCulture, $"{analysis.ReportUid}.{analysis.Findings[index].Number}");

    /// <summary>What a model found (http://hl7.org/fhir/R4/observation.html): its own resource, and what only the EMR knows: patient, order and device.</summary>
    /// <exception cref="InvalidDataException">The model's resource is no Observation.</exception>
    public static JsonObject Observation(OutboxMessage message, int index, string patient, string? order, string device, TermMaps terms)
    {
        var analysis = message.Content.Analysis!;
        var finding = analysis.Findings[index];
        var resource = Read(analysis, index);
        resource["identifier"] = new JsonArray(
            [Identifier(FactSystem, FindingId(analysis, index)), Identifier(MessageSystem, message.ControlId), .. (resource["identifier"] as JsonArray ?? []).Select(i => i?.DeepClone())]);
        resource["status"] = "preliminary";
        resource["subject"] = Reference(patient);
        resource["device"] = Reference(device);
        resource["issued"] = Instant(analysis.TimeMs);
        if (finding.CodeSystem != TermMaps.Snomed && terms.Find(TermMaps.Findings, finding.CodeSystem, finding.Code) is { } mapped && resource["code"]?["coding"] is JsonArray codings)
        {
            codings.Insert(0, Coding(TermMaps.Snomed, mapped.Target, mapped.Text));
        }

        if (order is not null)
        {
            resource["basedOn"] = new JsonArray(Reference(order));
        }

        return resource;
    }

    /// <summary>A model as device (http://hl7.org/fhir/R4/device.html).</summary>
    public static JsonObject Device(AnalysisFinished analysis) => new()
    {
        ["resourceType"] = "Device",
        ["identifier"] = new JsonArray(Identifier(ModelSystem, $"{analysis.Model}/{analysis.Version}")),
        ["status"] = "active",
        ["deviceName"] = new JsonArray(new JsonObject { ["name"] = analysis.Model, ["type"] = "model-name" }),
        ["version"] = new JsonArray(new JsonObject { ["value"] = analysis.Version }),
        ["type"] = new JsonObject { ["text"] = "Artificial intelligence model" },
    };

    /// <summary>Where findings come from (http://hl7.org/fhir/R4/provenance.html): the model, by its digest, and the study.</summary>
    public static JsonObject Provenance(AnalysisFinished analysis, IReadOnlyList<string> targets, string device) => new()
    {
        ["resourceType"] = "Provenance",
        ["target"] = new JsonArray([.. targets.Select(Reference)]),
        ["recorded"] = Instant(analysis.TimeMs),
        ["agent"] = new JsonArray(new JsonObject
        {
            ["type"] = Concept("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "performer", "Performer"),
            ["who"] = Reference(device),
        }),
        ["entity"] = new JsonArray(
            new JsonObject { ["role"] = "source", ["what"] = StudyReference(analysis.StudyInstanceUid) },
            new JsonObject { ["role"] = "derivation", ["what"] = new JsonObject { ["identifier"] = Identifier("urn:yizhan:model-digest", analysis.ModelDigest) } }),
    };

    /// <summary>A note (http://hl7.org/fhir/R4/documentreference.html).</summary>
    public static JsonObject DocumentReference(OutboxMessage message, string patient, byte[]? pdf)
    {
        var report = message.Content.Report!;
        var contents = new JsonArray(Attachment("text/plain; charset=utf-8", Encoding.UTF8.GetBytes(report.Text), report.Title));
        if (pdf is not null)
        {
            contents.Add(Attachment("application/pdf", pdf, report.Title));
        }

        var resource = new JsonObject
        {
            ["resourceType"] = "DocumentReference",
            ["masterIdentifier"] = Identifier(FactSystem, report.ReportId),
            ["identifier"] = new JsonArray(Identifier(FactSystem, report.ReportId), Identifier(MessageSystem, message.ControlId)),
            ["status"] = "current",
            ["docStatus"] = report.Status is "preliminary" ? "preliminary" : report.Status is "final" ? "final" : "amended",
            ["type"] = Concept("http://loinc.org", "11506-3", "Progress note"),
            ["subject"] = Reference(patient),
            ["date"] = Instant(report.IssuedMs),
            ["content"] = contents,
        };
        if (report.Author.Length > 0)
        {
            resource["author"] = new JsonArray(new JsonObject { ["display"] = report.Author });
        }

        return resource;
    }

    /// <summary>The recording that a note was dictated in: a document of its own that says which note it belongs to, since it comes after the note.</summary>
    public static JsonObject Recording(OutboxMessage message, string patient, string note, byte[] audio)
    {
        var recording = message.Content.Recording!;
        var resource = Attachment("audio/wav", audio, "Recording");
        var attachment = resource["attachment"]!.AsObject();
        attachment["size"] = audio.Length;
        attachment["creation"] = Instant(recording.RecordedMs);
        attachment["language"] = recording.Dialect;
        return new JsonObject
        {
            ["resourceType"] = "DocumentReference",
            ["masterIdentifier"] = Identifier(FactSystem, message.Content.Subject),
            ["identifier"] = new JsonArray(Identifier(FactSystem, message.Content.Subject), Identifier(MessageSystem, message.ControlId), Identifier("urn:yizhan:sha256", recording.AudioSha256)),
            ["status"] = "current",
            ["docStatus"] = "final",
            ["type"] = Concept("http://loinc.org", "11506-3", "Progress note"),
            ["subject"] = Reference(patient),
            ["date"] = Instant(recording.RecordedMs),
            ["description"] = $"Recording of the dictated note, heard by {recording.Pack}",
            ["relatesTo"] = new JsonArray(new JsonObject { ["code"] = "appends", ["target"] = Reference(note) }),
            ["content"] = new JsonArray(resource),
        };
    }

    /// <summary>An instant in UTC, with milliseconds.</summary>
    public static string Instant(long ms) => DateTimeOffset.FromUnixTimeMilliseconds(ms).ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture);

    public static JsonObject Identifier(string system, string value) => new() { ["system"] = system, ["value"] = value };

    public static JsonObject Reference(string reference) => new() { ["reference"] = reference };

    public static JsonObject Concept(string system, string code, string text) => new() { ["coding"] = new JsonArray(Coding(system, code, text)) };

    private static JsonObject Read(AnalysisFinished analysis, int index)
    {
        try
        {
            if (index < analysis.Observations.Count && JsonNode.Parse(analysis.Observations[index]) is JsonObject resource && (string?)resource["resourceType"] == "Observation")
            {
                return resource;
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new InvalidDataException($"Observation {index + 1} of the analysis cannot be read: {e.Message}", e);
        }

        throw new InvalidDataException($"The analysis has {analysis.Findings.Count} findings, and number {index + 1} has no Observation.");
    }

    private static JsonObject Report(Outgoing content, string id, string controlId, string status, string patient, string? order, long issuedMs)
    {
        var ordered = content.Order;
        var resource = new JsonObject
        {
            ["resourceType"] = "DiagnosticReport",
            ["identifier"] = new JsonArray(Identifier(FactSystem, id), Identifier(MessageSystem, controlId)),
            ["status"] = status,
            ["category"] = new JsonArray(Concept("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD", "Radiology")),
            ["code"] = new JsonObject
            {
                ["coding"] = ordered is { Code.Length: > 0 } && ordered.CodeSystem.Contains(':', StringComparison.Ordinal)
                    ? new JsonArray(Coding("http://loinc.org", "18748-4", "Diagnostic imaging study"), Coding(ordered.CodeSystem, ordered.Code, ordered.CodeText))
                    : new JsonArray(Coding("http://loinc.org", "18748-4", "Diagnostic imaging study")),
            },
            ["subject"] = Reference(patient),
            ["effectiveDateTime"] = Instant(issuedMs),
            ["issued"] = Instant(issuedMs),
        };
        if (order is not null)
        {
            resource["basedOn"] = new JsonArray(Reference(order));
        }

        if (content.AccessionNumber.Length > 0)
        {
            resource["identifier"]!.AsArray().Add(Accession(content.AccessionNumber));
        }

        if (content.StudyInstanceUid.Length > 0)
        {
            resource["imagingStudy"] = new JsonArray(StudyReference(content.StudyInstanceUid));
        }

        return resource;
    }

    /// <summary>By identifier: whether the study's resource is there yet, and under which id, does not matter.</summary>
    private static JsonObject StudyReference(string uid) => new() { ["type"] = "ImagingStudy", ["identifier"] = Identifier("urn:dicom:uid", $"urn:oid:{uid}") };

    private static JsonObject Accession(string number) => new()
    {
        ["type"] = Concept("http://terminology.hl7.org/CodeSystem/v2-0203", "ACSN", "Accession ID"),
        ["value"] = number,
    };

    private static JsonObject Coding(string system, string code, string text)
    {
        var coding = new JsonObject();
        if (system.Length > 0)
        {
            coding["system"] = system;
        }

        coding["code"] = code;
        if (text.Length > 0)
        {
            coding["display"] = text;
        }

        return coding;
    }

    private static JsonObject Attachment(string type, byte[] data, string title) => new()
    {
        ["attachment"] = new JsonObject { ["contentType"] = type, ["data"] = Convert.ToBase64String(data), ["title"] = title },
    };

    // A study's own clock names no zone, and FHIR wants one with a time: then only the date is said.
    private static string? Started(string dicom) =>
        DateOnly.TryParseExact(dicom.Length >= 8 ? dicom[..8] : "", "yyyyMMdd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var date)
            ? date.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)
            : null;
}
