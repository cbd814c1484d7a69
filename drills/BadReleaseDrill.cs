using System.Diagnostics;
using System.Net.Http.Json;
using Yizhan.Contracts;
using Yizhan.Platform.Releases;
using Yizhan.Platform.SiteFiles;
using Yizhan.Samples;

namespace Yizhan.Drills;

/// <summary>
/// A release that is signed and well-formed, but contradicts what an engineer has set at one site: the node does not start with it. It gives way by itself, the
/// rollout stops at the canary, and the other sites are never offered it.
/// </summary>
internal sealed class BadReleaseDrill(DrillStage stage)
{
    private const string Good = "config-26.11.1", Bad = "config-26.11.2", Canary = "lakeside";
    private const int Seed = 20261127;
    private static readonly string[] Sites = [Canary, "hillside", "seaside"];
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var some = stage.Quick ? 10 : 40;
        var ledger = new Ledger();
        var sample = Path.Combine(stage.Folder, "sample");
        CtStudy.WriteFiles(sample, 3 * some, studies: 3, Seed);
        var files = InstanceFile.ReadFolder(sample, ledger);
        var network = LocalNetwork.Prepare(stage.Folder, Sites);
        using var wang = ReleaseKey.Create("wang");
        using var li = ReleaseKey.Create("li");
        using var zhao = ReleaseKey.Create("zhao");
        await File.WriteAllBytesAsync(network.TrustPath, new ReleaseTrust(1, 2, [wang.Public, li.Public, zhao.Public]).ToBytes(), cancellationToken);

