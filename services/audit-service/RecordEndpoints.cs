using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;
using Yizhan.Audit.Index;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;
using Yizhan.Storage;
using Yizhan.Transparency;

namespace Yizhan.Audit;

/// <summary>Records in, records out.</summary>
internal static class RecordEndpoints
{
    private const int MaxLimit = 1000;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/records", AppendAsync).Needs(Permission.WriteAudit);
        routes.MapGet("/records", Find).Needs(Permission.ReadAudit);
        routes.MapGet("/records/{index:long}/proof", Prove).Needs(Permission.ReadAudit);
    }

    /// <summary>Answers 201 after the record would survive a power cut; it is in the tree a moment later.</summary>
    private static async Task<Results<Created<AcceptedRecord>, ProblemHttpResult>> AppendAsync(
        HttpRequest request, [FromHeader(Name = "Idempotency-Key")] string? key, IEventLog events, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (key is { Length: 0 or > 128 })
        {
            return TypedResults.Problem($"Idempotency-Key has {key.Length} characters; accepted: 1 to 128.", statusCode: 400);
        }

        if (await ReadBodyAsync(request, cancellationToken) is not { } body)
        {
            return TypedResults.Problem($"The record has more than {AuditRecordRules.MaxRequestBytes} bytes.", statusCode: 413);
        }

        AuditRecord? record;
        try
        {
            record = JsonSerializer.Deserialize(body.Span, AuditJson.Default.AuditRecord);
        }
        catch (JsonException e)
        {
            return TypedResults.Problem($"The body is not an audit record: see '{e.Path ?? "$"}', line {e.LineNumber + 1}.", statusCode: 400);
        }

        if (record is null)
        {
            return TypedResults.Problem("The body is null.", statusCode: 400);
        }

        if (AuditRecordRules.ProblemOf(record) is { } problem)
        {
            return TypedResults.Problem(problem, statusCode: 400);
        }

        var id = $"audit/http/{key ?? Guid.CreateVersion7(clock.GetUtcNow()).ToString("N")}";
        var data = JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord);
        try
        {
            var receipts = await events.AppendAsync(
                [new Entry(AuditRecordRules.LaneOf(record.EventId), AuditRecord.EventType, id, record.Entity, record.RecordedMs, data)], cancellationToken);
            return TypedResults.Created($"/audit/records?id={Uri.EscapeDataString(id)}", new AcceptedRecord(id, receipts[0].AlreadyKnown));
        }
        catch (SpoolFullException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 507);
        }
    }

    private static Results<Ok<FoundRecords>, ProblemHttpResult> Find(
        AuditConsumer consumer, string? patient, string? entity, string? agent, string? action, string? type, string? from, string? to, string? site, string? id, int limit = 100)
    {
        if (limit is < 1 or > MaxLimit)
        {
            return TypedResults.Problem($"limit is {limit}; accepted: 1 to {MaxLimit}.", statusCode: 400);
        }

        if (!TryTime(from, out var fromMs) || !TryTime(to, out var toMs))
        {
            return TypedResults.Problem("from and to are Unix milliseconds or RFC 3339 times with a zone, such as 2026-03-01T08:00:00Z.", statusCode: 400);
        }

        if (consumer.Log is not { } log)
        {
            return NotOpen(consumer);
        }

        (string Field, string? Value)[] terms =
        [
            (Field.Patient, patient),
            (Field.Entity, entity),
            (Field.Agent, agent),
            (Field.Action, action),
            (Field.Type, type),
            (Field.Site, site),
            (Field.Id, id),
        ];
        var size = log.Current.Checkpoint.Size;
        var found = log.Find(new AuditQuery([.. terms.Where(t => t.Value is not null).Select(t => (t.Field, t.Value!))], fromMs, toMs, limit, Size: size));
        return TypedResults.Ok(new FoundRecords(size, [.. found.Select(FoundRecord.Of)]));
    }

    private static Results<Ok<InclusionProof>, ProblemHttpResult> Prove(AuditConsumer consumer, long index, long? size)
    {
        if (consumer.Log is not { } log)
        {
            return NotOpen(consumer);
        }

        var current = log.Current;
        var of = size ?? current.Checkpoint.Size;
        if (of > current.Checkpoint.Size || index >= of || index < 0)
        {
            return TypedResults.Problem($"There is no entry {index} in a tree of size {of}; the log has {current.Checkpoint.Size} entries.", statusCode: 404);
        }

        if (log.Reader.TryRead(TreeReader.Covering(TileAddress.Entries, index, of)) is null)
        {
            return TypedResults.Problem($"Entry {index} has expired; a tombstone is in its place.", statusCode: 410);
        }

        return TypedResults.Ok(InclusionProof.Of(log, log.Read(index, of), current, of));
    }

    internal static ProblemHttpResult NotOpen(AuditConsumer consumer) => TypedResults.Problem(consumer.Problem, statusCode: 503);

    private static async Task<ReadOnlyMemory<byte>?> ReadBodyAsync(HttpRequest request, CancellationToken cancellationToken)
    {
        var buffer = new byte[AuditRecordRules.MaxRequestBytes + 1];
        var length = await request.Body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken);
        return length > AuditRecordRules.MaxRequestBytes ? default(ReadOnlyMemory<byte>?) : buffer.AsMemory(0, length);
    }

    private static bool TryTime(string? text, out long? ms)
    {
        ms = null;
        if (text is null)
        {
            return true;
        }

        ms = long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) ? number
            : text.AsSpan().ContainsAny("Z+-") && text.Contains('T', StringComparison.Ordinal)
                && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time.ToUnixTimeMilliseconds()
            : null;
        return ms is not null;
    }
}
