using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Flows;
using Yizhan.Platform.Identity;

namespace Yizhan.Platform.Tests.Flows;

/// <summary>A service behind mutual TLS, with openssl and nginx at the other end.</summary>
public sealed class ServiceTlsTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-flows-").FullName;
    private readonly EmbeddedCa _ca;
    private WebApplication _audit = null!;
    private int _port;

    public ServiceTlsTests() => _ca = EmbeddedCa.Open(In("ca"), TimeProvider.System);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        await File.WriteAllTextAsync(In("flows.yaml"), """
            # Who may call whom.
            flows:
              - {from: console, to: audit, port: web, why: proofs}
              - {from: gateway, to: audit, port: web, why: people}
              - {from: audit, to: gateway, port: web, why: the way back}
              - {from: inventory, to: audit, port: kafka, why: another port}

            """, Cancel);
        foreach (var service in new[] { "audit", "console", "gateway", "inventory" })
        {
            _ca.IssueService("platform", service, "localhost").WriteTo(In(service + ".crt"), In(service + ".key"));
        }

        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(Tls("audit").Configure).UseUrls("https://127.0.0.1:0");
        _audit = builder.Build();
        _audit.MapGet("/", () => "audited");
        await _audit.StartAsync(Cancel);
        _port = new Uri(_audit.Urls.Single()).Port;
    }

    [Fact]
    public async Task Openssl_comes_in_with_the_certificate_of_a_caller_that_is_in_the_list_and_with_no_other()
    {
        Assert.Contains("audited", await SClientAsync("console"), StringComparison.Ordinal);
        Assert.DoesNotContain("audited", await SClientAsync("inventory"), StringComparison.Ordinal);
        Assert.DoesNotContain("audited", await SClientAsync(null), StringComparison.Ordinal);
        using var others = EmbeddedCa.Open(In("others"), TimeProvider.System);
        others.IssueService("platform", "console", "localhost").WriteTo(In("forged.crt"), In("forged.key"));
        Assert.DoesNotContain("audited", await SClientAsync("forged"), StringComparison.Ordinal);
        _ca.IssueSite("console").WriteTo(In("site.crt"), In("site.key"));
        Assert.DoesNotContain("audited", await SClientAsync("site"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_node_apart_listens_for_services_of_the_list_by_its_settings_and_the_token_counts_on_top()
    {
        await File.WriteAllTextAsync(In("node-flows.yaml"), "flows:\n  - {from: console, to: sample, port: web, why: a test}\n", Cancel);
        _ca.IssueService("platform", "sample", "localhost").WriteTo(In("sample.crt"), In("sample.key"));
        string[] tls =
        [
            $"--service-tls:certificatePath={In("sample.crt")}", $"--service-tls:keyPath={In("sample.key")}", $"--service-tls:rootPath={_ca.RootFile}",
            $"--service-tls:flowsPath={In("node-flows.yaml")}",
        ];
        string[] settings = [$"--node:dataFolder={In("node")}", "--log:level=error"];
        await using var node = new ServiceHost([.. settings, "--web:url=http://127.0.0.1:0;https://0.0.0.0:0", .. tls]).Add<SampleModule>().Build();
        await node.StartAsync(Cancel);
        var port = new Uri(node.Urls.Single(u => u.StartsWith("https", StringComparison.Ordinal)).Replace("0.0.0.0", "localhost", StringComparison.Ordinal)).Port;
        using var console = new HttpClient(Tls("console").Client("sample")) { BaseAddress = new Uri($"https://localhost:{port}") };
        Assert.Equal("root", await console.GetStringAsync("/", Cancel));
        Assert.Equal(HttpStatusCode.Unauthorized, (await console.GetAsync("/sample/ping", Cancel)).StatusCode);
        using var inventory = new HttpClient(Tls("inventory").Client("sample")) { BaseAddress = console.BaseAddress };
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => inventory.GetStringAsync("/", Cancel));

        // What is missing is named, and without it only the loopback is listened on.
        Assert.Contains("service-tls:flowsPath is missing", Assert.Throws<SettingException>(() => new ServiceHost([.. settings, .. tls[..3]]).Add<SampleModule>().Build()).Message, StringComparison.Ordinal);
        Assert.Contains("web:url is 'https://0.0.0.0:8443'", Assert.Throws<SettingException>(() => new ServiceHost([.. settings, "--web:url=https://0.0.0.0:8443"]).Add<SampleModule>().Build()).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ingress", "198.51.100.7")]
    [InlineData("console", "127.0.0.1")]
    public async Task Of_the_ingress_alone_is_believed_for_whom_it_calls_and_of_what_it_sends_only_its_own_word(string caller, string expected)
    {
        await File.WriteAllTextAsync(In("node-flows.yaml"), $"flows:\n  - {{from: {caller}, to: sample, port: web, why: a test}}\n", Cancel);
        foreach (var service in (string[])["sample", caller])
        {
            _ca.IssueService("platform", service, "localhost").WriteTo(In(service + ".crt"), In(service + ".key"));
        }

        await using var node = new ServiceHost([
            $"--node:dataFolder={In("node")}", "--log:level=error", "--web:url=http://127.0.0.1:0;https://127.0.0.1:0", $"--service-tls:certificatePath={In("sample.crt")}",
            $"--service-tls:keyPath={In("sample.key")}", $"--service-tls:rootPath={_ca.RootFile}", $"--service-tls:flowsPath={In("node-flows.yaml")}"]).Add<SampleModule>().Build();
        node.MapGet("/address", (HttpContext context) => $"{context.Connection.RemoteIpAddress}").OpenToAll("a test");
        await node.StartAsync(Cancel);
        using var http = new HttpClient(Tls(caller).Client("sample")) { BaseAddress = new Uri(node.Urls.Single(u => u.StartsWith("https", StringComparison.Ordinal)).Replace("127.0.0.1", "localhost", StringComparison.Ordinal)) };
        using var request = new HttpRequestMessage(HttpMethod.Get, "/address");

        // The first was written by whoever called the ingress.
        request.Headers.Add("X-Forwarded-For", "203.0.113.1, 198.51.100.7");
        using var answer = await http.SendAsync(request, Cancel);
        Assert.Equal(expected, (await answer.Content.ReadAsStringAsync(Cancel)).Replace("::ffff:", "", StringComparison.Ordinal));

        // Whoever shows no certificate says nothing about it.
        using var plain = new HttpClient { BaseAddress = new Uri(node.Urls.Single(u => u.StartsWith("http:", StringComparison.Ordinal))) };
        using var other = new HttpRequestMessage(HttpMethod.Get, "/address");
        other.Headers.Add("X-Forwarded-For", "198.51.100.7");
        using var own = await plain.SendAsync(other, Cancel);
        Assert.Equal("127.0.0.1", (await own.Content.ReadAsStringAsync(Cancel)).Replace("::ffff:", "", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Handshakes_that_nobody_finishes_keep_no_service_out()
    {
        await File.WriteAllTextAsync(In("node-flows.yaml"), "flows:\n  - {from: console, to: sample, port: web, why: a test}\n", Cancel);
        _ca.IssueService("platform", "sample", "localhost").WriteTo(In("sample.crt"), In("sample.key"));
        await using var node = new ServiceHost([
            $"--node:dataFolder={In("node")}", "--log:level=error", "--web:url=http://127.0.0.1:0;https://127.0.0.1:0", $"--service-tls:certificatePath={In("sample.crt")}",
            $"--service-tls:keyPath={In("sample.key")}", $"--service-tls:rootPath={_ca.RootFile}", $"--service-tls:flowsPath={In("node-flows.yaml")}", "--service-tls:maxConnections=16"])
            .Add<SampleModule>().Build();
        await node.StartAsync(Cancel);
        var address = new Uri(node.Urls.Single(u => u.StartsWith("https", StringComparison.Ordinal)).Replace("127.0.0.1", "localhost", StringComparison.Ordinal));
        using var before = new HttpClient(Tls("console").Client("sample")) { BaseAddress = address };
        Assert.Equal("root", await before.GetStringAsync("/", Cancel));
        var (silent, known) = (new List<TcpClient>(), new List<HttpClient>());
        try
        {
            for (var i = 0; i < 60; i++)
            {
                silent.Add(new TcpClient(new IPEndPoint(IPAddress.Parse("127.0.0.9"), 0)));
                await silent[^1].ConnectAsync(IPAddress.Loopback, address.Port, Cancel);
            }

            for (var i = 0; i < 15; i++)
            {
                known.Add(new HttpClient(Tls("console").Client("sample")) { BaseAddress = address });
                Assert.Equal("root", await known[^1].GetStringAsync("/", Cancel).WaitAsync(TimeSpan.FromMinutes(2), Cancel));
            }

            // Sixteen that are known; the bound is one for them, too.
            using var more = new HttpClient(Tls("console").Client("sample")) { BaseAddress = address };
            await Assert.ThrowsAnyAsync<HttpRequestException>(() => more.GetStringAsync("/", Cancel));
            Assert.Equal("root", await before.GetStringAsync("/", Cancel));
        }
        finally
        {
            silent.ForEach(client => client.Dispose());
            known.ForEach(client => client.Dispose());
        }
    }

    [Fact]
    public async Task Nginx_is_a_peer_on_both_sides()
    {
        Assert.SkipUnless(File.Exists("/usr/sbin/nginx"), "nginx is not installed.");
        var port = FreePorts.Next();
        await File.WriteAllTextAsync(In("nginx.conf"), $$"""
            daemon off; pid {{In("nginx.pid")}}; error_log {{In("error.log")}};
            events {}
            http {
              access_log off; client_body_temp_path {{In("body")}}; proxy_temp_path {{In("proxy")}};
              fastcgi_temp_path {{In("f")}}; uwsgi_temp_path {{In("u")}}; scgi_temp_path {{In("s")}};
              server {
                listen 127.0.0.1:{{port}} ssl;
                ssl_certificate {{In("gateway.crt")}}; ssl_certificate_key {{In("gateway.key")}};
                ssl_client_certificate {{_ca.RootFile}}; ssl_verify_client on; ssl_verify_depth 2;
                location / {
                  proxy_pass https://127.0.0.1:{{_port}};
                  proxy_ssl_certificate {{In("gateway.crt")}}; proxy_ssl_certificate_key {{In("gateway.key")}};
                  proxy_ssl_trusted_certificate {{_ca.RootFile}}; proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_verify_depth 2;
                }
              }
            }
            """, Cancel);
        using var nginx = Process.Start(new ProcessStartInfo("/usr/sbin/nginx", ["-c", In("nginx.conf")]) { RedirectStandardError = true })!;
        try
        {
            // Our client → nginx, which asks for our certificate → our server, which asks for that of nginx.
            using var http = new HttpClient(Tls("audit").Client("gateway")) { BaseAddress = new Uri($"https://localhost:{port}") };
            var answer = "";
            await Wait.UntilAsync(async () =>
            {
                try
                {
                    answer = await http.GetStringAsync("/", Cancel);
                    return true;
                }
                catch (HttpRequestException) when (!nginx.HasExited)
                {
                    return false;
                }
            });
            Assert.Equal("audited", answer);

            // The same nginx is not the service that another client wants.
            using var wrong = new HttpClient(Tls("console").Client("audit")) { BaseAddress = new Uri($"https://localhost:{port}") };
            var refused = await Assert.ThrowsAsync<HttpRequestException>(() => wrong.GetStringAsync("/", Cancel));
            Assert.Contains("spiffe://yizhan/platform/gateway", $"{refused}", StringComparison.Ordinal);
        }
        finally
        {
            nginx.Kill(entireProcessTree: true);
            await nginx.WaitForExitAsync(CancellationToken.None);
        }
    }

    [Fact]
    public async Task A_renewed_certificate_is_shown_to_the_next_caller()
    {
        var before = await SerialAsync();
        var next = _ca.IssueService("platform", "audit", "localhost");
        new CertificateFiles(In("audit.crt"), In("audit.key")).Replace(next.CertificatePem, next.KeyPem);
        Assert.NotEqual(before, await SerialAsync());
    }

    [Fact]
    public void A_flow_list_that_is_none_is_refused_with_its_place()
    {
        File.WriteAllText(In("bad.yaml"), "flows:\n  - {from: a, to: b, port: web}\n");
        Assert.Contains("bad.yaml:2", Assert.Throws<InvalidDataException>(() => FlowList.Read(In("bad.yaml"))).Message, StringComparison.Ordinal);
        File.WriteAllText(In("bad.yaml"), "other: 1\n");
        Assert.Throws<InvalidDataException>(() => FlowList.Read(In("bad.yaml")));
    }

    public async ValueTask DisposeAsync()
    {
        await _audit.DisposeAsync();
        _ca.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private string In(string name) => Path.Combine(_folder, name);

    private ServiceTls Tls(string service) =>
        new(In(service + ".crt"), In(service + ".key"), _ca.RootFile, In("flows.yaml"), [service], TimeProvider.System);

    private async Task<string> SerialAsync()
    {
        var text = await SClientAsync("console", "-showcerts");
        var begin = text.IndexOf("-----BEGIN", StringComparison.Ordinal);
        using var certificate = System.Security.Cryptography.X509Certificates.X509Certificate2.CreateFromPem(text.AsSpan(begin));
        return certificate.SerialNumber;
    }

    private async Task<string> SClientAsync(string? service, params string[] more)
    {
        string[] own = service is null ? [] : ["-cert", In(service + ".crt"), "-key", In(service + ".key"), "-cert_chain", In(service + ".crt")];
        using var openssl = Process.Start(new ProcessStartInfo(
            "openssl", ["s_client", "-connect", $"127.0.0.1:{_port}", "-CAfile", _ca.RootFile, "-verify_return_error", "-ign_eof", .. own, .. more])
        { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;
        var errors = openssl.StandardError.ReadToEndAsync(Cancel);
        try
        {
            await openssl.StandardInput.WriteAsync("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".AsMemory(), Cancel);
            openssl.StandardInput.Close();
        }
        catch (IOException)
        {
            // It was turned away before it could say anything.
        }

        return await openssl.StandardOutput.ReadToEndAsync(Cancel) + await errors;
    }
}
