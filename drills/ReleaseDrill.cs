using System.Net;
using System.Net.Http.Json;
using Yizhan.Contracts;
using Yizhan.Platform.Releases;
using Yizhan.Platform.SiteFiles;

namespace Yizhan.Drills;

/// <summary>A step of a release with its proof.</summary>
/// <param name="Step">proposed, approved, signed, offered, promoted, applied, refused or rolled back.</param>
/// <param name="Agent">Who did it.</param>
/// <param name="Site">Site that it concerns; empty for the network.</param>
/// <param name="Index">Its place in the centre's audit log.</param>
/// <param name="Size">Size of the tree in which it was proven.</param>
public sealed record ReleaseStep(string Step, string Agent, string Site, long Index, long Size);

/// <summary>What the drill found.</summary>
/// <param name="Version">The release.</param>
/// <param name="Steps">Every step that the audit service proved, in order.</param>
/// <param name="Missing">Steps that it should have proven and did not.</param>
/// <param name="Runs">What each site reports.</param>
/// <param name="Refusals">What was tried and refused, with the reason.</param>
public sealed record ReleaseDrillResult(
    string Version, IReadOnlyList<ReleaseStep> Steps, IReadOnlyList<string> Missing, IReadOnlyDictionary<string, string?> Runs, IReadOnlyList<string> Refusals)
{
    /// <summary>Every site runs it and every step is proven.</summary>
    public bool Passed => Missing.Count == 0 && Runs.Values.All(version => version == Version) && Refusals.Count == 2;
}

