using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text.Json;
using Yizhan.Contracts;

namespace Yizhan.Drills;

/// <summary>Where one run of a drill writes what it does, measures and checks, and from which its report is made.</summary>
public sealed class DrillStage
{
    private const int MaxSteps = 200;
    private static readonly TimeSpan ProofPatience = TimeSpan.FromMinutes(3);

    private readonly Drill _drill;
    private readonly Action<string> _say;
    private readonly long _started = Stopwatch.GetTimestamp();
    private readonly long _startedMs = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
    private readonly List<DrillStep> _steps = [];
    private readonly List<DrillCheck> _checks = [];
    private readonly List<string> _notShown = [];
    private LedgerVerdict? _verdict;
    private (double Seconds, long Entries)? _recovery;
    private DrillFinished? _recorded;

    /// <summary>Begins a run.</summary>
    /// <param name="drill">Which.</param>
    /// <param name="folder">A folder of its own for nodes and samples.</param>
    /// <param name="quick">Less data and fewer repetitions, for a test.</param>
    /// <param name="say">Told each step.</param>
    public DrillStage(Drill drill, string folder, bool quick, Action<string> say)
    {
        (_drill, Folder, Quick, _say) = (drill, folder, quick, say);
        Directory.CreateDirectory(folder);
        Id = string.Create(
            CultureInfo.InvariantCulture,
            $"{drill.Kind}-{DateTimeOffset.FromUnixTimeMilliseconds(_startedMs):yyyyMMdd-HHmmss}-{RandomNumberGenerator.GetHexString(6, lowercase: true)}");
    }

    /// <summary>Id of the run.</summary>
    public string Id { get; }

    /// <summary>Its folder.</summary>
    public string Folder { get; }

    /// <summary>Less data and fewer repetitions.</summary>
    public bool Quick { get; }

    /// <summary>What it ran against: <c>local</c>, or the address of a node.</summary>
    public string Against { get; init; } = "local";

    /// <summary>The audit records of this run, each with its proof checked; empty before <see cref="RecordAsync"/>.</summary>
    public IReadOnlyList<ProvenRecord> Proofs { get; private set; } = [];

    /// <summary>Something happens.</summary>
    public void Say(string text)
    {
        _say(text);
        if (_steps.Count < MaxSteps)
        {
            _steps.Add(new DrillStep(Math.Round(Stopwatch.GetElapsedTime(_started).TotalSeconds, 1), text));
        }
    }

    /// <summary>Something was checked.</summary>
    public void Check(string name, bool ok, FormattableString found)
    {
        var detail = FormattableString.Invariant(found);
        _say($"  {(ok ? "ok  " : "FAIL")} {name}: {detail}");
        _checks.Add(new DrillCheck(name, ok, detail));
    }

    /// <summary>Something that this run cannot show here, with the reason.</summary>
    public void NotShown(string what)
    {
        _say($"  not shown: {what}");
        _notShown.Add(what);
    }

    /// <summary>The ledger against what is there, and how long recovery took.</summary>
    /// <param name="verdict">What was acknowledged, against what is there.</param>
    /// <param name="recovery">From the fault until the service was there again.</param>
    /// <param name="notRecovered">Acknowledged items that the recovery did not bring back.</param>
    public void Measure(LedgerVerdict verdict, TimeSpan recovery, long notRecovered)
    {
        (_verdict, _recovery) = (verdict, (Math.Round(recovery.TotalSeconds, 2), notRecovered));
        Check("everything acknowledged is at the centre, equal by hash", verdict is { Acknowledged: > 0, Lost: 0 }, $"{verdict.Arrived} of {verdict.Acknowledged}");
        Check("nothing is there twice", verdict.Duplicates == 0, $"{verdict.Duplicates} more than once");
    }

    /// <summary>What of a restored copy could be read, and how long that took: nothing was delivered to anybody.</summary>
    internal void MeasureCopy(LedgerVerdict verdict, TimeSpan recovery) => (_verdict, _recovery) = (verdict, (Math.Round(recovery.TotalSeconds, 2), verdict.Lost));

    /// <summary>The report as it is now; after <see cref="RecordAsync"/> what was recorded.</summary>
    public DrillFinished Report() => _recorded ?? Build();

    /// <summary>Records the report in a node's event log, and waits until its audit service proves the record. What is checked later is not in it.</summary>
    /// <param name="node">A client of the node, which may maintain its log and read its audit.</param>
    /// <param name="module">fleet at a centre, station at a site.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="InvalidOperationException">The node refused it, or did not prove it in a minute.</exception>
    public async Task RecordAsync(HttpClient node, string module, CancellationToken cancellationToken)
    {
        var report = Report();
        using var answer = await node.PostAsJsonAsync(new Uri($"{module}/log/drills", UriKind.Relative), report, ContractsJson.Default.DrillFinished, cancellationToken);
        if (!answer.IsSuccessStatusCode)
        {
            throw new InvalidOperationException($"The report was not recorded: {(int)answer.StatusCode} {await answer.Content.ReadAsStringAsync(cancellationToken)}");
        }

        _recorded = report;
        var audit = new AuditProof(node);
        var began = Stopwatch.GetTimestamp();
        IReadOnlyList<ProvenRecord> proofs;
        while ((proofs = await audit.RecordsAsync(DrillFinished.EntityOf(Id), cancellationToken)).Count == 0)
        {
            if (Stopwatch.GetElapsedTime(began) > ProofPatience)
            {
                throw new InvalidOperationException($"The audit service has not proven the record of {Id} in {ProofPatience.TotalSeconds:0} s.");
            }

            await Task.Delay(TimeSpan.FromMilliseconds(200), TimeProvider.System, cancellationToken);
        }

        Proofs = [.. Proofs, .. proofs];
        _say($"Recorded in the audit log: entry {proofs[0].Index}, proven in a tree of {proofs[0].Size}.");
    }

    /// <summary>Runs until it holds.</summary>
    /// <returns>How long that took; null when the patience was over first.</returns>
    public static async Task<TimeSpan?> UntilAsync(Func<Task<bool>> holds, TimeSpan patience, CancellationToken cancellationToken)
    {
        var began = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                if (await holds())
                {
                    return Stopwatch.GetElapsedTime(began);
                }
            }
            catch (Exception e) when (e is HttpRequestException or JsonException or IOException)
            {
                // A node that is starting or dying has no answer.
            }

            if (Stopwatch.GetElapsedTime(began) > patience)
            {
                return null;
            }

            await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System, cancellationToken);
        }
    }

    private DrillFinished Build()
    {
        var verdict = _verdict ?? new LedgerVerdict(0, 0, 0, 0, 0);
        var passed = _checks.Count > 0 && _checks.All(c => c.Ok);
        return new DrillFinished(
            Id, _drill.Kind, Against, passed, _startedMs, TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds(), verdict.Acknowledged, verdict.Arrived, verdict.Lost,
            verdict.Duplicates, _recovery?.Seconds, _recovery?.Entries,
            passed ? _drill.Shows : $"Not passed: {(_checks.Count == 0 ? "it did not come to its checks" : string.Join("; ", _checks.Where(c => !c.Ok).Select(c => $"{c.Name} ({c.Detail})")))}.",
            _drill.Limits, [.. _checks], [.. _steps], [.. _notShown]);
    }
}
