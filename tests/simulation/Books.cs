using System.Text.Json;
using Yizhan.Link;
using Yizhan.Storage;

namespace Yizhan.Simulation;

/// <summary>An entry that a producer offers, and what became of it.</summary>
internal sealed class Item(string id, Lane lane, string key, int number, bool poison)
{
    public string Id { get; } = id;

    public Lane Lane { get; } = lane;

    public string Key { get; } = key;

    /// <summary>Place among the entries of its key.</summary>
    public int Number { get; } = number;

    /// <summary>The centre can never take it.</summary>
    public bool Poison { get; } = poison;

    public ContentHash Data { get; set; }

    public BlobRef? Blob { get; set; }

    /// <summary>When the log said yes; null when it never did.</summary>
    public TimeSpan? AcceptedAt { get; set; }

    /// <summary>When the centre first took it.</summary>
    public TimeSpan? ArrivedAt { get; set; }

    /// <summary>A call ended without an answer: it may be in the log or not.</summary>
    public bool Unknown { get; set; }

    /// <summary>The disaster took it: it was accepted after the backup that the edge was restored from, and had not left.</summary>
    public bool Forgone { get; set; }
}

/// <summary>
/// The run's own account, which neither log has any part in: what was offered, refused, accepted and confirmed. <see cref="CheckCentreAsync"/> holds the
/// centre's log against it.
/// </summary>
internal sealed class Books(EventLoop loop)
{
    private readonly Dictionary<string, Item> _items = new(StringComparer.Ordinal);
    private readonly Dictionary<EntryIdentity, string> _given = [];
    private Dictionary<Origin, long> _confirmed = [];

    public IReadOnlyCollection<Item> Items => _items.Values;

    /// <summary>Faults by kind.</summary>
    public SortedDictionary<string, long> Faults { get; } = new(StringComparer.Ordinal);

    public long Accepted { get; private set; }

    public long Refused { get; private set; }

    public long Delivered { get; private set; }

    public long Lost { get; private set; }

    public long Duplicates { get; private set; }

    public long Quarantined { get; private set; }

    /// <summary>What must not have happened.</summary>
    public List<string> Violations { get; } = [];

    public void Fault(string kind) => Faults[kind] = Faults.GetValueOrDefault(kind) + 1;

    public void Offer(Item item) => _items.Add(item.Id, item);

    public void Refuse(Item item)
    {
        Refused++;
        if (item.AcceptedAt is not null)
        {
            Violations.Add($"{item.Id} was refused after it had been accepted.");
        }
    }

    public void Accept(Item item, Receipt receipt)
    {
        if (_given.TryGetValue(receipt.Identity, out var other) && other != item.Id)
        {
            Violations.Add($"{receipt.Identity} was given to {other} and to {item.Id}.");
        }

        _given[receipt.Identity] = item.Id;
        if (item.AcceptedAt is null)
        {
            item.AcceptedAt = loop.Now;
            Accepted++;
        }
    }

    /// <summary>The centre said that everything up to a sequence is durable.</summary>
    public void Confirmed(Origin origin, long mark) => _confirmed[origin] = Math.Max(mark, _confirmed.GetValueOrDefault(origin));

    public void Arrived(EntryBatch batch)
    {
        foreach (var entry in batch.Entries)
        {
            if (_items.TryGetValue(entry.Id, out var item))
            {
                item.ArrivedAt ??= loop.Now;
            }
        }
    }

    /// <summary>What the centre has confirmed by now, for an image of it.</summary>
    public Dictionary<Origin, long> Confirmations() => new(_confirmed);

    /// <summary>The centre was restored: what it said after the image is void.</summary>
    public void Restored(Dictionary<Origin, long> confirmations) => _confirmed = new(confirmations);