/// <summary>
/// A change of a site file on its way: edited, proposed, approved by two, offered in rings to three sites of which one is away, applied,
/// reported; and what must not pass, tried. Then the audit service is asked for the proof of each step.
/// </summary>
public sealed class ReleaseDrill(string folder, Action<string> say)
{
    private const string Version = "config-26.11.1";
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);
    private static readonly string[] Sites = ["lakeside", "hillside", "seaside"];

    /// <summary>Runs the drill. Leaves nothing running.</summary>
    /// <exception cref="InvalidOperationException">A node did not start, or something did not happen in time.</exception>
    public async Task<ReleaseDrillResult> RunAsync(CancellationToken cancellationToken)
    {
        var network = LocalNetwork.Prepare(folder, Sites);
        using var wang = ReleaseKey.Create("wang");
        using var li = ReleaseKey.Create("li");
        using var zhao = ReleaseKey.Create("zhao");
        using var former = ReleaseKey.Create("former");
        await File.WriteAllBytesAsync(
            network.TrustPath, new ReleaseTrust(1, 2, [wang.Public, li.Public, zhao.Public, former.Public with { Revoked = true }]).ToBytes(), cancellationToken);

        say("Starting the centre and two of three sites; 'seaside' stays away for now ...");
        await using var centre = await network.StartCentreAsync(cancellationToken);
        await using var lakeside = await network.StartSiteAsync("lakeside", cancellationToken);
        await using var hillside = await network.StartSiteAsync("hillside", cancellationToken);
        using var http = network.CentreClient();

        say("A site file is edited: 'lakeside' gets a second CT. The release is proposed by wang ...");
        var release = Release(wang, Version, secondCt: true);
        await PostAsync(http, "/fleet/releases", new ByteArrayContent(release.ToBytes()), cancellationToken);
        foreach (var change in release.Changes("lakeside"))
        {
            say($"    {change}");
        }

        var refusals = new List<string>
        {
            await RefusedAsync(http, Release(former, "config-26.11.2", secondCt: true), cancellationToken),
            await RefusedAsync(http, Altered(release), cancellationToken),
        };
        refusals.ForEach(refusal => say($"  refused: {refusal}"));

        say("li and zhao approve it: it is signed, and the first ring, the canary 'lakeside', is offered it ...");
        foreach (var key in new[] { li, zhao })
        {
            var approval = JsonContent.Create(new ReleaseApproval(key.Name, Convert.ToBase64String(key.Sign(release))), ContractsJson.Default.ReleaseApproval);
            await PostAsync(http, $"/fleet/releases/{Version}/approvals", approval, cancellationToken);
        }

        await UntilAsync(http, "two sites run it", view => view.Sites.Count(s => s.State == "applied") == 2, cancellationToken);
        say("Both sites that are there run it; rings went on without 'seaside'. Now it comes back ...");
        await using var seaside = await network.StartSiteAsync("seaside", cancellationToken);
        var done = await UntilAsync(http, "all sites run it", view => view.State == "complete", cancellationToken);

        say("Asking the audit service for the proof of each step ...");
        var steps = await StepsAsync(http, cancellationToken);
        var missing = Expected().Where(e => !steps.Any(s => (s.Step, s.Agent, s.Site) == e)).Select(e => $"{e.Step} by {e.Agent} {e.Site}".TrimEnd()).ToArray();
        return new(Version, steps, missing, done.Sites.ToDictionary(s => s.SiteId, s => s.Runs), refusals);
    }

    private static IEnumerable<(string Step, string Agent, string Site)> Expected() =>
    [
        ("proposed", "wang", ""), ("approved", "li", ""), ("approved", "zhao", ""), ("signed", "fleet@centre", ""),
        .. Sites.Select(site => ("offered", "fleet@centre", site)),
        .. Sites.Select(site => ("applied", $"station@{site}", site)),
    ];

    /// <summary>The steps that the centre's audit log proves, once those of the last site have arrived.</summary>
    private static async Task<IReadOnlyList<ReleaseStep>> StepsAsync(HttpClient centre, CancellationToken cancellationToken)
    {
        var audit = new AuditProof(centre);
        var steps = Array.Empty<ReleaseStep>();
        using var patience = new CancellationTokenSource(Patience);
        while (!patience.IsCancellationRequested && Expected().Any(e => !steps.Any(s => (s.Step, s.Agent, s.Site) == e)))
        {
            await Task.Delay(TimeSpan.FromMilliseconds(300), TimeProvider.System, cancellationToken);
            var records = await audit.RecordsAsync(ReleaseAudit.EntityOf(Version), cancellationToken);
            steps = [.. records.Select(r => r.Id.Split('/') is [_, _, var step, var agent, var site, ..]
                ? new ReleaseStep(step.Replace('-', ' '), agent, site, r.Index, r.Size)
                : new ReleaseStep(r.Id, "", "", r.Index, r.Size))];
        }

        return steps;
    }

    private static ReleaseBundle Release(ReleaseKey proposer, string version, bool secondCt)
    {
        var files = new Dictionary<string, byte[]>();
        foreach (var site in Sites)
        {
            var (before, after) = (Yaml(site, ""), Yaml(site, secondCt && site == "lakeside" ? "  - {name: CT room 2, modality: CT, aeTitle: LAKE_CT2}\n" : ""));
            files[$"sites/{site}.yaml"] = after;
            files[$"diff/{site}.json"] = ReleaseBundle.DiffBytes(SiteDiff.Between(SiteFileReader.Read(before, site).Site, SiteFileReader.Read(after, site).Site));
        }

        var now = TimeProvider.System.GetUtcNow();
        var release = ReleaseBundle.Create(
            new(version, now.ToUnixTimeMilliseconds(), now.AddDays(30).ToUnixTimeMilliseconds(), proposer.Name, "a second CT at lakeside", ["lakeside"], []), files);
        return release.With(proposer.Name, proposer.Sign(release));
    }

    private static byte[] Yaml(string site, string more) => System.Text.Encoding.UTF8.GetBytes($$"""
        siteId: {{site}}
        name: {{site}} hospital
        contact: {name: somebody, phone: "+86 10 5555 0100"}
        hardware: {profile: x64, memoryGiB: 8, storageGiB: 64}
        network: {centreUrl: "https://centre.example:8443", uplinkKbps: 2000}
        modalities:
          - {name: CT room 1, modality: CT, aeTitle: CT1}

        """ + more);

    /// <summary>The archive with one letter of a site file changed after it was signed.</summary>
    private static byte[] Altered(ReleaseBundle release)
    {
        var bytes = release.ToBytes();
        var at = bytes.AsSpan().IndexOf("LAKE_CT2"u8);
        bytes[at] = (byte)'F';
        return bytes;
    }

    private static Task<string> RefusedAsync(HttpClient http, ReleaseBundle release, CancellationToken cancellationToken) =>
        RefusedAsync(http, release.ToBytes(), cancellationToken);

    private static async Task<string> RefusedAsync(HttpClient http, byte[] archive, CancellationToken cancellationToken)
    {
        using var body = new ByteArrayContent(archive);
        using var answer = await http.PostAsync(new Uri("/fleet/releases", UriKind.Relative), body, cancellationToken);
        var text = await answer.Content.ReadAsStringAsync(cancellationToken);
        return answer.StatusCode == HttpStatusCode.UnprocessableEntity
            ? System.Text.Json.JsonDocument.Parse(text).RootElement.GetProperty("detail").GetString()!
            : throw new InvalidOperationException($"A release that must be refused was answered {(int)answer.StatusCode}: {text}");
    }

    private static async Task PostAsync(HttpClient http, string path, HttpContent body, CancellationToken cancellationToken)
    {
        using var answer = await http.PostAsync(new Uri(path, UriKind.Relative), body, cancellationToken);
        if (!answer.IsSuccessStatusCode)
        {
            throw new InvalidOperationException($"{path}: {(int)answer.StatusCode} {await answer.Content.ReadAsStringAsync(cancellationToken)}");
        }
    }

    private static async Task<ReleaseView> UntilAsync(HttpClient http, string what, Func<ReleaseView, bool> holds, CancellationToken cancellationToken)
    {
        using var patience = new CancellationTokenSource(Patience);
        while (true)
        {
            var releases = await http.GetFromJsonAsync(new Uri("/fleet/releases", UriKind.Relative), ContractsJson.Default.IReadOnlyListReleaseView, cancellationToken);
            if (releases!.First(r => r.Version == Version) is var view && holds(view))
            {
                return view;
            }

            if (patience.IsCancellationRequested)
            {
                throw new InvalidOperationException($"Not in {Patience.TotalMinutes:0} minutes: {what}. {string.Join("; ", view.Sites)} {view.Waits}");
            }

            await Task.Delay(TimeSpan.FromMilliseconds(300), TimeProvider.System, cancellationToken);
        }
    }
}
