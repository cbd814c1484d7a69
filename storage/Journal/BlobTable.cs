namespace Yizhan.Storage;

/// <summary>
/// The blob index of the segments journal, in memory, and the account of which segment files are still needed to rebuild it: a file is while something
/// that its groups said is still true, or takes back what an older file says.
/// </summary>
internal sealed class BlobTable
{
    private readonly Dictionary<ContentHash, KnownBlob> _blobs = [];
    private readonly Dictionary<long, long> _needs = [];
    private readonly Dictionary<long, List<long>> _takenBack = [];

    public KnownBlob? Find(ContentHash hash) => _blobs.GetValueOrDefault(hash);

    public IEnumerable<KeyValuePair<ContentHash, KnownBlob>> All => _blobs;

    /// <summary>How many things of a file's groups are still needed.</summary>
    public long Needs(long segment) => _needs.GetValueOrDefault(segment);

    /// <summary>One more or one fewer thing of a file is needed.</summary>
    public void Need(long segment, int change) => _needs[segment] = _needs.GetValueOrDefault(segment) + change;

    /// <summary>Applies a change that a group in a file says. Returns the pieces that are free then.</summary>
    public IReadOnlyList<Extent> Change(ContentHash hash, BlobChange change, long nowMs, long segment)
    {
        var freed = change.Dropped ? Drop(hash, segment) : [];
        if (change.Dropped && change.Added.Count == 0 && !change.Complete && !_blobs.ContainsKey(hash))
        {
            return freed;
        }

        if (!_blobs.TryGetValue(hash, out var blob))
        {
            _blobs.Add(hash, blob = new KnownBlob(change.Length));
        }

        blob.Complete = change.Complete || (blob.Complete && !change.Dropped);
        blob.TouchedMs = nowMs;
        blob.SaidBy.Add(segment);
        Need(segment, 1);
        if (change.Added.Count > 0)
        {
            blob.Extents = [.. blob.Extents.Concat(change.Added).OrderBy(e => e.At)];
        }

        return freed;
    }

    /// <summary>Removes a blob because a group in a file says so. Returns its pieces.</summary>
    public IReadOnlyList<Extent> Forget(ContentHash hash, long segment)
    {
        if (!_blobs.Remove(hash, out var blob))
        {
            return [];
        }

        foreach (var said in blob.SaidBy)
        {
            TakeBack(said, segment);
        }

        return blob.Extents;
    }

    /// <summary>Throws the pieces of a blob away. The blob stays when something names or holds it: its key was destroyed.</summary>
    private IReadOnlyList<Extent> Drop(ContentHash hash, long segment)
    {
        if (!_blobs.TryGetValue(hash, out var blob))
        {
            return [];
        }

        if (blob.Names == 0 && blob.Pins.Count == 0)
        {
            return Forget(hash, segment);
        }

        foreach (var said in blob.SaidBy)
        {
            TakeBack(said, segment);
        }

        blob.SaidBy.Clear();
        var freed = blob.Extents;
        blob.Extents = [];
        return freed;
    }

    public void Pin(ContentHash hash, string holder, long segment)
    {
        if (_blobs.TryGetValue(hash, out var blob) && blob.Pins.TryAdd(holder, segment))
        {
            Need(segment, 1);
        }
    }

    public void Unpin(ContentHash hash, string holder, long segment)
    {
        if (_blobs.TryGetValue(hash, out var blob) && blob.Pins.Remove(holder, out var said))
        {
            TakeBack(said, segment);
        }
    }

    /// <summary>A file is durably gone: what others took back of it need not be remembered any more. Returns those others.</summary>
    public IReadOnlyList<long> Gone(long segment)
    {
        _needs.Remove(segment);
        if (!_takenBack.Remove(segment, out var by))
        {
            return [];
        }

        by.ForEach(other => Need(other, -1));
        return by;
    }

    private void TakeBack(long said, long by)
    {
        Need(said, -1);
        if (said != by)
        {
            Need(by, 1);
            if (!_takenBack.TryGetValue(said, out var list))
            {
                _takenBack.Add(said, list = []);
            }

            list.Add(by);
        }
    }
}

/// <summary>One blob of a <see cref="BlobTable"/>.</summary>
internal sealed class KnownBlob(long length)
{
    public long Length { get; } = length;

    public bool Complete { get; set; }

    /// <summary>Kept entries that name it.</summary>
    public int Names { get; set; }

    public long TouchedMs { get; set; }

    /// <summary>By <see cref="Extent.At"/>. Replaced as a whole, so that a reader keeps a consistent one.</summary>
    public Extent[] Extents { get; set; } = [];

    /// <summary>Holders, and the segment that says so.</summary>
    public Dictionary<string, long> Pins { get; } = [];

    /// <summary>The segments whose groups brought it, one for each group.</summary>
    public List<long> SaidBy { get; } = [];
}
