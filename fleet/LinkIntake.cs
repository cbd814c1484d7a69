using System.Diagnostics;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Link;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Telemetry;
using Yizhan.Storage;

namespace Yizhan.Fleet;

/// <summary>
/// Takes what sites send. It knows nothing of HTTP: <see cref="LinkEndpoints"/> calls it in production, and a simulation calls
/// it directly. Every answer comes after what it says is durable.
/// </summary>
public sealed partial class LinkIntake(
    IEventLog log, IBlobStore blobs, SiteRegistry sites, SafePoint safePoint, IOptions<FleetOptions> options, ILogger<LinkIntake> logger)
{
    private const int MaxTextChars = 200;
    private const int MaxBlobs = 4096;

    private readonly ILogger _logger = logger;

    /// <summary>The caller's high-water marks.</summary>
    public async Task<LinkMarks> MarksAsync(SitePrincipal site, Guid epoch, CancellationToken cancellationToken)
    {
        sites.Contact(site.SiteId);
        var marks = new long[Enum.GetValues<Lane>().Length];
        foreach (var lane in Enum.GetValues<Lane>())
        {
            marks[(int)lane] = await log.HighWaterMarkAsync(site.SiteId, epoch, lane, cancellationToken);
        }

        return new LinkMarks(epoch, marks, safePoint.Of(site.SiteId, epoch), sites.Taken(site.SiteId, epoch));
    }

    /// <summary>Takes a batch and returns the lane's mark once the entries would survive a power cut.</summary>
    /// <exception cref="LinkRefusedException">
    /// 403 another site's batch · 409 a gap before the batch, with the mark · 422 an entry that can never be taken; those before it
    /// were · 424 a blob is not complete · 507 no room.
    /// </exception>
    public async Task<LinkMark> TakeAsync(SitePrincipal site, EntryBatch batch, CancellationToken cancellationToken)
    {
        sites.Contact(site.SiteId);
        Belongs(site, batch.Site);
        var refusal = batch.Entries.Select(Refusal).ToList();
        var good = refusal.FindIndex(reason => reason is not null) is var first && first < 0 ? batch.Entries.Count : first;
        var mark = good > 0
            ? await ReceiveAsync(batch, good, cancellationToken)
            : await log.HighWaterMarkAsync(batch.Site, batch.Epoch, (Lane)batch.Lane, cancellationToken);
        if (mark + 1 < batch.FirstSequence)
        {
            throw Refused(409, "The batch begins after a gap.", $"The next sequence is {mark + 1}, not {batch.FirstSequence}.", mark);
        }

        // A batch that is sent again may hold an entry which was replaced by a tombstone meanwhile: what is below the mark is settled.
        var sequence = batch.FirstSequence + good;
        if (good < batch.Entries.Count && mark < sequence)
        {
            EntryRefused(site.SiteId, (Lane)batch.Lane, sequence, refusal[good]!);
            throw new LinkRefusedException(new LinkProblem(
                422, "An entry can never be taken.", refusal[good], Mark: mark, Sequence: sequence));
        }

        return new LinkMark(mark);
    }

    /// <summary>Says which bytes of some blobs are missing.</summary>
    /// <exception cref="LinkRefusedException">400 too many blobs, or one that is none · 422 another length is known for a hash.</exception>
    public async Task<MissingAnswer> MissingAsync(SitePrincipal site, MissingQuestion question, CancellationToken cancellationToken)
    {
        sites.Contact(site.SiteId);
        if (question.Blobs is not { Count: > 0 and <= LinkRoutes.MaxQuestionBlobs })
        {
            throw Refused(400, "Wrong number of blobs.", $"{question.Blobs?.Count ?? 0} were asked for; 1 to {LinkRoutes.MaxQuestionBlobs} may be.");
        }

        var answers = new List<IReadOnlyList<LinkRange>>(question.Blobs.Count);
        foreach (var asked in question.Blobs)
        {
            var missing = await WithBlobAsync(Blob(asked.Sha256, asked.Length), blob => blobs.MissingAsync(blob, cancellationToken));
            answers.Add([.. missing.Take(LinkRoutes.MaxAnswerRanges).Select(r => new LinkRange(r.Offset, r.Length))]);
        }

        return new MissingAnswer(answers);
    }

    /// <summary>Takes a run of chunks; returns once it would survive a power cut.</summary>
    /// <param name="site">Who sends.</param>
    /// <param name="sha256">Hash of the whole blob.</param>
    /// <param name="length">Length of the whole blob.</param>
    /// <param name="index">First chunk of the run.</param>
    /// <param name="run">Whole chunks, at most 4 MiB; only the blob's last may be shorter.</param>
    /// <param name="cancellationToken">Stops the wait.</param>
    /// <exception cref="LinkRefusedException">
    /// 400 a run outside the blob · 422 the blob is complete and its hash is wrong: it starts again · 507 no room.
    /// </exception>
    public async Task<ChunkAnswer> PutAsync(
        SitePrincipal site, string sha256, long length, long index, ReadOnlyMemory<byte> run, CancellationToken cancellationToken)
    {
        sites.Contact(site.SiteId);
        var whole = Blob(sha256, length);
        const long Chunk = IBlobStore.ChunkBytes;
        if (index < 0 || run.IsEmpty != (length == 0) || index > length / Chunk || run.Length > length - (index * Chunk)
            || (run.Length % Chunk != 0 && (index * Chunk) + run.Length != length))
        {
            throw Refused(400, "The run does not fit the blob.",
                $"{run.Length} bytes from chunk {index} of {length} bytes; a run has whole chunks of {Chunk} bytes, but for the last.");
        }

        var complete = await WithBlobAsync(whole, blob => blobs.PutAsync(blob, index * Chunk, run, cancellationToken));
        return new ChunkAnswer(complete);
    }

    /// <summary>Notes what a site says about itself.</summary>
    /// <exception cref="LinkRefusedException">403 another site's status.</exception>
    public void Report(SitePrincipal site, SiteStatus status)
    {
        Belongs(site, status.SiteId);
        sites.Report(status);
    }

    private async Task<long> ReceiveAsync(EntryBatch batch, int count, CancellationToken cancellationToken)
    {
        var entries = new LoggedEntry[count];
        for (var i = 0; i < count; i++)
        {
            var sequence = batch.FirstSequence + i;
            entries[i] = new LoggedEntry(
                0, new EntryIdentity(batch.Site, batch.Epoch, (Lane)batch.Lane, sequence), ToEntry((Lane)batch.Lane, batch.Entries[i]));
        }

        using var hops = Tracing.Continue("take", ActivityKind.Consumer, entries.Select(e => e.Entry.TraceParent));
        try
        {
            var mark = await log.ReceiveAsync(entries, cancellationToken);
            if (mark == entries[^1].Identity.Sequence)
            {
                await sites.TookAsync(batch.Site, batch.Epoch, batch.Lane, LinkTaken.Of(mark, batch.Entries[count - 1].Id));
            }

            return mark;
        }
        catch (BlobMissingException e)
        {
            throw new LinkRefusedException(new LinkProblem(
                424, "A blob is not complete here.", e.Message, Sha256: e.Blob.Hash.ToString()));
        }
        catch (SpoolFullException e)
        {
            throw Full(e);
        }
    }

    private async Task<T> WithBlobAsync<T>(BlobRef blob, Func<BlobRef, ValueTask<T>> act)
    {
        try
        {
            return await act(blob);
        }
        catch (ArgumentException e)
        {
            throw new LinkRefusedException(new LinkProblem(
                422, "The blob is known with another length.", e.Message, Sha256: blob.Hash.ToString()));
        }
        catch (InvalidDataException e)
        {
            throw new LinkRefusedException(new LinkProblem(
                422, "The bytes do not have this hash.", e.Message, Sha256: blob.Hash.ToString()));
        }
        catch (SpoolFullException e)
        {
            throw Full(e);
        }
    }

    private LinkRefusedException Full(SpoolFullException e) => new(new LinkProblem(
        507, "The centre has no room.", e.Message, RetryAfterSeconds: options.Value.RetryAfterSeconds));

    private void Belongs(SitePrincipal site, string claimed)
    {
        if (claimed != site.SiteId)
        {
            WrongSite(site.SiteId, claimed.Length > 63 ? claimed[..63] : claimed);
            throw Refused(403, "The body is another site's.", $"The certificate says '{site.SiteId}'.");
        }
    }

    /// <summary>Why an entry can never be taken, whatever happens here; null when it can.</summary>
    private static string? Refusal(BatchEntry entry) =>
        entry.Type.Length is 0 or > MaxTextChars ? $"Its type has {entry.Type.Length} characters; 1 to {MaxTextChars} may be."
        : entry.Id.Length is 0 or > MaxTextChars ? $"Its id has {entry.Id.Length} characters; 1 to {MaxTextChars} may be."
        : entry.Key.Length > MaxTextChars ? $"Its key has {entry.Key.Length} characters; {MaxTextChars} may be."
        : entry.TraceParent?.Length > MaxTextChars ? $"Its trace context has {entry.TraceParent.Length} characters; {MaxTextChars} may be."
        : entry.Blobs.Count > MaxBlobs ? $"It names {entry.Blobs.Count} blobs; {MaxBlobs} may be."
        : entry.Data.Length > Entry.MaxDataBytes ? $"Its data has {entry.Data.Length} bytes; {Entry.MaxDataBytes} may be."
        : entry.Blobs.Any(b => b.Length < 0) ? "A blob has a negative length."
        : !IsJson(entry.Data.Span) ? "Its data is not JSON."
        : null;

    private static bool IsJson(ReadOnlySpan<byte> data)
    {
        var reader = new Utf8JsonReader(data);
        try
        {
            while (reader.Read())
            {
            }

            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    private static Entry ToEntry(Lane lane, BatchEntry entry) =>
        new(lane, entry.Type, entry.Id, entry.Key, entry.TimeMs, entry.Data)
        {
            Blobs = [.. entry.Blobs.Select(b => new BlobRef(new ContentHash(b.Sha256.Span), b.Length))],
            TraceParent = entry.TraceParent,
        };

    private static BlobRef Blob(string sha256, long length) =>
        ContentHash.TryParse(sha256, out var hash) && length >= 0
            ? new BlobRef(hash, length)
            : throw Refused(400, "Not a blob.", "Expected 64 hex digits and a length of 0 or more bytes.");

    private static LinkRefusedException Refused(int status, string title, string detail, long? mark = null) =>
        new(new LinkProblem(status, title, detail, Mark: mark));

    [LoggerMessage(9001, LogLevel.Error, "Site {Site}, lane {Lane}: entry {Sequence} was refused for ever: {Reason}")]
    private partial void EntryRefused(string site, Lane lane, long sequence, string reason);

    [LoggerMessage(9002, LogLevel.Critical, "The certificate of site {Site} was used to send what claims to come from '{Claimed}'.")]
    private partial void WrongSite(string site, string claimed);
}
