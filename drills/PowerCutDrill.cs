using System.Diagnostics;
using Yizhan.Samples;

namespace Yizhan.Drills;

/// <summary>Centre and site lose power at the same moment while a scanner is sending, again and again: SIGKILL to both, nothing is flushed or said goodbye to.</summary>
internal sealed class PowerCutDrill(DrillStage stage)
{
    private const int Seed = 20261123;
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var (cuts, perCut) = stage.Quick ? (2, 15) : (8, 30);
        var ledger = new Ledger();
        var sample = Path.Combine(stage.Folder, "sample");
        CtStudy.WriteFiles(sample, cuts * perCut, studies: cuts, Seed);
        var files = InstanceFile.ReadFolder(sample, ledger);
        var site = LocalSite.Prepare(stage.Folder, LocalSite.DcmtkPeers, LocalPorts.Free().WithoutRelay());
        stage.Say("Starting the centre and one site ...");
        var centre = await site.StartCentreAsync(cancellationToken);
        var edge = await site.StartEdgeAsync(cancellationToken);
        try
        {
            var scanner = new Scanner(site.Ports.Dicom, ledger);
            var (worst, inTheMiddle) = (TimeSpan.Zero, 0);
            for (var cut = 0; cut < cuts; cut++)
            {
                var some = files.GetRange(cut * perCut, perCut);
                ledger.CountSent(some.Count);

                // At another place of the transfer each time.
                var aim = scanner.Stored + (1 + (cut * 7)) % perCut;
                var sending = scanner.SendAsync(some, cancellationToken);
                while (!sending.IsCompleted && scanner.Stored < aim)
                {
                    await Task.Delay(TimeSpan.FromMilliseconds(1), TimeProvider.System, cancellationToken);
                }

                var dark = Stopwatch.GetTimestamp();
                await Task.WhenAll(centre.KillAsync(), edge.KillAsync());
                await centre.DisposeAsync();
                await edge.DisposeAsync();
                var unanswered = await sending;
                inTheMiddle += unanswered.Count > 0 ? 1 : 0;
                centre = await site.StartCentreAsync(cancellationToken);
                edge = await site.StartEdgeAsync(cancellationToken);
                var took = Stopwatch.GetElapsedTime(dark);
                worst = took > worst ? took : worst;
                stage.Say($"Cut {cut + 1} of {cuts}: {unanswered.Count} of {some.Count} instances had no answer; both are back after {took.TotalSeconds:0.0} s.");
                await scanner.SendAllAsync(unanswered, cancellationToken);
            }

            using var view = new CentreView(site);
            await view.WaitForAsync(ledger.Acknowledged, Patience, cancellationToken);
            var intact = await view.HashAllAsync(ledger.Acknowledged, cancellationToken);
            await view.RefreshAsync(cancellationToken);
            var verdict = ledger.Compare(view.Instances, intact);
            stage.Check("the cuts came in the middle of a transfer", inTheMiddle > 0, $"{inTheMiddle} of {cuts}");
            stage.Check("nothing was refused", ledger.Refused.Count == 0, $"{ledger.Refused.Count} refused");
            stage.NotShown("What a disk forgets in a power cut: the kernel lives on here. ./check power-cuts cuts the power of file systems and opens every crash image.");
            stage.Measure(verdict, worst, verdict.Lost);
            using var http = site.CentreClient();
            await stage.RecordAsync(http, "fleet", cancellationToken);
        }
        finally
        {
            await edge.DisposeAsync();
            await centre.DisposeAsync();
        }
    }
}
