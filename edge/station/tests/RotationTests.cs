using System.Collections.Concurrent;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Platform.Certificates;

namespace Yizhan.Station.Tests;

/// <summary>Certificates change while the link works.</summary>
public sealed class RotationTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Clause", "D5.1")]
    public async Task Certificates_rotate_under_load_with_zero_failed_requests()
    {
        const int Rotations = 20;
        var serverFolder = Directory.CreateTempSubdirectory("yizhan-rotation-").FullName;
        var (serverCertificate, serverKey) = (Path.Combine(serverFolder, "tls.crt"), Path.Combine(serverFolder, "tls.key"));
        var server = new CertificateFiles(serverCertificate, serverKey);
        using var bootstrap = EmbeddedCa.Open(Path.Combine(serverFolder, "first"), TimeProvider.System);
        bootstrap.IssueServer("127.0.0.1").WriteTo(serverCertificate, serverKey);
        await using var nodes = await TwoNodes.StartAsync(
            centre: [$"--fleet:certificatePath={serverCertificate}", $"--fleet:keyPath={serverKey}"]);
        Renew();

        var (sent, failures, seen) = (0, new ConcurrentQueue<Exception>(), new ConcurrentDictionary<string, bool>());
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var workers = Enumerable.Range(0, 4).Select(_ => Task.Run(() => WorkAsync(stop.Token), Cancel)).ToArray();
        using var renewing = new HttpLink(Options(nodes), TimeProvider.System);
        for (var i = 0; i < Rotations; i++)
        {
            var key = SiteRequest.MakeKey();
            var answer = await renewing.RenewAsync(SiteRequest.Make(TwoNodes.Site, key), Cancel);
            renewing.Files.Replace(answer.Certificate, key);
            Renew();
            var before = Volatile.Read(ref sent);
            await Wait.UntilAsync(() => Volatile.Read(ref sent) > before + 20 || !failures.IsEmpty);
        }

        await stop.CancelAsync();
        await Task.WhenAll(workers);
        TestContext.Current.TestOutputHelper?.WriteLine($"{sent} requests over {seen.Count} certificates of the site, {Rotations} rotations at both ends, {failures.Count} failed");
        Assert.Empty(failures);
        Assert.InRange(seen.Count, Rotations / 2, Rotations + 1);
        Assert.Equal(server.Certificate.SerialNumber, await PresentedAsync(nodes));
        Directory.Delete(serverFolder, recursive: true);

        void Renew()
        {
            var issued = nodes.Ca.IssueServer("127.0.0.1");
            server.Replace(issued.CertificatePem, issued.KeyPem);
        }

        async Task WorkAsync(CancellationToken cancellationToken)
        {
            while (!cancellationToken.IsCancellationRequested)
            {
                // A new connection for every few requests: half of the traffic begins while files change.
                using var link = new HttpLink(Options(nodes), TimeProvider.System);
                for (var i = 0; i < 5; i++)
                {
                    try
                    {
                        await link.MarksAsync(Guid.Empty, Cancel);
                        seen.TryAdd(link.Files.Certificate.SerialNumber, true);
                        Interlocked.Increment(ref sent);
                    }
                    catch (Exception e) when (e is not OperationCanceledException)
                    {
                        failures.Enqueue(e);
                        return;
                    }
                }
            }
        }
    }

    [Fact]
    public async Task A_certificate_that_is_due_is_renewed_over_the_old_one_and_the_key_is_new()
    {
        // The authority issued it 70 days ago: a third of its life is not left.
        await using var nodes = await TwoNodes.StartAsync(
            edge: ["--station:certificatePollSeconds=1"], installed: new FakeTimeProvider(TimeProvider.System.GetUtcNow().AddDays(-100)));
        var then = new FakeTimeProvider(TimeProvider.System.GetUtcNow().AddDays(-70));
        await TwoNodes.StopAsync(nodes.Edge);
        using (var past = EmbeddedCa.Open(nodes.PathOf("centre", "fleet", "ca"), then))
        {
            past.IssueSite(TwoNodes.Site).WriteTo(nodes.PathOf("site.crt"), nodes.PathOf("site.key"));
        }

        var key = await File.ReadAllTextAsync(nodes.PathOf("site.key"), Cancel);
        var old = X509Certificate2.CreateFromPemFile(nodes.PathOf("site.crt"), nodes.PathOf("site.key"));
        await nodes.StartEdgeAsync();
        await Wait.UntilAsync(() => nodes.Link.Files!.Certificate.SerialNumber != old.SerialNumber);
        Assert.NotEqual(key, await File.ReadAllTextAsync(nodes.PathOf("site.key"), Cancel));
        Assert.False(nodes.Link.Files!.IsDue(TimeProvider.System.GetUtcNow()));
        await nodes.AppendAsync(Storage.Lane.Urgent, 3);
        await nodes.DeliveredAsync();
        old.Dispose();
    }

    [Fact]
    public async Task What_the_centre_revokes_reaches_the_site_and_outlives_its_restart()
    {
        await using var nodes = await TwoNodes.StartAsync(edge: ["--station:certificatePollSeconds=1"]);
        using var hillside = nodes.Ca.IssueSite("hillside").ToCertificate();
        nodes.Ca.RevokeSite("hillside", "lost");
        await Wait.UntilAsync(() => Trust() is { Number: 1 });
        await TwoNodes.StopAsync(nodes.Edge);
        await nodes.StartEdgeAsync();
        Assert.True(Trust().Has(hillside));

        // A centre whose certificate is revoked is no centre any more.
        using var root = X509CertificateLoader.LoadCertificateFromFile(nodes.Ca.RootFile);
        nodes.Ca.Revoke(await PresentedAsync(nodes), "key lost");
        await Wait.UntilAsync(() => Trust() is { Number: 2 });
        using var link = new HttpLink(Options(nodes), TimeProvider.System, Trust());
        var refused = await Assert.ThrowsAsync<LinkDownException>(() => link.MarksAsync(Guid.Empty, Cancel));
        Assert.Contains("Revoked", refused.Message, StringComparison.Ordinal);

        Revocations Trust() => Microsoft.Extensions.DependencyInjection.ServiceProviderServiceExtensions
            .GetRequiredService<Certificates.SiteTrust>(nodes.Edge.Services).Revocations;
    }

    [Fact]
    public void Files_that_do_not_fit_together_change_nothing_and_a_power_cut_leaves_a_pair()
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-pair-").FullName;
        using var ca = EmbeddedCa.Open(Path.Combine(folder, "ca"), TimeProvider.System);
        var (certificate, key) = (Path.Combine(folder, "c.pem"), Path.Combine(folder, "k.pem"));
        var (first, second) = (ca.IssueSite("a"), ca.IssueSite("a"));
        first.WriteTo(certificate, key);
        var files = new CertificateFiles(certificate, key);
        var serial = files.Certificate.SerialNumber;
        File.WriteAllText(certificate, "-----BEGIN CERTIFICATE-----\nhalf");
        Assert.Equal(serial, files.Certificate.SerialNumber);
        Assert.NotNull(files.Problem);

        // The certificate was replaced, its key not yet.
        File.WriteAllText(certificate, second.CertificatePem);
        File.WriteAllText(key + ".next", second.KeyPem);
        Assert.NotEqual(serial, new CertificateFiles(certificate, key).Certificate.SerialNumber);
        Assert.NotEqual(serial, files.Certificate.SerialNumber);

        // The next renewal first finishes that one: a power cut in the middle of it finds the second pair whole.
        var third = ca.IssueSite("a");
        files.Replace(third.CertificatePem, third.KeyPem);
        Assert.Equal([third.KeyPem + "\n", third.CertificatePem + "\n"], [File.ReadAllText(key), File.ReadAllText(certificate)]);
        Assert.Equal(["c.pem", "k.pem"], Directory.GetFiles(folder).Select(Path.GetFileName).Order());
        Directory.Delete(folder, recursive: true);
    }

    private static StationOptions Options(TwoNodes nodes) => new()
    {
        CentreUrl = new Uri($"https://127.0.0.1:{nodes.Listener.EndPoint.Port}"),
        CertificatePath = nodes.PathOf("site.crt"),
        KeyPath = nodes.PathOf("site.key"),
        RootPath = nodes.Ca.RootFile,
    };

    private static async Task<string> PresentedAsync(TwoNodes nodes)
    {
        using var tcp = new TcpClient();
        await tcp.ConnectAsync("127.0.0.1", nodes.Listener.EndPoint.Port, Cancel);
        var serial = "";
        await using var tls = new SslStream(tcp.GetStream());
        await tls.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions
            {
                TargetHost = "127.0.0.1",
                ApplicationProtocols = [SslApplicationProtocol.Http2],
                ClientCertificateContext = new CertificateFiles(nodes.PathOf("site.crt"), nodes.PathOf("site.key")).Context,
                RemoteCertificateValidationCallback = (_, certificate, _, _) =>
                {
                    serial = certificate!.GetSerialNumberString();
                    return nodes.Ca.Trust.CheckServer(certificate, SslPolicyErrors.None) is CertificateVerdict.Valid or CertificateVerdict.Revoked;
                },
            },
            Cancel);
        return serial;
    }
}
