using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Yizhan.Simulation;

namespace Yizhan.Cli;

/// <summary><c>yizhan sim</c>: days of faults from seeds, on a simulated disk and line.</summary>
internal static class SimCommand
{
    private const int MaxViolations = 20;

    public static Command Create()
    {
        var seeds = new Option<long>("--seeds") { Description = "How many seeds to run.", DefaultValueFactory = _ => 200 };
        var from = new Option<long>("--from") { Description = "The first of them." };
        var seed = new Option<long?>("--seed") { Description = "Run only this seed, the same way each time." };
        var trace = new Option<bool>("--trace") { Description = "With --seed: print everything that happens." };
        var json = new Option<bool>("--json") { Description = "Print progress on standard error and one JSON object last." };
        var command = new Command("sim", """
            Runs the real log, shipper and intake on a simulated disk, line and clock. Each seed is a day at one site with its own outages, crashes,
            full and failing disks, lost and doubled requests, restored backups; at the end, everything that was acknowledged must be at the centre
            once, whole and in order. A seed that fails is printed with the command that repeats it.

            Examples:
              yizhan sim --seeds 1000
              yizhan sim --seeds 10000 --from 200 --json | tail -n 1 | jq .lost
              yizhan sim --seed 4711 --trace
            """) { seeds, from, seed, trace, json };
        command.SetAction((parsed, cancellationToken) => Task.FromResult(
            Wrong(parsed.GetValue(seeds), parsed.GetValue(from), parsed.GetValue(seed), parsed.GetValue(trace)) ? CommandLine.WrongUse
            : parsed.GetValue(seed) is { } one ? RunOne(one, parsed.GetValue(trace), parsed.GetValue(json))
            : RunMany(parsed.GetValue(from), parsed.GetValue(seeds), parsed.GetValue(json), cancellationToken)));
        return command;
    }

    private static bool Wrong(long seeds, long from, long? seed, bool trace)
    {
        var error = seeds < 1 ? $"--seeds is {seeds}; it is at least 1."
            : from < 0 || seed < 0 ? $"The first seed is {seed ?? from}; it is at least 0."
            : trace && seed is null ? "--trace needs --seed: one run is many lines."
            : null;
        if (error is not null)
        {
            Console.Error.WriteLine($"yizhan: {error}");
        }

        return error is not null;
    }

    private static int RunOne(long seed, bool trace, bool json)
    {
        var result = Campaign.Run(seed, 1, _ => { }, trace ? Console.Out : null, CancellationToken.None);
        return Report(result, json);
    }

    private static int RunMany(long from, long seeds, bool json, CancellationToken cancellationToken)
    {
        var progress = json ? Console.Error : Console.Out;
        var (done, failed) = (0L, 0L);
        var result = Campaign.Run(from, seeds, run =>
        {
            done++;
            failed += run.Violations.Count > 0 ? 1 : 0;
            if (done % 50 == 0 || run.Violations.Count > 0)
            {
                progress.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {done} of {seeds} seeds, {failed} failed"));
            }
        }, null, cancellationToken);
        return Report(result, json);
    }

    private static int Report(CampaignResult result, bool json)
    {
        var people = json ? Console.Error : Console.Out;
        foreach (var failure in result.Failures)
        {
            people.WriteLine($"seed {failure.Seed} failed ({failure.Scenario}), trace {failure.Trace}:");
            foreach (var violation in failure.Violations.Take(MaxViolations))
            {
                people.WriteLine($"  {violation}");
            }

            people.WriteLine($"  repeat it with: ./yizhan sim --seed {failure.Seed} --trace");
        }

        people.WriteLine(result);
        if (json)
        {
            Console.WriteLine(JsonSerializer.Serialize(new
            {
                seeds = result.Seeds,
                faults = result.Faults,
                accepted = result.Accepted,
                delivered = result.Delivered,
                quarantined = result.Quarantined,
                forgone = result.Forgone,
                lost = result.Lost,
                duplicates = result.Duplicates,
                refused = result.Refused,
                failed = result.Failures.Count,
                virtualHours = Math.Round(result.VirtualHours, 1),
                seconds = Math.Round(result.Seconds, 1),
                trace = result.Trace,
            }));
        }

        return result.Failures.Count == 0 ? 0 : 1;
    }
}
