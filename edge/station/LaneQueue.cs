using Yizhan.Link;
using Yizhan.Storage;

namespace Yizhan.Station;

/// <summary>
/// The part of a lane that is in memory: entries after the confirmed one, at most <see cref="LinkRoutes.MaxBatchEntries"/>, with
/// the transfers of their blobs. Used by the shipper's loop only.
/// </summary>
internal sealed class LaneQueue(Lane lane, int weight, Random random)
{
    /// <summary>How many entries ahead their blobs are asked for and sent.</summary>
    private const int BlobsAhead = 64;

    private const long MaxWindowBytes = 2 * 1024 * 1024;

    public Lane Lane { get; } = lane;

    public int Weight { get; } = weight;

    /// <summary>Everything up to this sequence is confirmed by the centre.</summary>
    public long Mark { get; private set; }

    /// <summary>Last sequence in <see cref="Window"/>.</summary>
    public long ReadTo { get; private set; }

    public List<Pending> Window { get; } = [];

    /// <summary>A batch is under way. One at a time: the next one would meet a gap if this one failed.</summary>
    public bool Sending { get; set; }

    /// <summary>A question about missing bytes is under way.</summary>
    public bool Asking { get; set; }

    /// <summary>The centre asked for patience, or an entry was refused.</summary>
    public bool Paused { get; set; }

    /// <summary>Why nothing of this lane can be sent before an operator acts; null while all is well.</summary>
    public string? Blocked { get; set; }

    /// <summary>Last refusal, for people; null since the last success.</summary>
    public string? Error { get; set; }

    /// <summary>True when there is something to send that is held up by answers only.</summary>
    public bool Waits => Window.Count > 0 && !Paused && Blocked is null;

    /// <summary>Bytes that this lane may still send in its round; below zero after it sent on credit.</summary>
    public long Deficit { get; set; }

    public BackOff BackOff { get; } = new(random);

    /// <summary>True when more should be read: there is room for half a window of entries, and for their data.</summary>
    public bool HasRoom =>
        Blocked is null && Window.Count < LinkRoutes.MaxBatchEntries / 2 && Window.Sum(p => p.Bytes) < MaxWindowBytes;

    /// <summary>Begins again after a mark; what was read is forgotten.</summary>
    public void Restart(long mark)
    {
        (Mark, ReadTo) = (mark, mark);
        Window.Clear();
        (Sending, Asking, Paused, Blocked, Deficit) = (false, false, false, null, 0);
    }

    public void Add(Pending pending)
    {
        Window.Add(pending);
        ReadTo = pending.Sequence;
    }

    /// <summary>The centre confirmed everything up to a sequence; returns what left the window.</summary>
    public List<Pending> Confirm(long mark)
    {
        var count = Window.FindIndex(p => p.Sequence > mark) is var i && i < 0 ? Window.Count : i;
        var gone = Window.GetRange(0, count);
        Window.RemoveRange(0, count);
        Mark = Math.Max(Mark, mark);
        ReadTo = Math.Max(ReadTo, mark);
        return gone;
    }

    /// <summary>What this lane would send next; null when nothing can leave now.</summary>
    /// <param name="maxRunBytes">Largest run of chunks.</param>
    /// <param name="maxBatchBytes">Largest batch; one entry may be larger.</param>
    public Candidate? Peek(int maxRunBytes, long maxBatchBytes)
    {
        if (Paused || Blocked is not null)
        {
            return null;
        }

        if (!Sending && PeekBatch(maxBatchBytes) is { } batch)
        {
            return batch;
        }

        foreach (var pending in Window.Take(BlobsAhead))
        {
            foreach (var transfer in pending.Transfers)
            {
                if (transfer is { State: TransferState.Sending } && transfer.Ranges.TryPeek(out var range))
                {
                    var length = (int)Math.Min(range.Length, maxRunBytes);
                    return new Candidate(length, Count: 0, transfer, range with { Length = length });
                }
            }
        }

        return null;
    }

