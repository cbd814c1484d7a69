using System.Text.Json.Nodes;
using Yizhan.EmrAdapter.Fhir;
using Yizhan.EmrAdapter.Outbox;

namespace Yizhan.EmrAdapter.OpenMrs;

/// <summary>
/// Tells an OpenMRS with fhir2. That keeps of a DiagnosticReport neither identifier, category, conclusion nor presentedForm (before 3.0.0) and finds none by
/// identifier or order, so the text is an Observation of the concept <c>reportText</c>, the report refers to it, and both are found again by patient, code and
/// time. A PUT of an Observation makes another one: the id that is answered is followed.
/// </summary>
internal sealed class OpenMrsDriver(EmrSystemOptions system, EmrOutbox outbox) : IEmrDriver
{
    private readonly FhirClient _client = new(system);

    /// <inheritdoc/>
    public async Task<SendOutcome> SendAsync(OutboxMessage message, CancellationToken cancellationToken)
    {
        var content = message.Content;
        if (await FhirPatients.FindAsync(_client, system.Name, content, cancellationToken) is not { } patient)
        {
            return new SendOutcome.Failed("It has no patient with one of the identifiers.");
        }

        var (status, ms, text) = content.Report is { } report
            ? (report.Status, report.IssuedMs, $"{report.Title}\n{report.Text}")
            : ("preliminary", content.Analysis!.TimeMs, AnalysisText.Of(content.Analysis));

        // It stores three of the statuses.
        status = status is "corrected" or "appended" ? "amended" : status;
        var observation = await ObservationAsync(message, patient, status, FhirResults.Instant(ms), text, cancellationToken);
        await ReportAsync(message, patient, status, FhirResults.Instant(ms), observation, cancellationToken);
        return new SendOutcome.Delivered();
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _client.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task<string> ObservationAsync(OutboxMessage message, string patient, string status, string time, string text, CancellationToken cancellationToken)
    {
        var done = $"Observation|{message.ControlId}";
        var key = $"Observation|{message.Content.Subject}";
        if (outbox.RemoteId(system.Name, done) is { } written)
        {
            return written;
        }

        // An answer may have been lost: it is there when the same was said about the same patient at the same time.
        var same = (await _client.SearchAsync($"Observation?patient={patient.Split('/')[1]}&code={Concept("reportText")}&_sort=-_lastUpdated&_count=100", 100, cancellationToken))
            .FirstOrDefault(o => FhirClient.Text(o, "valueString") == text && IsAt(FhirClient.Text(o, "effectiveDateTime"), time) && FhirClient.Text(o, "status") == status);
        var id = FhirClient.Text(same, "id");
        if (id is null)
        {
            var resource = new JsonObject
            {
                ["resourceType"] = "Observation",
                ["status"] = status,
                ["code"] = Code("reportText"),
                ["subject"] = FhirResults.Reference(patient),
                ["effectiveDateTime"] = time,
                ["valueString"] = text,
            };
            if (outbox.RemoteId(system.Name, key) is { } earlier)
            {
                resource["id"] = earlier;
                var (found, after) = await _client.PutAsync($"Observation/{earlier}", resource, cancellationToken);
                id = found ? after ?? earlier : null;
                resource.Remove("id");
            }

            id ??= (await _client.PostAsync("Observation", resource, null, cancellationToken)).Id ?? throw new FhirException(new SendOutcome.Failed("It made an Observation and did not say its id."), null);
        }

        outbox.SetRemoteId(system.Name, key, id);
        outbox.SetRemoteId(system.Name, done, id);
        return id;
    }

    private async Task ReportAsync(OutboxMessage message, string patient, string status, string time, string observation, CancellationToken cancellationToken)
    {
        var key = $"DiagnosticReport|{message.Content.Subject}";
        var resource = new JsonObject
        {
            ["resourceType"] = "DiagnosticReport",
            ["status"] = status,
            ["code"] = Code("report"),
            ["subject"] = FhirResults.Reference(patient),
            ["issued"] = time,
            ["result"] = new JsonArray(FhirResults.Reference($"Observation/{observation}")),
        };
        var id = outbox.RemoteId(system.Name, key)
            ?? FhirClient.Text((await _client.SearchAsync($"DiagnosticReport?patient={patient.Split('/')[1]}&code={Concept("report")}&_sort=-_lastUpdated&_count=100", 100, cancellationToken))
                .FirstOrDefault(r => IsAt(FhirClient.Text(r, "issued"), time) && (r["result"] as JsonArray)?.OfType<JsonObject>().Any(o => FhirClient.Text(o, "reference") == $"Observation/{observation}") == true), "id");
        if (id is not null)
        {
            resource["id"] = id;
            if ((await _client.PutAsync($"DiagnosticReport/{id}", resource, cancellationToken)).Found)
            {
                outbox.SetRemoteId(system.Name, key, id);
                return;
            }

            resource.Remove("id");
        }

        var (_, made) = await _client.PostAsync("DiagnosticReport", resource, null, cancellationToken);
        outbox.SetRemoteId(system.Name, key, made ?? throw new FhirException(new SendOutcome.Failed("It made a DiagnosticReport and did not say its id."), null));
    }

    /// <summary>A coding without system is a concept's UUID there.</summary>
    private JsonObject Code(string name) => new() { ["coding"] = new JsonArray(new JsonObject { ["code"] = Concept(name) }) };

    private static bool IsAt(string? text, string time) => FhirOrders.Time(text) is { } at && FhirOrders.Time(time) is { } wanted && Math.Abs((at - wanted).TotalSeconds) < 1;

    private string Concept(string name) => system.Concepts.TryGetValue(name, out var uuid)
        ? uuid
        : throw new FhirException(new SendOutcome.Unreachable($"The settings do not say what '{name}' is there: emr-adapter:systems:…:concepts:{name}."), null);
}
