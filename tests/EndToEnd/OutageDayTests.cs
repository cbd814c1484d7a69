using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Runtime.InteropServices;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Yizhan.Drills;

namespace Yizhan.EndToEnd.Tests;

/// <summary>
/// A site from its first minute on, with the programs that are shipped, each a process: a device whose clock stands in 1970 enrols; two months later the
/// line goes for a day, in which people sign in, a licence ends and somebody breaks the glass; with the line the certificate is renewed and the centre looks at
/// what was done.
/// </summary>
/// <remarks>
/// The wall clock of the processes is moved by libfaketime, which both nodes read from one file; their monotonic clocks run as they do, so what waits for
/// seconds waits for seconds. A day takes as many steps as it has hours.
/// </remarks>
public sealed class OutageDayTests(ITestOutputHelper output)
{
    private const string Site = "lakeside";
    private const string Password = "correct horse battery";
    private const string Secret = "secret of the test's reviewer";
    private const string Reason = "unconscious patient, allergies unknown";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Clause", "D5.1")]
    [Trait("Clause", "D5.2")]
    public async Task A_site_enrols_works_through_a_day_without_the_centre_and_renews_its_certificate_on_return()
    {
        var library = $"/usr/lib/{(RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? "aarch64" : "x86_64")}-linux-gnu/faketime/libfaketimeMT.so.1";
        Assert.SkipUnless(File.Exists(library), $"{library} is not there (Debian: faketime); it moves the clocks of the processes.");
        using var folder = new TemporaryFolder();
        var clock = folder.In("clock");
        var (at, here) = (TimeSpan.Zero, new HttpClient());
        void MoveTo(TimeSpan offset)
        {
            // Seconds from now on the wall. Renamed into place: a reader sees the old time or the new.
            at = offset;
            File.WriteAllText(clock + ".new", string.Create(CultureInfo.InvariantCulture, $"+{(long)offset.TotalSeconds}"));
            File.Move(clock + ".new", clock, overwrite: true);
        }

        Dictionary<string, string> Clock(string name, string value) => new()
        {
            ["LD_PRELOAD"] = library,
            [name] = value,
            ["FAKETIME_NO_CACHE"] = "1",
            ["FAKETIME_DONT_FAKE_MONOTONIC"] = "1",
            ["DONT_FAKE_MONOTONIC"] = "1",
        };

        MoveTo(TimeSpan.Zero);
        var shared = Clock("FAKETIME_TIMESTAMP_FILE", clock);
        var ports = LocalPorts.Free();
        var enrolment = LocalPorts.Free().Centre;
        await File.WriteAllTextAsync(folder.In("secret"), Secret, Cancel);
        string[] common = ["--log:level=warning", "--storage:freeFloorBytes=0"];
        await using var centre = await HostProcess.StartAsync(
            [
                "centre", $"--node:dataFolder={folder.In("centre")}", $"--web:url=http://127.0.0.1:{ports.Centre}", $"--fleet:linkPort={ports.CentreLink}",
                $"--fleet:enrolmentPort={enrolment}", "--pacs-gw:acceptAssociations=false", "--auth:passwordIterations=10000",
                "--auth:clients:0:id=reviewer", $"--auth:clients:0:secretFile={folder.In("secret")}", "--auth:clients:0:roles:0=auditor@*", .. common,
            ], ports.CentreWeb, folder.In("centre.log"), shared, Cancel);
        using var centreHttp = new HttpClient { BaseAddress = ports.CentreWeb };
        var token = Path.Combine(folder.In("centre"), "identity", "operator.token");

        // People, as an operator adds them and as they choose their password.
        foreach (var (name, roles) in new[] { ("li", "radiographer@lakeside"), ("chen", "site-engineer@lakeside"), ("wang", "auditor@lakeside") })
        {
            var added = await YizhanCommand.RunAsync(["user", "add", name, "--roles", roles, "--node", $"{ports.CentreWeb}", "--token", token, "--json"]);
            Assert.True(added.ExitCode == 0, added.Error);
            await SignInForm.ChooseAsync(ports.CentreWeb, name, added.Json.GetProperty("password").GetString()!, Password);
        }

        // The device: its clock says 1970, and the installation is a month old.
        MoveTo(TimeSpan.FromDays(30));
        var invited = await YizhanCommand.RunAsync(
            ["site", "enrol-token", Site, "--centre", $"{ports.CentreWeb}", "--out", folder.In("token.json"), "--token", await RenewedTokenAsync(folder, centreHttp), "--json"], shared);
        Assert.True(invited.ExitCode == 0, invited.Error);
        var enrolled = await YizhanCommand.RunAsync(
            ["enrol", "--token-file", folder.In("token.json"), "--folder", folder.In("tls"), "--json"], Clock("FAKETIME", "@1970-01-01 00:10:00"));
        Assert.True(enrolled.ExitCode == 0, enrolled.Error);
        var again = await YizhanCommand.RunAsync(["enrol", "--token-file", folder.In("token.json"), "--folder", folder.In("tls-2"), "--json"], shared);
        Assert.NotEqual(0, again.ExitCode);
        Assert.Contains("was used by another device", again.Error, StringComparison.Ordinal);
        var first = Serial(folder);

        // A licence that ends in the middle of the day to come: 60.5 days after this one.
        Assert.Equal(0, (await YizhanCommand.RunAsync(["licence", "keygen", folder.In("vendor.pem")])).ExitCode);
        Directory.CreateDirectory(folder.In("site", "licence"));
        File.Copy(folder.In("vendor.pem.pub"), folder.In("site", "licence", "licence-key.pem"));
        MoveTo(TimeSpan.FromDays(30.75));
        var issued = await YizhanCommand.RunAsync(
            [
                "licence", "issue", Site, "--key", folder.In("vendor.pem"), "--feature", "ai.*", "--days", "60", "--grace-days", "0", "--sequence", "1",
                "--out", folder.In("site", "licence", "licence.jws"),
            ], shared);
        Assert.True(issued.ExitCode == 0, issued.Error);

        await using var line = new LinkRelay(ports.SiteLink, ports.CentreLink);
        line.Open();
        await using var site = await HostProcess.StartAsync(
            [
                "edge", $"--node:dataFolder={folder.In("site")}", $"--node:siteId={Site}", $"--web:url=http://127.0.0.1:{ports.Edge}", $"--pacs-gw:dicomPort={ports.Dicom}",
                $"--station:centreUrl=https://127.0.0.1:{ports.SiteLink}", $"--station:certificatePath={folder.In("tls", "certificate.pem")}",
                $"--station:keyPath={folder.In("tls", "key.pem")}", $"--station:rootPath={folder.In("tls", "root.crt")}", "--station:probeMs=200",
                "--station:heartbeatSeconds=1", "--station:accountsPollSeconds=1", "--station:certificatePollSeconds=1", "--licence:extras:0=ai.*", "--station:signInAttemptsPerMinute=10000", .. common,
            ], ports.EdgeWeb, folder.In("site.log"), shared, Cancel);
        using var siteHttp = here;
        siteHttp.BaseAddress = ports.EdgeWeb;
        await Wait.UntilAsync(async () => (await SignInAsync(siteHttp, "li")).Status == HttpStatusCode.OK);

        // Two months less a little: the certificate is not due yet, and the list was renewed each day that the line was there.
        MoveTo(TimeSpan.FromDays(30 + 59.9));
        await Wait.UntilAsync(async () => (await SignInAsync(siteHttp, "chen")).Token is { } engineer
            && (await JsonAsync(siteHttp, "/station/sign-in", engineer))?["validUntilMs"]?.GetValue<long>() > NowMs(at + TimeSpan.FromDays(29)));
        Assert.Equal(first, Serial(folder));

        // The line goes. An hour at a time, for a day; the certificate becomes due, and nobody is there to renew it.
        await line.CutAsync();
        var before = (await SignInAsync(siteHttp, "chen")).Token!;
        await Wait.UntilAsync(async () => (await JsonAsync(siteHttp, "/station/spool", before))!["link"]!["state"]?.GetValue<string>() != "up");
        var (signedIn, licensed, unlicensed, emergency) = (0, 0, 0, "");
        for (var hour = 0; hour < 24; hour++)
        {
            MoveTo(TimeSpan.FromDays(30 + 60.1) + TimeSpan.FromHours(hour));
            var (status, jwt) = await SignInAsync(siteHttp, "li");
            Assert.Equal(HttpStatusCode.OK, status);
            signedIn++;
            Assert.NotNull(await JsonAsync(siteHttp, "/pacs-gw/studies", jwt!));
            var (_, engineer) = await SignInAsync(siteHttp, "chen");
            var spool = (await JsonAsync(siteHttp, "/station/spool", engineer!))!;
            Assert.NotEqual("up", spool["link"]!["state"]?.GetValue<string>());

            // With the licence the model is looked for, and there is none; without it, it is not.
            var infer = await PostAsync(siteHttp, "/v2/models/ct-ich/infer", engineer!, new { inputs = Array.Empty<int>() });
            _ = infer == HttpStatusCode.NotFound ? licensed++ : infer == HttpStatusCode.Forbidden ? unlicensed++ : throw new InvalidOperationException($"{infer}");
            if (hour == 20)
            {
                using var glass = await siteHttp.PostAsJsonAsync("/station/emergencies", new { name = "li", pin = Password, reason = Reason, minutes = 30 }, Cancel);
                emergency = JsonNode.Parse(await glass.Content.ReadAsStringAsync(Cancel))!["access_token"]!.GetValue<string>();
                Assert.Equal(HttpStatusCode.OK, glass.StatusCode);
                MoveTo(at + TimeSpan.FromMinutes(32));
                Assert.Null(await JsonAsync(siteHttp, "/pacs-gw/studies", emergency));
            }
        }

        Assert.Equal((24, 24), (signedIn, licensed + unlicensed));
        Assert.InRange(licensed, 12, 20);
        Assert.Equal(first, Serial(folder));
        var reviewer = await ClientTokenAsync(centreHttp);
        Assert.Empty((await JsonAsync(centreHttp, "/fleet/emergencies", reviewer))!.AsArray());

        // Back again.
        line.Open();
        await Wait.UntilAsync(() => Serial(folder) != first);
        await Wait.UntilAsync(async () => (await JsonAsync(centreHttp, "/fleet/emergencies", reviewer))!.AsArray().Count == 1);
        var waiting = (await JsonAsync(centreHttp, "/fleet/emergencies", reviewer))![0]!;
        Assert.Equal(("li", Reason, Site), (waiting["who"]!.GetValue<string>(), waiting["reason"]!.GetValue<string>(), waiting["site"]!.GetValue<string>()));
        Assert.Equal(HttpStatusCode.NoContent, await PostAsync(centreHttp, $"/fleet/emergencies/{Site}/{waiting["id"]}/review", reviewer, new { verdict = "justified" }));
        await Wait.UntilAsync(async () => (await JsonAsync(siteHttp, "/station/sign-in", (await SignInAsync(siteHttp, "chen")).Token!))?["toReview"]?.GetValue<int>() == 0);
        using var renewed = X509CertificateLoader.LoadCertificateFromFile(folder.In("tls", "certificate.pem"));
        output.WriteLine($"figures: 24 h without the centre, {signedIn} hours signed in, {licensed} h licensed and {unlicensed} h lapsed, 1 emergency reviewed; certificate {first} followed by {renewed.SerialNumber} until {renewed.NotAfter:u}");
        await Wait.UntilAsync(async () => (await centreHttp.GetStringAsync("/metrics", Cancel)).Contains("state=\"lapsed\"", StringComparison.Ordinal));
    }