        stage.Say("Starting the centre and three sites; at 'lakeside' an engineer has set a source of stock 'warehouse' by hand ...");
        await using var centre = await network.StartCentreAsync(cancellationToken);
        var started = new List<HostProcess>();
        try
        {
            foreach (var site in Sites)
            {
                string[] own = site == Canary
                    ? ["--inventory:sources:0:name=warehouse", "--inventory:sources:0:kind=push", $"--pacs-gw:aeTitle={LocalSite.AeTitle}", $"--pacs-gw:peers:0:aeTitle={Scanner.AeTitle}"]
                    : [];
                started.Add(await network.StartSiteAsync(site, ["--station:updateQuietSeconds=1", .. own], cancellationToken));
            }

            using var http = network.CentreClient();
            var scanner = new Scanner(network.DicomPort(Canary), ledger);
            await ReleaseAsync(http, Release(wang, Good, ""), [li, zhao], cancellationToken);
            var applied = await UntilAsync(http, Good, view => view.State == "complete", cancellationToken);
            stage.Check("a good release reaches every site", applied is not null, $"{Good} is {(applied is null ? "not everywhere" : "everywhere")}");
            await SendAsync(scanner, ledger, files[..some], cancellationToken);

            stage.Say($"{Bad} names a source 'warehouse' too. It is signed by three; the canary is offered it ...");
            var offered = Stopwatch.GetTimestamp();
            await ReleaseAsync(http, Release(wang, Bad, "inventory:\n  - {name: warehouse, kind: agent, everyMinutes: 720}\n"), [li, zhao], cancellationToken);
            var sending = SendAsync(scanner, ledger, files[some..(2 * some)], cancellationToken);
            var stopped = await UntilAsync(http, Bad, view => view.State == "stopped", cancellationToken);
            await sending;
            var recovery = Stopwatch.GetElapsedTime(offered);
            var view = (await ViewsAsync(http, cancellationToken)).First(r => r.Version == Bad);
            stage.Check("the rollout stopped by itself", stopped is not null, $"{view.State} at {view.RingPercent} %: {view.Waits}");
            stage.Check("the canary runs the last good one again", view.Sites.Single(s => s.SiteId == Canary) is { Runs: Good, State: "refused" }, $"{Canary} runs {view.Sites.Single(s => s.SiteId == Canary).Runs}");
            stage.Check("no other site was offered it", view.Sites.Where(s => s.SiteId != Canary).All(s => s is { Runs: Good, State: "waiting" }), $"{string.Join(", ", view.Sites.Where(s => s.SiteId != Canary).Select(s => $"{s.SiteId}: {s.Runs}, {s.State}"))}");
            await SendAsync(scanner, ledger, files[(2 * some)..], cancellationToken);

            var proven = await new AuditProof(http).RecordsAsync(ReleaseAudit.EntityOf(Bad), cancellationToken);
            var back = await DrillStage.UntilAsync(
                async () => (proven = await new AuditProof(http).RecordsAsync(ReleaseAudit.EntityOf(Bad), cancellationToken)).Any(r => r.Id.Contains($"/rolled-back/station@{Canary}/", StringComparison.Ordinal)),
                Patience, cancellationToken);
            stage.Check("the audit log proves the way back", back is not null, $"{proven.Count} steps of {Bad}, each with its proof");

            using var all = new CentreView(network.CentreClient());
            await all.WaitForAsync(ledger.Acknowledged, Patience, cancellationToken);
            var intact = await all.HashAllAsync(ledger.Acknowledged, cancellationToken);
            await all.RefreshAsync(cancellationToken);
            var verdict = ledger.Compare(all.Instances, intact);
            stage.Measure(verdict, recovery, verdict.Lost);
            await stage.RecordAsync(http, "fleet", cancellationToken);
        }
        finally
        {
            foreach (var site in started)
            {
                await site.DisposeAsync();
            }
        }
    }

    private static ReleaseBundle Release(ReleaseKey proposer, string version, string atCanary)
    {
        var files = new Dictionary<string, byte[]>();
        foreach (var site in Sites)
        {
            var after = Yaml(site, site == Canary ? atCanary : "");
            files[$"sites/{site}.yaml"] = after;
            files[$"diff/{site}.json"] = ReleaseBundle.DiffBytes(SiteDiff.Between(SiteFileReader.Read(Yaml(site, ""), site).Site, SiteFileReader.Read(after, site).Site));
        }

        var now = TimeProvider.System.GetUtcNow();
        var release = ReleaseBundle.Create(
            new(version, now.ToUnixTimeMilliseconds(), now.AddDays(30).ToUnixTimeMilliseconds(), proposer.Name, "drill: bad release", [Canary], []), files);
        return release.With(proposer.Name, proposer.Sign(release));
    }

    private static byte[] Yaml(string site, string more) => System.Text.Encoding.UTF8.GetBytes($$"""
        siteId: {{site}}
        name: {{site}} hospital
        contact: {name: somebody, phone: "+86 10 5555 0100"}
        hardware: {profile: x64, memoryGiB: 8, storageGiB: 64}
        network: {centreUrl: "https://centre.example:8443", uplinkKbps: 2000}

        """ + more);

    private static async Task ReleaseAsync(HttpClient http, ReleaseBundle release, ReleaseKey[] approvers, CancellationToken cancellationToken)
    {
        await PostAsync(http, "/fleet/releases", new ByteArrayContent(release.ToBytes()), cancellationToken);
        foreach (var key in approvers)
        {
            await PostAsync(
                http, $"/fleet/releases/{release.Version}/approvals",
                JsonContent.Create(new ReleaseApproval(key.Name, Convert.ToBase64String(key.Sign(release))), ContractsJson.Default.ReleaseApproval), cancellationToken);
        }
    }

    private static async Task PostAsync(HttpClient http, string path, HttpContent body, CancellationToken cancellationToken)
    {
        using var answer = await http.PostAsync(new Uri(path, UriKind.Relative), body, cancellationToken);
        if (!answer.IsSuccessStatusCode)
        {
            throw new InvalidOperationException($"{path}: {(int)answer.StatusCode} {await answer.Content.ReadAsStringAsync(cancellationToken)}");
        }
    }

    private static Task<TimeSpan?> UntilAsync(HttpClient http, string version, Func<ReleaseView, bool> holds, CancellationToken cancellationToken) => DrillStage.UntilAsync(
        async () => (await ViewsAsync(http, cancellationToken)).Any(r => r.Version == version && holds(r)), Patience, cancellationToken);

    private static async Task<IReadOnlyList<ReleaseView>> ViewsAsync(HttpClient http, CancellationToken cancellationToken) =>
        await http.GetFromJsonAsync(new Uri("/fleet/releases", UriKind.Relative), ContractsJson.Default.IReadOnlyListReleaseView, cancellationToken) ?? [];

    private static async Task SendAsync(Scanner scanner, Ledger ledger, List<InstanceFile> files, CancellationToken cancellationToken)
    {
        ledger.CountSent(files.Count);
        await scanner.SendAllAsync(files, cancellationToken);
    }
}
