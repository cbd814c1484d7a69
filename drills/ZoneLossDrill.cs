using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json;
using Yizhan.Platform.Identity;
using Yizhan.Samples;
using Yizhan.Storage;

namespace Yizhan.Drills;

/// <summary>
/// The zone of the centre is gone: process, data and the backups beside it. The site goes on accepting. Then the centre is restored from its off-site copy on an
/// empty folder, with other ports, and the site sends what that copy does not have.
/// </summary>
internal sealed class ZoneLossDrill(DrillStage stage)
{
    private const int Seed = 20261124;
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var third = stage.Quick ? 10 : 60;
        var ledger = new Ledger();
        var sample = Path.Combine(stage.Folder, "sample");
        CtStudy.WriteFiles(sample, 3 * third, studies: 3, Seed);
        var files = InstanceFile.ReadFolder(sample, ledger);
        var site = LocalSite.Prepare(stage.Folder, LocalSite.DcmtkPeers, LocalPorts.Free());

        // The authority is part of the centre, as it is by default: who loses the zone loses it too, and finds it in the backup.
        var (zoneBackups, authority) = (Path.Combine(stage.Folder, "zone-backups"), Path.Combine(site.CentreFolder, "fleet", "ca"));
        FileTree.Copy(Path.Combine(stage.Folder, "ca"), authority);
        string[] settings = [$"--storage:backupFolder={zoneBackups}", "--fleet:safePoint=backup"];

        stage.Say("Starting the centre and one site ...");
        var centre = await site.StartCentreAsync([.. settings, $"--fleet:caFolder={authority}"], cancellationToken);
        var line = new LinkRelay(site.Ports.SiteLink, site.Ports.CentreLink);
        line.Open();
        await using var edge = await site.StartEdgeAsync(cancellationToken);
        try
        {
            var scanner = new Scanner(site.Ports.Dicom, ledger);
            string manifest, offSite;
            using (var view = new CentreView(site))
            using (var http = site.CentreClient())
            {
                await SendAsync(scanner, ledger, files[..third], cancellationToken);
                await view.WaitForAsync(ledger.Acknowledged, Patience, cancellationToken);
                (manifest, offSite) = await BackUpAsync(http, cancellationToken);
                stage.Say($"The centre is backed up with {third} instances and copied off site; {third} more arrive after that ...");
                await SendAsync(scanner, ledger, files[third..(2 * third)], cancellationToken);
                await view.WaitForAsync(ledger.Acknowledged, Patience, cancellationToken);
            }

            stage.Say("The zone is gone: the centre is killed, its data and the backups beside it are deleted ...");
            await centre.KillAsync();
            var lost = Stopwatch.GetTimestamp();
            await centre.DisposeAsync();
            await line.DisposeAsync();
            Directory.Delete(site.CentreFolder, recursive: true);
            Directory.Delete(zoneBackups, recursive: true);
            var before = scanner.Stored;
            await SendAsync(scanner, ledger, files[(2 * third)..], cancellationToken);
            stage.Check("the site accepts while the centre is gone", scanner.Stored - before == third, $"{scanner.Stored - before} of {third} instances");

            stage.Say("Restoring the centre from the off-site copy on an empty folder ...");
            var check = Restore.Verify(offSite, manifest, before: null, progress: null, cancellationToken);
            stage.Check("the off-site copy is what was backed up, by the pinned digest of its manifest", check.Problems.Count == 0, $"{check.Manifest?.Files.Count ?? 0} files, {check.Problems.Count} problems");
            var (elsewhere, ports) = (Path.Combine(stage.Folder, "other-zone", "centre"), LocalPorts.Free());
            Restore.Run(offSite, elsewhere);
            centre = await site.StartCentreElsewhereAsync(
                elsewhere, ports, [$"--storage:backupFolder={zoneBackups}", "--fleet:safePoint=backup", $"--fleet:caFolder={Path.Combine(elsewhere, "fleet", "ca")}"], cancellationToken);
            var recovery = Stopwatch.GetElapsedTime(lost);
            using var restored = new CentreView(OperatorTokenHandler.Client(ports.CentreWeb, elsewhere)) { Progress = arrived => stage.Say($"  {arrived} of {ledger.Acknowledged.Count} at the restored centre") };
            await restored.RefreshAsync(cancellationToken);
            var had = ledger.Acknowledged.Count(restored.Instances.ContainsKey);
            stage.Check("the backup alone would have lost what came after it", had == third, $"{had} of {ledger.Acknowledged.Count} in the restored centre before the line is back");

            // Sites know the centre by its name; that the name points to the new place is the relay here.
            line = new LinkRelay(site.Ports.SiteLink, ports.CentreLink);
            line.Open();
            var mended = Stopwatch.GetTimestamp();
            await restored.WaitForAsync(ledger.Acknowledged, Patience, cancellationToken);
            stage.Say($"The centre was back after {recovery.TotalSeconds:0.0} s; the back-fill took {Stopwatch.GetElapsedTime(mended).TotalSeconds:0.0} s more. Reading everything back and hashing it ...");
            var intact = await restored.HashAllAsync(ledger.Acknowledged, cancellationToken);
            await restored.RefreshAsync(cancellationToken);
            var verdict = ledger.Compare(restored.Instances, intact);
            stage.NotShown("Spread of replicas and volumes over zones of a cluster: there is one machine here. ./check deploy holds the constraints of the manifests.");
            stage.Measure(verdict, recovery, verdict.Lost);
            using var there = OperatorTokenHandler.Client(ports.CentreWeb, elsewhere);
            await stage.RecordAsync(there, "fleet", cancellationToken);
        }
        finally
        {
            await line.DisposeAsync();
            await centre.DisposeAsync();
        }
    }

    /// <summary>Backs up and copies the backup off site.</summary>
    /// <returns>SHA-256 of the manifest, and where the copy is.</returns>
    private async Task<(string Manifest, string OffSite)> BackUpAsync(HttpClient http, CancellationToken cancellationToken)
    {
        using var answer = await http.PostAsync(new Uri("/fleet/log/backup", UriKind.Relative), null, cancellationToken);
        answer.EnsureSuccessStatusCode();
        var report = await answer.Content.ReadFromJsonAsync<JsonElement>(cancellationToken);
        var offSite = Path.Combine(stage.Folder, "off-site", "000001");
        FileTree.Copy(report.GetProperty("folder").GetString()!, offSite);
        return (report.GetProperty("manifestSha256").GetString()!, offSite);
    }

    private static async Task SendAsync(Scanner scanner, Ledger ledger, List<InstanceFile> files, CancellationToken cancellationToken)
    {
        ledger.CountSent(files.Count);
        await scanner.SendAllAsync(files, cancellationToken);
    }
}