    /// <summary>Blobs about which the centre has to be asked; empty when there is none or a question is under way.</summary>
    public List<Transfer> Unknown() => Paused || Asking || Blocked is not null
        ? []
        : [.. Window.Take(BlobsAhead).SelectMany(p => p.Transfers)
            .Where(t => t.State == TransferState.Unknown).Distinct().Take(LinkRoutes.MaxQuestionBlobs)];

    private Candidate? PeekBatch(long maxBytes)
    {
        var (count, bytes) = (0, 0L);
        while (count < Window.Count && count < LinkRoutes.MaxBatchEntries && Window[count].Ready
            && (count == 0 || bytes + Window[count].Bytes <= maxBytes))
        {
            bytes += Window[count++].Bytes;
        }

        return count == 0 ? null : new Candidate(bytes, count, null, default);
    }
}

/// <summary>The next unit of a lane: a batch of the first <paramref name="Count"/> entries, or a run of a blob.</summary>
internal readonly record struct Candidate(long Bytes, int Count, Transfer? Transfer, ByteRange Range);

/// <summary>One entry that is not confirmed yet.</summary>
internal sealed class Pending(LoggedEntry logged, Entry entry, IReadOnlyList<Transfer> transfers)
{
    // Columns and lengths of the framing, roughly.
    private const int Overhead = 100;

    public LoggedEntry Logged { get; } = logged;

    public long Sequence => Logged.Identity.Sequence;

    /// <summary>What is sent: the entry as logged, or its tombstone.</summary>
    public Entry Entry { get; } = entry;

    public IReadOnlyList<Transfer> Transfers { get; } = transfers;

    public long Bytes { get; } = entry.Data.Length + (entry.Blobs.Count * 40L) + Overhead;

    /// <summary>How often it was refused for ever.</summary>
    public int Refusals { get; set; }

    /// <summary>True when the centre has all its blobs.</summary>
    public bool Ready => Transfers.All(t => t.State == TransferState.Complete);
}

internal enum TransferState
{
    /// <summary>The centre has to be asked what it lacks.</summary>
    Unknown,

    /// <summary>It was asked; ranges wait or are under way.</summary>
    Sending,

    /// <summary>It has everything.</summary>
    Complete,
}

/// <summary>One blob on its way; entries of all lanes that name the same blob share it.</summary>
internal sealed class Transfer(BlobRef blob) : IAsyncDisposable
{
    private Task<BlobReader?>? _reader;

    public BlobRef Blob { get; } = blob;

    public TransferState State { get; set; }

    /// <summary>Ranges that the centre lacks and that are not under way.</summary>
    public Queue<ByteRange> Ranges { get; } = new();

    /// <summary>Runs under way.</summary>
    public int Runs { get; set; }

    /// <summary>Entries in some window that name it.</summary>
    public int Users { get; set; }

    /// <summary>Takes a run off the ranges.</summary>
    public void Take(ByteRange run)
    {
        var range = Ranges.Dequeue();
        Runs++;
        if (range.Length > run.Length)
        {
            // The rest goes first again, so that a blob is read and written in order.
            var rest = new ByteRange(range.Offset + run.Length, range.Length - run.Length);
            var others = Ranges.ToArray();
            Ranges.Clear();
            Ranges.Enqueue(rest);
            foreach (var other in others)
            {
                Ranges.Enqueue(other);
            }
        }
    }

    /// <summary>The blob in the site's own store; null when it is not there.</summary>
    public Task<BlobReader?> OpenAsync(IBlobStore blobs) => _reader ??= blobs.OpenAsync(Blob.Hash, CancellationToken.None).AsTask();

    public async ValueTask DisposeAsync()
    {
        if (_reader is { } opening && await opening is { } reader)
        {
            await reader.DisposeAsync();
        }

        _reader = null;
    }
}
