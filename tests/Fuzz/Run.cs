using System.Diagnostics;

namespace Yizhan.Fuzz;

/// <summary>What one run found.</summary>
/// <param name="Iterations">Inputs that were read.</param>
/// <param name="Accepted">Of them, those that were taken as well-formed.</param>
/// <param name="Seconds">Time that it took.</param>
/// <param name="Findings">What was wrong, first of each kind, at most <see cref="Run.MaxFindings"/>.</param>
/// <param name="Targets">Inputs, accepted ones and the largest allocation for one input, by target.</param>
internal sealed record RunResult(
    long Iterations, long Accepted, double Seconds, IReadOnlyList<RunFinding> Findings, IReadOnlyList<TargetResult> Targets);

/// <summary>One target's share.</summary>
internal sealed record TargetResult(string Name, long Iterations, long Accepted, long LargestAllocation);

/// <summary>One thing that was wrong, with what makes it happen again.</summary>
internal sealed record RunFinding(string Target, long Seed, long Iteration, string Message, byte[] Input, int Choice);

/// <summary>Reads mutated inputs one after another in this thread; the same seed and range give the same inputs.</summary>
internal sealed class Run(IReadOnlyList<Target> targets, long seed)
{
    /// <summary>Different findings after which a run stops.</summary>
    public const int MaxFindings = 20;

    private readonly Chance _chance = new();

    public RunResult Go(long first, long iterations, Action<long, double> progress, CancellationToken cancellationToken)
    {
        var findings = new Dictionary<string, RunFinding>();
        var counts = targets.ToDictionary(t => t, t => new Count());
        var start = Stopwatch.GetTimestamp();
        var done = 0L;
        for (; done < iterations && findings.Count < MaxFindings && !cancellationToken.IsCancellationRequested; done++)
        {
            var iteration = first + done;
            var (target, input, choice) = Make(iteration);
            var count = counts[target];
            count.Iterations++;
            try
            {
                count.Accepted += Try(target, input, choice, count) ? 1 : 0;
            }
            catch (Finding finding)
            {
                input = Shrink(target, input, choice, KindOf(finding));
                findings.TryAdd(KindOf(finding), new RunFinding(target.Name, seed, iteration, finding.Message, input, choice));
            }

            if (done % 100_000 == 99_999)
            {
                progress(done + 1, Stopwatch.GetElapsedTime(start).TotalSeconds);
            }
        }

        return new RunResult(
            done,
            counts.Values.Sum(c => c.Accepted),
            Stopwatch.GetElapsedTime(start).TotalSeconds,
            [.. findings.Values],
            [.. counts.Select(c => new TargetResult(c.Key.Name, c.Value.Iterations, c.Value.Accepted, c.Value.LargestAllocation))]);
    }

    /// <summary>Reads one input under the bounds of its target.</summary>
    /// <exception cref="Finding">Something is wrong.</exception>
    public static bool Try(Target target, byte[] input, int choice, Count? count = null)
    {
        var (fixedBytes, perByte) = target.AllocationBound;
        var bound = fixedBytes + ((long)perByte * input.Length);
        var (accepted, allocated) = Measure(target, input, choice);
        if (allocated > bound)
        {
            // The first use of a table builds it.
            (accepted, allocated) = Measure(target, input, choice);
        }

        if (allocated > bound)
        {
            throw new Finding($"{input.Length} bytes of input allocated more than {fixedBytes} + {perByte} for each of them");
        }

        if (count is not null)
        {
            count.LargestAllocation = Math.Max(count.LargestAllocation, allocated);
        }

        return accepted;
    }

    private static (bool Accepted, long Allocated) Measure(Target target, byte[] input, int choice)
    {
        var before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            return (target.Read(input, choice), GC.GetAllocatedBytesForCurrentThread() - before);
        }
        catch (Exception e) when (e is not Finding)
        {
            throw new Finding("An exception that is not documented came out", e);
        }
    }

    /// <summary>The input of an iteration, with the target that reads it.</summary>
    private (Target Target, byte[] Input, int Choice) Make(long iteration)
    {
        _chance.Start(seed, iteration);
        var target = targets[_chance.Below(targets.Count)];
        var choice = _chance.Below(int.MaxValue);
        return (target, target.Make(_chance), choice);
    }

    /// <summary>Cuts pieces out of an input while the same thing goes wrong with what is left.</summary>
    private static byte[] Shrink(Target target, byte[] input, int choice, string kind)
    {
        var tries = 0;
        for (var piece = input.Length / 2; piece > 0; piece /= 2)
        {
            for (var at = 0; at + piece <= input.Length && tries++ < 5000;)
            {
                byte[] shorter = [.. input[..at], .. input[(at + piece)..]];
                if (GoesWrong(shorter))
                {
                    input = shorter;
                }
                else
                {
                    at += piece;
                }
            }
        }

        return input;

        bool GoesWrong(byte[] candidate)
        {
            try
            {
                Try(target, candidate, choice);
                return false;
            }
            catch (Finding finding)
            {
                return KindOf(finding) == kind;
            }
        }
    }

    /// <summary>Findings from the same place in the code are one.</summary>
    private static string KindOf(Finding finding)
    {
        var cause = finding.InnerException ?? finding;
        var place = cause.StackTrace?.Split('\n', 2)[0].Trim() ?? "";
        return $"{cause.GetType().Name} {place}";
    }

    /// <summary>What happened with one target so far.</summary>
    public sealed class Count
    {
        public long Iterations { get; set; }

        public long Accepted { get; set; }

        public long LargestAllocation { get; set; }
    }
}
