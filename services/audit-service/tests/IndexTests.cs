using Yizhan.Audit.Index;

namespace Yizhan.Audit.Tests;

/// <summary>The index against a list that is searched from end to end.</summary>
public sealed class IndexTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly List<IndexEntry> _model = [];
    private readonly Random _random = new(20261123);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Every_search_finds_what_a_walk_through_everything_finds_through_merges_reopening_and_forgetting()
    {
        var end = 0L;
        for (var round = 0; round < 4; round++)
        {
            using var index = AuditIndex.Open(_folder["index"]);
            Assert.Equal(end, index.Size);
            for (var batch = 0; batch < 12; batch++)
            {
                var entries = Entries(end, _random.Next(1, 4000));
                end += entries.Length + (batch % 3);
                index.Add(end, entries);
                _model.AddRange(entries);
            }

            Compare(index);
            var gone = _model.Where(e => e.Terms.Contains(7UL)).Take(50).Select(e => e.Leaf).Append(end + 5).ToHashSet();
            index.Forget(gone);
            _model.RemoveAll(e => gone.Contains(e.Leaf));
            Compare(index);
        }

        Assert.NotEmpty(Directory.GetFiles(_folder["index"], "*.seg"));
    }

    [Fact]
    public void A_damaged_segment_and_all_after_it_are_dropped_and_the_rest_stays()
    {
        using (var index = AuditIndex.Open(_folder["index"]))
        {
            index.Add(70_000, Entries(0, 70_000));
            index.Add(70_010, Entries(70_000, 10));
        }

        var files = Directory.GetFiles(_folder["index"]).Order(StringComparer.Ordinal).ToArray();
        Assert.Equal(2, files.Length);
        var bytes = File.ReadAllBytes(files[1]);
        bytes[^40] ^= 1;
        File.WriteAllBytes(files[1], bytes);
        using (var index = AuditIndex.Open(_folder["index"]))
        {
            Assert.Equal(70_000, index.Size);
        }

        File.WriteAllBytes(files[0], File.ReadAllBytes(files[0])[..1000]);
        using var empty = AuditIndex.Open(_folder["index"]);
        Assert.Equal(0, empty.Size);
    }

    /// <summary>Leaves with times that go back and forth, and terms of which some are rare.</summary>
    private IndexEntry[] Entries(long first, int count) =>
        [.. Enumerable.Range(0, count).Select(i => new IndexEntry(first + i, _random.Next(5000), [.. new[] { (ulong)_random.Next(10), 100UL + (ulong)_random.Next(500), 1UL << 63 }.Distinct()]))];

    private void Compare(AuditIndex index)
    {
        for (var i = 0; i < 60; i++)
        {
            ulong[] terms = [.. new[] { (ulong)_random.Next(12), 100UL + (ulong)_random.Next(501), 1UL << 63 }.Take(_random.Next(4))];
            long? from = _random.Next(2) == 0 ? null : _random.Next(5000);
            long? to = _random.Next(2) == 0 ? null : _random.Next(5000);
            var expected = _model.Where(e => terms.All(e.Terms.Contains) && !(e.RecordedMs < from) && !(e.RecordedMs >= to))
                .OrderByDescending(e => e.RecordedMs).ThenByDescending(e => e.Leaf).Select(e => new FoundLeaf(e.Leaf, e.RecordedMs)).Take(40).ToList();
            var query = new IndexQuery(terms, from, to);
            Assert.Equal(expected, index.Find(query, 40, null));
            if (expected.Count > 3)
            {
                Assert.Equal(expected[3..], index.Find(query, 37, expected[2]));
            }
        }
    }
}
