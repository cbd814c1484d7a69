using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Fleet;
using Yizhan.Fleet.Enrolment;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Identity;
using Yizhan.Platform.Licences;
using Yizhan.Station.SignIn;
using Yizhan.Storage;
using Device = Yizhan.Platform.Certificates.Enrolment;

namespace Yizhan.Station.Tests;

/// <summary>A site from its first minute to the renewal of its certificate, with a day without the centre in between, in virtual time.</summary>
public sealed class OutageSignInTests : IAsyncLifetime
{
    private const string Site = "lakeside";
    private const string Pin = "4711-0815";

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-day-").FullName;
    private readonly FakeTimeProvider _clock = new(TimeProvider.System.GetUtcNow());
    private WebApplication _centre = null!;
    private WebApplication _edge = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private EmbeddedCa Ca => _centre.Services.GetRequiredService<EmbeddedCa>();

    private IEventLog EdgeLog => _edge.Services.GetRequiredService<IEventLog>();

    public async ValueTask InitializeAsync()
    {
        _centre = new ServiceHost([
            $"--node:dataFolder={In("centre")}", "--web:url=http://127.0.0.1:0", "--log:level=critical", "--fleet:linkPort=0"])
            .Add<FleetModule>().With(services => services.AddSingleton<TimeProvider>(_clock)).Build();
        await _centre.StartAsync(Cancel);
        _edge = new ServiceHost([
            $"--node:siteId={Site}", $"--node:dataFolder={In("edge")}", "--web:url=http://127.0.0.1:0", "--log:level=critical"])
            .Add<StationModule>().With(services => services.AddSingleton<TimeProvider>(_clock)).Build();
        await _edge.StartAsync(Cancel);
    }

    [Fact]
    public async Task A_site_enrols_works_a_day_without_the_centre_and_renews_its_certificate_on_return()
    {
        // Day 0: enrolled, with a list of accounts and a licence that will end in the outage.
        var listener = _centre.Services.GetRequiredService<LinkListener>();
        var token = await _centre.Services.GetRequiredService<EnrolmentDesk>()
            .InviteAsync(Site, new Uri($"https://localhost:{listener.EnrolmentPort}"), 15, "test", Cancel);
        (await Device.EnrolAsync(token, In("tls"), _clock, Cancel)).Dispose();
        var (certificate, key, rootFile) = Device.FilesIn(In("tls"));
        using var root = X509Certificate2.CreateFromPem(await File.ReadAllTextAsync(rootFile, Cancel));
        using var link = new HttpLink(
            new StationOptions { CentreUrl = new Uri($"https://localhost:{listener.EndPoint.Port}"), CertificatePath = certificate, KeyPath = key, RootPath = rootFile },
            _clock);
        Assert.Equal([0, 0, 0, 0], (await link.MarksAsync(Guid.Empty, Cancel)).Marks);
        var firstSerial = link.Files.Certificate.SerialNumber;

        // Day 61: the certificate is due, and the line goes before it can be renewed.
        _clock.Advance(TimeSpan.FromDays(61));
        Assert.True(link.Files.IsDue(_clock.GetUtcNow()));
        var signIn = new SiteSignIn(EdgeLog, link.Files, root, In("signin"), _clock);
        await signIn.TakeAsync(List(1), Cancel);
        using var vendor = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var licence = Licence(vendor, _clock.GetUtcNow().AddHours(12));
        await listener.StopAsync(new CancellationToken(canceled: true));
        await Assert.ThrowsAsync<LinkDownException>(() => link.MarksAsync(Guid.Empty, Cancel));
        Assert.True(licence.Allows("ai.ct-ich"));

        // A day of work: somebody signs in every hour; at noon the licence ends; in the evening there is an emergency.
        var before = EdgeLog.Usage(Lane.Urgent).AcceptedEntries;
        for (var hour = 0; hour < 24; hour++)
        {
            var (outcome, jwt) = await signIn.SignInAsync("li", Pin, Cancel);
            Assert.Equal(SignInOutcome.SignedIn, outcome);
            Assert.Equal(_clock.GetUtcNow().AddMinutes(15).ToUnixTimeSeconds(), Claims(jwt!, link.Files).GetProperty("exp").GetInt64());
            if (hour == 20)
            {
                var (broken, glass) = await signIn.BreakGlassAsync("li", Pin, "unconscious patient, allergies unknown", TimeSpan.FromMinutes(30), Cancel);
                Assert.Equal(SignInOutcome.SignedIn, broken);
                Assert.Equal("unconscious patient, allergies unknown", Claims(glass!, link.Files).GetProperty("break_glass").GetString());
                Assert.Equal("clinician@lakeside", Claims(glass!, link.Files).GetProperty("roles")[0].GetString());
            }

            Assert.True(licence.Allows("storage") && licence.Allows("query") && licence.Allows("export"));
            _clock.Advance(TimeSpan.FromHours(1));
        }

        Assert.Equal((LicenceState.Lapsed, false), (licence.View().State, licence.Allows("ai.ct-ich")));
        Assert.Single(signIn.ToReview);
        Assert.Equal(27, EdgeLog.Usage(Lane.Urgent).AcceptedEntries - before);

        // The centre is back: over the certificate that was due all day, the next one comes.
        await listener.StartAsync(Cancel);
        await Wait.UntilAsync(async () =>
        {
            try
            {
                var next = SiteRequest.MakeKey();
                var answer = await link.RenewAsync(SiteRequest.Make(Site, next), Cancel);
                link.Files.Replace(answer.Certificate, next);
                return true;
            }
            catch (LinkDownException)
            {
                return false;
            }
        });
        Assert.NotEqual(firstSerial, link.Files.Certificate.SerialNumber);
        Assert.False(link.Files.IsDue(_clock.GetUtcNow()));

        // And the emergency is closed, by somebody else.
        var access = signIn.ToReview.Single();
        await Assert.ThrowsAsync<ArgumentException>(() => signIn.ReviewAsync(access.Id, "li", "fine", Cancel));
        Assert.True(await signIn.ReviewAsync(access.Id, "wang", "justified", Cancel));
        Assert.Empty(new SiteSignIn(EdgeLog, link.Files, root, In("signin"), _clock).ToReview);
    }

