using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Fhir;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter.Sources;

/// <summary>What sources do with what they read: into the log, once for each content, or into the list of what could not be taken.</summary>
internal sealed class Intake(EmrDatabase database, IEventLog log, EmrOutbox outbox, EmrMetrics metrics, TimeProvider clock)
{
    /// <summary>Tries until a person is asked: with pauses that double to five minutes about an hour, in which what it refers to may arrive.</summary>
    private const int MaxAttempts = 20;

    /// <summary>How far a feed was read; null when it never was.</summary>
    public string? Cursor(string feed) => database.Read(db => EmrDatabase.Cursor(db, feed));

    /// <summary>Remembers how far a feed was read. What is before it must be in the log, or refused.</summary>
    public void MoveCursor(string feed, string position) => database.Write(db => EmrDatabase.MoveCursor(db, feed, position));

    /// <summary>Appends an order; one with this content is there once, however often it is read.</summary>
    public Task AppendAsync(ImagingOrder order, CancellationToken cancellationToken) =>
        AppendAsync(ImagingOrder.EventType, order.Source, "order", order.Patient.PatientId, "110109", JsonSerializer.SerializeToUtf8Bytes(order, ContractsJson.Default.ImagingOrder), cancellationToken);

    /// <summary>Appends what was said about a patient.</summary>
    public Task AppendAsync(PatientChanged changed, CancellationToken cancellationToken) => AppendAsync(
        PatientChanged.EventType, changed.Source, "patient", changed.Patient.PatientId, "110110", JsonSerializer.SerializeToUtf8Bytes(changed, ContractsJson.Default.PatientChanged), cancellationToken);

    /// <summary>Takes one thing, or notes why that cannot be.</summary>
    /// <exception cref="FhirException">The system is away.</exception>
    public async Task TryAsync(string system, string kind, string reference, Func<Task> take, CancellationToken cancellationToken)
    {
        try
        {
            await take();
            metrics.Received("poll", "taken");

            // It may have been refused before, and be mended at its source.
            database.Write(db => db.Command("DELETE FROM refused WHERE system = $1 AND ref = $2", system, reference).Go());
        }
        catch (Exception e) when (e is FormatException or JsonException or InvalidOperationException || e is FhirException { Meaning: not SendOutcome.Unreachable })
        {
            cancellationToken.ThrowIfCancellationRequested();
            metrics.Received("poll", "refused");
            var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
            database.Write(db =>
            {
                var attempts = db.Command("SELECT attempts FROM refused WHERE system = $1 AND ref = $2", system, reference).Single() as long? ?? 0;
                db.Command(
                    """
                    INSERT INTO refused (system, ref, kind, payload, reason, attempts, state, next_ms, first_ms, ended_ms) VALUES ($1, $2, $3, '', $4, 1, 'waiting', $5, $6, NULL)
                    ON CONFLICT (system, ref) DO UPDATE SET reason = $4, attempts = attempts + 1, next_ms = $5, state = CASE WHEN attempts + 1 >= $7 THEN 'dead' ELSE 'waiting' END,
                        ended_ms = CASE WHEN attempts + 1 >= $7 THEN $6 ELSE NULL END
                    """,
                    system, reference, kind, e.Message, now + outbox.PauseMs((int)attempts), now, MaxAttempts).Go();
            });
        }
    }

    /// <summary>What could not be taken and may be tried again now.</summary>
    public IReadOnlyList<(string Kind, string Reference)> Due(string system) => database.Read(db => db.Command(
        "SELECT kind, ref FROM refused WHERE system = $1 AND state = 'waiting' AND next_ms <= $2 ORDER BY pk LIMIT 100", system, clock.GetUtcNow().ToUnixTimeMilliseconds())
        .Rows(row => (row.GetString(0), row.GetString(1))));

    private async Task AppendAsync(string type, string source, string what, string patient, string eventId, byte[] data, CancellationToken cancellationToken)
    {
        if (data.Length > Entry.MaxDataBytes)
        {
            throw new FormatException($"An order or patient of {data.Length} bytes is not taken; accepted are up to {Entry.MaxDataBytes}.");
        }

        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var id = $"emr/{what}/{log.Site}/{ContentHash.Of(data)}";
        var record = new AuditRecord(
            eventId, "C", 0, source, null, $"emr-adapter@{log.Site}", $"{what}/{ContentHash.Of(data).ToString()[..16]}", "fetched", now,
            patient.Length is > 0 and <= AuditRecord.MaxPatientLength ? patient : null);
        await log.AppendAsync(
            [
                new Entry(Lane.Normal, type, id, patient, now, data),
                new Entry(Lane.Normal, AuditRecord.EventType, id + "/a", record.Entity, now, JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord)),
            ],
            cancellationToken);
    }
}
