namespace Yizhan.Storage.Tests;

public sealed class FactTableTests
{
    /// <summary>Beside a dictionary, with keys that crowd at both ends of the table, so that searches go on behind its end.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void It_holds_what_a_dictionary_holds(int seed)
    {
        var random = new Random(seed);
        var (table, expected) = (new FactTable(), new Dictionary<FactKey, long>());
        var keys = Enumerable.Range(0, 3000).Select(i => new FactKey(
            (i % 3) switch { 0 => ulong.MaxValue - (ulong)random.Next(9), 1 => (ulong)random.Next(9), _ => (ulong)random.NextInt64() << 1 }, (ulong)i)).ToArray();
        for (var position = 1L; position < 20_000; position++)
        {
            var key = keys[random.Next(keys.Length)];
            switch (random.Next(4))
            {
                case 0:
                    table.Put(key, position);
                    expected[key] = position;
                    break;
                case 1:
                    table.PutLater(key, position);
                    expected[key] = position;
                    break;
                case 2:
                    var known = expected.GetValueOrDefault(key);
                    table.Remove(key, known + (position % 5 == 0 ? 1 : 0));
                    _ = position % 5 != 0 && expected.Remove(key);
                    break;
                default:
                    Assert.Equal(expected.TryGetValue(key, out var there) ? there : null, table.Find(key));
                    break;
            }
        }

        var gone = expected.Values.Where(position => position % 2 == 0).ToHashSet();
        table.Remove(gone);
        Assert.All(keys, key => Assert.Equal(expected.TryGetValue(key, out var there) && !gone.Contains(there) ? there : null, table.Find(key)));
        Assert.Equal(expected.Count - gone.Count, table.Count);
    }
}
