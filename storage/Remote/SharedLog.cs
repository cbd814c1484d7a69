using System.Buffers;
using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Platform.Flows;
using Yizhan.Platform.Identity;

namespace Yizhan.Storage;

/// <summary>
/// The event log of this process for other services of the installation, over TLS with certificates at both ends. Who may is a line of the flow list with
/// <c>as: log</c>; nobody comes in by a token. An answer to an append is sent after the flush.
/// </summary>
public static class SharedLog
{
    /// <summary>Header with the length of a blob of which a piece is answered.</summary>
    internal const string BlobLength = "Yizhan-Blob-Length";

    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(30);

    /// <summary>Maps <c>/log/shared</c> below the routes of the module that owns the log; nothing where services do not speak TLS with each other.</summary>
    public static void MapSharedLog(this IEndpointRouteBuilder routes)
    {
        if (routes.ServiceProvider.GetService<ServiceTls>() is null)
        {
            return;
        }

        var boot = Guid.CreateVersion7(routes.ServiceProvider.GetRequiredService<TimeProvider>().GetUtcNow());
        var version = 0L;
        var log = routes.MapGroup("/log/shared").ExcludeFromDescription().Needs(Permission.ShareLog).AddEndpointFilter(async (context, next) =>
        {
            object? answer;
            try
            {
                answer = await next(context);
            }
            catch (Exception e) when (WireRefusal.Of(e) is { } refusal)
            {
                answer = TypedResults.Json(refusal, LogWireJson.Default.WireRefusal, statusCode: refusal.Status);
            }

            // After the work: what a caller reads of the log's properties has what it just did.
            var state = LogStand.Of(boot, Interlocked.Increment(ref version), context.HttpContext.RequestServices.GetRequiredService<IEventLog>());
            context.HttpContext.Response.Headers[LogStand.Header] = JsonSerializer.Serialize(state, LogWireJson.Default.LogStand);
            return answer;
        });
        log.MapGet("/state", WaitAsync);
        log.MapPost("/entries", AppendAsync).WithMetadata(new RequestSizeLimitAttribute(WireBounds.MaxBodyBytes));
        log.MapGet("/entries", ReadAsync);
        log.MapGet("/lanes/{lane}", ReadLaneAsync);
        log.MapPut("/writers/{id}", WriteAsync);
        log.MapDelete("/writers/{id}", async (string id, SharedBlobs blobs) => await blobs.EndWriterAsync(id));
        log.MapGet("/readers/{id}/{hash}", ReadBlobAsync);
        log.MapDelete("/readers/{id}", async (string id, SharedBlobs blobs) => await blobs.EndReaderAsync(id));
        log.MapPost("/pins", async (WirePins pins, IBlobStore blobs) => await blobs.PinAsync(Hashes(pins), pins.Holder, CancellationToken.None));
        log.MapPost("/unpins", async (WirePins pins, IBlobStore blobs) => await blobs.UnpinAsync(Hashes(pins), pins.Holder, CancellationToken.None));
        log.MapGet("/blobs/{hash}/missing", MissingAsync);
        log.MapPut("/blobs/{hash}", PutAsync).Needs(Permission.KeepLog).WithMetadata(new RequestSizeLimitAttribute(8 * 1024 * 1024));
        log.MapPost("/turns/{name}", async (string name, HttpRequest request, TurnBook turns) =>
            TypedResults.Json(await TakeAsync(name, request, turns), LogWireJson.Default.WireTurnTaken)).WithMetadata(new RequestSizeLimitAttribute(2 * TurnBook.MaxStateBytes));
        log.MapDelete("/turns/{name}", (string name, Guid holder, TurnBook turns) => turns.Leave(name, holder));
        log.MapGet("/marks/{site}/{epoch:guid}/{lane}", async (string site, Guid epoch, Lane lane, IEventLog events, CancellationToken cancellationToken) =>
            Answer(await events.HighWaterMarkAsync(site, epoch, lane, cancellationToken)));
        log.MapPost("/received", ReceiveAsync).Needs(Permission.KeepLog).WithMetadata(new RequestSizeLimitAttribute(WireBounds.MaxBodyBytes));
        log.MapPost("/lanes/{lane}/delivered", async (Lane lane, long through, IEventLog events) => await events.MarkDeliveredAsync(lane, through, CancellationToken.None)).Needs(Permission.KeepLog);
        log.MapPost("/lanes/{lane}/released", async (Lane lane, long through, IEventLog events) => await events.ReleaseAsync(lane, through, CancellationToken.None)).Needs(Permission.KeepLog);
        log.MapPost("/orphans/released", async (DateTimeOffset before, IBlobStore blobs) => await blobs.ReleaseOrphansAsync(before, CancellationToken.None)).Needs(Permission.KeepLog);
    }

