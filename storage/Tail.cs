namespace Yizhan.Storage;

/// <summary>
/// The newest entries as they were committed, for those who follow the log. At a centre ten services do; each of them would read every entry from the disk, check it and open its
/// seal, moments after it was in memory. Bounded by bytes and number; who is further behind reads the journal. For any thread.
/// </summary>
internal sealed class Tail(long maxBytes)
{
    private const int MaxEntries = 16 * 1024, MaxReadBytes = 8 * 1024 * 1024;

    // What an entry takes beside its data.
    private const int EntryBytes = 512;

    private readonly Lock _lock = new();
    private LoggedEntry[] _ring = [];
    private long _first;
    private long _next;
    private long _bytes;

    /// <summary>Keeps what was committed; on the committer's thread.</summary>
    public void Add(IReadOnlyList<NewEntry> entries)
    {
        if (maxBytes == 0)
        {
            return;
        }

        lock (_lock)
        {
            _ring = _ring.Length == 0 ? new LoggedEntry[MaxEntries] : _ring;
            foreach (var (logged, _, own, _) in entries)
            {
                if (logged.Position != _next)
                {
                    Clear_NeedsLock();
                    _first = _next = logged.Position;
                }

                if (_next - _first == MaxEntries)
                {
                    DropFirst_NeedsLock();
                }

                // Who appends may use the memory of the data again; what came from another log has its own.
                _ring[_next++ % MaxEntries] = own ? logged with { Entry = logged.Entry with { Data = logged.Entry.Data.ToArray() } } : logged;
                _bytes += EntryBytes + logged.Entry.Data.Length;
                while (_bytes > maxBytes)
                {
                    DropFirst_NeedsLock();
                }
            }
        }
    }

    /// <summary>The entries after a position, a page as a journal gives it; null when the next one is not here.</summary>
    public IReadOnlyList<LoggedEntry>? Read(long afterPosition, int maxEntries)
    {
        lock (_lock)
        {
            if (afterPosition + 1 < _first || afterPosition + 1 >= _next)
            {
                return null;
            }

            var page = new List<LoggedEntry>((int)Math.Min(maxEntries, _next - afterPosition - 1));
            for (var (at, bytes) = (afterPosition + 1, 0L); at < _next && page.Count < maxEntries; at++)
            {
                var entry = _ring[at % MaxEntries];
                bytes += entry.Entry.Data.Length;
                if (page.Count > 0 && bytes > MaxReadBytes)
                {
                    break;
                }

                page.Add(entry);
            }

            return page;
        }
    }

    /// <summary>Forgets everything: some of it is not kept any more, or may not be read.</summary>
    public void Clear()
    {
        lock (_lock)
        {
            Clear_NeedsLock();
        }
    }

    private void Clear_NeedsLock()
    {
        while (_first < _next)
        {
            DropFirst_NeedsLock();
        }
    }

    private void DropFirst_NeedsLock()
    {
        ref var entry = ref _ring[_first++ % MaxEntries];
        _bytes -= EntryBytes + entry.Entry.Data.Length;
        entry = null!;
    }
}