    [Fact]
    public async Task Ten_thousand_wrong_pins_cost_what_a_few_do_and_lock_the_account_for_the_right_one_too()
    {
        var signIn = await StartAsync();
        var outcomes = new Dictionary<SignInOutcome, int>();
        for (var i = 0; i < 10_000; i++)
        {
            var (outcome, _) = await signIn.SignInAsync(i % 2 == 0 ? "li" : $"nobody-{i}", $"{i}", Cancel);
            outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;
        }

        // Five for the account, five for all the names that nobody has.
        Assert.Equal((10, 9990), (outcomes[SignInOutcome.Wrong], outcomes[SignInOutcome.Locked]));
        Assert.Equal(SignInOutcome.Locked, (await signIn.SignInAsync("li", Pin, Cancel)).Outcome);
        Assert.Equal(SignInOutcome.SignedIn, (await signIn.SignInAsync("wang", Pin, Cancel)).Outcome);

        // The wait doubles with each further wrong one, and the right one ends it.
        _clock.Advance(TimeSpan.FromSeconds(61));
        Assert.Equal(SignInOutcome.Wrong, (await signIn.SignInAsync("li", "0", Cancel)).Outcome);
        _clock.Advance(TimeSpan.FromSeconds(61));
        Assert.Equal(SignInOutcome.Locked, (await signIn.SignInAsync("li", Pin, Cancel)).Outcome);
        _clock.Advance(TimeSpan.FromSeconds(61));
        Assert.Equal(SignInOutcome.SignedIn, (await signIn.SignInAsync("li", Pin, Cancel)).Outcome);
    }