    /// <summary>Answers when the log has more than a position, or after a while; the state is in the header.</summary>
    private static async Task<NoContent> WaitAsync(IEventLog log, TimeProvider clock, CancellationToken cancellationToken, long after = -1, double seconds = 0)
    {
        if (seconds > 0)
        {
            using var enough = new CancellationTokenSource(TimeSpan.FromSeconds(Math.Min(seconds, LongestWait.TotalSeconds)), clock);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(enough.Token, cancellationToken);
            try
            {
                await log.WaitForMoreAsync(after, either.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
            }
        }

        return TypedResults.NoContent();
    }

    /// <summary>Answers after the flush. A caller that goes away meanwhile takes nothing back.</summary>
    private static async Task<JsonHttpResult<Receipt[]>> AppendAsync(HttpRequest request, IEventLog log)
    {
        var entries = await BodyAsync(request, LogWireJson.Default.WireEntryArray);
        return TypedResults.Json<Receipt[]>([.. await log.AppendAsync([.. entries.Select(entry => entry.Read())], CancellationToken.None)], LogWireJson.Default.ReceiptArray);
    }

    private static async Task<JsonHttpResult<WireLogged[]>> ReadAsync(IEventLog log, long after, int most, CancellationToken cancellationToken) =>
        Entries(await log.ReadAsync(after, Math.Min(most, WireBounds.MaxEntries), cancellationToken));

    private static async Task<JsonHttpResult<WireLogged[]>> ReadLaneAsync(Lane lane, IEventLog log, long after, int most, long bytes, CancellationToken cancellationToken) =>
        Entries(await log.ReadLaneAsync(lane, after, Math.Min(most, WireBounds.MaxEntries), Math.Min(bytes, WireBounds.MaxAppendBytes), cancellationToken));

    private static async Task<JsonHttpResult<WireWritten>> WriteAsync(string id, Lane lane, long offset, bool last, HttpRequest request, SharedBlobs blobs, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(WireBounds.MaxPieceBytes + 1);
        try
        {
            var length = await BytesAsync(request, buffer.AsMemory(0, WireBounds.MaxPieceBytes + 1), WireBounds.MaxPieceBytes, cancellationToken);
            var blob = await blobs.WriteAsync(id, lane, offset, buffer.AsMemory(0, length), last, cancellationToken);
            return TypedResults.Json(new WireWritten(blob is { } whole ? WireBlob.Of(whole) : null), LogWireJson.Default.WireWritten);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>At most a piece from an offset. 204: the blob is not here.</summary>
    private static async Task<Results<Piece, NoContent>> ReadBlobAsync(
        string id, string hash, long offset, int length, SharedBlobs blobs, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(WireBounds.MaxPieceBytes);
        try
        {
            // Read first: a chunk that fails its checksum is a refusal, not an answer that breaks off.
            if (await blobs.ReadAsync(id, Hash(hash), offset, buffer.AsMemory(0, Math.Clamp(length, 0, WireBounds.MaxPieceBytes)), cancellationToken) is { } read)
            {
                var piece = new Piece(buffer, read.Read, read.Length);
                buffer = null;
                return piece;
            }

            return TypedResults.NoContent();
        }
        finally
        {
            if (buffer is not null)
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        }
    }

    private static async Task<JsonHttpResult<ByteRange[]>> MissingAsync(string hash, long length, IBlobStore blobs, CancellationToken cancellationToken) =>
        TypedResults.Json<ByteRange[]>([.. await blobs.MissingAsync(new BlobRef(Hash(hash), length), cancellationToken)], LogWireJson.Default.ByteRangeArray);

    private static async Task<JsonHttpResult<bool>> PutAsync(string hash, long length, long offset, HttpRequest request, IBlobStore blobs, CancellationToken cancellationToken)
    {
        const int most = 4 * 1024 * 1024;
        var buffer = ArrayPool<byte>.Shared.Rent(most + 1);
        try
        {
            var read = await BytesAsync(request, buffer.AsMemory(0, most + 1), most, cancellationToken);
            return TypedResults.Json(await blobs.PutAsync(new BlobRef(Hash(hash), length), offset, buffer.AsMemory(0, read), CancellationToken.None), LogWireJson.Default.Boolean);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static async Task<JsonHttpResult<long>> ReceiveAsync(HttpRequest request, IEventLog log)
    {
        var entries = await BodyAsync(request, LogWireJson.Default.WireLoggedArray);
        return Answer(await log.ReceiveAsync([.. entries.Select(entry => entry.Read())], CancellationToken.None));
    }

    private static async Task<WireTurnTaken> TakeAsync(string name, HttpRequest request, TurnBook turns)
    {
        try
        {
            var asked = await JsonSerializer.DeserializeAsync(request.Body, LogWireJson.Default.WireTurnAsked, request.HttpContext.RequestAborted) ?? throw new ArgumentException("The body is null.");
            return turns.Take(name, asked.Holder, asked.Keeps, asked.State);
        }
        catch (JsonException e)
        {
            throw new ArgumentException($"The body is not what this takes: {e.Message}", e);
        }
    }

    private static JsonHttpResult<long> Answer(long number) => TypedResults.Json(number, LogWireJson.Default.Int64);

    private static JsonHttpResult<WireLogged[]> Entries(IReadOnlyList<LoggedEntry> entries) =>
        TypedResults.Json<WireLogged[]>([.. entries.Select(WireLogged.Of)], LogWireJson.Default.WireLoggedArray);

    private static ContentHash[] Hashes(WirePins pins) => [.. pins.Hashes.Select(Hash)];

    private static ContentHash Hash(string text) => ContentHash.TryParse(text, out var hash) ? hash : throw new ArgumentException($"'{text}' is no SHA-256 of 64 hex digits.");

    private static async Task<T[]> BodyAsync<T>(HttpRequest request, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T[]> type)
    {
        try
        {
            return await JsonSerializer.DeserializeAsync(request.Body, type, request.HttpContext.RequestAborted) ?? [];
        }
        catch (JsonException e)
        {
            throw new ArgumentException($"The body is not what this takes: {e.Message}", e);
        }
    }

    private static async Task<int> BytesAsync(HttpRequest request, Memory<byte> buffer, int most, CancellationToken cancellationToken)
    {
        var read = await request.Body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken);
        return read > most ? throw new ArgumentException($"More than {most} bytes were sent in one piece.")
            : request.ContentLength is { } said && said != read ? throw new ArgumentException($"{said} bytes were announced and {read} came.") : read;
    }

    /// <summary>Bytes of a blob, from a buffer that goes back to the pool; the length of the whole blob is in a header.</summary>
    private sealed class Piece(byte[] buffer, int length, long blobLength) : IResult
    {
        public async Task ExecuteAsync(HttpContext httpContext)
        {
            try
            {
                httpContext.Response.ContentType = "application/octet-stream";
                httpContext.Response.ContentLength = length;
                httpContext.Response.Headers[BlobLength] = blobLength.ToString(CultureInfo.InvariantCulture);
                await httpContext.Response.Body.WriteAsync(buffer.AsMemory(0, length), httpContext.RequestAborted);
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        }
    }
}
