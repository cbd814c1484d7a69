using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter;

/// <summary>What operators see and do: <c>/emr-adapter</c>. What others write for the EMR: <c>POST /emr-adapter/reports</c>.</summary>
internal static class EmrEndpoints
{
    private const int Most = 1000;
    private const int MaxPreviewBytes = 4 * 1024 * 1024;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/systems", Systems).WithSummary("Each system: what waits, what was delivered, what it refused").Needs(Permission.ReadRecords);
        routes.MapGet("/messages", (EmrOutbox outbox, string? system, string? state, string? search, int? limit) =>
            TypedResults.Ok(outbox.List(system, state, search, Math.Clamp(limit ?? 100, 1, Most)))).WithSummary("Messages by system, state, or an identifier of patient, study, report or message").Needs(Permission.ReadRecords);
        routes.MapGet("/dead-letters", DeadLetters).WithSummary("What a system refused, and what we could not take of it").Needs(Permission.ReadRecords);
        routes.MapPost("/dead-letters/{key:long}/replay", ReplayAsync).WithSummary("Sends a dead letter again, as it is").Needs(Permission.WriteRecords);
        routes.MapGet("/orders", Orders).WithSummary("Orders by patient, order number or accession number").Needs(Permission.ReadRecords);
        routes.MapGet("/unmapped", (EmrDatabase database) => TypedResults.Ok<IReadOnlyList<UnmappedCodeView>>(database.Read(db => db.Command(
            "SELECT map, system, code, text, orders, first_ms FROM unmapped ORDER BY orders DESC, first_ms LIMIT 1000").Rows(row => new UnmappedCodeView(
                row.GetString(0), row.GetString(1), row.GetString(2), row.GetString(3), row.GetInt64(4), row.GetInt64(5)))))).WithSummary("Codes that no map knows").Needs(Permission.ReadRecords);
        routes.MapGet("/identity-conflicts", (EmrDatabase database) => TypedResults.Ok<IReadOnlyList<IdentityConflictView>>(database.Read(db => db.Command(
            "SELECT pk, patient_id, issuer, problem, first_ms FROM conflict ORDER BY pk DESC LIMIT 1000").Rows(row => new IdentityConflictView(
                row.GetInt64(0), row.GetString(1), row.GetString(2), row.GetString(3), row.GetInt64(4)))))).WithSummary("Patients whose identifiers contradict each other").Needs(Permission.ReadRecords);
        routes.MapPost("/preview", PreviewAsync).WithSummary("What a message would become; nothing is stored").Needs(Permission.ReadRecords);
        routes.MapPost("/reports", ReportAsync).WithSummary("A report or note for the EMR").Needs(Permission.WriteRecords);
    }

    private static Ok<IReadOnlyList<EmrSystemView>> Systems(EmrOutbox outbox, OutboxSender sender, IOptions<EmrAdapterOptions> options) =>
        TypedResults.Ok<IReadOnlyList<EmrSystemView>>([.. options.Value.Systems.OrderBy(s => s.Name, StringComparer.Ordinal).Select(system =>
        {
            var count = outbox.Count(system.Name);
            return new EmrSystemView(
                system.Name, system.Driver, count.Waiting, count.Delivered, count.Dead, count.Unlinked, count.OldestMs, sender.Problem(system.Name), count.Bytes);
        })]);

    private static Ok<IReadOnlyList<EmrMessageView>> DeadLetters(EmrOutbox outbox, EmrDatabase database, int? limit)
    {
        var most = Math.Clamp(limit ?? 100, 1, Most);
        var refused = database.Read(db => db.Command(
            "SELECT pk, system, kind, ref, attempts, reason, first_ms, ended_ms FROM refused WHERE state = 'dead' ORDER BY pk DESC LIMIT $1", most).Rows(row => new EmrMessageView(
                -row.GetInt64(0), "in", row.GetString(1), row.GetString(2), row.GetString(3), "dead", row.GetInt32(4), row.GetString(5), row.GetInt64(6),
                row.IsDBNull(7) ? null : row.GetInt64(7), "")));
        return TypedResults.Ok<IReadOnlyList<EmrMessageView>>([.. outbox.List(null, "dead", null, most), .. refused]);
    }

    private static async Task<Results<NoContent, NotFound, ProblemHttpResult>> ReplayAsync(
        long key, EmrDecision decision, EmrOutbox outbox, EmrDatabase database, IEventLog log, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (decision.By.Length is 0 or > 128 || decision.Reason.Length is 0 or > 512)
        {
            return TypedResults.Problem("by must have 1 to 128 characters and reason 1 to 512: both go into the audit log.", statusCode: 400);
        }

        var problem = key > 0
            ? outbox.Replay(key)
            : database.Write(db => db.Command("UPDATE refused SET state = 'waiting', attempts = 0, next_ms = 0, ended_ms = NULL WHERE pk = $1 AND state = 'dead'", -key).Go()) > 0 ? null : "";
        if (problem is { Length: 0 })
        {
            return TypedResults.NotFound();
        }

        var now = clock.GetUtcNow();
        var record = new AuditRecord(
            "110107", "E", problem is null ? 0 : 4, decision.By, null, $"emr-adapter@{log.Site}", $"dead-letter/{key}", $"replay: {decision.Reason}", now.ToUnixTimeMilliseconds());
        await log.AppendAsync(
            [
                new Entry(
                    Lane.Normal, AuditRecord.EventType, $"emr/replay/{log.Site}/{Guid.CreateVersion7(now):N}", record.Entity, record.RecordedMs,
                    JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord)),
            ],
            cancellationToken);
        return problem is null ? TypedResults.NoContent() : TypedResults.Problem(problem, statusCode: 409);
    }

    private static Results<Ok<IReadOnlyList<EmrOrderView>>, ProblemHttpResult> Orders(EmrDatabase database, string? patient, string? order, string? accession, int? limit)
    {
        if (patient is null && order is null && accession is null)
        {
            return TypedResults.Problem("Give patient, order or accession.", statusCode: 400);
        }

        return TypedResults.Ok<IReadOnlyList<EmrOrderView>>(database.Read(db => db.Command(
            """
            SELECT id, source, state, placer, accession, patient_id, study_uid, event, ordered_ms FROM orders
            WHERE ($1 IS NULL OR patient_id = $1) AND ($2 IS NULL OR placer = $2 OR id = $2) AND ($3 IS NULL OR accession = $3) ORDER BY ordered_ms DESC LIMIT $4
            """, patient, order, accession, Math.Clamp(limit ?? 100, 1, Most)).Rows(row => new EmrOrderView(
                row.GetString(0), row.GetString(1), row.GetString(2), row.GetString(3), row.GetString(4), row.GetString(5), row.GetString(6),
                row.IsDBNull(7) ? "" : JsonSerializer.Deserialize(row.GetString(7), ContractsJson.Default.ImagingOrder)!.CodeText, row.GetInt64(8)))));
    }

    private static async Task<Results<Ok<EmrPreview>, ProblemHttpResult>> PreviewAsync(HttpRequest request, Preview preview, CancellationToken cancellationToken)
    {
        using var body = new MemoryStream();
        var buffer = new byte[64 * 1024];
        while (await request.Body.ReadAsync(buffer, cancellationToken) is > 0 and var read)
        {
            if (body.Length + read > MaxPreviewBytes)
            {
                return TypedResults.Problem($"A message of more than {MaxPreviewBytes} bytes is not accepted.", statusCode: 413);
            }

            body.Write(buffer, 0, read);
        }

        return TypedResults.Ok(preview.Of(body.ToArray()));
    }

    private static async Task<Results<Accepted<ReportIssued>, ProblemHttpResult>> ReportAsync(ReportIssued report, IEventLog log, CancellationToken cancellationToken)
    {
        var problem = report.ReportId.Length is 0 or > 64 ? "reportId must have 1 to 64 characters."
            : report.Kind is not ("REPORT" or "NOTE") ? $"kind is '{report.Kind}'; accepted are REPORT and NOTE."
            : report.Status is not ("preliminary" or "final" or "amended" or "corrected" or "appended") ? $"status is '{report.Status}'; accepted are preliminary, final, amended, corrected and appended."
            : report.PdfSha256.Length > 0 ? "A document goes with an event, not with this request."
            : report.StudyInstanceUid.Length + report.AccessionNumber.Length + report.PatientId.Length == 0 ? "studyInstanceUid, accessionNumber or patientId must say whom it is about."
            : null;
        if (problem is not null)
        {
            return TypedResults.Problem(problem, statusCode: 400);
        }

        var data = JsonSerializer.SerializeToUtf8Bytes(report, ContractsJson.Default.ReportIssued);
        if (data.Length > Entry.MaxDataBytes)
        {
            return TypedResults.Problem($"A report of more than {Entry.MaxDataBytes} bytes is not accepted.", statusCode: 413);
        }

        // Equal content is one fact: a client that lost the answer may send it again.
        await log.AppendAsync([new Entry(Lane.Normal, ReportIssued.EventType, $"emr/report/{log.Site}/{ContentHash.Of(data)}", report.ReportId, report.IssuedMs, data)], cancellationToken);
        return TypedResults.Accepted((string?)null, report);
    }
}