    [Fact]
    public async Task A_list_counts_from_the_root_for_this_site_when_it_is_newer_and_for_thirty_days()
    {
        var signIn = await StartAsync();
        Assert.False(await signIn.TakeAsync(List(1), Cancel));
        Assert.True(await signIn.TakeAsync(List(2, names: ["wang"]), Cancel));
        Assert.False(await signIn.TakeAsync(List(1), Cancel));
        Assert.Equal(SignInOutcome.Wrong, (await signIn.SignInAsync("li", Pin, Cancel)).Outcome);
        await Assert.ThrowsAsync<InvalidDataException>(() => signIn.TakeAsync(List(3, site: "hillside"), Cancel));
        using var others = EmbeddedCa.Open(In("others"), _clock);
        await Assert.ThrowsAsync<InvalidDataException>(() => signIn.TakeAsync(List(3, others), Cancel));
        await Assert.ThrowsAsync<InvalidDataException>(() => signIn.TakeAsync("<html>", Cancel));
        _clock.Advance(TimeSpan.FromDays(31));
        Assert.Equal(SignInOutcome.NoList, (await signIn.SignInAsync("wang", Pin, Cancel)).Outcome);
    }

    [Fact]
    public async Task Emergency_access_needs_a_reason_and_an_account_and_ends_within_the_hour()
    {
        var signIn = await StartAsync();
        await Assert.ThrowsAsync<ArgumentException>(() => signIn.BreakGlassAsync("li", Pin, "because", TimeSpan.FromMinutes(5), Cancel));
        await Assert.ThrowsAsync<ArgumentException>(() => signIn.BreakGlassAsync("li", Pin, "a reason that is long enough", TimeSpan.FromMinutes(61), Cancel));
        Assert.Equal((SignInOutcome.Wrong, null), await signIn.BreakGlassAsync("li", "0", "a reason that is long enough", TimeSpan.FromMinutes(5), Cancel));
        Assert.Empty(signIn.ToReview);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var node in new[] { _edge, _centre })
        {
            await node.StopAsync(CancellationToken.None);
            await node.DisposeAsync();
        }

        Directory.Delete(_folder, recursive: true);
    }

    private string In(params string[] parts) => Path.Combine([_folder, .. parts]);

    private async Task<SiteSignIn> StartAsync()
    {
        Ca.IssueSite(Site).WriteTo(In("c.pem"), In("k.pem"));
        var signIn = new SiteSignIn(
            EdgeLog, new CertificateFiles(In("c.pem"), In("k.pem")), X509CertificateLoader.LoadCertificateFromFile(Ca.RootFile), In("signin"), _clock);
        Assert.True(await signIn.TakeAsync(List(1), Cancel));
        return signIn;
    }

    private string List(long number, EmbeddedCa? by = null, string site = Site, string[]? names = null)
    {
        // A fast hash: what is tested is the rule, not the processor.
        var accounts = (names ?? ["li", "wang"]).Select(name => new SiteAccount(name, PinHash.Make(Pin, rounds: 10), ["radiographer"])).ToArray();
        var list = new AccountList(number, site, _clock.GetUtcNow().ToUnixTimeMilliseconds(), accounts, JsonElement.Parse("{\"keys\":[]}"));
        return (by ?? Ca).SignWith(list.Sign);
    }

    private LicenceGate Licence(ECDsa vendor, DateTimeOffset end)
    {
        Directory.CreateDirectory(In("licence"));
        File.WriteAllText(In("licence", "licence-key.pem"), vendor.ExportSubjectPublicKeyInfoPem());
        var licence = new Licence("L-1", Site, null, _clock.GetUtcNow().ToUnixTimeSeconds(), end.ToUnixTimeSeconds(), 0, ["ai.*"], 1);
        File.WriteAllText(In("licence", "licence.jws"), licence.Sign(vendor));
        return new LicenceGate(Site, In("licence"), () => "", _clock);
    }

    /// <summary>The claims of a token that the key of the site's certificate has signed.</summary>
    private static JsonElement Claims(string jwt, CertificateFiles files)
    {
        using var key = files.Certificate.GetECDsaPublicKey()!;
        return JsonElement.Parse(Encoding.UTF8.GetString(CompactJws.Verify(key, "at+jwt", jwt)!));
    }
}