    private static string Serial(TemporaryFolder folder)
    {
        using var certificate = X509CertificateLoader.LoadCertificateFromFile(folder.In("tls", "certificate.pem"));
        return certificate.SerialNumber;
    }

    private static long NowMs(TimeSpan offset) => (TimeProvider.System.GetUtcNow() + offset).ToUnixTimeMilliseconds();

    /// <summary>The operator's token was written for an hour of a month ago: an admin signs in instead.</summary>
    private static async Task<string> RenewedTokenAsync(TemporaryFolder folder, HttpClient centre)
    {
        await SignInForm.ChooseAsync(centre.BaseAddress!, "admin", (await File.ReadAllTextAsync(folder.In("centre", "auth", "first-password"), Cancel)).Trim(), Password);
        using var browser = SignInForm.Browser(centre.BaseAddress!);
        using var signedIn = await SignInForm.SubmitAsync(browser, "/sign-in", new() { ["name"] = "admin", ["password"] = Password, ["back"] = "/" });
        Assert.Equal(HttpStatusCode.Redirect, signedIn.StatusCode);
        using var asked = await centre.PostAsync("/auth/device-code", new FormUrlEncodedContent([new("client_id", "yizhan-cli")]), Cancel);
        var device = JsonNode.Parse(await asked.Content.ReadAsStringAsync(Cancel))!;
        using var allowed = await SignInForm.SubmitAsync(
            browser, new Uri(device["verification_uri_complete"]!.GetValue<string>()).PathAndQuery, new() { ["user_code"] = device["user_code"]!.GetValue<string>() }, "/auth/device");
        using var answer = await centre.PostAsync("/auth/token", new FormUrlEncodedContent([
            new("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), new("client_id", "yizhan-cli"), new("device_code", device["device_code"]!.GetValue<string>())]), Cancel);
        var path = folder.In("admin.token");
        await File.WriteAllTextAsync(path, JsonNode.Parse(await answer.Content.ReadAsStringAsync(Cancel))!["access_token"]!.GetValue<string>(), Cancel);
        return path;
    }

    private static async Task<string> ClientTokenAsync(HttpClient centre)
    {
        using var answer = await centre.PostAsync("/auth/token", new FormUrlEncodedContent([
            new("grant_type", "client_credentials"), new("client_id", "reviewer"), new("client_secret", Secret)]), Cancel);
        return JsonNode.Parse(await answer.Content.ReadAsStringAsync(Cancel))!["access_token"]!.GetValue<string>();
    }

    private static async Task<(HttpStatusCode Status, string? Token)> SignInAsync(HttpClient site, string name)
    {
        using var answer = await site.PostAsJsonAsync("/station/sign-in", new { name, pin = Password }, Cancel);
        return (answer.StatusCode, answer.IsSuccessStatusCode ? JsonNode.Parse(await answer.Content.ReadAsStringAsync(Cancel))!["access_token"]!.GetValue<string>() : null);
    }

    /// <summary>What a node answers; null when it refuses the token.</summary>
    private static async Task<JsonNode?> JsonAsync(HttpClient node, string path, string token)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path) { Headers = { Authorization = new AuthenticationHeaderValue("Bearer", token) } };
        using var answer = await node.SendAsync(request, Cancel);
        return answer.StatusCode == HttpStatusCode.Unauthorized ? null
            : answer.IsSuccessStatusCode ? JsonNode.Parse(await answer.Content.ReadAsStringAsync(Cancel))
            : throw new InvalidOperationException($"{path}: {answer.StatusCode} {await answer.Content.ReadAsStringAsync(Cancel)}");
    }

    private static async Task<HttpStatusCode> PostAsync(HttpClient node, string path, string token, object body)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = JsonContent.Create(body), Headers = { Authorization = new AuthenticationHeaderValue("Bearer", token) } };
        using var answer = await node.SendAsync(request, Cancel);
        return answer.StatusCode;
    }
}
