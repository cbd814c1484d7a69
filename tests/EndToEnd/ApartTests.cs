using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Security.Authentication;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.Dicom;
using Yizhan.Drills;
using Yizhan.Samples;

namespace Yizhan.EndToEnd.Tests;

/// <summary>The Deployments of the centre work together as one centre, also when one of them is killed.</summary>
[Trait("Clause", "D1.1")]
public sealed class ApartTests(RunningApart running) : IClassFixture<RunningApart>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private ApartCentre Centre
    {
        get
        {
            Assert.SkipUnless(running.Missing is null, running.Missing ?? "");
            return running.Centre!;
        }
    }

    [Fact]
    public async Task What_sites_and_modalities_send_is_everywhere_and_a_killed_service_loses_and_doubles_nothing()
    {
        var before = await StoredFactsAsync();

        // A site of its own sends one study, a modality of the region another.
        var site = FreePorts.Next();
        var siteDicom = FreePorts.Next();
        await using (await HostProcess.StartAsync(Centre.SiteSettings(site, siteDicom), new Uri($"http://127.0.0.1:{site}/"), running.Folder.In("site.log"), Cancel))
        {
            var ofSite = Write("site", 5, 3);
            await StoreUntilTakenAsync(siteDicom, ofSite);
            await IsEverywhereAsync(ofSite);
        }

        var ofRegion = Write("region", 6, 4);
        await StoreUntilTakenAsync(Centre.Dicom, ofRegion);
        await IsEverywhereAsync(ofRegion);

        // The gateway, the owner of the log, and who makes their own of it, each in the middle of a study.
        foreach (var (service, seed) in new[] { ("pacs-gw", 11), ("fleet", 12), ("audit", 13) })
        {
            var study = Write(service, 24, seed);
            var storing = StoreUntilTakenAsync(Centre.Dicom, study);
            await Wait.UntilAsync(async () => await StoredAsync(study) > 3, $"some of the study is stored before {service} is killed");
            await Centre.KillAsync(service);
            Centre.Start(service);
            await Centre.ReadyAsync(service, Cancel);
            await storing;
            await IsEverywhereAsync(study);
        }

        // Each fact once, of all of them.
        Assert.Equal(5 + 6 + (3 * 24), await StoredFactsAsync() - before);
    }

    [Fact]
    public async Task A_person_of_the_console_is_known_by_name_and_who_is_not_in_the_list_gets_nothing()
    {
        var study = Write("named", 2, 21);
        await StoreUntilTakenAsync(Centre.Dicom, study);
        await IsEverywhereAsync(study);

        // As the console asks for somebody who has signed in there: by what that person may, and in that name.
        var claims = new JsonObject { ["sub"] = "dr-li", ["roles"] = new JsonArray("clinician"), ["sites"] = new JsonArray("*") };
        using (var console = Centre.Client("console", "pacs-gw"))
        {
            Assert.Equal(HttpStatusCode.OK, await AsAsync(console, claims, $"pacs-gw/dicom-web/studies?StudyInstanceUID={study.Uid}"));
            Assert.Equal(HttpStatusCode.Forbidden, await AsAsync(console, claims, "pacs-gw/peers"));
        }

        using (var audit = Centre.Client("console", "audit"))
        {
            Assert.Equal(HttpStatusCode.Forbidden, await AsAsync(audit, claims, "audit/records"));
            await Wait.UntilAsync(async () => (await audit.GetFromJsonAsync<JsonNode>("audit/records?limit=50&agent=dr-li", Cancel))!["records"]!.AsArray().Count > 0, "the search is in the audit log in the name of the person");
        }

        // A service that the list lets in, and that may not speak for anybody.
        using (var prometheus = Centre.Client("prometheus", "pacs-gw"))
        {
            Assert.Equal(HttpStatusCode.OK, (await prometheus.GetAsync("metrics", Cancel)).StatusCode);
            Assert.Equal(HttpStatusCode.Unauthorized, await AsAsync(prometheus, claims, "pacs-gw/studies"));
            Assert.Equal(HttpStatusCode.Unauthorized, (await prometheus.GetAsync("pacs-gw/studies", Cancel)).StatusCode);
        }

        using (var ai = Centre.Client("ai-infer", "pacs-gw"))
        {
            Assert.Equal(HttpStatusCode.OK, (await ai.GetAsync($"pacs-gw/dicom-web/studies?StudyInstanceUID={study.Uid}", Cancel)).StatusCode);
            Assert.Equal(HttpStatusCode.Unauthorized, await AsAsync(ai, claims, "pacs-gw/studies"));
        }

        // The list of accounts that fleet carries to sites, and nobody else.
        using (var fleet = Centre.Client("fleet", "auth"))
        using (var console = Centre.Client("console", "auth"))
        {
            Assert.Equal(HttpStatusCode.OK, (await fleet.GetAsync("auth/sites/site-1/accounts", Cancel)).StatusCode);
            Assert.Equal(HttpStatusCode.Forbidden, (await console.GetAsync("auth/sites/site-1/accounts", Cancel)).StatusCode);
        }

        // A certificate of the installation that no line names is turned away before it can ask for a route, by each of them.
        foreach (var service in Centre.Services)
        {
            using var stranger = Centre.Client("stranger", service);
            var refused = await Assert.ThrowsAnyAsync<HttpRequestException>(() => stranger.GetAsync("healthz", Cancel));
            Assert.True(refused.InnerException is IOException or AuthenticationException or System.Net.Sockets.SocketException, $"{service}: {refused}");
        }
    }

    private static async Task<HttpStatusCode> AsAsync(HttpClient http, JsonObject claims, string path)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.TryAddWithoutValidation("Authorization", "Yizhan-Person " + System.Buffers.Text.Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(claims)));
        using var answer = await http.SendAsync(request, Cancel);
        return answer.StatusCode;
    }

    /// <summary>The study is in the archive, in the audit log, in what the EMR is to be told, and on the page of the console.</summary>
    private async Task IsEverywhereAsync(Study study)
    {
        await Wait.UntilAsync(async () => await StoredAsync(study) == study.Files.Length, $"all of {study.Name} is in the archive");
        using var audit = Centre.Client("console", "audit");
        await Wait.UntilAsync(
            async () => (await audit.GetFromJsonAsync<JsonNode>($"audit/records?limit=50&entity=study/{study.Uid}", Cancel))!["records"]!.AsArray().Count > 0, $"{study.Name} is in the audit log");
        using var emr = Centre.Client("console", "emr-adapter");
        await Wait.UntilAsync(
            async () => (await emr.GetFromJsonAsync<JsonNode>($"emr-adapter/studies?uid={study.Uid}", Cancel))!.AsArray().Count > 0, $"the EMR is to be told of {study.Name}");
        using var console = await SignedInAsync();
        await Wait.UntilAsync(
            async () => (await console.GetStringAsync("", Cancel)).Contains($"data-study=\"{study.Uid}\"", StringComparison.Ordinal), $"the console shows {study.Name}");
    }

    /// <summary>Instances of the study that the archive has, of which each is there once.</summary>
    private async Task<int> StoredAsync(Study study)
    {
        using var pacs = Centre.Client("console", "pacs-gw");
        try
        {
            using var answer = await pacs.GetAsync($"pacs-gw/dicom-web/studies/{study.Uid}/instances?limit=1000", Cancel);
            if (answer.StatusCode is not HttpStatusCode.OK)
            {
                return 0;
            }

            var found = (await answer.Content.ReadFromJsonAsync<JsonNode>(Cancel))!.AsArray().Select(i => i!["00080018"]!["Value"]![0]!.GetValue<string>()).ToArray();
            Assert.Equal(found.Length, found.Distinct().Count());
            return found.Length;
        }
        catch (HttpRequestException)
        {
            return 0;
        }
    }

    /// <summary>Entries of the shared log that say that an instance was stored.</summary>
    private async Task<int> StoredFactsAsync()
    {
        using var fleet = Centre.Client("console", "fleet");
        var (stored, after) = (0, 0L);
        while ((await fleet.GetFromJsonAsync<JsonNode>($"fleet/events?after={after}&limit=1000", Cancel))!.AsArray() is { Count: > 0 } page)
        {
            stored += page.Count(e => e!["type"]!.GetValue<string>() == "yizhan.dicom.instance-stored.v1");
            after = page[^1]!["position"]!.GetValue<long>();
        }

        return stored;
    }

    /// <summary>A browser that came in by the link that works once.</summary>
    private async Task<HttpClient> SignedInAsync()
    {
        using var inside = Centre.Inside("console");
        using var answer = await inside.PostAsync("sign-in/link", null, Cancel);
        var link = await answer.Content.ReadAsStringAsync(Cancel);
        var browser = new HttpClient(new SocketsHttpHandler { CookieContainer = new CookieContainer() }) { BaseAddress = inside.BaseAddress };
        using var signedIn = await browser.GetAsync(link.TrimStart('/'), Cancel);
        signedIn.EnsureSuccessStatusCode();
        return browser;
    }

    private Study Write(string name, int instances, int seed)
    {
        CtStudy.WriteFiles(running.Folder.In(name), instances, studies: 1, seed);
        var files = Directory.GetFiles(running.Folder.In(name)).Order(StringComparer.Ordinal).ToArray();
        return new Study(name, DicomFile.Parse(File.ReadAllBytes(files[0])).Dataset.GetString(DicomTags.StudyInstanceUID)!, files);
    }

    private static async Task<int> StoreAsync(int port, Study study)
    {
        using var storescu = Process.Start(new ProcessStartInfo("storescu", ["-aec", "YIZHAN", "127.0.0.1", $"{port}", .. study.Files]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var output = storescu.StandardOutput.ReadToEndAsync(Cancel);
        var errors = storescu.StandardError.ReadToEndAsync(Cancel);
        await storescu.WaitForExitAsync(Cancel);
        await output;
        await errors;
        return storescu.ExitCode;
    }

    /// <summary>As modalities do: what was not acknowledged is sent again.</summary>
    private static async Task StoreUntilTakenAsync(int port, Study study)
    {
        while (await StoreAsync(port, study) != 0)
        {
            await Task.Delay(500, Cancel);
        }
    }

    private sealed record Study(string Name, string Uid, string[] Files);
}

/// <summary>The centre of all tests of the class: nine programs take their time to start.</summary>
public sealed class RunningApart : IAsyncLifetime
{
    internal TemporaryFolder Folder { get; } = new();

    internal ApartCentre? Centre { get; private set; }

    internal string? Missing { get; } = !File.Exists("/usr/bin/storescu") ? "dcmtk is not installed; ./check installs it."
        : !Directory.Exists("/usr/lib/python3/dist-packages/yaml") ? "python3-yaml is not installed; ./check installs it." : null;

    public async ValueTask InitializeAsync()
    {
        if (Missing is null)
        {
            Centre = await ApartCentre.PrepareAsync(Folder.Path, CancellationToken.None);
            await Centre.StartAsync(CancellationToken.None);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (Centre is not null)
        {
            await Centre.DisposeAsync();
        }

        Folder.Dispose();
    }
}
