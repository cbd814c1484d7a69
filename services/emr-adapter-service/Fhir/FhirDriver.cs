using System.Text.Json.Nodes;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.EmrAdapter.Terms;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter.Fhir;

/// <summary>
/// Tells a FHIR R4 server. Each resource is looked for by our identifier before it is made, and made with If-None-Exist, since servers may ignore that header;
/// the message's own identifier in it says whether it is written already.
/// </summary>
internal sealed class FhirDriver(EmrSystemOptions system, EmrOutbox outbox, TermMaps terms, IBlobStore blobs) : IEmrDriver
{
    private readonly FhirClient _client = new(system);

    /// <inheritdoc/>
    public async Task<SendOutcome> SendAsync(OutboxMessage message, CancellationToken cancellationToken)
    {
        var content = message.Content;
        var patient = await FhirPatients.FindAsync(_client, system.Name, content, cancellationToken);
        if (patient is null)
        {
            return new SendOutcome.Failed("It has no patient with one of the identifiers.");
        }

        var order = content.Order is { RemoteId.Length: > 0 } ordered && ordered.Source == system.Name ? $"ServiceRequest/{ordered.RemoteId}" : null;
        var document = await Documents.ReadAsync(blobs, content, cancellationToken);
        switch (content.Kind)
        {
            case "study":
                await PutAsync("ImagingStudy", "urn:dicom:uid", $"urn:oid:{content.StudyInstanceUid}", FhirResults.ImagingStudy(message, patient, order), message.ControlId, cancellationToken);
                break;
            case "report":
                await PutAsync("DiagnosticReport", FhirResults.FactSystem, content.Report!.ReportId, FhirResults.DiagnosticReport(message, patient, order, document), message.ControlId, cancellationToken);
                break;
            case "note":
                await PutAsync("DocumentReference", FhirResults.FactSystem, content.Report!.ReportId, FhirResults.DocumentReference(message, patient, document), message.ControlId, cancellationToken);
                break;
            case "recording":
                if ((await _client.SearchAsync($"DocumentReference?identifier={Uri.EscapeDataString($"{FhirResults.FactSystem}|{content.Recording!.ReportId}")}&_count=2", 2, cancellationToken)) is not [var note, ..]
                    || FhirClient.Text(note, "id") is not { } noteId)
                {
                    return new SendOutcome.Failed("It has no note that the recording belongs to.");
                }

                await PutAsync(
                    "DocumentReference", FhirResults.FactSystem, content.Subject, FhirResults.Recording(message, patient, $"DocumentReference/{noteId}", document!), message.ControlId, cancellationToken);
                break;
            case "finding":
                await FindingAsync(message, patient, order, cancellationToken);
                break;
        }

        return new SendOutcome.Delivered();
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _client.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task FindingAsync(OutboxMessage message, string patient, string? order, CancellationToken cancellationToken)
    {
        var analysis = message.Content.Analysis!;
        var device = await PutAsync("Device", FhirResults.ModelSystem, $"{analysis.Model}/{analysis.Version}", FhirResults.Device(analysis), null, cancellationToken);
        var observations = new List<string>();
        for (var i = 0; i < analysis.Findings.Count; i++)
        {
            var observation = FhirResults.Observation(message, i, patient, order, device, terms);
            observations.Add(await PutAsync("Observation", FhirResults.FactSystem, FhirResults.FindingId(analysis, i), observation, message.ControlId, cancellationToken));
        }

        var report = await PutAsync("DiagnosticReport", FhirResults.FactSystem, analysis.ReportUid!, FhirResults.FindingReport(message, patient, order, observations), message.ControlId, cancellationToken);
        if ((await _client.SearchAsync($"Provenance?target={Uri.EscapeDataString(report)}", 1, cancellationToken)).Count == 0)
        {
            await _client.PostAsync("Provenance", FhirResults.Provenance(analysis, [report, .. observations], device), $"target={Uri.EscapeDataString(report)}", cancellationToken);
        }
    }

    /// <summary>Makes the resource, or brings the one with the identifier to its state. Without a message it never changes. Returns type and id.</summary>
    private async Task<string> PutAsync(string type, string idSystem, string value, JsonObject resource, string? controlId, CancellationToken cancellationToken)
    {
        var key = $"{type}|{idSystem}|{value}";
        var query = $"identifier={Uri.EscapeDataString($"{idSystem}|{value}")}";
        var known = outbox.RemoteId(system.Name, key) is { } remembered ? await _client.GetAsync($"{type}/{remembered}", cancellationToken) : null;

        // The server's index is asked each time: a POST whose answer was lost has left no other trace.
        known ??= (await _client.SearchAsync($"{type}?{query}&_count=2", 2, cancellationToken)).FirstOrDefault();
        if (known is not null && FhirClient.Text(known, "id") is { } id)
        {
            if (controlId is not null && !HasIdentifier(known, FhirResults.MessageSystem, controlId))
            {
                resource["id"] = id;
                var (found, after) = await _client.PutAsync($"{type}/{id}", resource, cancellationToken);
                id = found ? after ?? id : throw new FhirException(new SendOutcome.Failed($"{type}/{id} was there and cannot be changed."), null);
            }

            outbox.SetRemoteId(system.Name, key, id);
            return $"{type}/{id}";
        }

        var (_, made) = await _client.PostAsync(type, resource, query, cancellationToken);
        id = made ?? throw new FhirException(new SendOutcome.Failed($"It made a {type} and did not say its id."), null);
        outbox.SetRemoteId(system.Name, key, id);
        return $"{type}/{id}";
    }

    private static bool HasIdentifier(JsonObject resource, string idSystem, string value) =>
        resource["identifier"] is JsonArray identifiers && identifiers.OfType<JsonObject>().Any(i => FhirClient.Text(i, "system") == idSystem && FhirClient.Text(i, "value") == value);
}

/// <summary>Which resource of a server a patient is.</summary>
internal static class FhirPatients
{
    /// <summary>Reference of the patient; null when the server has none with one of his identifiers.</summary>
    /// <exception cref="FhirException">The server did not answer, or has several.</exception>
    public static async Task<string?> FindAsync(FhirClient client, string system, Outgoing content, CancellationToken cancellationToken)
    {
        if (content.Order is { Patient.RemoteId.Length: > 0 } order && order.Source == system)
        {
            return $"Patient/{order.Patient.RemoteId}";
        }

        var patient = content.Patient!;
        foreach (var identifier in patient.Identifiers.OrderBy(i => i.Value == patient.PatientId ? 0 : 1))
        {
            var token = identifier.Issuer.Contains(':', StringComparison.Ordinal) ? $"{identifier.Issuer}|{identifier.Value}" : identifier.Value;
            var found = await client.SearchAsync($"Patient?identifier={Uri.EscapeDataString(token)}&_count=2", 2, cancellationToken);
            if (found.Count > 1)
            {
                throw new FhirException(new SendOutcome.Refused($"It has more than one patient with an identifier of '{identifier.Issuer}'."), null);
            }

            if (found.Count == 1 && FhirClient.Text(found[0], "id") is { } id)
            {
                return $"Patient/{id}";
            }
        }

        return null;
    }
}
