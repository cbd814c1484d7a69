using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Platform.Identity;
using Yizhan.Transparency;

namespace Yizhan.Audit;

/// <summary>The tree as C2SP tlog-tiles has it, proofs of growth, and the check of the whole log.</summary>
internal static class TreeEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/checkpoint", Checkpoint).Needs(Permission.ReadAudit);
        routes.MapGet("/witnessed", Witnessed).Needs(Permission.ReadAudit);
        routes.MapGet("/key", Key).Needs(Permission.ReadAudit);
        routes.MapGet("/tile/{**path}", Tile).Needs(Permission.ReadAudit);
        routes.MapGet("/payload/{**path}", Payload).Needs(Permission.ReadAudit);
        routes.MapGet("/tombstone", Tombstones).Needs(Permission.ReadAudit);
        routes.MapGet("/tombstone/{name}", TombstoneNote).Needs(Permission.ReadAudit);
        routes.MapGet("/consistency", Consistency).Needs(Permission.ReadAudit);
        routes.MapGet("/verify", VerifyAsync).Needs(Permission.ReadAudit);
    }

    private static Results<ContentHttpResult, ProblemHttpResult> Checkpoint(AuditConsumer consumer, HttpResponse response)
    {
        if (consumer.Log is not { } log)
        {
            return RecordEndpoints.NotOpen(consumer);
        }

        response.Headers.CacheControl = "no-cache";
        return TypedResults.Text(System.Text.Encoding.UTF8.GetString(log.Current.Note), "text/plain", System.Text.Encoding.UTF8);
    }

    private static Results<FileContentHttpResult, ProblemHttpResult> Witnessed(AuditConsumer consumer) =>
        consumer.Log is not { } log ? RecordEndpoints.NotOpen(consumer)
        : log.Reader.TryReadFile(LogVerifier.WitnessedFile, SignedNote.MaxBytes) is { } note ? TypedResults.File(note, "text/plain")
        : TypedResults.Problem("No witness has cosigned this log yet.", statusCode: 404);

    private static Results<ContentHttpResult, ProblemHttpResult> Key(AuditConsumer consumer) =>
        consumer.Log is { } log ? TypedResults.Text($"{log.Key}\n", "text/plain") : RecordEndpoints.NotOpen(consumer);

    private static Results<FileContentHttpResult, ProblemHttpResult> Tile(AuditConsumer consumer, string path, HttpResponse response)
    {
        if (consumer.Log is not { } log)
        {
            return RecordEndpoints.NotOpen(consumer);
        }

        if (!TileAddress.TryParse($"tile/{path}", out var tile) || !tile.IsWithin(log.Current.Checkpoint.Size) || log.Reader.TryRead(tile) is not { } bytes)
        {
            return TypedResults.Problem($"There is no 'tile/{path}' in a tree of size {log.Current.Checkpoint.Size}.", statusCode: 404);
        }

        // What a checkpoint covers never changes, so anybody may keep it.
        response.Headers.CacheControl = "public, max-age=31536000, immutable";
        return TypedResults.File(bytes.ToArray(), "application/octet-stream");
    }

    /// <summary>The sealed records of 256 entries. They say nothing without the keys.</summary>
    private static Results<FileStreamHttpResult, ProblemHttpResult> Payload(AuditConsumer consumer, string path) =>
        consumer.Log is not { } log ? RecordEndpoints.NotOpen(consumer)
        : TileAddress.TryParse($"tile/entries/{path}", out var tile) && tile.IsFull && log.Reader.TryOpen(AuditLeaf.PayloadPath(tile)) is { } file
            ? TypedResults.File(file, "application/octet-stream")
            : TypedResults.Problem($"There is no 'payload/{path}'.", statusCode: 404);

    /// <summary>Names of the tombstones, one on each line.</summary>
    private static Results<ContentHttpResult, ProblemHttpResult> Tombstones(AuditConsumer consumer) => consumer.Log is { } log
        ? TypedResults.Text(string.Concat(log.Files.Names(Tombstone.Folder).Select(n => n + "\n")), "text/plain")
        : RecordEndpoints.NotOpen(consumer);

    private static Results<FileContentHttpResult, ProblemHttpResult> TombstoneNote(AuditConsumer consumer, string name) =>
        consumer.Log is not { } log ? RecordEndpoints.NotOpen(consumer)
        : log.Files.Names(Tombstone.Folder).Contains(name) && log.Reader.TryReadFile($"{Tombstone.Folder}/{name}", SignedNote.MaxBytes) is { } note
            ? TypedResults.File(note, "text/plain")
            : TypedResults.Problem($"There is no tombstone '{name}'.", statusCode: 404);

    private static Results<Ok<ConsistencyProof>, ProblemHttpResult> Consistency(AuditConsumer consumer, long from, long? to)
    {
        if (consumer.Log is not { } log)
        {
            return RecordEndpoints.NotOpen(consumer);
        }

        var size = log.Current.Checkpoint.Size;
        var until = to ?? size;
        if (from < 1 || from > until || until > size)
        {
            return TypedResults.Problem($"from is {from} and to is {until}; accepted: 1 ≤ from ≤ to ≤ {size}.", statusCode: 400);
        }

        var proofs = log.Reader.Proofs(until);
        return TypedResults.Ok(new ConsistencyProof(
            from, until, proofs.Root(from).ToBase64(), proofs.Root(until).ToBase64(), [.. proofs.Consistency(from, until).Select(h => h.ToBase64())]));
    }

    /// <summary>Checks every entry, one request at a time. Lines of JSON: how far it is, once a second, and last what was found.</summary>
    private static async Task VerifyAsync(AuditConsumer consumer, TimeProvider clock, HttpContext context, CancellationToken cancellationToken)
    {
        if (consumer.Log is not { } log)
        {
            await RecordEndpoints.NotOpen(consumer).ExecuteAsync(context);
            return;
        }

        if (!await consumer.Verification.WaitAsync(0, cancellationToken))
        {
            await TypedResults.Problem("The log is being verified for somebody else.", statusCode: 429).ExecuteAsync(context);
            return;
        }

        try
        {
            context.Response.ContentType = "application/x-ndjson";
            var progress = new Progress();
            var (files, trust) = (log.Files, new LogTrust(log.Key));
            var verification = Task.Run(() => LogVerifier.Verify(files, trust, progress, cancellationToken), cancellationToken);
            using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1), clock);
            var tick = timer.WaitForNextTickAsync(cancellationToken).AsTask();
            while (await Task.WhenAny(verification, tick) == tick)
            {
                await tick;
                tick = timer.WaitForNextTickAsync(cancellationToken).AsTask();
                await WriteLineAsync(context, new VerifyLine(progress.Checked, null, null, null, null, null), cancellationToken);
            }

            var found = await verification;
            await WriteLineAsync(
                context,
                new VerifyLine(found.EntriesChecked, found.Ok, found.Problem, found.BadEntry, found.Checkpoint?.Size, found.Remarks),
                cancellationToken);
        }
        finally
        {
            consumer.Verification.Release();
        }
    }

    private static async Task WriteLineAsync(HttpContext context, VerifyLine line, CancellationToken cancellationToken)
    {
        await context.Response.Body.WriteAsync(JsonSerializer.SerializeToUtf8Bytes(line, AuditJson.Default.VerifyLine), cancellationToken);
        await context.Response.WriteAsync("\n", cancellationToken);
        await context.Response.Body.FlushAsync(cancellationToken);
    }

    private sealed class Progress : IProgress<long>
    {
        private long _checked;

        public long Checked => Volatile.Read(ref _checked);

        public void Report(long value) => Volatile.Write(ref _checked, value);
    }
}
