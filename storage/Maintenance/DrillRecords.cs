using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Storage;

/// <summary>Takes the report of a drill into the event log, together with its audit record: <c>POST …/log/drills</c>.</summary>
internal static partial class DrillRecords
{
    // DICOM PS3.16 CID 400: Application Activity.
    private const string ApplicationActivity = "110100";
    private const int MaxText = 1000;

    /// <summary>Answers 201 once the report and its audit record are durable; the same report again changes nothing.</summary>
    public static async Task<Results<Created, ProblemHttpResult>> RecordAsync(
        HttpContext context, IEventLog log, TimeProvider clock, CancellationToken cancellationToken)
    {
        var body = new byte[DrillFinished.MaxBytes + 1];
        var length = await context.Request.Body.ReadAtLeastAsync(body, body.Length, throwOnEndOfStream: false, cancellationToken);
        if (length > DrillFinished.MaxBytes)
        {
            return TypedResults.Problem($"The report has more than {DrillFinished.MaxBytes} bytes.", statusCode: 413);
        }

        DrillFinished report;
        try
        {
            report = JsonSerializer.Deserialize(body.AsSpan(0, length), ContractsJson.Default.DrillFinished) ?? throw new JsonException("It is null.");
        }
        catch (JsonException e)
        {
            return TypedResults.Problem($"This is no report of a drill: {e.Message}", statusCode: 400);
        }

        if (ProblemOf(report, clock.GetUtcNow()) is { } problem)
        {
            return TypedResults.Problem(problem, statusCode: 400);
        }

        var entity = DrillFinished.EntityOf(report.Id);
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var detail = FormattableString.Invariant(
            $"{report.Kind} against {report.Against}: {(report.Passed ? "passed" : "failed")}; accepted {report.Accepted}, lost {report.Lost}, duplicates {report.Duplicates}, RTO {report.RtoSeconds:0.0} s");
        var record = new AuditRecord(ApplicationActivity, "E", report.Passed ? 0 : 8, Caller.AgentOf(context), null, $"drill@{log.Site}", entity, detail, now);
        try
        {
            await log.AppendAsync(
                [
                    new Entry(Lane.Normal, DrillFinished.EventType, entity, entity, now, JsonSerializer.SerializeToUtf8Bytes(report, ContractsJson.Default.DrillFinished)),
                    new Entry(Lane.Normal, AuditRecord.EventType, $"audit/{entity}", entity, now, JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord)),
                ], cancellationToken);
        }
        catch (SpoolFullException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 507);
        }

        return TypedResults.Created((string?)null);
    }

    private static string? ProblemOf(DrillFinished report, DateTimeOffset now) =>
        !Id().IsMatch(report.Id) ? $"id is '{Short(report.Id)}'; accepted: 8 to 80 of a-z, 0-9 and '-'."
        : !DrillKinds.All.Contains(report.Kind) ? $"kind is '{Short(report.Kind)}'; accepted: {string.Join(", ", DrillKinds.All)}."
        : report.Against.Length is 0 or > 256 ? $"against has {report.Against.Length} characters; accepted: 1 to 256."
        : report.FinishedMs < report.StartedMs ? $"finishedMs {report.FinishedMs} is before startedMs {report.StartedMs}."

        // A report of the future would hide that a drill is overdue.
        : report.FinishedMs > now.AddMinutes(5).ToUnixTimeMilliseconds() ? $"finishedMs {report.FinishedMs} is in the future."
        : report.Passed && (report.Lost != 0 || report.Duplicates != 0 || report.Checks.Count == 0 || report.Checks.Any(c => !c.Ok))
            ? "passed is true, but something was lost or doubled, or a check does not hold, or there is none."
        : report.Summary.Length > MaxText ? $"summary has {report.Summary.Length} characters; accepted: up to {MaxText}."
        : null;

    private static string Short(string text) => text.Length > 40 ? text[..40] : text;

    [GeneratedRegex("^[a-z0-9-]{8,80}$")]
    private static partial Regex Id();
}
