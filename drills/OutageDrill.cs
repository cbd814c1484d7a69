using System.Diagnostics;
using Yizhan.Samples;

namespace Yizhan.Drills;

/// <summary>What the drill found.</summary>
/// <param name="Verdict">The ledger against the centre.</param>
/// <param name="Refused">What was not taken, each with its reason.</param>
/// <param name="Outage">How long the line was down.</param>
/// <param name="BackFill">From the mended line until everything was at the centre.</param>
/// <param name="StudiesAtCentre">Studies in the centre's archive.</param>
public sealed record DrillResult(
    LedgerVerdict Verdict, IReadOnlyCollection<Refusal> Refused, TimeSpan Outage, TimeSpan BackFill, int StudiesAtCentre)
{
    /// <summary>What the centre's servers hold; null when it needs none.</summary>
    public BackendFindings? Backends { get; init; }

    /// <summary>Something was acknowledged, and all of that is at the centre exactly once.</summary>
    public bool Passed => Verdict is { Acknowledged: > 0, Lost: 0, Duplicates: 0 } && Backends?.Passed != false;
}

/// <summary>
/// The main job under the two things that go wrong most: the line is cut while a scanner is sending, and the site's process is killed
/// in the middle of an association. Centre and site are processes of their own, the line is a relay that is really closed.
/// </summary>
public sealed class OutageDrill(string folder, string? from, Action<string> say, ProductionBackends? backends = null)
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    /// <summary>Instances of the synthetic CT, when no folder is given. Default 120.</summary>
    public int Instances { get; init; } = 120;

    /// <summary>Told the result while the nodes still run, with a client of the centre.</summary>
    public Func<HttpClient, DrillResult, CancellationToken, Task>? BeforeStop { get; init; }

    /// <summary>Runs the drill. Leaves nothing running.</summary>
    /// <exception cref="InvalidOperationException">A node did not start, or stopped answering; the message says where its log is.</exception>
    public async Task<DrillResult> RunAsync(CancellationToken cancellationToken)
    {
        var ledger = new Ledger();
        var files = InstanceFile.ReadFolder(from ?? MakeSample(), ledger);
        if (files.Count == 0)
        {
            throw new InvalidOperationException($"There is no DICOM file that could be sent below {from}.");
        }

        var site = LocalSite.Prepare(
            folder, LocalSite.DcmtkPeers, LocalPorts.Free(), backends?.CentreSettings(Path.Combine(folder, "secrets")) ?? "");
        say("Starting the centre and one site ...");
        await using var centre = await site.StartCentreAsync(cancellationToken);
        await using var line = new LinkRelay(site.Ports.SiteLink, site.Ports.CentreLink);
        line.Open();
        var edge = await site.StartEdgeAsync(cancellationToken);
        try
        {
            using var view = new CentreView(site) { Progress = arrived => say($"  {arrived} of {ledger.Acknowledged.Count} at the centre"), Unreadable = text => say($"  not read: {text}") };
            var scanner = new Scanner(site.Ports.Dicom, ledger);
            var (first, second, third) = (files[..(files.Count / 3)], files[(files.Count / 3)..(2 * files.Count / 3)], files[(2 * files.Count / 3)..]);

            say($"Sending {files.Count} instances over DICOM; the line is up ...");
            await SendAsync(scanner, ledger, first, cancellationToken);
            await view.WaitForAsync([.. ledger.Acknowledged.Take(1)], Patience, cancellationToken);

            say("Cutting the line: its listener is closed, its connections are reset. The scanner goes on ...");
            await line.CutAsync();
            var outage = Stopwatch.GetTimestamp();
            await SendAsync(scanner, ledger, second, cancellationToken);

            say("Killing the site with SIGKILL in the middle of an association ...");
            edge = await KillWhileSendingAsync(edge, site, scanner, ledger, third, cancellationToken);
            say("The site is back; what got no answer was sent again.");

            line.Open();
            var outageTime = Stopwatch.GetElapsedTime(outage);
            say($"The line is mended after {outageTime.TotalSeconds:0.0} s; waiting for the back-fill ...");
            var mended = Stopwatch.GetTimestamp();
            if (backends is not null)
            {
                say("Killing the centre's PostgreSQL with SIGKILL in the middle of the back-fill ...");
                await backends.KillPostgresAsync(cancellationToken);
            }

            await view.WaitForAsync(ledger.Acknowledged, Patience, cancellationToken);
            var backFill = Stopwatch.GetElapsedTime(mended);

            if (backends is not null)
            {
                say("Waiting until the centre has moved full files to S3 ...");
                for (var attempt = 0; backends.Objects == 0 && attempt < 120; attempt++)
                {
                    await Task.Delay(TimeSpan.FromMilliseconds(500), TimeProvider.System, cancellationToken);
                }
            }

            say("Reading everything back from the centre and hashing it ...");
            var intact = await view.HashAllAsync(ledger.Acknowledged, cancellationToken);
            await view.RefreshAsync(cancellationToken);
            var studies = await view.ArchiveAsync(cancellationToken);
            var result = new DrillResult(ledger.Compare(view.Instances, intact), ledger.Refused, outageTime, backFill, studies.Studies)
            {
                Backends = backends is null ? null : await backends.CompareAsync(view.Events, Patience, cancellationToken),
            };
            if (BeforeStop is { } told)
            {
                using var http = site.CentreClient();
                await told(http, result, cancellationToken);
            }

            return result;
        }
        finally
        {
            await edge.DisposeAsync();
        }
    }

    private string MakeSample()
    {
        var sample = Path.Combine(folder, "sample");
        say($"Making a synthetic CT: three studies of {Instances / 3} slices ...");
        CtStudy.WriteFiles(sample, Instances, studies: 3, seed: 20261122);
        return sample;
    }

    private static async Task SendAsync(Scanner scanner, Ledger ledger, List<InstanceFile> files, CancellationToken cancellationToken)
    {
        ledger.CountSent(files.Count);
        await scanner.SendAllAsync(files, cancellationToken);
    }

    /// <summary>Kills the site once a few more instances were acknowledged, starts it again and sends the rest.</summary>
    private static async Task<HostProcess> KillWhileSendingAsync(
        HostProcess edge, LocalSite site, Scanner scanner, Ledger ledger, List<InstanceFile> files, CancellationToken cancellationToken)
    {
        ledger.CountSent(files.Count);
        var aim = scanner.Stored + files.Count / 3;
        var sending = scanner.SendAsync(files, cancellationToken);
        while (!sending.IsCompleted && scanner.Stored < aim)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(1), TimeProvider.System, cancellationToken);
        }

        await edge.KillAsync();
        await edge.DisposeAsync();
        var unanswered = await sending;
        var restarted = await site.StartEdgeAsync(cancellationToken);
        await scanner.SendAllAsync(unanswered, cancellationToken);
        return restarted;
    }
}
