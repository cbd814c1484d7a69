using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;

namespace Yizhan.Simulation;

/// <summary>What one seed gave.</summary>
/// <param name="Seed">The seed.</param>
/// <param name="Scenario">The faults that it stands for.</param>
/// <param name="Trace">Hash of everything that happened: the same each time for the same seed and code.</param>
/// <param name="Accepted">Entries that the edge's log acknowledged.</param>
/// <param name="Delivered">Of these, at the centre.</param>
/// <param name="Quarantined">Tombstones at the centre, in the place of entries that it can never take.</param>
/// <param name="Forgone">Accepted after the backup that the edge was restored from, and gone with its disk.</param>
/// <param name="Lost">Accepted and not at the centre.</param>
/// <param name="Duplicates">At the centre more than once.</param>
/// <param name="Refused">Refusals, before any acknowledgement.</param>
/// <param name="VirtualTime">How long it took in the simulated world.</param>
/// <param name="Faults">What was injected, by kind.</param>
/// <param name="Violations">What must not have happened; empty when all is well.</param>
public sealed record RunResult(
    long Seed, string Scenario, string Trace, long Accepted, long Delivered, long Quarantined, long Forgone, long Lost, long Duplicates, long Refused,
    TimeSpan VirtualTime, IReadOnlyDictionary<string, long> Faults, IReadOnlyList<string> Violations);

/// <summary>Many seeds together.</summary>
/// <param name="Seeds">How many were run.</param>
/// <param name="Accepted">Sum of theirs, as are the others.</param>
/// <param name="Delivered">At the centre.</param>
/// <param name="Quarantined">Replaced by tombstones.</param>
/// <param name="Forgone">Gone with a disk that was restored from an older backup.</param>
/// <param name="Lost">Acknowledged and missing.</param>
/// <param name="Duplicates">There twice.</param>
/// <param name="Refused">Refused before an acknowledgement.</param>
/// <param name="VirtualHours">Simulated hours.</param>
/// <param name="Seconds">Real seconds.</param>
/// <param name="Faults">By kind.</param>
/// <param name="Trace">Hash of all runs: the same each time for the same seeds and code.</param>
/// <param name="Failures">Runs with violations, by seed.</param>
public sealed record CampaignResult(
    long Seeds, long Accepted, long Delivered, long Quarantined, long Forgone, long Lost, long Duplicates, long Refused, double VirtualHours, double Seconds,
    IReadOnlyDictionary<string, long> Faults, string Trace, IReadOnlyList<RunResult> Failures)
{
    /// <summary>The figures in one line.</summary>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"{Seeds} seeds, {VirtualHours:F0} virtual hours in {Seconds:F1} s: {Accepted} accepted, {Delivered} delivered, {Quarantined} quarantined, {Forgone} gone with a restored disk, {Refused} refused before acknowledgement, {Lost} lost, {Duplicates} twice; faults: {string.Join(", ", Faults.Select(f => $"{f.Value} {f.Key}"))}");
}

/// <summary>Runs seeds. Each is a world of its own on one thread; several run beside each other.</summary>
public static class Campaign
{
    private static readonly TimeSpan Limit = TimeSpan.FromHours(24 * 8);

    /// <summary>Runs one seed.</summary>
    /// <param name="seed">Any number that is not negative; it decides everything.</param>
    /// <param name="trace">Gets a line for each thing that happens; null for none.</param>
    public static RunResult Run(long seed, TextWriter? trace)
    {
        using var world = new World(seed, trace);
        var violations = world.Books.Violations;
        try
        {
            if (!world.Loop.Run(world.RunAsync, Limit))
            {
                violations.Add($"The run did not end: nothing more would happen at {world.Loop.Now}.");
            }
        }
        catch (Exception e)
        {
            violations.Add(e.ToString());
        }

        var books = world.Books;
        return new RunResult(
            seed, world.Scenario.Name, world.Trace.Hash.ToString("x16", CultureInfo.InvariantCulture), books.Accepted, books.Delivered, books.Quarantined,
            books.Items.Count(i => i.Forgone), books.Lost, books.Duplicates, books.Refused, world.Loop.Now, books.Faults, violations);
    }

    /// <summary>Runs seeds <paramref name="from"/>, <paramref name="from"/> + 1, … on all processors.</summary>
    /// <param name="from">The first.</param>
    /// <param name="count">How many.</param>
    /// <param name="progress">Told after each run, one call at a time.</param>
    /// <param name="trace">Gets a line for each thing that happens; only for one seed.</param>
    /// <param name="cancellationToken">Stops after the runs under way; the result has those that ended.</param>
    public static CampaignResult Run(long from, long count, Action<RunResult> progress, TextWriter? trace, CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        var results = new ConcurrentQueue<RunResult>();
        var next = from - 1;
        var threads = Enumerable.Range(0, Environment.ProcessorCount).Select(_ => new Thread(() =>
        {
            while (!cancellationToken.IsCancellationRequested && Interlocked.Increment(ref next) is var seed && seed < from + count)
            {
                var result = Run(seed, trace);
                results.Enqueue(result);
                lock (clock)
                {
                    progress(result);
                }
            }
        })).ToList();
        threads.ForEach(t => t.Start());
        threads.ForEach(t => t.Join());

        var faults = new SortedDictionary<string, long>(StringComparer.Ordinal);
        foreach (var (kind, times) in results.SelectMany(r => r.Faults))
        {
            faults[kind] = faults.GetValueOrDefault(kind) + times;
        }

        return new CampaignResult(
            results.Count, results.Sum(r => r.Accepted), results.Sum(r => r.Delivered), results.Sum(r => r.Quarantined), results.Sum(r => r.Forgone),
            results.Sum(r => r.Lost), results.Sum(r => r.Duplicates), results.Sum(r => r.Refused), results.Sum(r => r.VirtualTime.TotalHours),
            clock.Elapsed.TotalSeconds, faults, results.Aggregate(0UL, (sum, r) => sum + ulong.Parse(r.Trace, NumberStyles.HexNumber, CultureInfo.InvariantCulture)).ToString("x16", CultureInfo.InvariantCulture),
            [.. results.Where(r => r.Violations.Count > 0).OrderBy(r => r.Seed)]);
    }
}
