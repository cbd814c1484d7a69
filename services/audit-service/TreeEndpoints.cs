using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Audit.Tree;

namespace Yizhan.Audit;

/// <summary>The tree as C2SP tlog-tiles has it, proofs of growth, and the check of the whole log.</summary>
internal static class TreeEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/checkpoint", Checkpoint);
        routes.MapGet("/key", Key);
        routes.MapGet("/tile/{**path}", Tile);
        routes.MapGet("/consistency", Consistency);
        routes.MapGet("/verify", VerifyAsync);
    }

    internal static string Base64(TreeHash hash) => Convert.ToBase64String(hash.ToArray());

    private static Results<ContentHttpResult, ProblemHttpResult> Checkpoint(AuditConsumer consumer, HttpResponse response)
    {
        if (consumer.Log is not { } log)
        {
            return RecordEndpoints.NotOpen(consumer);
        }

        response.Headers.CacheControl = "no-cache";
        return TypedResults.Text(System.Text.Encoding.UTF8.GetString(log.Current.Note), "text/plain", System.Text.Encoding.UTF8);
    }

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
            from, until, Base64(proofs.Root(from)), Base64(proofs.Root(until)), [.. proofs.Consistency(from, until).Select(Base64)]));
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
            var (folder, key) = (log.TreeFolder, log.Key);
            var verification = Task.Run(() => AuditVerifier.Verify(folder, key, [], progress, cancellationToken), cancellationToken);
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
