using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Audit.Sealing;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.Audit;

/// <summary>Keys of subjects: how many there are, destroying one, and legal holds that forbid it.</summary>
internal static class SubjectEndpoints
{
    private const int MaxSubject = 1024;
    private const string Everything = "*";

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/subjects", Summary).Needs(Permission.ReadAudit);
        routes.MapPost("/subjects/erase", EraseAsync).Needs(Permission.EraseSubjects);
        routes.MapPut("/holds", HoldAsync).Needs(Permission.EraseSubjects);
        routes.MapDelete("/holds", ReleaseAsync).Needs(Permission.EraseSubjects);
    }

    private static Results<Ok<SubjectSummary>, ProblemHttpResult> Summary(AuditConsumer consumer)
    {
        if (consumer.Log is not { } log)
        {
            return RecordEndpoints.NotOpen(consumer);
        }

        var (keys, destroyed) = log.Keys.Count();
        return TypedResults.Ok(new SubjectSummary(keys, destroyed, log.Keys.Holds()));
    }

    /// <summary>Answers 202 once the order is durable; the key is destroyed when the order is in the tree, a moment later.</summary>
    private static async Task<Results<Accepted, ProblemHttpResult>> EraseAsync(
        string subject, ErasureRequest request, AuditConsumer consumer, IEventLog events, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (ProblemOf(subject, request.Agent, request.Reason) is { } problem)
        {
            return TypedResults.Problem(problem, statusCode: 400);
        }

        if (consumer.Log is not { } log)
        {
            return RecordEndpoints.NotOpen(consumer);
        }

        if (log.Keys.Holds().FirstOrDefault(h => h.Subject == subject || h.Subject == Everything) is { } hold)
        {
            return TypedResults.Problem($"A legal hold on '{hold.Subject}' forbids it: {hold.Reason}", statusCode: 409);
        }

        if (log.KeyOf(subject) is not { } key)
        {
            return TypedResults.Problem("This subject has no records here, or was erased before.", statusCode: 404);
        }

        var now = clock.GetUtcNow();
        var order = new ErasureOrder(key, request.Agent, request.Reason, now.ToUnixTimeMilliseconds());
        await events.AppendAsync(
            [new Entry(Lane.Normal, ErasureOrder.EventType, $"audit/erasure/{key:N}", "audit", order.RecordedMs, JsonSerializer.SerializeToUtf8Bytes(order, AuditJson.Default.ErasureOrder))],
            cancellationToken);
        return TypedResults.Accepted((string?)null);
    }

    private static async Task<Results<NoContent, ProblemHttpResult>> HoldAsync(
        string subject, HoldRequest request, AuditConsumer consumer, IEventLog events, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (ProblemOf(subject, request.Agent, request.Reason) is { } problem)
        {
            return TypedResults.Problem(problem, statusCode: 400);
        }

        if (consumer.Log is not { } log)
        {
            return RecordEndpoints.NotOpen(consumer);
        }

        var now = clock.GetUtcNow();
        log.Keys.Hold(new LegalHold(subject, request.Reason, now.ToUnixTimeMilliseconds()));
        await RecordAsync(events, now, "C", request.Agent, subject, $"Legal hold set: {request.Reason}", cancellationToken);
        return TypedResults.NoContent();
    }

    private static async Task<Results<NoContent, ProblemHttpResult>> ReleaseAsync(
        string subject, string agent, AuditConsumer consumer, IEventLog events, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (ProblemOf(subject, agent, "-") is { } problem)
        {
            return TypedResults.Problem(problem, statusCode: 400);
        }

        if (consumer.Log is not { } log)
        {
            return RecordEndpoints.NotOpen(consumer);
        }

        if (!log.Keys.Release(subject))
        {
            return TypedResults.Problem("There is no such legal hold.", statusCode: 404);
        }

        await RecordAsync(events, clock.GetUtcNow(), "D", agent, subject, "Legal hold ended", cancellationToken);
        return TypedResults.NoContent();
    }

    private static async Task RecordAsync(
        IEventLog events, DateTimeOffset now, string action, string agent, string subject, string detail, CancellationToken cancellationToken)
    {
        var record = new AuditRecord("110101", action, 0, agent, null, $"audit@{events.Site}", subject, detail, now.ToUnixTimeMilliseconds());
        await events.AppendAsync(
            [new Entry(Lane.Normal, AuditRecord.EventType, $"audit/hold/{Guid.CreateVersion7(now):N}", subject, record.RecordedMs, JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord))],
            cancellationToken);
    }

    private static string? ProblemOf(string subject, string agent, string reason) =>
        subject != Everything && (subject.Length > MaxSubject || !subject.Contains('/', StringComparison.Ordinal))
            ? $"subject has {subject.Length} characters; accepted: patient/… or study/…, up to {MaxSubject}, or '*' for a hold on everything."
        : agent is not { Length: > 0 and <= 256 } ? "agent is missing or longer than 256 characters."
        : reason is not { Length: > 0 and <= 1024 } ? "reason is missing or longer than 1024 characters."
        : null;
}
