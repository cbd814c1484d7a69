using System.Collections.Concurrent;

namespace Yizhan.Inventory.Collect;

/// <summary>Counts what sources that come to us brought since they were last looked at.</summary>
internal sealed class Passive
{
    private const int MaxSources = 1000;
    private const int MaxComing = 16;
    private const int MaxRead = 2;

    private readonly ConcurrentDictionary<string, (long Good, long Bad, string Problem)> _tallies = new(StringComparer.Ordinal);

    /// <summary>Inventories that come in at a time: whoever sends them shows no token, and each is in memory as a whole.</summary>
    public SemaphoreSlim Coming { get; } = new(MaxComing);

    /// <summary>Inventories that are read at a time.</summary>
    public SemaphoreSlim Reading { get; } = new(MaxRead);

    /// <summary>Something of a source was recorded.</summary>
    public void Good(string source) => Note(source, 1, 0, "");

    /// <summary>Something of a source was refused.</summary>
    public void Bad(string source, string problem) => Note(source, 0, 1, problem);

    /// <summary>What came since the last call; true when anything was good.</summary>
    public bool Take(string source, Sink sink)
    {
        if (!_tallies.TryRemove(source, out var tally))
        {
            return false;
        }

        if (tally.Bad > 0)
        {
            sink.Refuse($"{tally.Bad} of {tally.Good + tally.Bad}: {tally.Problem}");
        }

        return tally.Good > 0;
    }

    private void Note(string source, long good, long bad, string problem)
    {
        if (_tallies.Count < MaxSources || _tallies.ContainsKey(source))
        {
            _tallies.AddOrUpdate(source, (good, bad, problem), (_, t) => (t.Good + good, t.Bad + bad, problem.Length > 0 ? problem : t.Problem));
        }
    }
}
