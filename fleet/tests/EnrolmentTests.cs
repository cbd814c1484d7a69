using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Contracts;
using Yizhan.Fleet.Enrolment;
using Yizhan.Link;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Storage;
using Device = Yizhan.Platform.Certificates.Enrolment;

namespace Yizhan.Fleet.Tests;

/// <summary>A device becomes a site, over the real door; and what must not make it one.</summary>
public sealed class EnrolmentTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-enrol-").FullName;
    private readonly FakeTimeProvider _clock = new(TimeProvider.System.GetUtcNow());
    private WebApplication _centre = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private EnrolmentDesk Desk => _centre.Services.GetRequiredService<EnrolmentDesk>();

    private EmbeddedCa Ca => _centre.Services.GetRequiredService<EmbeddedCa>();

    private LinkListener Listener => _centre.Services.GetRequiredService<LinkListener>();

    public async ValueTask InitializeAsync()
    {
        _centre = new ServiceHost([
            $"--node:dataFolder={In("centre")}", "--web:url=http://127.0.0.1:0", "--log:level=critical", "--fleet:linkPort=0"])
            .Add<FleetModule>().With(services => services.AddSingleton<TimeProvider>(_clock)).Build();
        await _centre.StartAsync(Cancel);
    }

    [Fact]
    public async Task A_device_enrols_once_and_its_key_stays_with_it()
    {
        var token = await InviteAsync("lakeside");
        using var certificate = await Device.EnrolAsync(token, In("device"), _clock, Cancel);
        Assert.Equal("lakeside", SitePrincipal.From(certificate)!.SiteId);
        Assert.Equal(90, (certificate.NotAfter - certificate.NotBefore).TotalDays, 3);
        Assert.Equal(["certificate.pem", "key.pem", "root.crt"], Directory.GetFiles(In("device")).Select(Path.GetFileName).Order());
        Assert.True(OperatingSystem.IsWindows() || File.GetUnixFileMode(In("device", "key.pem")) == (UnixFileMode.UserRead | UnixFileMode.UserWrite));

        // The link takes it, with its chain.
        Assert.Equal(HttpStatusCode.OK, await MarksAsync("device"));

        // The token is spent.
        var replayed = await Assert.ThrowsAsync<CertificateRefusedException>(() => Device.EnrolAsync(token, In("thief"), _clock, Cancel));
        Assert.Contains("used by another device", replayed.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(In("thief", "certificate.pem")));

        // No copy of the secret is kept, and all of it is in the audit log.
        Assert.DoesNotContain(Directory.GetFiles(In("centre"), "*", SearchOption.AllDirectories).Where(path => Path.GetFileName(path) != "lock"), path =>
            File.ReadAllBytes(path).AsSpan().IndexOf(System.Text.Encoding.ASCII.GetBytes(token.Token)) >= 0);
        var records = (await _centre.Services.GetRequiredService<IEventLog>().ReadAsync(0, 100, Cancel))
            .Where(e => e.Entry.Type == AuditRecord.EventType)
            .Select(e => JsonSerializer.Deserialize(e.Entry.Data.Span, ContractsJson.Default.AuditRecord)!).ToList();
        Assert.Equal(["C", "E", "E"], records.Select(r => r.Action));
        Assert.Equal([0, 0, 4], records.Select(r => r.Outcome));
        Assert.All(records, r => Assert.Equal("machine/lakeside", r.Entity));
    }

    [Fact]
    public async Task A_lost_answer_costs_nothing_the_same_request_gets_the_same_certificate()
    {
        var token = await InviteAsync("lakeside");
        var request = new EnrolmentRequest(token.Token, SiteRequest.Make("lakeside", SiteRequest.MakeKey()));
        var first = await Desk.EnrolAsync(request, "test", Cancel);
        Assert.Equal(first, await Desk.EnrolAsync(request, "test", Cancel));
        Assert.Equal(EnrolmentOutcome.Enrolled, first.Outcome);
    }

    [Fact]
    public async Task What_must_not_enrol_does_not()
    {
        var token = await InviteAsync("lakeside");
        Assert.Equal(EnrolmentOutcome.UnknownToken, await TryAsync(token.Token[..^1] + "-", "lakeside"));
        Assert.Equal(EnrolmentOutcome.BadRequest, await TryAsync(token.Token, "hillside"));
        Assert.Equal(EnrolmentOutcome.BadRequest, (await Desk.EnrolAsync(new EnrolmentRequest(token.Token, "no PEM"), "test", Cancel)).Outcome);

        using var rsa = RSA.Create(2048);
        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(new Uri("spiffe://yizhan/site/lakeside"));
        var other = new CertificateRequest("CN=lakeside", rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        other.CertificateExtensions.Add(names.Build());
        Assert.Equal(
            EnrolmentOutcome.BadRequest, (await Desk.EnrolAsync(new EnrolmentRequest(token.Token, other.CreateSigningRequestPem()), "test", Cancel)).Outcome);

        // A refused request does not spend the token; its time does.
        _clock.Advance(TimeSpan.FromMinutes(16));
        Assert.Equal(EnrolmentOutcome.Expired, await TryAsync(token.Token, "lakeside"));
        await Assert.ThrowsAsync<ArgumentException>(() => Desk.InviteAsync("lakeside", new Uri("https://localhost"), 61, "test", Cancel));
        await Assert.ThrowsAsync<ArgumentException>(() => Desk.InviteAsync("Lake/side", new Uri("https://localhost"), 10, "test", Cancel));

        async Task<EnrolmentOutcome> TryAsync(string secret, string site) =>
            (await Desk.EnrolAsync(new EnrolmentRequest(secret, SiteRequest.Make(site, SiteRequest.MakeKey())), "test", Cancel)).Outcome;
    }

    [Fact]
    public async Task A_request_that_asks_for_more_gets_a_leaf_for_a_site_and_no_more()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(new Uri("spiffe://yizhan/site/lakeside"));
        names.AddDnsName("centre.example");
        var greedy = new CertificateRequest("CN=centre.example", key, HashAlgorithmName.SHA256);
        greedy.CertificateExtensions.Add(names.Build());
        greedy.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        greedy.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(CertificateTrust.ServerAuth)], true));
        using var certificate = X509Certificate2.CreateFromPem(Ca.SignSite("lakeside", greedy.CreateSigningRequestPem()));
        Assert.False(certificate.Extensions.OfType<X509BasicConstraintsExtension>().Single().CertificateAuthority);
        Assert.Equal(CertificateTrust.ClientAuth, certificate.Extensions.OfType<X509EnhancedKeyUsageExtension>().Single().EnhancedKeyUsages[0].Value);
        Assert.Empty(certificate.Extensions.OfType<X509SubjectAlternativeNameExtension>().Single().EnumerateDnsNames());
        await Task.CompletedTask;
    }

    [Fact]
    public async Task A_device_does_not_give_its_token_to_a_stranger()
    {
        using var strangers = EmbeddedCa.Open(In("strangers"), _clock);
        var token = await InviteAsync("lakeside") with { Root = await File.ReadAllTextAsync(strangers.RootFile, Cancel) };
        var e = await Assert.ThrowsAsync<HttpRequestException>(() => Device.EnrolAsync(token, In("device"), _clock, Cancel));
        Assert.Contains("UnknownIssuer", e.InnerException!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_door_has_one_route_and_the_link_has_none_of_it()
    {
        using var stranger = Client(null, Listener.EnrolmentPort);
        Assert.Equal(HttpStatusCode.NotFound, (await stranger.GetAsync($"{LinkRoutes.Marks}?epoch={Guid.Empty}", Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, (await stranger.PostAsync(Device.Route, new ByteArrayContent(new byte[70_000]), Cancel)).StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await stranger.PostAsync(Device.Route, new StringContent("<html>"), Cancel)).StatusCode);
        using var site = Client(Ca.IssueSite("lakeside"), Listener.EndPoint.Port);
        Assert.Equal(HttpStatusCode.NotFound, (await site.PostAsync(Device.Route, new StringContent("{}"), Cancel)).StatusCode);
        using var nobody = Client(null, Listener.EndPoint.Port);
        await Assert.ThrowsAsync<HttpRequestException>(() => nobody.GetAsync($"{LinkRoutes.Marks}?epoch={Guid.Empty}", Cancel));
    }

    [Fact]
    public async Task Whoever_tries_too_often_waits()
    {
        using var stranger = Client(null, Listener.EnrolmentPort);
        var answers = new List<HttpStatusCode>();
        while (!answers.Contains(HttpStatusCode.TooManyRequests) && answers.Count < 100)
        {
            var body = new EnrolmentRequest($"guess-{answers.Count}", "x");
            var content = JsonContent.Create(body, EnrolmentJson.Default.EnrolmentRequest);
            await content.LoadIntoBufferAsync(Cancel);
            answers.Add((await stranger.PostAsync(Device.Route, content, Cancel)).StatusCode);
        }

        // A new minute may begin among them, and brings thirty more.
        Assert.InRange(answers.Count, 31, 61);
        Assert.Equal(Enumerable.Repeat(HttpStatusCode.Unauthorized, answers.Count - 1).Append(HttpStatusCode.TooManyRequests), answers);
    }

    [Fact]
    public async Task The_intermediate_of_a_site_makes_no_other_site_and_no_server()
    {
        Ca.IssueSite("lakeside").ToCertificate().Dispose();
        using var authority = X509Certificate2.CreateFromPemFile(In("centre", "fleet", "ca", "sites", "lakeside.pem"));
        using var root = X509CertificateLoader.LoadCertificateFromFile(Ca.RootFile);
        Assert.Equal(CertificateVerdict.Valid, Check(Make("O=Yizhan, OU=lakeside, CN=lakeside", "spiffe://yizhan/site/lakeside")));
        Assert.Equal(CertificateVerdict.WrongSite, Check(Make("O=Yizhan, OU=lakeside, CN=lakeside", "spiffe://yizhan/site/hillside")));
        Assert.Equal(CertificateVerdict.UnknownIssuer, Check(Make("O=Yizhan, OU=hillside, CN=hillside", "spiffe://yizhan/site/hillside")));
        Assert.Equal(CertificateVerdict.UnknownIssuer, Check(Make("CN=hillside", "spiffe://yizhan/site/hillside")));
        Assert.Equal(CertificateVerdict.UnknownIssuer, Check(Make("O=Yizhan, OU=lakeside, CN=lakeside", "spiffe://elsewhere/site/lakeside")));
        Assert.Equal(
            CertificateVerdict.UnknownIssuer,
            Check(Make("O=Yizhan, OU=lakeside, CN=lakeside", null, CertificateTrust.ServerAuth), CertificateTrust.ServerAuth));
        Assert.Equal(CertificateVerdict.WrongSite, Check(Make("O=Yizhan, OU=lakeside, CN=fleet", "spiffe://yizhan/platform/fleet")));
        await OpensslAgreesAsync(Make("O=Yizhan, OU=lakeside, CN=lakeside", "spiffe://yizhan/site/lakeside"), "OK");
        await OpensslAgreesAsync(Make("O=Yizhan, OU=hillside, CN=hillside", "spiffe://yizhan/site/hillside"), "permitted subtree violation");
        await OpensslAgreesAsync(Make("O=Yizhan, OU=lakeside, CN=lakeside", null, CertificateTrust.ServerAuth), "excluded subtree violation");

        CertificateVerdict Check(X509Certificate2 certificate, string purpose = CertificateTrust.ClientAuth) =>
            new CertificateTrust(root, _clock).Check(certificate, purpose, [authority]);

        X509Certificate2 Make(string subject, string? uri, string purpose = CertificateTrust.ClientAuth)
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var name = new X500DistinguishedName(subject, X500DistinguishedNameFlags.UseUTF8Encoding);
            var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256);
            var names = new SubjectAlternativeNameBuilder();
            if (uri is null)
            {
                names.AddDnsName("centre.example");
            }
            else
            {
                names.AddUri(new Uri(uri));
            }

            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(purpose)], true));
            request.CertificateExtensions.Add(names.Build());
            return request.Create(authority, _clock.GetUtcNow(), _clock.GetUtcNow().AddDays(1), [1]);
        }

        async Task OpensslAgreesAsync(X509Certificate2 certificate, string expected)
        {
            await File.WriteAllTextAsync(In("leaf.pem"), certificate.ExportCertificatePem(), Cancel);
            await File.WriteAllTextAsync(In("between.pem"), authority.ExportCertificatePem(), Cancel);
            using var openssl = Process.Start(new ProcessStartInfo(
                "openssl", ["verify", "-CAfile", Ca.RootFile, "-untrusted", In("between.pem"), In("leaf.pem")])
            { RedirectStandardOutput = true, RedirectStandardError = true })!;
            var text = await openssl.StandardOutput.ReadToEndAsync(Cancel) + await openssl.StandardError.ReadToEndAsync(Cancel);
            Assert.Contains(expected, text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_revoked_site_is_out_at_once_and_a_new_device_takes_its_place()
    {
        using var lost = await Device.EnrolAsync(await InviteAsync("lakeside"), In("lost"), _clock, Cancel);
        using var open = Client("lost");
        Assert.Equal(HttpStatusCode.OK, (await open.GetAsync($"{LinkRoutes.Marks}?epoch={Guid.Empty}", Cancel)).StatusCode);
        await Desk.RevokeAsync("lakeside", null, "stolen", "test", Cancel);

        Assert.Equal(HttpStatusCode.Forbidden, (await open.GetAsync($"{LinkRoutes.Marks}?epoch={Guid.Empty}", Cancel)).StatusCode);
        await Assert.ThrowsAsync<HttpRequestException>(() => MarksAsync("lost"));
        Assert.Equal(CertificateVerdict.Revoked, Ca.Trust.Check(lost, CertificateTrust.ClientAuth, Chain("lost")));

        _clock.Advance(TimeSpan.FromSeconds(2));
        (await Device.EnrolAsync(await InviteAsync("lakeside"), In("next"), _clock, Cancel)).Dispose();
        Assert.Equal(HttpStatusCode.OK, await MarksAsync("next"));

        // One certificate alone, and after a restart of the authority.
        await Desk.RevokeAsync("lakeside", Chain("next")[0].SerialNumber, "key seen in a ticket", "test", Cancel);
        await Assert.ThrowsAsync<HttpRequestException>(() => MarksAsync("next"));
        using var again = EmbeddedCa.Open(In("centre", "fleet", "ca"), _clock);
        Assert.Equal([1, 2], again.Revocations.All.Select(r => r.Number));
        Assert.True(again.Revocations.Has(Chain("next")[0]));
    }

    [Fact]
    public async Task A_delta_is_taken_in_order_from_the_root_and_from_nobody_else()
    {
        for (var i = 0; i < 3; i++)
        {
            await Desk.RevokeAsync("lakeside", $"0{i}", "test", "test", Cancel);
        }

        using var root = X509CertificateLoader.LoadCertificateFromFile(Ca.RootFile);
        var edge = Revocations.Open(In("edge.jws"), root);
        var all = Ca.Revocations.After(0);
        Assert.Throws<InvalidDataException>(() => edge.Apply([all[1]]));
        Assert.Equal(0, edge.Number);
        Assert.Equal(2, edge.Apply([all[0], all[1]]));
        Assert.Equal(1, edge.Apply(all));
        Assert.Equal(0, edge.Apply(all));
        Assert.Equal(3, Revocations.Open(In("edge.jws"), root).Number);

        using var strangers = EmbeddedCa.Open(In("strangers"), _clock);
        for (var i = 0; i < 4; i++)
        {
            strangers.Revoke($"F{i}", "test");
        }

        Assert.Throws<InvalidDataException>(() => edge.Apply(strangers.Revocations.After(3)));
        await File.WriteAllLinesAsync(In("edge.jws"), [all[0], all[2]], Cancel);
        Assert.Throws<InvalidDataException>(() => Revocations.Open(In("edge.jws"), root));
        await File.WriteAllLinesAsync(In("edge.jws"), [all[0][..^4] + "AAAA"], Cancel);
        Assert.Throws<InvalidDataException>(() => Revocations.Open(In("edge.jws"), root));
    }

    [Fact]
    public async Task A_site_that_is_away_renews_by_a_file()
    {
        (await Device.EnrolAsync(await InviteAsync("lakeside"), In("device"), _clock, Cancel)).Dispose();
        var files = Device.FilesIn(In("device"));
        var before = await File.ReadAllTextAsync(files.Key, Cancel);
        var bundle = Device.Ask(files.Certificate, files.Key);
        Assert.DoesNotContain("PRIVATE", JsonSerializer.Serialize(bundle, EnrolmentJson.Default.RenewalBundle), StringComparison.Ordinal);

        _clock.Advance(TimeSpan.FromDays(61));
        var answer = await Desk.RenewAsync(bundle, "test", Cancel);
        Device.Take(answer, files.Certificate, files.Key, files.Root).Dispose();
        Assert.NotEqual(before, await File.ReadAllTextAsync(files.Key, Cancel));
        using var now = X509Certificate2.CreateFromPemFile(files.Certificate, files.Key);
        Assert.True(now.NotAfter.ToUniversalTime() > _clock.GetUtcNow().UtcDateTime.AddDays(89));

        // Another's request under this certificate, a certificate that is over, a site that it is not.
        var swapped = bundle with { Request = SiteRequest.Make("lakeside", SiteRequest.MakeKey()) };
        await Assert.ThrowsAsync<CertificateRefusedException>(() => Desk.RenewAsync(swapped, "test", Cancel));
        await Assert.ThrowsAsync<CertificateRefusedException>(() => Desk.RenewAsync(bundle with { Site = "hillside" }, "test", Cancel));
        _clock.Advance(TimeSpan.FromDays(30));
        var late = await Assert.ThrowsAsync<CertificateRefusedException>(() => Desk.RenewAsync(bundle, "test", Cancel));
        Assert.Contains("Expired", late.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_root_of_an_earlier_version_goes_on()
    {
        Directory.CreateDirectory(In("old"));
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=Yizhan root", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        using var root = request.CreateSelfSigned(_clock.GetUtcNow(), _clock.GetUtcNow().AddDays(3650));
        File.WriteAllText(In("old", "root.pem"), root.ExportCertificatePem() + "\n" + key.ExportPkcs8PrivateKeyPem());

        using var ca = EmbeddedCa.Open(In("old"), _clock);
        using var site = ca.IssueSite("lakeside").ToCertificate();
        Assert.Equal(root.Subject, site.Issuer);
        Assert.Equal(CertificateVerdict.Valid, CertificateTrust.FromFile(ca.RootFile, _clock).Check(site, CertificateTrust.ClientAuth));
    }

    public async ValueTask DisposeAsync()
    {
        await _centre.StopAsync(CancellationToken.None);
        await _centre.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private string In(params string[] parts) => Path.Combine([_folder, .. parts]);

    private Task<EnrolmentToken> InviteAsync(string site) =>
        Desk.InviteAsync(site, new Uri($"https://localhost:{Listener.EnrolmentPort}"), 15, "test", Cancel);

    private X509Certificate2Collection Chain(string device)
    {
        var chain = new X509Certificate2Collection();
        chain.ImportFromPemFile(In(device, "certificate.pem"));
        return chain;
    }

    private async Task<HttpStatusCode> MarksAsync(string device)
    {
        using var http = Client(device);
        return (await http.GetAsync($"{LinkRoutes.Marks}?epoch={Guid.Empty}", Cancel)).StatusCode;
    }

    private HttpClient Client(string device) => Client(
        new IssuedCertificate(File.ReadAllText(In(device, "certificate.pem")), File.ReadAllText(In(device, "key.pem"))), Listener.EndPoint.Port);

    private HttpClient Client(IssuedCertificate? own, int port)
    {
        var handler = new SocketsHttpHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = (_, certificate, _, errors) =>
            Ca.Trust.CheckServer(certificate, errors) == CertificateVerdict.Valid;
        if (own is not null)
        {
            handler.SslOptions.ClientCertificateContext = own.ToContext();
        }

        return new HttpClient(handler)
        {
            BaseAddress = new Uri($"https://localhost:{port}"),
            DefaultRequestVersion = HttpVersion.Version20,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        };
    }
}