    /// <summary>A centre that came back, without being restored, has all that it confirmed.</summary>
    public async Task CheckMarksAsync(Spool centre)
    {
        foreach (var (origin, mark) in _confirmed.ToArray())
        {
            var has = await centre.Log.HighWaterMarkAsync(origin.Site, origin.Epoch, origin.Lane, CancellationToken.None);
            if (has < mark)
            {
                Violations.Add($"The centre confirmed {origin} up to {mark} and came back with {has}.");
            }
        }
    }

    /// <summary>Everything accepted is at the centre once, whole and in order, and nothing else is.</summary>
    /// <param name="centre">The centre's log.</param>
    /// <param name="damaged">True when something was damaged on purpose: an entry may be in quarantine then, or wait behind the damage.</param>
    public async Task CheckCentreAsync(Spool centre, bool damaged)
    {
        var last = new Dictionary<(Lane, string), (int Number, string Id)>();
        var found = new HashSet<string>(StringComparer.Ordinal);
        for (var position = 0L; await centre.Log.ReadAsync(position, 1000, CancellationToken.None) is { Count: > 0 } page; position = page[^1].Position)
        {
            foreach (var logged in page)
            {
                await CheckAsync(centre, logged, found, last, damaged);
            }
        }

        foreach (var item in _items.Values.Where(i => i.AcceptedAt is not null && !i.Forgone && !found.Contains(i.Id)))
        {
            if (!damaged)
            {
                Lost++;
                Violations.Add($"{item.Id} was accepted at {item.AcceptedAt} and is not at the centre.");
            }
        }
    }

    private async Task CheckAsync(
        Spool centre, LoggedEntry logged, HashSet<string> found, Dictionary<(Lane, string), (int Number, string Id)> last, bool damaged)
    {
        var entry = logged.Entry;
        var tombstone = entry.Type == LinkTombstone.EventType;
        var id = tombstone ? JsonDocument.Parse(entry.Data).RootElement.GetProperty("id").GetString()! : entry.Id;
        if (!_items.TryGetValue(id, out var item))
        {
            Violations.Add($"{id} is at the centre and was never offered.");
            return;
        }

        if (!found.Add(id))
        {
            Duplicates++;
            Violations.Add($"{id} is at the centre twice.");
            return;
        }

        if (item.AcceptedAt is null && !item.Unknown)
        {
            Violations.Add($"{id} is at the centre although it was refused.");
        }

        if (last.TryGetValue((item.Lane, item.Key), out var before) && before.Number > item.Number)
        {
            Violations.Add($"{id} is at the centre after {before.Id} of the same key.");
        }

        last[(item.Lane, item.Key)] = (item.Number, id);
        if (tombstone)
        {
            Quarantined++;
            if (!item.Poison && !damaged)
            {
                Violations.Add($"{id} was put into quarantine: {JsonDocument.Parse(entry.Data).RootElement}");
            }

            return;
        }

        Delivered += item.AcceptedAt is null ? 0 : 1;
        if (item.Poison || ContentHash.Of(entry.Data.Span) != item.Data || !entry.Blobs.SequenceEqual(item.Blob is { } b ? [b] : []))
        {
            Violations.Add($"{id} is at the centre with other data.");
        }

        if (item.Blob is { } blob && !await IsWholeAsync(centre, blob))
        {
            Violations.Add($"{id} is at the centre and its blob {blob.Hash} of {blob.Length} bytes is not, or is damaged.");
        }
    }

    private static async Task<bool> IsWholeAsync(Spool centre, BlobRef blob)
    {
        await using var reader = await centre.Blobs.OpenAsync(blob.Hash, CancellationToken.None);
        if (reader is null || reader.Length != blob.Length)
        {
            return false;
        }

        var bytes = new byte[blob.Length];
        try
        {
            for (var at = 0; at < bytes.Length;)
            {
                at += await reader.ReadAsync(at, bytes.AsMemory(at), CancellationToken.None);
            }
        }
        catch (Exception e) when (e is InvalidDataException or ArgumentException)
        {
            return false;
        }

        return ContentHash.Of(bytes) == blob.Hash;
    }
}
