using System.Diagnostics;
using System.Net.Http.Json;
using System.Runtime.Versioning;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;
using Yizhan.Samples;
using Yizhan.Storage;

namespace Yizhan.Drills;

/// <summary>
/// Somebody encrypts the folder of a site that works, and the backups that it can reach. The canaries tell; the copies off site cannot be changed; a bare node is
/// restored from them with the key out of the safe.
/// </summary>
internal sealed class RansomwareDrill(DrillStage stage)
{
    private const int Seed = 20261125;
    private const int Nobody = 65534;
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    /// <summary>Between two files: what encrypts a disk is busy with it for minutes, and what a drill has is little.</summary>
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(100);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var third = stage.Quick ? 10 : 60;
        var ledger = new Ledger();
        var sample = Path.Combine(stage.Folder, "sample");
        CtStudy.WriteFiles(sample, 3 * third, studies: 3, Seed);
        var files = InstanceFile.ReadFolder(sample, ledger);
        var site = LocalSite.Prepare(stage.Folder, LocalSite.DcmtkPeers, LocalPorts.Free().WithoutRelay());
        var (backups, offSite) = (Path.Combine(stage.Folder, "second-disk"), Path.Combine(stage.Folder, "off-site"));
        var (key, safe) = (Path.Combine(stage.Folder, "key-device", "site.key"), Path.Combine(stage.Folder, "safe", "site.key"));
        string[] settings = [$"--storage:backupFolder={backups}", $"--storage:siteKeyFile={key}", "--storage:canarySeconds=1", "--station:heartbeatSeconds=1"];

