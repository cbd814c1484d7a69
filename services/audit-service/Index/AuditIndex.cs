namespace Yizhan.Audit.Index;

/// <summary>
/// Which leaves have which terms, in runs that are merged as they grow (a log-structured merge), so that adding stays sequential at any size
/// and a search reads a few lists. One writer, any readers. It can be thrown away: it is built again from the log.
/// </summary>
internal sealed class AuditIndex : IDisposable
{
    /// <summary>Smaller segments are only in memory; after a kill their leaves are read from the log again.</summary>
    private const int MinFileLeaves = 65_536;

    private readonly string _folder;
    private readonly ReaderWriterLockSlim _lock = new();
    private readonly List<Segment> _segments = [];

    private AuditIndex(string folder) => _folder = folder;

    /// <summary>Number of leaves that are in it: the first so many of the log.</summary>
    public long Size => _segments.Count == 0 ? 0 : _segments[^1].EndLeaf;

    /// <summary>Opens the index of a folder. What is damaged or does not follow is dropped, with all after it.</summary>
    public static AuditIndex Open(string folder)
    {
        if (!OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        var index = new AuditIndex(folder);
        foreach (var path in Directory.GetFiles(folder, "*.seg").Order(StringComparer.Ordinal))
        {
            try
            {
                var segment = Segment.OpenFile(path);
                if (segment.FirstLeaf == index.Size)
                {
                    index._segments.Add(segment);
                    continue;
                }

                segment.Dispose();
            }
            catch (InvalidDataException)
            {
                // Made again from the log.
            }

            File.Delete(path);
        }

        return index;
    }

    /// <summary>Adds the next leaves.</summary>
    /// <param name="endLeaf">The first leaf after them.</param>
    /// <param name="entries">Them; a leaf that cannot be read any more is left out.</param>
    public void Add(long endLeaf, IReadOnlyList<IndexEntry> entries)
    {
        if (endLeaf == Size)
        {
            return;
        }

        Replace(_segments.Count, 0, Filed(Segment.Of(Size, endLeaf, entries)));
        while (_segments.Count > 1 && Covers(_segments[^2]) <= 2 * Covers(_segments[^1]) && Covers(_segments[^2]) + Covers(_segments[^1]) <= Segment.MaxLeaves)
        {
            Replace(_segments.Count - 2, 2, Filed(Segment.Merge(_segments[^2], _segments[^1])));
        }
    }

    /// <summary>Forgets leaves: no term leads to them afterwards, on the disk either.</summary>
    public void Forget(IReadOnlySet<long> leaves)
    {
        for (var i = 0; i < _segments.Count; i++)
        {
            var segment = _segments[i];
            if (leaves.Any(leaf => segment.FirstLeaf <= leaf && leaf < segment.EndLeaf))
            {
                Replace(i, 1, Filed(segment.Without(leaves)));
            }
        }
    }

    /// <summary>Forgets a run of leaves.</summary>
    public void Forget(long first, long end)
    {
        var leaves = new HashSet<long>();
        for (var leaf = first; leaf < end; leaf++)
        {
            leaves.Add(leaf);
        }

        Forget(leaves);
    }

    /// <summary>True when a leaf has the term.</summary>
    public bool Contains(ulong term) => Find(new IndexQuery([term], null, null), 1, null).Count > 0;

    /// <summary>Leaves with all terms, in the time, the newest first.</summary>
    /// <param name="query">What to look for.</param>
    /// <param name="limit">Most leaves returned.</param>
    /// <param name="before">Only what comes after this one in the order of the answer: where the page before ended. Null: from the newest.</param>
    public List<FoundLeaf> Find(IndexQuery query, int limit, FoundLeaf? before)
    {
        _lock.EnterReadLock();
        try
        {
            var cursors = new PriorityQueue<SegmentSearch, (long, long)>();
            foreach (var segment in _segments)
            {
                Enqueue(new SegmentSearch(segment, query, before));
            }

            var found = new List<FoundLeaf>();
            while (found.Count < limit && cursors.TryDequeue(out var search, out _))
            {
                found.Add(search.Current);
                Enqueue(search);
            }

            return found;

            void Enqueue(SegmentSearch search)
            {
                if (search.MoveNext())
                {
                    cursors.Enqueue(search, (-search.Current.RecordedMs, -search.Current.Leaf));
                }
            }
        }
        finally
        {
            _lock.ExitReadLock();
        }
    }

    /// <summary>Keeps what is only in memory, so that the next start need not read it from the log.</summary>
    public void Dispose()
    {
        if (_segments.Count > 0)
        {
            var first = _segments.FindIndex(s => s.Path is null);
            if (first >= 0)
            {
                var merged = _segments[first];
                foreach (var next in _segments.Skip(first + 1))
                {
                    merged = Segment.Merge(merged, next);
                }

                Replace(first, _segments.Count - first, merged.Save(_folder));
            }
        }

        _segments.ForEach(s => s.Dispose());
        _lock.Dispose();
    }

    private Segment Filed(Segment segment) => segment.EndLeaf - segment.FirstLeaf >= MinFileLeaves ? segment.Save(_folder) : segment;

    private static long Covers(Segment segment) => segment.EndLeaf - segment.FirstLeaf;

    private void Replace(int index, int count, Segment with)
    {
        _lock.EnterWriteLock();
        try
        {
            foreach (var old in _segments.GetRange(index, count))
            {
                old.Dispose();
                if (old.Path is not null && old.Path != with.Path)
                {
                    File.Delete(old.Path);
                }
            }

            _segments.RemoveRange(index, count);
            _segments.Insert(index, with);
        }
        finally
        {
            _lock.ExitWriteLock();
        }
    }

    /// <summary>Walks one segment from its newest match to its oldest.</summary>
    private sealed class SegmentSearch(Segment segment, IndexQuery query, FoundLeaf? before)
    {
        private int _next = int.MinValue;
        private int _first;

        public FoundLeaf Current { get; private set; }

        public bool MoveNext()
        {
            // Spans cannot be kept between calls; finding a list again is a binary search.
            var lists = query.Terms.Select(t => (Term: t, Count: segment.Ranks(t).Length)).OrderBy(t => t.Count).ToArray();
            var times = segment.Times;
            if (_next == int.MinValue)
            {
                _first = query.FromMs is { } from ? FirstAtOrAfter(times, from) : 0;
                _next = (query.ToMs is { } to ? FirstAtOrAfter(times, to) : times.Length) - 1;
                _next = before is { } last ? Math.Min(_next, FirstAtOrAfter(times, last.RecordedMs + 1) - 1) : _next;
            }

            while (_next >= _first)
            {
                var rank = lists.Length == 0 ? _next : HighestAtOrBelow(segment.Ranks(lists[0].Term), _next);
                if (rank < _first)
                {
                    break;
                }

                _next = rank - 1;
                var leaf = new FoundLeaf(segment.LeafAt(rank), times[rank]);
                if (lists.Skip(1).All(l => segment.Ranks(l.Term).BinarySearch((uint)rank) >= 0)
                    && (before is not { } b || (leaf.RecordedMs, leaf.Leaf).CompareTo((b.RecordedMs, b.Leaf)) < 0))
                {
                    Current = leaf;
                    return true;
                }
            }

            return false;
        }

        private static int FirstAtOrAfter(ReadOnlySpan<long> times, long ms)
        {
            var (low, high) = (0, times.Length);
            while (low < high)
            {
                var middle = (low + high) >>> 1;
                (low, high) = times[middle] < ms ? (middle + 1, high) : (low, middle);
            }

            return low;
        }

        private static int HighestAtOrBelow(ReadOnlySpan<uint> ranks, int rank)
        {
            var at = ranks.BinarySearch((uint)rank);
            at = at >= 0 ? at : ~at - 1;
            return at < 0 ? -1 : (int)ranks[at];
        }
    }
}

/// <summary>What to look for in the index.</summary>
/// <param name="Terms">All of them; none: every leaf.</param>
/// <param name="FromMs">First millisecond; null: any.</param>
/// <param name="ToMs">First millisecond after; null: any.</param>
internal sealed record IndexQuery(IReadOnlyList<ulong> Terms, long? FromMs, long? ToMs);

/// <summary>A leaf that was found.</summary>
internal readonly record struct FoundLeaf(long Leaf, long RecordedMs);
