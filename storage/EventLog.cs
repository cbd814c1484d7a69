namespace Yizhan.Storage;

/// <summary>The event log on a journal: it gives sequences, keeps marks, and answers when the journal has committed.</summary>
internal sealed partial class EventLog : IEventLog
{
    private const int ReleasedAtOnce = 256;
    private const int MaxBlobs = 4096;

    // What an entry takes beside its data: columns, indexes, page overhead. An upper estimate, only for reservations.
    private const int EntryOverhead = 768;

    private readonly Journal _journal;
    private readonly Committer _committer;
    private readonly BlobStore _blobs;
    private readonly Ledger _ledger;
    private readonly Tail _tail;
    private readonly Waiters _waiting = new();

    public EventLog(Journal journal, Committer committer, BlobStore blobs, Ledger ledger, Tail tail)
    {
        _tail = tail;
        _journal = journal;
        _committer = committer;
        _blobs = blobs;
        _ledger = ledger;
    }

    public string Site => _journal.State.Site;

    public Guid Epoch => _journal.State.Epoch;

    public long LastPosition => _journal.State.Position;

    public async ValueTask<IReadOnlyList<Receipt>> AppendAsync(IReadOnlyList<Entry> entries, CancellationToken cancellationToken)
    {
        foreach (var entry in entries)
        {
            Check(entry);
        }

        if (entries.Count == 0)
        {
            return [];
        }

        return await WithRoom(entries.Select(e => (e.Lane, e.Data.Length)), new AppendWork(this, entries), cancellationToken);
    }

