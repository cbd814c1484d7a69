using System.Collections.Concurrent;

namespace Yizhan.Drills;

/// <summary>
/// The drill's own record of what it sent and what was acknowledged. It knows nothing of the product: contents are compared by
/// SHA-256, computed from the drill's own files.
/// </summary>
public sealed class Ledger
{
    private readonly ConcurrentDictionary<string, string> _acknowledged = new();
    private readonly ConcurrentBag<Refusal> _refused = [];
    private int _sent;

    /// <summary>Instances that were sent at least once.</summary>
    public int Sent => _sent;

    /// <summary>SHA-256 of each data set that was acknowledged with success.</summary>
    public IReadOnlyCollection<string> Acknowledged => (IReadOnlyCollection<string>)_acknowledged.Keys;

    /// <summary>What was refused, and why.</summary>
    public IReadOnlyCollection<Refusal> Refused => _refused;

    /// <summary>Some instances are about to be sent for the first time.</summary>
    public void CountSent(int instances) => Interlocked.Add(ref _sent, instances);

    /// <summary>A data set was answered with success.</summary>
    public void Acknowledge(string name, string sha256) => _acknowledged.TryAdd(sha256, name);

    /// <summary>A file was not taken.</summary>
    public void Refuse(string name, string reason) => _refused.Add(new Refusal(name, reason));

    /// <summary>Compares what was acknowledged with what is at the centre.</summary>
    /// <param name="atCentre">How often each SHA-256 is in the centre's log.</param>
    /// <param name="intact">Those whose bytes, read back from the centre, have that hash.</param>
    public LedgerVerdict Compare(IReadOnlyDictionary<string, int> atCentre, IReadOnlySet<string> intact)
    {
        var arrived = Acknowledged.Where(sha => atCentre.ContainsKey(sha) && intact.Contains(sha)).ToHashSet();
        return new LedgerVerdict(
            Sent, Acknowledged.Count, arrived.Count,
            Duplicates: atCentre.Values.Sum(times => times - 1),
            Lost: Acknowledged.Count - arrived.Count)
        {
            LostNames = [.. _acknowledged.Where(a => !arrived.Contains(a.Key)).Select(a => a.Value).Order(StringComparer.Ordinal)],
        };
    }
}

/// <summary>Something that was not taken.</summary>
/// <param name="Name">The file.</param>
/// <param name="Reason">Why, in the words of whoever refused it.</param>
public sealed record Refusal(string Name, string Reason);

/// <summary>What a drill proves.</summary>
/// <param name="Sent">Instances sent.</param>
/// <param name="Acknowledged">Distinct data sets acknowledged with success.</param>
/// <param name="Arrived">Of those, how many are at the centre with every byte.</param>
/// <param name="Duplicates">How many are there more than once.</param>
/// <param name="Lost">Acknowledged, but not at the centre.</param>
public sealed record LedgerVerdict(int Sent, int Acknowledged, int Arrived, int Duplicates, int Lost)
{
    /// <summary>The files that are lost.</summary>
    public IReadOnlyList<string> LostNames { get; init; } = [];
}
