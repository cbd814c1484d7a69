using System.Globalization;
using System.Text.Json.Nodes;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Sources;
using Yizhan.EmrAdapter.Terms;

namespace Yizhan.EmrAdapter.Fhir;

/// <summary>
/// Fetches orders and patients that changed, by <c>_lastUpdated</c>. What was updated at the instant of the cursor, and in the seconds before it (transactions
/// may end in another sequence than they began), is read again; the log knows it by its content.
/// </summary>
internal sealed class FhirPoller(EmrSystemOptions system, Intake intake, TermMaps terms, TimeSpan offset, TimeProvider clock, ILogger logger) : ISource
{
    /// <summary>What is fetched: patients first, since orders refer to them.</summary>
    public static readonly IReadOnlyList<string> Types = ["Patient", "ServiceRequest"];

    private const int Page = 50;
    private const int Most = 2000;

    private static readonly TimeSpan Overlap = TimeSpan.FromSeconds(10);

    private readonly FhirClient _client = new(system);
    private readonly FhirSubscription _subscription = new(system, intake, clock, logger);

    /// <inheritdoc/>
    public async Task PollAsync(CancellationToken cancellationToken)
    {
        // Before the look: what changes between the two is then either seen or knocked for.
        await _subscription.EnsureAsync(_client, cancellationToken);
        foreach (var type in Types)
        {
            await PollAsync(type, cancellationToken);
        }
    }

    /// <inheritdoc/>
    public async Task TakeAsync(string reference, CancellationToken cancellationToken)
    {
        var resource = await _client.GetAsync(reference, cancellationToken) ?? throw new FormatException($"{reference} is not there.");
        await TakeAsync(reference.Split('/')[0], resource, [], cancellationToken);
    }

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();

    private async Task PollAsync(string type, CancellationToken cancellationToken)
    {
        var feed = $"fhir/{system.Name}/{type}";
        var began = clock.GetUtcNow();
        if (intake.Cursor(feed) is not { } text)
        {
            // What was ordered before the system was in the settings is done in another way.
            intake.MoveCursor(feed, FhirResults.Instant((system.Since ?? began).ToUnixTimeMilliseconds()));
            return;
        }

        var cursor = DateTimeOffset.Parse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);
        while (true)
        {
            var isCut = false;
            var from = Uri.EscapeDataString(FhirResults.Instant((cursor - Overlap).ToUnixTimeMilliseconds()));
            var found = await _client.SearchAsync($"{type}?_lastUpdated=ge{from}&_sort=_lastUpdated&_count={Page}", Most, cancellationToken, () => isCut = true);
            var patients = new Dictionary<string, EmrPatient>();
            var newest = cursor;
            foreach (var resource in found)
            {
                await intake.TryAsync(system.Name, type, $"{type}/{FhirClient.Text(resource, "id")}", () => TakeAsync(type, resource, patients, cancellationToken), cancellationToken);
                var updated = FhirOrders.Time(FhirClient.Text(resource["meta"] as JsonObject, "lastUpdated"));
                newest = updated > newest ? updated.Value : newest;
            }

            // Durable before: what is behind the cursor is in the log or in the list of what could not be taken.
            intake.MoveCursor(feed, FhirResults.Instant(newest.ToUnixTimeMilliseconds()));
            if (newest <= cursor || !(isCut || found.Count >= Most))
            {
                return;
            }

            cursor = newest;
        }
    }

    private async Task TakeAsync(string type, JsonObject resource, Dictionary<string, EmrPatient> patients, CancellationToken cancellationToken)
    {
        if (type == "Patient")
        {
            var changed = FhirOrders.Time(FhirClient.Text(resource["meta"] as JsonObject, "lastUpdated")) ?? clock.GetUtcNow();
            var patient = FhirOrders.Patient(resource);
            await intake.AppendAsync(new PatientChanged(system.Name, "UPDATE", patient, null, changed.ToUnixTimeMilliseconds()), cancellationToken);

            // FHIR's way of saying A40: this one is replaced by another.
            if ((resource["link"] as JsonArray)?.OfType<JsonObject>().FirstOrDefault(l => FhirClient.Text(l, "type") == "replaced-by") is { } link
                && FhirOrders.ReferenceId(FhirClient.Text(link["other"] as JsonObject, "reference"), "Patient") is { } other)
            {
                var survivor = await PatientAsync(other, patients, cancellationToken);
                await intake.AppendAsync(
                    new PatientChanged(system.Name, "MERGE", survivor, new EmrIdentifier(patient.PatientId, patient.Issuer, ""), changed.ToUnixTimeMilliseconds()), cancellationToken);
            }

            return;
        }

        if (FhirOrders.NotForUs(resource) is not null)
        {
            return;
        }

        var subject = FhirOrders.ReferenceId(FhirClient.Text(resource["subject"] as JsonObject, "reference"), "Patient")
            ?? throw new FormatException("subject is no reference to a Patient.");
        await intake.AppendAsync(FhirOrders.Order(resource, await PatientAsync(subject, patients, cancellationToken), system.Name, terms, offset), cancellationToken);
    }

    private async Task<EmrPatient> PatientAsync(string id, Dictionary<string, EmrPatient> known, CancellationToken cancellationToken)
    {
        if (!known.TryGetValue(id, out var patient))
        {
            var resource = await _client.GetAsync($"Patient/{id}", cancellationToken) ?? throw new FormatException($"Patient/{id} is not known there.");
            known[id] = patient = FhirOrders.Patient(resource);
        }

        return patient;
    }
}
