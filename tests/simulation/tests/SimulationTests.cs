using System.Globalization;

namespace Yizhan.Simulation.Tests;

/// <summary>Days of outages, crashes, broken disks and lost answers, from seeds. The code is the real one; only disk, line and time are not.</summary>
public sealed class SimulationTests(ITestOutputHelper output)
{
    [Fact]
    [Trait("Clause", "D4.6")]
    public void Whatever_goes_wrong_what_was_acknowledged_is_delivered_once_and_in_order()
    {
        var seeds = Environment.GetEnvironmentVariable("YIZHAN_LONG") is null ? 200 : 10_000;
        var result = Campaign.Run(0, seeds, _ => { }, null, TestContext.Current.CancellationToken);
        output.WriteLine($"figures: simulation: {result}");
        Assert.Empty(result.Failures.Select(f => $"./yizhan sim --seed {f.Seed} --trace   ({f.Scenario}: {f.Violations[0]})"));
        Assert.Equal(result.Accepted, result.Delivered + result.Quarantined + result.Forgone + Missing(result));
        Assert.Equal((0, 0), (result.Lost, result.Duplicates));
    }

    [Theory]
    [InlineData(2)]
    [InlineData(12)]
    public void One_seed_is_one_run_and_the_same_each_time(long seed)
    {
        using var first = new StringWriter(CultureInfo.InvariantCulture);
        using var second = new StringWriter(CultureInfo.InvariantCulture);
        var runs = (Campaign.Run(seed, first), Campaign.Run(seed, second));
        Assert.Equal(first.ToString(), second.ToString());
        Assert.Equal((runs.Item1.Trace, runs.Item1.Accepted, runs.Item1.VirtualTime), (runs.Item2.Trace, runs.Item2.Accepted, runs.Item2.VirtualTime));
        Assert.NotEqual(runs.Item1.Trace, Campaign.Run(seed + Scenario.All.Count, null).Trace);
    }

    /// <summary>Seeds that found something once.</summary>
    [Theory]
    [InlineData(2, "A process was killed, the next one went on from its page cache, and then the power went: an acknowledged group was missing.")]
    [InlineData(5, "A flush failed, the process was restarted, and went on from pages that the kernel took for clean.")]
    [InlineData(94, "Half a rename left two names for a spare; both became segment files, and one was written over the other.")]
    [InlineData(551, "The header of a segment file was only in the page cache: after the next power cut the file was taken for one never used.")]
    public void A_seed_that_found_something_stays(long seed, string what)
    {
        var run = Campaign.Run(seed, null);
        Assert.True(run.Violations.Count == 0, $"{what} {string.Join('\n', run.Violations)}");
    }

    [Fact]
    public void Every_kind_of_fault_is_injected_and_every_scenario_accepts_and_delivers()
    {
        var runs = new List<RunResult>();
        var result = Campaign.Run(0, Scenario.All.Count, runs.Add, null, TestContext.Current.CancellationToken);
        Assert.Empty(result.Failures.Select(f => $"{f.Seed} ({f.Scenario}): {f.Violations[0]}"));
        Assert.All(runs, run => Assert.InRange(run.Delivered, 100, run.Accepted));
        Assert.Superset(
            new HashSet<string>
            {
                "I/O errors", "answers lost", "centres restored", "clock jumps", "connections reset", "crashes during recovery", "disks filled by others",
                "edges restored", "ends at an operation", "half-open", "kills", "misdirected writes", "offers repeated", "partitions", "power cuts",
                "requests doubled", "requests lost",
            },
            result.Faults.Keys.ToHashSet());
        Assert.All([result.Refused, result.Quarantined], figure => Assert.NotEqual(0, figure));
    }

    /// <summary>What is not at the centre because a log found damage in itself and stopped, with a message.</summary>
    private static long Missing(CampaignResult result) =>
        result.Faults.ContainsKey("damage found") ? result.Accepted - result.Delivered - result.Quarantined - result.Forgone : 0;
}
