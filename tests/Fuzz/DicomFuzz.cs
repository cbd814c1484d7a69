using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Yizhan.Fuzz.Targets;

namespace Yizhan.Fuzz;

/// <summary><c>yizhan fuzz dicom</c>: mutated PDUs, command sets, data sets and JSON against everything that reads them.</summary>
internal static class DicomFuzz
{
    public static Command Create()
    {
        var iterations = new Option<long>("--iterations") { Description = "Inputs to read. Default 300000.", DefaultValueFactory = _ => 300_000 };
        var seed = new Option<long>("--seed") { Description = "Seed; equal seeds give equal inputs. Default 1.", DefaultValueFactory = _ => 1 };
        var from = new Option<long>("--from") { Description = "First iteration: with --iterations 1 makes one case again. Default 0." };
        var target = new Option<string?>("--target") { Description = "Only this target: data-set, json, association, codec or intake." };
        var json = new Option<bool>("--json") { Description = "Print progress on standard error and one JSON object last." };
        var command = new Command("dicom", """
            Reads mutated DICOM: files, data sets, DICOM JSON, PDUs and command sets. Nothing may crash, hang, allocate beyond its bound, or be stored
            as something else than was sent. First the inputs of tests/Fuzz/regressions.txt, then new ones.

            Examples:
              yizhan fuzz dicom
              yizhan fuzz dicom --iterations 10000000 --seed 7
              yizhan fuzz dicom --seed 7 --from 123456 --iterations 1
              yizhan fuzz dicom --target association --json | tail -n 1 | jq .findings
            """) { iterations, seed, from, target, json };
        command.SetAction((parsed, cancellationToken) => Task.FromResult(Go(
            parsed.GetValue(iterations), parsed.GetValue(seed), parsed.GetValue(from), parsed.GetValue(target), parsed.GetValue(json), cancellationToken)));
        return command;
    }

    private static int Go(long iterations, long seed, long from, string? only, bool json, CancellationToken cancellationToken)
    {
        var progress = json ? Console.Error : Console.Out;
        var corpus = Seeds.Corpus(Path.Combine(Tree.Root, "..", "shared", "corpus", "dicom", "given"));
        var mutator = new DataSetMutator(Seeds.Generated, corpus);
        Target[] all = [new DataSetTarget(mutator), new AssociationTarget(), new CodecTarget(), new IntakeTarget(mutator, new MemoryStore()), new JsonTarget(Seeds.Generated)];
        Target[] targets = [.. all.Where(t => only is null || t.Name == only)];
        if (targets.Length == 0)
        {
            Console.Error.WriteLine($"yizhan: there is no target '{only}'; accepted are {string.Join(", ", all.Select(t => t.Name))}.");
            return 64;
        }

        progress.WriteLine($"{Seeds.Generated.Count} generated seeds, {corpus.Count} of the corpus.");
        var regressions = Regressions.Read(Path.Combine(Tree.Root, "tests", "Fuzz", "regressions.txt"));
        var again = regressions.Where(r => targets.Any(t => t.Name == r.Target) && Fails(targets.Single(t => t.Name == r.Target), r, progress)).ToList();
        var result = new Run(targets, seed).Go(
            from, iterations, (done, seconds) => progress.WriteLine($"{done} in {seconds:0} s"), cancellationToken);
        foreach (var finding in result.Findings)
        {
            progress.WriteLine($"""
                {finding.Target} --seed {finding.Seed} --from {finding.Iteration} --iterations 1: {finding.Message}
                  {finding.Target} {finding.Choice} {Convert.ToBase64String(finding.Input)}
                """);
        }

        foreach (var t in result.Targets)
        {
            progress.WriteLine($"{t.Name,-12} {t.Iterations,10} inputs, {t.Accepted,10} taken as well-formed, at most {t.LargestAllocation / 1024} KiB allocated for one");
        }

        var findings = result.Findings.Count + again.Count;
        progress.WriteLine(
            $"{result.Iterations} inputs in {result.Seconds:0} s, seed {seed}, {regressions.Count} regressions read: {findings} findings.");
        if (json)
        {
            Console.WriteLine(JsonSerializer.Serialize(new
            {
                iterations = result.Iterations,
                accepted = result.Accepted,
                seconds = Math.Round(result.Seconds, 1),
                seed,
                from,
                regressions = regressions.Count,
                findings,
                targets = result.Targets.Select(t => new { name = t.Name, iterations = t.Iterations, accepted = t.Accepted, largestAllocation = t.LargestAllocation }),
            }));
        }

        return findings > 0 ? 1 : cancellationToken.IsCancellationRequested ? 130 : 0;
    }

    private static bool Fails(Target target, Regression regression, TextWriter progress)
    {
        try
        {
            Run.Try(target, regression.Input, regression.Choice);
            return false;
        }
        catch (Finding finding)
        {
            progress.WriteLine(string.Create(CultureInfo.InvariantCulture, $"regressions.txt:{regression.Line}: {finding.Message}"));
            return true;
        }
    }
}
