namespace Yizhan.Storage;

/// <summary>Blobs as pieces in segment files, with their index in the journal.</summary>
internal sealed partial class BlobStore : IBlobStore
{
    private readonly Lock _gate = new();
    private readonly Journal _journal;
    private readonly SegmentFiles _segments;
    private readonly Ledger _ledger;
    private readonly S3Store? _objects;
    private readonly string _prefix;
    private readonly Dictionary<ContentHash, List<PendingBlob>> _pending = [];
    private readonly Dictionary<ContentHash, Lease> _leases = [];
    private Committer _committer = null!;

    /// <param name="journal">Their index.</param>
    /// <param name="segments">Their pieces.</param>
    /// <param name="ledger">The room that there is.</param>
    /// <param name="objects">Where segments are that are not here; null: nowhere.</param>
    /// <param name="prefix">What their names begin with there.</param>
    public BlobStore(Journal journal, SegmentFiles segments, Ledger ledger, S3Store? objects = null, string prefix = "")
    {
        (_objects, _prefix) = (objects, prefix);
        _journal = journal;
        _segments = segments;
        _ledger = ledger;
    }

    /// <summary>Committer and blob store need each other; this closes the circle at start.</summary>
    public void Use(Committer committer) => _committer = committer;

    public BlobWriter Begin(Lane lane)
    {
        _committer.ThrowIfFaulted();
        return new SegmentBlobWriter(this, _segments, _ledger, lane);
    }

    public ValueTask<BlobReader?> OpenAsync(ContentHash hash, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return new(Open(hash, evenIncomplete: false));
    }

    public async ValueTask PinAsync(IReadOnlyList<ContentHash> blobs, string holder, CancellationToken cancellationToken) =>
        await _committer.RunAsync(new Work<(BlobStore, IReadOnlyList<ContentHash>, string), bool>((this, blobs, Checked(holder)), Pin), cancellationToken);

    public async ValueTask UnpinAsync(IReadOnlyList<ContentHash> blobs, string holder, CancellationToken cancellationToken) =>
        await _committer.RunAsync(new Work<(IReadOnlyList<ContentHash>, string), bool>((blobs, Checked(holder)), Unpin), cancellationToken);

    public async ValueTask ReleaseOrphansAsync(DateTimeOffset untouchedSince, CancellationToken cancellationToken) =>
        await _committer.RunAsync(new Work<long, bool>(untouchedSince.ToUnixTimeMilliseconds(), static (before, group) =>
        {
            group.ForgetOrphansBeforeMs = Math.Max(before, group.ForgetOrphansBeforeMs ?? before);
            return true;
        }), cancellationToken);

    /// <summary>
    /// Committer: true when an entry of the group may name the blob. Then <paramref name="claimed"/> is the writer's copy of it that this needs, if
    /// it needs one; the caller gives it to <see cref="Name"/> or gives it back.
    /// </summary>
    public bool TryHold(BlobRef blob, Group group, out PendingBlob? claimed)
    {
        claimed = null;
        if (group.Blobs.TryGetValue(blob.Hash, out var change) && change.Complete)
        {
            return change.Length == blob.Length;
        }

        if (Find(blob.Hash) is { Complete: true } stored)
        {
            return stored.Length == blob.Length;
        }

        lock (_gate)
        {
            claimed = _pending.GetValueOrDefault(blob.Hash)?.Find(p => p.Length == blob.Length && !IsShredded(p.Extents) && p.TryClaim());
            return claimed is not null;
        }
    }

    /// <summary>Committer: makes a writer's blob part of the group.</summary>
    public static void Name(ContentHash hash, PendingBlob claimed, Group group)
    {
        group.Claims.Add(claimed);

        // What a transfer has brought of the same blob so far is not verified: this one is whole.
        if (group.Blobs.TryGetValue(hash, out var transfer))
        {
            group.Freed.AddRange(transfer.Added.Select(e => (hash, e)));
        }

        var change = new BlobChange { Length = claimed.Length, Complete = true, Dropped = true };
        change.Added.AddRange(claimed.Extents);
        group.Blobs[hash] = change;
    }

