using System.Diagnostics;
using Yizhan.Storage;

namespace Yizhan.Drills;

/// <summary>What a drill may look at while patients are there: whether the canaries are whole, and whether the copy off site could be restored, and how fast.</summary>
/// <param name="Module">fleet at a centre, station at a site.</param>
/// <param name="Backup">The off-site copy, or a folder of them.</param>
/// <param name="ManifestSha256">The pinned digest of its manifest; null when nobody kept it.</param>
/// <param name="SiteKey">File of the site key, where it is not in the backup.</param>
public sealed record LiveTarget(string Module, string Backup, string? ManifestSha256, string? SiteKey);

/// <summary>Runs those parts of <c>ransomware</c> and <c>zone-loss</c> that destroy nothing: the node is only asked, the copy is restored to a folder of its own.</summary>
public sealed class LiveRestoreDrill(DrillStage stage, HttpClient node, LiveTarget target)
{
    /// <summary>Runs it.</summary>
    /// <exception cref="HttpRequestException">The node does not answer.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        stage.Say($"Asking {stage.Against}; nothing of it is changed ...");
        var figure = (await node.GetStringAsync(new Uri("/metrics", UriKind.Relative), cancellationToken)).Split('\n')
            .FirstOrDefault(l => l.StartsWith("yizhan_canary_changed", StringComparison.Ordinal))?.Split(' ')[^1];
        stage.Check("its canaries are whole", figure == "0", $"yizhan_canary_changed is {figure ?? "not there"}");

        var check = Restore.Verify(target.Backup, target.ManifestSha256, before: null, progress: null, cancellationToken);
        stage.Check("the copy is whole", check.Problems.Count == 0, $"{check.Manifest?.Files.Count ?? 0} files, {check.Bytes} bytes; {(check.Problems.Count == 0 ? "no problem" : check.Problems[0])}");
        if (target.ManifestSha256 is null)
        {
            stage.NotShown("That nobody has changed the copy together with its manifest: no digest was given (--manifest-sha256; the audit log has it).");
        }

        if (check.Manifest is not { } manifest || check.Problems.Count > 0)
        {
            return;
        }

        var site = await SiteAsync(cancellationToken);
        stage.Check("the copy is of this node", manifest.Site == site, $"of '{manifest.Site}', the node is '{site}'");
        var age = TimeProvider.System.GetUtcNow() - DateTimeOffset.FromUnixTimeMilliseconds(manifest.TakenMs);
        stage.Say($"The copy is {age.TotalHours:0.0} hours old and has everything up to position {manifest.Position}. Restoring it to a folder of its own ...");
        var began = Stopwatch.GetTimestamp();
        var restored = Path.Combine(stage.Folder, "restored");
        Restore.Run(check.Folder, restored);
        if (manifest is { SiteKey: { } key, SiteKeyFile: null } && target.SiteKey is null)
        {
            stage.Check("the key that it needs is at hand", false, $"the site key {key} is not in the backup: name its file with --site-key");
            return;
        }

        var log = await OfflineLog.VerifyAsync(restored, manifest.Site, target.SiteKey, progress: null, cancellationToken);
        var took = Stopwatch.GetElapsedTime(began);
        stage.Check("every entry and blob of the restored log can be read", log.Ok, $"{log.Entries} entries, {log.Blobs} blobs, {log.Damaged.Count} damaged, after {took.TotalSeconds:0.0} s");
        stage.NotShown("The start of the restored node, and what others send again: two nodes of one name must not run. The drill without --against shows them.");
        var good = (int)Math.Min(int.MaxValue, log.Entries);
        var ledger = new LedgerVerdict(good + log.Damaged.Count, good + log.Damaged.Count, good, 0, log.Damaged.Count);
        stage.MeasureCopy(ledger, took);
    }

    /// <summary>Whose log the node's audit service signs: the origin of its checkpoint, <c>yizhan/audit/SITE</c>.</summary>
    private async Task<string> SiteAsync(CancellationToken cancellationToken)
    {
        var note = await node.GetStringAsync(new Uri("/audit/checkpoint", UriKind.Relative), cancellationToken);
        return note.Split('\n')[0].Split('/')[^1];
    }
}
