namespace Yizhan.Storage;

internal sealed partial class EventLog
{
    /// <summary>The entry of a fact that is in the journal or earlier in the group; null when the fact is new.</summary>
    private (EntryIdentity Identity, long Position)? Find(FactKey fact, Group group) =>
        group.Facts.TryGetValue(fact, out var entry) ? (entry.Logged.Identity, entry.Logged.Position) : _journal.FindFact(fact);

    /// <summary>Holds the blobs that new entries name, all or none.</summary>
    /// <returns>The writers' copies that are needed, by hash.</returns>
    /// <exception cref="RefusedException">One of them is not here.</exception>
    private Dictionary<ContentHash, PendingBlob> Hold(IEnumerable<Entry> entries, Group group)
    {
        var held = new Dictionary<ContentHash, PendingBlob>();
        foreach (var blob in entries.SelectMany(e => e.Blobs))
        {
            if (held.TryGetValue(blob.Hash, out var known) && known.Length == blob.Length)
            {
                continue;
            }

            if (!_blobs.TryHold(blob, group, out var claimed))
            {
                GiveBack(held);
                throw new RefusedException(new BlobMissingException(blob));
            }

            if (claimed is not null)
            {
                held.Add(blob.Hash, claimed);
            }
        }

        return held;
    }

    /// <summary>Copies that no entry needed after all: the same fact came twice in the call.</summary>
    private static void GiveBack(Dictionary<ContentHash, PendingBlob> held)
    {
        foreach (var claim in held.Values)
        {
            claim.GiveBack();
        }
    }

    private static void Add(NewEntry entry, Dictionary<ContentHash, PendingBlob> held, Group group)
    {
        group.Entries.Add(entry);
        group.Facts.Add(entry.Fact, entry);
        foreach (var blob in entry.Logged.Entry.Blobs)
        {
            if (held.Remove(blob.Hash, out var claimed))
            {
                BlobStore.Name(blob.Hash, claimed, group);
            }
        }
    }

    /// <summary>Entries of this node. Those whose id is known get the receipt of the first time.</summary>
    private sealed class AppendWork(EventLog log, IReadOnlyList<Entry> entries) : Work<IReadOnlyList<Receipt>>
    {
        // Hashed by the caller, not by the committer thread.
        private readonly FactKey[] _facts = [.. entries.Select(e => FactKey.Of(log.Site, e.Id))];

        public override int Entries => entries.Count;

        public override IReadOnlyList<FactKey> Facts => _facts;

        public override long Bytes { get; } = entries.Sum(e => (long)e.Data.Length);

        public override void Resolve(Group group)
        {
            var known = new (EntryIdentity Identity, long Position)?[entries.Count];
            for (var i = 0; i < entries.Count; i++)
            {
                known[i] = log.Find(_facts[i], group);
            }

            var held = log.Hold(entries.Where((_, i) => known[i] is null), group);
            var receipts = new Receipt[entries.Count];
            for (var i = 0; i < entries.Count; i++)
            {
                // The same fact twice in one call: the second is known by now.
                receipts[i] = (known[i] ?? (group.Facts.ContainsKey(_facts[i]) ? log.Find(_facts[i], group) : null)) is { } first
                    ? new Receipt(first.Identity, first.Position, AlreadyKnown: true)
                    : Append(entries[i], _facts[i], held, group);
            }

            GiveBack(held);
            Result = receipts;
        }

        public override void Fail(Exception reason) =>
            base.Fail(reason is DiskFullException ? new SpoolFullException(entries[0].Lane, 0) : reason);

        private Receipt Append(Entry entry, FactKey fact, Dictionary<ContentHash, PendingBlob> held, Group group)
        {
            ref var lane = ref group.Lanes[(int)entry.Lane];
            lane = lane with
            {
                Sequence = lane.Sequence + 1,
                Bytes = lane.Bytes + entry.Data.Length + entry.Blobs.Sum(b => b.Length),
                OldestMs = lane.OldestMs ?? entry.TimeMs,
            };
            var identity = new EntryIdentity(log.Site, log.Epoch, entry.Lane, lane.Sequence);
            Add(new NewEntry(new LoggedEntry(++group.Position, identity, entry), fact, Own: true, lane.Bytes), held, group);
            return new Receipt(identity, group.Position, AlreadyKnown: false);
        }
    }

    /// <summary>Entries of another log, and its mark.</summary>
    private sealed class ReceiveWork(EventLog log, IReadOnlyList<LoggedEntry> entries) : Work<long>
    {
        private readonly FactKey[] _facts = [.. entries.Select(e => FactKey.Of(e.Identity.Site, e.Entry.Id))];

        public override int Entries => entries.Count;

        public override IReadOnlyList<FactKey> Facts => _facts;

        public override long Bytes { get; } = entries.Sum(e => (long)e.Entry.Data.Length);

        public override void Resolve(Group group)
        {
            var first = entries[0].Identity;
            var origin = new Origin(first.Site, first.Epoch, first.Lane);
            var mark = group.MarkOf(origin);
            var last = first.Sequence + entries.Count - 1;
            if (first.Sequence > mark + 1 || last <= mark)
            {
                Result = mark;
                return;
            }

            var taken = new List<int>();
            for (var i = (int)(mark + 1 - first.Sequence); i < entries.Count; i++)
            {
                // A fact that came under an earlier epoch of the site moves the mark and is not kept twice.
                if (log.Find(_facts[i], group) is null)
                {
                    taken.Add(i);
                }
            }

            var held = log.Hold(taken.Select(i => entries[i].Entry), group);
            foreach (var i in taken.Where(i => !group.Facts.ContainsKey(_facts[i])))
            {
                var logged = entries[i] with { Position = ++group.Position };
                Add(new NewEntry(logged, _facts[i], Own: false, LaneBytes: 0), held, group);
            }

            GiveBack(held);

            group.Marks[origin] = last;
            Result = last;
        }

        public override void Fail(Exception reason) =>
            base.Fail(reason is DiskFullException ? new SpoolFullException(entries[0].Entry.Lane, 0) : reason);
    }
}