        stage.Say("Starting the centre and one site, whose key is on another device ...");
        await using var centre = await site.StartCentreAsync(cancellationToken);
        var edge = await site.StartEdgeAsync(settings, cancellationToken);
        try
        {
            using var view = new CentreView(site);
            using var atCentre = site.CentreClient();
            var scanner = new Scanner(site.Ports.Dicom, ledger);
            await SendAsync(scanner, ledger, files[..third], cancellationToken);
            await view.WaitForAsync(ledger.Acknowledged, Patience, cancellationToken);
            string manifest;
            using (var atSite = site.EdgeClient())
            {
                using var answer = await atSite.PostAsync(new Uri("/station/log/backup", UriKind.Relative), null, cancellationToken);
                answer.EnsureSuccessStatusCode();
                var report = await answer.Content.ReadFromJsonAsync<JsonElement>(cancellationToken);
                manifest = report.GetProperty("manifestSha256").GetString()!;
                FileTree.Copy(report.GetProperty("folder").GetString()!, Path.Combine(offSite, "000001"));
            }

            Directory.CreateDirectory(Path.GetDirectoryName(safe)!);
            File.Copy(key, safe);
            var how = Protect(offSite);
            stage.Say($"The site is backed up with {third} instances; the copy off site is {how}. {third} more arrive after that ...");
            await SendAsync(scanner, ledger, files[third..(2 * third)], cancellationToken);
            await view.WaitForAsync(ledger.Acknowledged, Patience, cancellationToken);

            var known = new[] { site.EdgeFolder, backups, offSite }.Sum(folder => Holding(folder, File.ReadAllText(key)));
            stage.Check("the site's key is neither on the node nor in a backup", known == 0, $"{known} files hold it");

            // The operator's token is in the folder that will be spoilt.
            var token = OperatorTokenHandler.Read(LocalOperator.PathIn(site.EdgeFolder));
            using var operatorOfSite = new HttpClient(new OperatorTokenHandler(() => token, new SocketsHttpHandler { UseProxy = false })) { BaseAddress = site.Ports.EdgeWeb };
            var attack = Stopwatch.GetTimestamp();
            stage.Say("Somebody encrypts the site's folder and the backups on its second disk, while it works ...");
            var spoiling = SpoilAsync([site.EdgeFolder, backups], cancellationToken);
            await DetectedAsync(operatorOfSite, atCentre, cancellationToken);
            stage.Say($"{await spoiling} files are spoilt.");
            await AttackCopyAsync(offSite, how, cancellationToken);
            await edge.KillAsync();
            await edge.DisposeAsync();
            Directory.Delete(site.EdgeFolder, recursive: true);

            stage.Say("A bare node: an empty folder, the copy off site, and the key out of the safe ...");
            var check = Restore.Verify(offSite, manifest, before: null, progress: null, cancellationToken);
            stage.Check("the copy off site is what was backed up, by the pinned digest of its manifest", check.Problems.Count == 0, $"{check.Manifest?.Files.Count ?? 0} files, {check.Problems.Count} problems");
            File.Copy(safe, key, overwrite: true);
            Restore.Run(offSite, site.EdgeFolder);
            edge = await site.StartEdgeAsync(settings, cancellationToken);
            var recovery = Stopwatch.GetElapsedTime(attack);
            stage.Say($"The restored site answers {recovery.TotalSeconds:0.0} s after the attack began. A scanner sends {third} more ...");
            await SendAsync(scanner, ledger, files[(2 * third)..], cancellationToken);
            await view.WaitForAsync(ledger.Acknowledged, Patience, cancellationToken);

            using var restored = site.EdgeClient();
            var own = new CentreView(restored);
            var inArchive = await own.HashAllAsync(files[..third].Select(f => f.Sha256), cancellationToken);
            stage.Check("what was backed up is in the restored site's own archive, equal by hash", inArchive.Count == third, $"{inArchive.Count} of {third}");
            var intact = await view.HashAllAsync(ledger.Acknowledged, cancellationToken);
            await view.RefreshAsync(cancellationToken);
            var verdict = ledger.Compare(view.Instances, intact);
            stage.Check("the restored site is healthy: its canaries are whole", await StatusAsync(restored, cancellationToken) == 200, $"its health check answers {await StatusAsync(restored, cancellationToken)}");
            stage.NotShown("Instances between the backup and the attack come back to the centre, where they are, not to the site's own archive.");
            stage.Measure(verdict, recovery, verdict.Lost);
            await stage.RecordAsync(atCentre, "fleet", cancellationToken);
        }
        finally
        {
            FileTree.SetImmutable(offSite, immutable: false);
            await edge.DisposeAsync();
        }
    }

    private async Task DetectedAsync(HttpClient atSite, HttpClient atCentre, CancellationToken cancellationToken)
    {
        var said = await DrillStage.UntilAsync(async () => await StatusAsync(atSite, cancellationToken) == 503, Patience, cancellationToken);
        stage.Check("the site says by itself that it is being encrypted", said is not null, $"after {said?.TotalSeconds ?? -1:0.0} s");
        var heard = await DrillStage.UntilAsync(
            async () => await atCentre.GetFromJsonAsync("/fleet/sites", ContractsJson.Default.IReadOnlyListSiteView, cancellationToken) is { } sites
                && sites.Any(s => s.Status.Services?.Any(service => service is { Name: "canary", State: ServiceHealth.Unhealthy }) == true),
            Patience, cancellationToken);
        stage.Check("the centre hears it (alert CanaryChanged)", heard is not null, $"after {(said + heard)?.TotalSeconds ?? -1:0.0} s");
        using var backup = await atSite.PostAsync(new Uri("/station/log/backup", UriKind.Relative), null, cancellationToken);
        stage.Check("no backup of the garbage pushes a good one out", !backup.IsSuccessStatusCode, $"a backup is answered with {(int)backup.StatusCode}");
    }

    /// <summary>As strong as this machine allows: immutable in the file system, else owned by somebody else than the attacker, else not at all.</summary>
    private string Protect(string folder)
    {
        if (FileTree.SetImmutable(folder, immutable: true) is not { } why)
        {
            return "immutable";
        }

        if (Environment.IsPrivilegedProcess && !OperatingSystem.IsWindows() && File.Exists("/usr/bin/setpriv"))
        {
            TakeWriteAway(folder);
            stage.NotShown($"Files that root cannot change ({why}); they belong to another user than the attacker.");
            return "another user's";
        }

        stage.NotShown($"That the copy off site cannot be changed: {why}, and this is not root.");
        return "unprotected";
    }

    /// <summary>Who encrypted the site tries the same with the copies.</summary>
    private async Task AttackCopyAsync(string folder, string how, CancellationToken cancellationToken)
    {
        if (how == "unprotected")
        {
            return;
        }

        var files = Directory.GetFiles(folder, "*", SearchOption.AllDirectories);
        var changed = 0;
        foreach (var file in files)
        {
            changed += how == "immutable" ? CanSpoil(file) ? 1 : 0 : await CanSpoilAsync(file, cancellationToken) ? 1 : 0;
        }

        stage.Check("the copies off site cannot be changed or deleted", changed == 0, $"{changed} of {files.Length} files; the copy is {how}");
    }

    private static bool CanSpoil(string file)
    {
        foreach (var way in new Action[] { () => File.OpenWrite(file).Dispose(), () => File.Move(file, file + ".locked"), () => File.Delete(file) })
        {
            try
            {
                way();
                return true;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // As it should be.
            }
        }

        return false;
    }

    private static async Task<bool> CanSpoilAsync(string file, CancellationToken cancellationToken)
    {
        using var attacker = Process.Start("/usr/bin/setpriv", [$"--reuid={Nobody}", $"--regid={Nobody}", "--clear-groups", "sh", "-c", "echo >> \"$0\" || mv \"$0\" \"$0.locked\" || rm -f \"$0\"", file]);
        await attacker.WaitForExitAsync(cancellationToken);
        return attacker.ExitCode == 0;
    }

    [UnsupportedOSPlatform("windows")]
    private static void TakeWriteAway(string folder)
    {
        foreach (var file in Directory.GetFiles(folder, "*", SearchOption.AllDirectories))
        {
            File.SetUnixFileMode(file, UnixFileMode.UserRead);
        }
    }

    /// <summary>Overwrites every file with random bytes, in the order of the alphabet: what encryption with a key that is thrown away leaves.</summary>
    private static async Task<int> SpoilAsync(string[] folders, CancellationToken cancellationToken)
    {
        // What is empty has nothing to spoil; the node's lock is, and it is locked.
        var files = folders.SelectMany(folder => Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Where(path => new FileInfo(path).Length > 0).Order(StringComparer.Ordinal)).ToArray();
        var block = new byte[1024 * 1024];
        foreach (var path in files.Where(File.Exists))
        {
            await Task.Delay(Pace, TimeProvider.System, cancellationToken);
            await using var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete);
            for (var left = file.Length; left > 0;)
            {
                var some = (int)Math.Min(left, block.Length);
                RandomNumberGenerator.Fill(block.AsSpan(0, some));
                await file.WriteAsync(block.AsMemory(0, some), cancellationToken);
                left -= some;
            }
        }

        return files.Length;
    }

    /// <summary>Files that hold a key, as text or as bytes.</summary>
    private static int Holding(string folder, string key)
    {
        var hex = key.Trim().Split(' ')[^1];
        var (text, bytes) = (Encoding.ASCII.GetBytes(hex), Convert.FromHexString(hex));
        return Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Where(path => new FileInfo(path).Length > 0).Count(path =>
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var content = new byte[file.Length];
            file.ReadAtLeast(content, content.Length, throwOnEndOfStream: false);
            return content.AsSpan().IndexOf(text) >= 0 || content.AsSpan().IndexOf(bytes) >= 0;
        });
    }

    private static async Task<int> StatusAsync(HttpClient http, CancellationToken cancellationToken)
    {
        using var answer = await http.GetAsync(new Uri("/healthz", UriKind.Relative), cancellationToken);
        return (int)answer.StatusCode;
    }

    private static async Task SendAsync(Scanner scanner, Ledger ledger, List<InstanceFile> files, CancellationToken cancellationToken)
    {
        ledger.CountSent(files.Count);
        await scanner.SendAllAsync(files, cancellationToken);
    }
}