    public ValueTask<IReadOnlyList<LoggedEntry>> ReadAsync(long afterPosition, int maxEntries, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(afterPosition);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maxEntries);
        cancellationToken.ThrowIfCancellationRequested();
        return new(afterPosition >= _journal.State.Position ? [] : _tail.Read(afterPosition, maxEntries) ?? _journal.Read(afterPosition, maxEntries));
    }

    public ValueTask<IReadOnlyList<LoggedEntry>> ReadLaneAsync(
        Lane lane, long afterSequence, int maxEntries, long maxDataBytes, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(afterSequence);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maxEntries);
        cancellationToken.ThrowIfCancellationRequested();
        return new(afterSequence >= LaneOf(lane).Sequence ? [] : _journal.ReadLane(lane, afterSequence, maxEntries, maxDataBytes));
    }

    public Task WaitForMoreAsync(long position, CancellationToken cancellationToken) => _waiting.WaitAsync(() => _journal.State.Position > position, cancellationToken);

    public long Delivered(Lane lane) => LaneOf(lane).Delivered;

    public async ValueTask MarkDeliveredAsync(Lane lane, long throughSequence, CancellationToken cancellationToken)
    {
        var known = LaneOf(lane);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(throughSequence, known.Sequence);
        if (throughSequence > known.Delivered)
        {
            await _committer.RunAsync(new Work<(Lane, long), bool>((lane, throughSequence), MarkDelivered), cancellationToken);
        }
    }

    public async ValueTask<long> ReceiveAsync(IReadOnlyList<LoggedEntry> entries, CancellationToken cancellationToken)
    {
        CheckReceived(entries);
        return await WithRoom(entries.Select(e => (e.Entry.Lane, e.Entry.Data.Length)), new ReceiveWork(this, entries), cancellationToken);
    }

    public ValueTask<long> HighWaterMarkAsync(string site, Guid epoch, Lane lane, CancellationToken cancellationToken) =>
        new(_journal.State.Marks.GetValueOrDefault(new Origin(site, epoch, lane)));

    public LaneUsage Usage(Lane lane)
    {
        var state = LaneOf(lane);
        return new LaneUsage(state.Sequence - state.Delivered, state.Bytes - state.DeliveredBytes, state.OldestMs, _ledger.Room(lane))
        {
            AcceptedEntries = state.Sequence,
            AcceptedBytes = state.Bytes,
        };
    }

    public long Released(Lane lane) => LaneOf(lane).Released;

    public SpaceUsage Space => _ledger.Space;

    public async ValueTask ReleaseAsync(Lane lane, long throughSequence, CancellationToken cancellationToken)
    {
        if (throughSequence > LaneOf(lane).Delivered)
        {
            throw new InvalidOperationException(
                $"Lane {lane} is delivered up to {LaneOf(lane).Delivered}; entries up to {throughSequence} cannot be released.");
        }

        // In steps, so that appends get between the steps of a long clean-up, and a backup too.
        while (LaneOf(lane).Released < throughSequence)
        {
            await ReleaseGate.WaitAsync(cancellationToken);
            try
            {
                await _committer.RunAsync(new Work<(Lane, long), bool>((lane, throughSequence), Release), cancellationToken);
            }
            finally
            {
                ReleaseGate.Release();
            }
        }
    }

    /// <summary>Held while entries are released, and by a backup, which must not miss an entry between two of its parts.</summary>
    public SemaphoreSlim ReleaseGate { get; } = new(1, 1);

    /// <summary>After a commit: those who follow the log get what was added from memory, and nothing that was released.</summary>
    public void Committed(Group group)
    {
        if (group.Releases.Count > 0)
        {
            _tail.Clear();
        }

        if (group.Entries.Count > 0)
        {
            _tail.Add(group.Entries);
            _waiting.Wake();
        }
    }

    /// <summary>What was sealed with a destroyed key is read from the journal, which shows nothing of it. On the committer's thread.</summary>
    public void Shredded() => _tail.Clear();

    /// <summary>Ends those who wait for more.</summary>
    public ValueTask DisposeAsync()
    {
        _waiting.End(new ObjectDisposedException(nameof(EventLog)));
        return default;
    }

    private LaneState LaneOf(Lane lane) => _journal.State.Lanes[(int)lane];

    private bool MarkDelivered((Lane Lane, long Through) call, Group group)
    {
        ref var lane = ref group.Lanes[(int)call.Lane];
        if (call.Through > lane.Delivered)
        {
            var bytes = _journal.FindOwn(call.Lane, call.Through)
                ?? throw new InvalidDataException($"Lane {call.Lane} has no entry {call.Through}, but it was not released.");
            var oldest = call.Through == lane.Sequence ? null
                : _journal.FindOwn(call.Lane, call.Through + 1)?.TimeMs
                    ?? group.Entries.Find(e => e.Own && e.Logged.Identity.Lane == call.Lane && e.Logged.Identity.Sequence == call.Through + 1)?.Logged.Entry.TimeMs;
            lane = lane with { Delivered = call.Through, DeliveredBytes = bytes.LaneBytes, OldestMs = oldest };
        }

        return true;
    }

    private static bool Release((Lane Lane, long Through) call, Group group)
    {
        ref var lane = ref group.Lanes[(int)call.Lane];
        var through = Math.Min(call.Through, lane.Released + ReleasedAtOnce);
        if (through > lane.Released)
        {
            group.Releases.Add((call.Lane, lane.Released, through));
            lane = lane with { Released = through };
        }

        return true;
    }

    /// <summary>Runs work for whose entries room is reserved first.</summary>
    private async Task<T> WithRoom<T>(IEnumerable<(Lane Lane, int Bytes)> entries, Work<T> work, CancellationToken cancellationToken)
    {
        _committer.ThrowIfFaulted();
        var reserved = 0L;
        try
        {
            foreach (var (lane, bytes) in entries)
            {
                _ledger.Reserve(lane, bytes + EntryOverhead);
                reserved += bytes + EntryOverhead;
            }

            return await _committer.RunAsync(work, cancellationToken);
        }
        finally
        {
            _ledger.Release(reserved);
        }
    }

    private static void Check(Entry entry)
    {
        if (!Enum.IsDefined(entry.Lane))
        {
            throw new ArgumentException($"Lane {entry.Lane} does not exist.");
        }

        if (entry.Id.Length is 0 or > 200 || entry.Type.Length is 0 or > 200 || entry.Key.Length > 200 || entry.TraceParent?.Length > 200)
        {
            throw new ArgumentException("An entry's id and type have 1 to 200 characters, its key and trace parent at most 200.");
        }

        // CloudEvents 1.0 §type system: no control characters in a string. PostgreSQL cannot even keep this one.
        foreach (var text in (ReadOnlySpan<string?>)[entry.Id, entry.Type, entry.Key, entry.TraceParent])
        {
            if (text?.Contains('\0', StringComparison.Ordinal) == true)
            {
                throw new ArgumentException($"The entry '{entry.Id.Replace('\0', '?')}' has the character U+0000 in its id, type, key or trace parent; none may hold it.");
            }
        }

        if (entry.Data.Length > Entry.MaxDataBytes)
        {
            throw new ArgumentException($"The data of entry '{entry.Id}' has {entry.Data.Length} bytes; at most {Entry.MaxDataBytes} fit. Put it into a blob.");
        }

        if (entry.Blobs.Count > MaxBlobs)
        {
            throw new ArgumentException($"Entry '{entry.Id}' names {entry.Blobs.Count} blobs; at most {MaxBlobs} fit.");
        }
    }

    private void CheckReceived(IReadOnlyList<LoggedEntry> entries)
    {
        if (entries.Count == 0)
        {
            throw new ArgumentException("There is nothing to receive.", nameof(entries));
        }

        var first = entries[0].Identity;
        if (first.Epoch == Epoch || first.Site.Length is 0 or > 63 || first.Site.Contains('\0', StringComparison.Ordinal))
        {
            throw new ArgumentException($"Entries of site '{first.Site}', epoch {first.Epoch}, cannot be received here.", nameof(entries));
        }

        for (var i = 0; i < entries.Count; i++)
        {
            Check(entries[i].Entry);
            if (entries[i].Identity != first with { Sequence = first.Sequence + i } || first.Sequence < 1 || entries[i].Entry.Lane != first.Lane)
            {
                throw new ArgumentException("The entries are not of one site, epoch and lane in sequence without gap.", nameof(entries));
            }
        }
    }
}
