namespace Yizhan.Drills;

/// <summary>A recovery drill: real processes, a real fault, and a ledger of its own that judges.</summary>
/// <param name="Kind">Its name.</param>
/// <param name="Shows">What it shows when it passes, one sentence.</param>
/// <param name="Limits">Within which limits it acts.</param>
/// <param name="RunLocalAsync">Runs it on processes of its own. Leaves nothing running.</param>
/// <param name="WhyNotAgainst">Why it is not run against a node that is in use; null when its parts that destroy nothing are.</param>
public sealed record Drill(string Kind, string Shows, IReadOnlyList<string> Limits, Func<DrillStage, CancellationToken, Task> RunLocalAsync, string? WhyNotAgainst)
{
    private const string OwnProcesses = "its own processes and folders on this machine; ports of the loopback that were free";

    /// <summary>All drills, by the names of the contract.</summary>
    public static IReadOnlyList<Drill> All { get; } =
    [
        new(
            "outage", "The line was cut while a scanner was sending and the site was killed in the middle of an association; everything acknowledged is at the centre once.",
            [OwnProcesses, "one site, one scanner, one line"], OutageRunAsync,
            "it cuts the line of a site and kills its process; patients would wait for it"),
        new(
            "power-cut", "Centre and site were killed at the same moment, again and again, while a scanner was sending; everything acknowledged is at the centre once.",
            [OwnProcesses, "SIGKILL: the kernel and its cache live on"], (stage, cancellationToken) => new PowerCutDrill(stage).RunAsync(cancellationToken),
            "it kills the node; patients would wait for it"),
        new(
            "ransomware",
            "A site's folder was encrypted while it worked; canaries told the centre, the copies off site stayed, and a bare node was restored from them with a key that was never on it.",
            [OwnProcesses, "only files below the drill's own folder are spoilt: overwritten with random bytes, as encryption with a lost key leaves them, ten files a second"],
            (stage, cancellationToken) => new RansomwareDrill(stage).RunAsync(cancellationToken),
            null),
        new(
            "model-anomaly", "A poisoned model in canary was held by the site itself while the line was down, and the version before it went on.",
            [OwnProcesses, "synthetic studies; the poisoned model is a changed copy of the one that ships"],
            (stage, cancellationToken) => new ModelAnomalyDrill(stage).RunAsync(cancellationToken),
            "it gives studies to a model that is wrong; nobody may do that where patients are"),
        new(
            "zone-loss", "The centre and its disk were lost; it was restored from its off-site copy at another place, and the sites sent what that did not have.",
            [OwnProcesses, "one centre, one site; another place is another folder and other ports of this machine"],
            (stage, cancellationToken) => new ZoneLossDrill(stage).RunAsync(cancellationToken),
            null),
        new(
            "bad-release", "A configuration with which a site does not start was stopped at its canary, which went back to the last good one and lost nothing; no other site was offered it.",
            [OwnProcesses, "three sites, of which one is the canary"], (stage, cancellationToken) => new BadReleaseDrill(stage).RunAsync(cancellationToken),
            "it breaks the configuration of a site; patients would wait for it"),
    ];

    private static async Task OutageRunAsync(DrillStage stage, CancellationToken cancellationToken)
    {
        var drill = new OutageDrill(stage.Folder, null, stage.Say)
        {
            Instances = stage.Quick ? 30 : 120,
            BeforeStop = async (centre, result, token) =>
            {
                stage.Check("the line was down while instances were acknowledged", result.Outage > TimeSpan.Zero, $"{result.Outage.TotalSeconds:0.0} s");
                stage.Check("the scanner was refused nothing", result.Refused.Count == 0, $"{result.Refused.Count} refused");
                stage.Measure(result.Verdict, result.BackFill, result.Verdict.Lost);
                await stage.RecordAsync(centre, "fleet", token);
            },
        };
        await drill.RunAsync(cancellationToken);
    }
}
