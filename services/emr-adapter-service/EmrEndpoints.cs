using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Fhir;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.EmrAdapter.Patients;
using Yizhan.EmrAdapter.Sources;
using Yizhan.EmrAdapter.Terms;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter;

/// <summary>What operators see and do: <c>/emr-adapter</c>. What others write for the EMR: <c>POST /emr-adapter/reports</c>.</summary>
internal static partial class EmrEndpoints
{
    private const int Most = 1000;
    private const int MostStudies = 100;
    private const int MaxSkip = 1_000_000;
    private const int MaxPreviewBytes = 4 * 1024 * 1024;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/systems", Systems).WithSummary("Each system: what waits, what was delivered, what it refused").Needs(Permission.ReadRecords);
        routes.MapGet("/messages", (EmrOutbox outbox, string? system, string? state, string? search, int? skip, int? limit) =>
            TypedResults.Ok(outbox.List(system, state, search, Page(skip), Many(limit)))).WithSummary("Messages by system, state, or an identifier of patient, study, report or message").Needs(Permission.ReadRecords);
        routes.MapGet("/studies", Studies).WithSummary("What each system was told of some studies").Needs(Permission.ReadRecords);
        routes.MapGet("/dead-letters", DeadLetters).WithSummary("What a system refused, and what we could not take of it").Needs(Permission.ReadRecords);
        routes.MapPost("/dead-letters/{key:long}/replay", ReplayAsync).WithSummary("Sends a dead letter again, as it is").Needs(Permission.WriteRecords);
        routes.MapGet("/orders", Orders).WithSummary("Orders by patient, order number, accession number or state, newest first").Needs(Permission.ReadRecords);
        routes.MapGet("/unmapped", (EmrDatabase database, int? skip, int? limit) => TypedResults.Ok<IReadOnlyList<UnmappedCodeView>>(database.Read(db => db.Command(
            "SELECT map, system, code, text, orders, first_ms FROM unmapped ORDER BY orders DESC, first_ms, code LIMIT $1 OFFSET $2", Many(limit ?? Most), Page(skip)).Rows(row => new UnmappedCodeView(
                row.GetString(0), row.GetString(1), row.GetString(2), row.GetString(3), row.GetInt64(4), row.GetInt64(5)))))).WithSummary("Codes that no map knows").Needs(Permission.ReadRecords);
        routes.MapPost("/unmapped", MapAsync).WithSummary("Says what a code means that no map knew").Needs(Permission.WriteRecords);
        routes.MapGet("/identity-conflicts", (EmrDatabase database, int? skip, int? limit) => TypedResults.Ok<IReadOnlyList<IdentityConflictView>>(database.Read(db => db.Command(
            "SELECT pk, patient_id, issuer, problem, first_ms, other_id, other_issuer FROM conflict WHERE decision = '' ORDER BY pk DESC LIMIT $1 OFFSET $2", Many(limit ?? Most), Page(skip)).Rows(Conflict))))
            .WithSummary("Patients whose identifiers contradict each other").Needs(Permission.ReadRecords);
        routes.MapPost("/identity-conflicts/{key:long}", DecideAsync).WithSummary("Says whether two identifiers are one patient").Needs(Permission.WriteRecords);
        routes.MapPost("/preview", PreviewAsync).WithSummary("What a message would become; nothing is stored").Needs(Permission.ReadRecords);
        routes.MapPost("/reports", ReportAsync).WithSummary("A report or note for the EMR").Needs(Permission.WriteRecords);
        routes.MapPost("/notify/{system}", Notify).WithSummary("A system says that something changed (FHIR R4 rest-hook); it is looked at then")
            .OpenToAll("An EMR has no token of ours; the secret that its subscription was given is the right, and all that it does is an earlier look.");
    }

    private static int Many(int? limit) => Math.Clamp(limit ?? 100, 1, Most);

    private static int Page(int? skip) => Math.Clamp(skip ?? 0, 0, MaxSkip);

    private static Results<NoContent, NotFound> Notify(string system, HttpRequest request, SourcePoller poller) =>
        poller.Knock(system, request.Headers[FhirSubscription.SecretHeader].ToString()) ? TypedResults.NoContent() : TypedResults.NotFound();

    private static Ok<IReadOnlyList<EmrSystemView>> Systems(EmrOutbox outbox, OutboxSender sender, IOptions<EmrAdapterOptions> options) =>
        TypedResults.Ok<IReadOnlyList<EmrSystemView>>([.. options.Value.Systems.OrderBy(s => s.Name, StringComparer.Ordinal).Select(system =>
        {
            var count = outbox.Count(system.Name);
            return new EmrSystemView(
                system.Name, system.Driver, count.Waiting, count.Delivered, count.Dead, count.Unlinked, count.OldestMs, sender.Problem(system.Name), count.Bytes);
        })]);

    private static Results<Ok<IReadOnlyList<EmrStudyView>>, ProblemHttpResult> Studies(EmrOutbox outbox, string[] uid) =>
        uid.Length is < 1 or > MostStudies
            ? TypedResults.Problem($"uid is given {uid.Length} times; accepted is 1 to {MostStudies} times.", statusCode: 400)
            : TypedResults.Ok(outbox.OfStudies(uid));

    private static Ok<IReadOnlyList<EmrMessageView>> DeadLetters(EmrDatabase database, int? skip, int? limit) => TypedResults.Ok<IReadOnlyList<EmrMessageView>>(database.Read(db => db.Command(
        """
        SELECT pk, 'out', system, kind, subject, state, attempts, reason, queued_ms, ended_ms, control_id FROM outbox WHERE state = 'dead'
        UNION ALL SELECT -pk, 'in', system, kind, ref, state, attempts, reason, first_ms, ended_ms, '' FROM refused WHERE state = 'dead'
        ORDER BY 10 DESC, 1 LIMIT $1 OFFSET $2
        """, Many(limit), Page(skip)).Rows(row => new EmrMessageView(
            row.GetInt64(0), row.GetString(1), row.GetString(2), row.GetString(3), row.GetString(4), row.GetString(5), row.GetInt32(6), row.GetString(7), row.GetInt64(8),
            row.IsDBNull(9) ? null : row.GetInt64(9), row.GetString(10)))));

    private static async Task<Results<NoContent, NotFound, ProblemHttpResult>> ReplayAsync(
        long key, EmrDecision decision, EmrOutbox outbox, EmrDatabase database, IEventLog log, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (Unsigned(decision.By, decision.Reason) is { } unsigned)
        {
            return unsigned;
        }

        var problem = key > 0
            ? outbox.Replay(key)
            : database.Write(db => db.Command("UPDATE refused SET state = 'waiting', attempts = 0, next_ms = 0, ended_ms = NULL WHERE pk = $1 AND state = 'dead'", -key).Go()) > 0 ? null : "";
        if (problem is { Length: 0 })
        {
            return TypedResults.NotFound();
        }

        await log.AppendAsync([Audit(log, clock, "110107", decision.By, $"dead-letter/{key}", $"replay: {decision.Reason}", null, problem is null ? 0 : 4)], cancellationToken);
        return problem is null ? TypedResults.NoContent() : TypedResults.Problem(problem, statusCode: 409);
    }

    private static async Task<Results<NoContent, ProblemHttpResult>> MapAsync(TermDecision decision, IEventLog log, EmrFollower follower, TimeProvider clock, CancellationToken cancellationToken)
    {
        var problem = decision.Map is not (TermMaps.Procedures or TermMaps.Findings) ? $"map is '{decision.Map}'; accepted are {TermMaps.Procedures} and {TermMaps.Findings}."
            : decision.Code.Length is 0 or > 64 || decision.System.Length > 256 ? "code must have 1 to 64 characters and system at most 256."
            : decision.Map == TermMaps.Procedures && !Modality().IsMatch(decision.Target) ? $"target is '{decision.Target}'; accepted is a modality of DICOM, such as CT: 2 to 16 capitals."
            : decision.Map == TermMaps.Findings && !SnomedCode().IsMatch(decision.Target) ? $"target is '{decision.Target}'; accepted is a code of SNOMED CT: 6 to 18 digits."
            : decision.Text.Length is 0 or > 128 ? "text must have 1 to 128 characters."
            : null;
        if (problem is not null)
        {
            return TypedResults.Problem(problem, statusCode: 400);
        }

        if (Unsigned(decision.By, decision.Reason) is { } unsigned)
        {
            return unsigned;
        }

        var mapped = new TermMapped(decision.Map, TermMaps.SystemOf(decision.System), decision.Code, decision.Target, decision.Text, clock.GetUtcNow().ToUnixTimeMilliseconds());
        var data = JsonSerializer.SerializeToUtf8Bytes(mapped, ContractsJson.Default.TermMapped);
        await log.AppendAsync(
            [
                new Entry(Lane.Normal, TermMapped.EventType, $"emr/term/{log.Site}/{ContentHash.Of(data)}", $"{mapped.Map}|{mapped.System}|{mapped.Code}", mapped.MappedMs, data),
                Audit(log, clock, "110107", decision.By, $"term/{mapped.Map}/{mapped.Code}", $"mapped to {mapped.Target}: {decision.Reason}", null, 0),
            ],
            cancellationToken);
        await follower.ReachedNowAsync(cancellationToken);
        return TypedResults.NoContent();
    }

    private static async Task<Results<NoContent, NotFound, ProblemHttpResult>> DecideAsync(
        long key, IdentityDecision decision, EmrDatabase database, IEventLog log, EmrFollower follower, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (decision.Decision is not (IdentityDecision.Same or IdentityDecision.Apart))
        {
            return TypedResults.Problem($"decision is '{decision.Decision}'; accepted are {IdentityDecision.Same} and {IdentityDecision.Apart}.", statusCode: 400);
        }

        if (Unsigned(decision.By, decision.Reason) is { } unsigned)
        {
            return unsigned;
        }

        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var (conflict, other) = database.Read(db =>
        {
            var found = db.Command("SELECT pk, patient_id, issuer, problem, first_ms, other_id, other_issuer FROM conflict WHERE pk = $1 AND decision = ''", key).Rows(Conflict).FirstOrDefault();
            return (found, found is { OtherPatientId.Length: > 0 } ? PatientIndex.Find(db, found.OtherPatientId, found.OtherIssuer) : null);
        });
        if (conflict is null)
        {
            return TypedResults.NotFound();
        }

        var entries = new List<Entry> { Audit(log, clock, "110110", decision.By, $"conflict/{key}", $"{decision.Decision}: {decision.Reason}", conflict.PatientId, 0) };
        if (decision.Decision == IdentityDecision.Same)
        {
            if (other is null)
            {
                return TypedResults.Problem("The contradiction is within one patient: there is nobody whom he could be one with.", statusCode: 409);
            }

            // The same event as an A40: a merge is one fact, whoever says it.
            var merge = new PatientChanged(decision.By, "MERGE", other, new EmrIdentifier(conflict.PatientId, conflict.Issuer, ""), now);
            if (database.Read(db => PatientIndex.MergeProblem(db, merge)) is { } problem)
            {
                return TypedResults.Problem(problem, statusCode: 409);
            }

            entries.Add(new Entry(
                Lane.Normal, PatientChanged.EventType, $"emr/decided/{log.Site}/{key}", other.PatientId, now, JsonSerializer.SerializeToUtf8Bytes(merge, ContractsJson.Default.PatientChanged)));
        }

        await log.AppendAsync(entries, cancellationToken);
        database.Write(db => db.Command("UPDATE conflict SET decision = $2 WHERE pk = $1", key, decision.Decision).Go());
        await follower.ReachedNowAsync(cancellationToken);
        return TypedResults.NoContent();
    }

    private static IdentityConflictView Conflict(SqliteDataReader row) => new(
        row.GetInt64(0), row.GetString(1), row.GetString(2), row.GetString(3), row.GetInt64(4), row.GetString(5), row.GetString(6));

    private static ProblemHttpResult? Unsigned(string by, string reason) => by.Length is 0 or > 128 || reason.Length is 0 or > 512
        ? TypedResults.Problem("by must have 1 to 128 characters and reason 1 to 512: both go into the audit log.", statusCode: 400)
        : null;

    private static Entry Audit(IEventLog log, TimeProvider clock, string eventId, string by, string entity, string what, string? patient, int outcome)
    {
        var now = clock.GetUtcNow();
        var record = new AuditRecord(eventId, "E", outcome, by, null, $"emr-adapter@{log.Site}", entity, what, now.ToUnixTimeMilliseconds(), patient);
        return new Entry(
            Lane.Normal, AuditRecord.EventType, $"emr/decision/{log.Site}/{Guid.CreateVersion7(now):N}", record.Entity, record.RecordedMs,
            JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord));
    }

    private static Ok<IReadOnlyList<EmrOrderView>> Orders(EmrDatabase database, string? patient, string? order, string? accession, string? state, int? skip, int? limit) =>
        TypedResults.Ok<IReadOnlyList<EmrOrderView>>(database.Read(db => db.Command(
            """
            SELECT id, source, state, placer, accession, patient_id, study_uid, event, ordered_ms FROM orders
            WHERE ($1 IS NULL OR patient_id = $1) AND ($2 IS NULL OR placer = $2 OR id = $2) AND ($3 IS NULL OR accession = $3) AND ($4 IS NULL OR state = $4)
            ORDER BY ordered_ms DESC, id LIMIT $5 OFFSET $6
            """, patient, order, accession, state, Many(limit), Page(skip)).Rows(row => new EmrOrderView(
                row.GetString(0), row.GetString(1), row.GetString(2), row.GetString(3), row.GetString(4), row.GetString(5), row.GetString(6),
                row.IsDBNull(7) ? "" : JsonSerializer.Deserialize(row.GetString(7), ContractsJson.Default.ImagingOrder)!.CodeText, row.GetInt64(8)))));

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

    [GeneratedRegex("^[A-Z]{2,16}$")]
    private static partial Regex Modality();

    [GeneratedRegex("^[0-9]{6,18}$")]
    private static partial Regex SnomedCode();
}
