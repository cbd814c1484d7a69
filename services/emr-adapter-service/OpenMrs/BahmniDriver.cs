using System.Text.Json.Nodes;
using Yizhan.EmrAdapter.Fhir;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter.OpenMrs;

/// <summary>
/// Tells Bahmni 0.93, which has no FHIR: a result is an obs group with a link to its order (OpenMRS REST 2.33), a document goes to the visit. Orders cannot be
/// updated there and obs cannot be found by order, so our identifier is in the comment of the group, by which it is found again.
/// </summary>
internal sealed class BahmniDriver(EmrSystemOptions system, EmrOutbox outbox, IBlobStore blobs) : IEmrDriver
{
    private const string Rest = "ws/rest/v1/";

    private readonly FhirClient _client = new(system, "application/json");

    /// <inheritdoc/>
    public async Task<SendOutcome> SendAsync(OutboxMessage message, CancellationToken cancellationToken)
    {
        var content = message.Content;
        if (await PatientAsync(content, cancellationToken) is not { } patient)
        {
            return new SendOutcome.Failed("It has no patient with one of the identifiers.");
        }

        await ObsAsync(message, patient, cancellationToken);
        if (await Documents.ReadAsync(blobs, content, cancellationToken) is { } pdf)
        {
            await DocumentAsync(message, patient, pdf, cancellationToken);
        }

        return new SendOutcome.Delivered();
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _client.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task<string?> PatientAsync(Outgoing content, CancellationToken cancellationToken)
    {
        if (content.Order is { Patient.RemoteId.Length: > 0 } order && order.Source == system.Name)
        {
            return order.Patient.RemoteId;
        }

        foreach (var identifier in content.Patient!.Identifiers)
        {
            var found = await _client.SearchAsync($"{Rest}patient?identifier={Uri.EscapeDataString(identifier.Value)}&v=default", 2, cancellationToken);
            if (found.Count == 1)
            {
                return FhirClient.Text(found[0], "uuid");
            }
        }

        return null;
    }

    /// <summary>Writes the group unless it is there, then voids those of earlier versions.</summary>
    private async Task ObsAsync(OutboxMessage message, string patient, CancellationToken cancellationToken)
    {
        var content = message.Content;
        var subject = EmrOutbox.ControlIdOf("subject", content.Subject);
        var mark = $"yizhan {subject} {message.ControlId}";
        var existing = (await _client.SearchAsync($"{Rest}obs?patient={patient}&concept={Concept("report")}&v=full&limit=100", 1000, cancellationToken))
            .Where(o => FhirClient.Text(o, "comment")?.StartsWith($"yizhan {subject} ", StringComparison.Ordinal) == true).ToList();
        if (!existing.Any(o => FhirClient.Text(o, "comment") == mark))
        {
            var time = FhirResults.Instant(content.Report?.IssuedMs ?? content.Analysis!.TimeMs).Replace("Z", "+0000", StringComparison.Ordinal);
            var text = content.Report is { } report ? $"[{report.Status}] {report.Title}\n{report.Text}" : $"[preliminary] {AnalysisText.Of(content.Analysis!)}";
            var order = content.Order is { RemoteId.Length: > 0 } ordered && ordered.Source == system.Name ? ordered.RemoteId : null;
            var group = Obs(patient, time, Concept("report"), order);
            group["comment"] = mark;
            var member = Obs(patient, time, Concept("reportText"), order);
            member["value"] = text;
            var members = new JsonArray(member);
            if (system.Concepts.TryGetValue("studyUid", out var studyConcept) && content.StudyInstanceUid.Length > 0)
            {
                var study = Obs(patient, time, studyConcept, order);
                study["value"] = content.StudyInstanceUid;
                members.Add(study);
            }

            group["groupMembers"] = members;
            await _client.PostAsync($"{Rest}obs", group, null, cancellationToken);
        }

        foreach (var old in existing.Where(o => FhirClient.Text(o, "comment") != mark && FhirClient.Text(o, "uuid") is not null))
        {
            await _client.DeleteAsync($"{Rest}obs/{FhirClient.Text(old, "uuid")}?reason=replaced%20by%20a%20newer%20version", cancellationToken);
        }
    }

    private async Task DocumentAsync(OutboxMessage message, string patient, byte[] pdf, CancellationToken cancellationToken)
    {
        var key = $"document|{message.ControlId}";
        if (outbox.RemoteId(system.Name, key) is not null)
        {
            return;
        }

        var (uploaded, _) = await _client.PostAsync(
            $"{Rest}bahmnicore/visitDocument/uploadDocument",
            new JsonObject { ["content"] = Convert.ToBase64String(pdf), ["format"] = "pdf", ["fileType"] = "pdf", ["patientUuid"] = patient }, null, cancellationToken);
        var url = FhirClient.Text(uploaded, "url") ?? throw new FhirException(new SendOutcome.Failed("It took the document and did not say its url."), null);
        var time = FhirResults.Instant(message.Content.Report!.IssuedMs).Replace("Z", "+0000", StringComparison.Ordinal);
        await _client.PostAsync(
            $"{Rest}bahmnicore/visitDocument",
            new JsonObject
            {
                ["patientUuid"] = patient,
                ["visitTypeUuid"] = Concept("visitType"),
                ["visitStartDate"] = time,
                ["encounterTypeUuid"] = Concept("encounterType"),
                ["encounterDateTime"] = time,
                ["providerUuid"] = Concept("provider"),
                ["locationUuid"] = Concept("location"),
                ["documents"] = new JsonArray(new JsonObject { ["testUuid"] = Concept("document"), ["image"] = url, ["obsDateTime"] = time, ["comment"] = message.ControlId, ["voided"] = false }),
            },
            null,
            cancellationToken);
        outbox.SetRemoteId(system.Name, key, url);
    }

    private static JsonObject Obs(string patient, string time, string concept, string? order)
    {
        var obs = new JsonObject { ["person"] = patient, ["obsDatetime"] = time, ["concept"] = concept };
        if (order is not null)
        {
            obs["order"] = order;
        }

        return obs;
    }

    private string Concept(string name) => system.Concepts.TryGetValue(name, out var uuid)
        ? uuid
        : throw new FhirException(new SendOutcome.Unreachable($"The settings do not say what '{name}' is there: emr-adapter:systems:…:concepts:{name}."), null);
}