    /// <summary>A commit is durable: gives back what nothing names any more.</summary>
    public void Committed(Group group)
    {
        foreach (var (hash, extent) in group.Freed)
        {
            lock (_gate)
            {
                if (_leases.TryGetValue(hash, out var lease))
                {
                    lease.Deferred.Add(extent);
                    continue;
                }
            }

            _segments.Free(extent);
        }
    }

    private void Add(ContentHash hash, PendingBlob pending)
    {
        lock (_gate)
        {
            if (!_pending.TryGetValue(hash, out var list))
            {
                _pending.Add(hash, list = []);
            }

            list.Add(pending);
        }
    }

    private void Remove(ContentHash hash, PendingBlob pending)
    {
        lock (_gate)
        {
            var list = _pending[hash];
            list.Remove(pending);
            if (list.Count == 0)
            {
                _pending.Remove(hash);
            }
        }

        if (pending.TryAbandon())
        {
            Free(pending.Extents);
        }
    }

    private void Free(IEnumerable<Extent> extents)
    {
        // After a failed commit it is not known whether the journal names them.
        if (_committer.Fault is not null)
        {
            return;
        }

        foreach (var extent in extents)
        {
            _segments.Free(extent);
        }
    }

    /// <summary>
    /// The lease comes before the look-up, and a release frees only after its commit: so either the reader holds the space, or it
    /// does not find the blob.
    /// </summary>
    private SegmentBlobReader? Open(ContentHash hash, bool evenIncomplete)
    {
        lock (_gate)
        {
            if (!_leases.TryGetValue(hash, out var lease))
            {
                _leases.Add(hash, lease = new Lease());
            }

            lease.Readers++;
        }

        try
        {
            if (_journal.FindBlob(hash) is { } stored && (stored.Complete || evenIncomplete))
            {
                foreach (var extent in stored.Extents.Where(e => _segments.IsShredded(e.Segment)))
                {
                    _segments.KeyOf(extent.Segment);
                }

                return new SegmentBlobReader(_segments, _objects, _prefix, hash, stored, () => EndLease(hash));
            }
        }
        catch
        {
            EndLease(hash);
            throw;
        }

        EndLease(hash);
        return null;
    }

    private void EndLease(ContentHash hash)
    {
        List<Extent> freed;
        lock (_gate)
        {
            var lease = _leases[hash];
            if (--lease.Readers > 0)
            {
                return;
            }

            _leases.Remove(hash);
            freed = lease.Deferred;
        }

        Free(freed);
    }

    /// <summary>What is here of a blob. One whose key was destroyed is as if nothing of it had come: it may come again, and what there was is thrown away then.</summary>
    private StoredBlob? Find(ContentHash hash) =>
        _journal.FindBlob(hash) is { } stored ? IsShredded(stored.Extents) ? new StoredBlob(stored.Length, Complete: false, []) { Shredded = true } : stored : null;

    private bool IsShredded(IReadOnlyList<Extent> extents) => extents.Any(e => _segments.IsShredded(e.Segment));

    private static bool Pin((BlobStore Store, IReadOnlyList<ContentHash> Blobs, string Holder) call, Group group)
    {
        foreach (var hash in call.Blobs)
        {
            if (!(group.Blobs.TryGetValue(hash, out var change) ? change.Complete : call.Store.Find(hash) is { Complete: true }))
            {
                throw new RefusedException(new BlobMissingException(new BlobRef(hash, 0)));
            }
        }

        group.Pins.AddRange(call.Blobs.Select(hash => (hash, call.Holder, true)));
        return true;
    }

    private static bool Unpin((IReadOnlyList<ContentHash> Blobs, string Holder) call, Group group)
    {
        group.Pins.AddRange(call.Blobs.Select(hash => (hash, call.Holder, false)));
        return true;
    }

    private static string Checked(string holder) =>
        holder.Length is > 0 and <= 64 ? holder : throw new ArgumentException("A holder's name has 1 to 64 characters.", nameof(holder));

    /// <summary>Readers of one blob, and the space that waits for the last of them.</summary>
    private sealed class Lease
    {
        public int Readers { get; set; }

        public List<Extent> Deferred { get; } = [];
    }
}
