using System.Globalization;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests.Crash;

/// <summary>What a <see cref="CrashChild"/> said was acknowledged, and the check of what is left of it.</summary>
internal sealed class CrashBooks
{
    private const int Chunk = IBlobStore.ChunkBytes;

    private readonly Dictionary<string, Acknowledged> _entries = [];
    private readonly Dictionary<string, long> _chunks = [];
    private long _delivered, _released;

    /// <summary>Entries.</summary>
    public int Count => _entries.Count;

    /// <summary>Notes a line that the child printed after an acknowledgement, or before it released something.</summary>
    public void Note(string line)
    {
        var words = line.Split(' ');
        switch (words[0])
        {
            case "entry":
                _entries.Add(words[1], new Acknowledged((int)Number(words[2]), Enum.Parse<Lane>(words[3]), Number(words[4])));
                break;
            case "chunk":
                _chunks[words[1]] = Number(words[2]) + Chunk;
                break;
            case "delivered":
                _delivered = Math.Max(_delivered, Number(words[1]));
                break;
            case "released":
                _released = Math.Max(_released, Number(words[1]));
                break;
        }
    }

    /// <summary>
    /// Everything acknowledged is there under its own number, or was released; what is there is whole and in its producer's order; and the log goes on with
    /// numbers that nobody has.
    /// </summary>
    public async Task CheckAsync(LocalStore store)
    {
        var all = await store.Log.ReadAllAsync();
        Assert.Equal(all.Count, all.Select(e => e.Entry.Id).Distinct().Count());
        Assert.True(store.Log.Delivered(Lane.Bulk) >= _delivered, $"Delivered {store.Log.Delivered(Lane.Bulk)}, and {_delivered} was acknowledged.");
        foreach (var lane in Enum.GetValues<Lane>())
        {
            var sequences = all.Where(e => e.Identity.Lane == lane).Select(e => e.Identity.Sequence).ToArray();
            Assert.Equal(Enumerable.Range(0, sequences.Length).Select(i => sequences[0] + i), sequences);
            Assert.True(sequences.Length == 0 || sequences[0] <= (lane == Lane.Bulk ? Math.Max(1, _released + 1) : 1), $"{lane} begins with {sequences.FirstOrDefault()}.");
        }

        var kept = all.ToDictionary(e => e.Entry.Id);
        var gone = 0;
        foreach (var (id, acknowledged) in _entries)
        {
            if (kept.TryGetValue(id, out var entry))
            {
                Assert.Equal(acknowledged.Length == 0 ? [] : [Given.Ref(Given.Bytes(acknowledged.Length, id))], entry.Entry.Blobs);
                Assert.Equal((acknowledged.Lane, acknowledged.Sequence), (entry.Identity.Lane, entry.Identity.Sequence));
            }
            else
            {
                gone++;
                Assert.True(acknowledged.Lane == Lane.Bulk && acknowledged.Sequence <= _released, $"{id} was acknowledged and is lost.");
            }
        }

        // Nothing beyond what was said to be released may be gone.
        Assert.True(gone <= _released, $"{gone} are gone, {_released} were released.");
        foreach (var entry in all.Select(e => e.Entry))
        {
            Assert.Equal(Given.Entry(entry.Id, entry.Lane, entry.Data.Length).Data.ToArray(), entry.Data.ToArray());
            foreach (var blob in entry.Blobs)
            {
                Assert.Equal(blob, Given.Ref((await store.Blobs.ReadAllAsync(blob.Hash))!));
            }
        }

        // A producer gives the next one after the acknowledgement: run.producer.number, of which the last may have a letter.
        foreach (var producer in all.Select(e => e.Entry.Id.Split('.')).Where(id => id.Length == 3).GroupBy(id => (id[0], id[1])))
        {
            var numbers = producer.Select(id => (Number(id[2].TrimEnd('a', 'b', 'c')), id[2])).ToArray();
            Assert.Equal(numbers.Order(), numbers);
        }

        foreach (var (id, chunks) in _chunks)
        {
            var missing = await store.Blobs.MissingAsync(Given.Ref(Given.Bytes((3 * Chunk) + 5, id)), TestContext.Current.CancellationToken);
            Assert.All(missing, range => Assert.True(range.Offset >= chunks, $"Chunk of {id} at {range.Offset} was acknowledged and is missing."));
        }
    }

    /// <summary>The log goes on, with numbers that were never given before.</summary>
    public async Task CheckItGoesOnAsync(LocalStore store, string id)
    {
        foreach (var lane in Enum.GetValues<Lane>())
        {
            var receipt = await store.Log.AppendAsync(Given.Entry($"{id}-{lane}", lane));
            var highest = _entries.Values.Where(e => e.Lane == lane).Select(e => e.Sequence).DefaultIfEmpty().Max();
            Assert.True(receipt.Identity.Sequence > highest, $"{lane} gave {receipt.Identity.Sequence} again: {highest} was acknowledged.");
        }
    }

    private static long Number(string word) => long.Parse(word, CultureInfo.InvariantCulture);

    private sealed record Acknowledged(int Length, Lane Lane, long Sequence);
}
