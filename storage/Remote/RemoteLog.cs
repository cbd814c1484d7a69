using System.Globalization;
using System.Net.Http.Headers;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Yizhan.Storage;

/// <summary>The event log of another process (<see cref="SharedLog"/>), with the promises of one's own: acknowledged is durable on the owner's disk.</summary>
/// <remarks>
/// An append whose answer was lost is sent again, and the log knows its entries by their ids; the receipt then says that they were known. What the
/// properties say is as old as the last answer, which has everything that this process did.
/// </remarks>
internal sealed class RemoteLog(LogLine line, RemoteBlobs blobs) : IEventLog
{
    public string Site => line.State.Site;

    public Guid Epoch => line.State.Epoch;

    public long LastPosition => line.State.Position;

    public SpaceUsage Space => line.State.Space;

    public async ValueTask<IReadOnlyList<Receipt>> AppendAsync(IReadOnlyList<Entry> entries, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (entries.Count == 0)
        {
            return [];
        }

        var body = Body(entries.Sum(e => (long)e.Data.Length), [.. entries.Select(WireEntry.Of)], LogWireJson.Default.WireEntryArray);
        try
        {
            // Not cancelled from here on: the caller shall know whether it is in the log.
            return await line.AskAsync(HttpMethod.Post, "entries", body, LogLine.Json(LogWireJson.Default.ReceiptArray), CancellationToken.None);
        }
        catch (BlobMissingException e) when (blobs.IsWriting(e.Blob.Hash))
        {
            throw new IOException($"The owner of the log was started again before the blob {e.Blob.Hash} was named by an entry; nothing was appended. Write it again.", e);
        }
    }

    public async ValueTask<IReadOnlyList<LoggedEntry>> ReadAsync(long afterPosition, int maxEntries, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(afterPosition);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maxEntries);
        return await EntriesAsync($"entries?after={afterPosition}&most={maxEntries}", cancellationToken);
    }

    public async ValueTask<IReadOnlyList<LoggedEntry>> ReadLaneAsync(Lane lane, long afterSequence, int maxEntries, long maxDataBytes, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(afterSequence);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maxEntries);
        return await EntriesAsync($"lanes/{lane:D}?after={afterSequence}&most={maxEntries}&bytes={maxDataBytes}", cancellationToken);
    }

    public Task WaitForMoreAsync(long position, CancellationToken cancellationToken) => line.WaitForMoreAsync(position, cancellationToken);

    public long Delivered(Lane lane) => line.State.Lanes[(int)lane].Delivered;

    public long Released(Lane lane) => line.State.Lanes[(int)lane].Released;

    public LaneUsage Usage(Lane lane) => line.State.Lanes[(int)lane].Usage;

    public async ValueTask MarkDeliveredAsync(Lane lane, long throughSequence, CancellationToken cancellationToken) =>
        await line.AskAsync(HttpMethod.Post, $"lanes/{lane:D}/delivered?through={throughSequence}", null, LogLine.Nothing, cancellationToken);

    public async ValueTask ReleaseAsync(Lane lane, long throughSequence, CancellationToken cancellationToken) =>
        await line.AskAsync(HttpMethod.Post, $"lanes/{lane:D}/released?through={throughSequence}", null, LogLine.Nothing, cancellationToken);

    public async ValueTask<long> ReceiveAsync(IReadOnlyList<LoggedEntry> entries, CancellationToken cancellationToken) => await line.AskAsync(
        HttpMethod.Post, "received", Body(entries.Sum(e => (long)e.Entry.Data.Length), [.. entries.Select(WireLogged.Of)], LogWireJson.Default.WireLoggedArray),
        LogLine.Json(LogWireJson.Default.Int64), cancellationToken);

    public async ValueTask<long> HighWaterMarkAsync(string site, Guid epoch, Lane lane, CancellationToken cancellationToken) => await line.AskAsync(
        HttpMethod.Get, $"marks/{Uri.EscapeDataString(site)}/{epoch}/{lane:D}", null, LogLine.Json(LogWireJson.Default.Int64), cancellationToken);

    public ValueTask DisposeAsync() => line.DisposeAsync();

    private async Task<IReadOnlyList<LoggedEntry>> EntriesAsync(string path, CancellationToken cancellationToken)
    {
        var entries = await line.AskAsync(HttpMethod.Get, path, null, LogLine.Json(LogWireJson.Default.WireLoggedArray), cancellationToken);
        return [.. entries.Select(entry => entry.Read())];
    }

    /// <summary>Written once, sent as often as it takes.</summary>
    private static Func<HttpContent> Body<T>(long dataBytes, T[] value, JsonTypeInfo<T[]> type)
    {
        if (dataBytes > WireBounds.MaxAppendBytes)
        {
            throw new ArgumentException(string.Create(CultureInfo.InvariantCulture, $"The entries have {dataBytes} bytes of data; at most {WireBounds.MaxAppendBytes} go to another process at once."));
        }

        var json = JsonSerializer.SerializeToUtf8Bytes(value, type);
        return () => new ByteArrayContent(json) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };
    }
}
