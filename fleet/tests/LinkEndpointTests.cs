using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Link;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Storage;
using ZstdSharp;

namespace Yizhan.Fleet.Tests;

/// <summary>The listener against a client that does not keep to the protocol.</summary>
public sealed class LinkEndpointTests : IAsyncLifetime
{
    private const int MaxConnections = 16;

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-fleet-").FullName;
    private WebApplication _centre = null!;
    private HttpClient _site = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _centre = new ServiceHost([
            $"--node:dataFolder={_folder}", "--web:url=http://127.0.0.1:0", "--log:level=critical", "--fleet:linkPort=0", $"--fleet:maxConnections={MaxConnections}"])
            .Add<FleetModule>().Build();
        await _centre.StartAsync(Cancel);
        _site = Site("lakeside");
    }

    private HttpClient Site(string name)
    {
        var ca = _centre.Services.GetRequiredService<EmbeddedCa>();
        var handler = new SocketsHttpHandler();
        handler.SslOptions.ClientCertificateContext = ca.IssueSite(name).ToContext();
        handler.SslOptions.RemoteCertificateValidationCallback = (_, certificate, _, errors) =>
            ca.Trust.CheckServer(certificate, errors) == CertificateVerdict.Valid;
        return new HttpClient(handler)
        {
            DefaultRequestVersion = HttpVersion.Version20,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
            BaseAddress = new Uri($"https://127.0.0.1:{_centre.Services.GetRequiredService<LinkListener>().EndPoint.Port}"),
        };
    }

    [Fact]
    public async Task Handshakes_that_nobody_finishes_keep_no_site_out_at_either_door()
    {
        // One request before, so that the site is connected; one on a connection of its own after.
        var site = await SendAsync([1], digestOf: null);
        var listener = _centre.Services.GetRequiredService<LinkListener>();
        var silent = new List<TcpClient>();
        try
        {
            foreach (var port in (int[])[listener.EndPoint.Port, listener.EnrolmentPort])
            {
                for (var i = 0; i < MaxConnections * 3; i++)
                {
                    silent.Add(new TcpClient(new IPEndPoint(IPAddress.Parse("127.0.0.9"), 0)));
                    await silent[^1].ConnectAsync(IPAddress.Loopback, port, Cancel);
                }
            }

            Assert.Equal(site, await SendAsync([1], digestOf: null));
            using var other = Site("riverside");
            using var answer = await other.PostAsync("/", null, Cancel).WaitAsync(TimeSpan.FromMinutes(2), Cancel);
            Assert.Equal(HttpStatusCode.NotFound, answer.StatusCode);
        }
        finally
        {
            silent.ForEach(client => client.Dispose());
        }
    }

    [Fact]
    public async Task A_body_with_a_wrong_or_no_digest_is_refused_and_nothing_is_taken()
    {
        var body = Batch("{}"u8.ToArray()).ToBytes();
        Assert.Equal(400, await SendAsync(body, digestOf: [1, 2, 3]));
        Assert.Equal(400, await SendAsync(body, digestOf: null));
        Assert.Equal(0, _centre.Services.GetRequiredService<IEventLog>().LastPosition);
        Assert.Equal(200, await SendAsync(body, digestOf: body));
    }

    [Fact]
    public async Task A_body_that_expands_beyond_the_bound_is_refused_before_it_is_expanded()
    {
        using var zstd = new Compressor();
        var bomb = zstd.Wrap(new byte[100_000_000]).ToArray();
        Assert.InRange(bomb.Length, 1, 100_000);
        Assert.Equal(413, await SendAsync(bomb, bomb, LinkRoutes.Zstd));
        Assert.Equal(400, await SendAsync([1, 2, 3], [1, 2, 3], LinkRoutes.Zstd));
        Assert.Equal(415, await SendAsync([1, 2, 3], [1, 2, 3], "gzip"));
    }

    [Fact]
    public async Task Every_truncation_and_every_flipped_byte_of_a_batch_gets_an_answer_and_no_harm()
    {
        var body = Batch("{}"u8.ToArray()).ToBytes();
        for (var i = 0; i < body.Length; i++)
        {
            Assert.InRange(await SendAsync(body[..i], body[..i]), 400, 499);
            var flipped = (byte[])body.Clone();
            flipped[i] ^= 0xFF;
            Assert.InRange(await SendAsync(flipped, flipped), 200, 499);
        }
    }

    [Fact]
    public async Task The_routes_of_the_link_are_not_on_the_web_port_and_those_of_the_web_not_on_the_link()
    {
        using var web = Operator.Client(_centre);
        Assert.Equal(HttpStatusCode.NotFound, (await web.GetAsync(LinkRoutes.Marks, Cancel)).StatusCode);
        using var request = new HttpRequestMessage(HttpMethod.Get, "/fleet/sites") { Version = HttpVersion.Version20 };
        Assert.Equal(HttpStatusCode.NotFound, (await _site.SendAsync(request, Cancel)).StatusCode);
    }

    [Fact]
    public async Task Sites_are_listed_and_streamed_as_they_report()
    {
        using var web = Operator.Client(_centre);
        Assert.Equal("[]", await web.GetStringAsync("/fleet/sites", Cancel));
        using var stream = new StreamReader(await web.GetStreamAsync("/fleet/sites/stream", Cancel));
        Assert.Equal("event: sites", await stream.ReadLineAsync(Cancel));
        Assert.Equal("data: []", await stream.ReadLineAsync(Cancel));

        _centre.Services.GetRequiredService<LinkIntake>().Report(
            new SitePrincipal("lakeside"), new SiteStatus("lakeside", Guid.Empty, "1.0", 5, [new LaneStatus("urgent", 1, 2, 3, 4)]));
        string? line;
        do
        {
            line = await stream.ReadLineAsync(Cancel);
        }
        while (line?.Contains("lakeside", StringComparison.Ordinal) == false);

        var sites = await web.GetFromJsonAsync("/fleet/sites", ContractsJson.Default.IReadOnlyListSiteView, Cancel);
        Assert.Equal(("lakeside", true), (Assert.Single(sites!).Status.SiteId, sites![0].Online));
    }

    public async ValueTask DisposeAsync()
    {
        _site.Dispose();
        await _centre.StopAsync(CancellationToken.None);
        await _centre.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private static EntryBatch Batch(byte[] data) =>
        new("lakeside", Guid.Parse("11111111-2222-3333-4444-555555555555"), 1, 1, [new BatchEntry(7, "t.v1", "id", "key", null, [], data)]);

    private async Task<int> SendAsync(byte[] body, byte[]? digestOf, string? encoding = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, LinkRoutes.Entries)
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent(body),
        };
        if (digestOf is not null)
        {
            request.Content.Headers.Add(LinkRoutes.ContentDigest, $"sha-256=:{Convert.ToBase64String(SHA256.HashData(digestOf))}:");
        }

        if (encoding is not null)
        {
            request.Content.Headers.ContentEncoding.Add(encoding);
        }

        using var answer = await _site.SendAsync(request, Cancel);
        return (int)answer.StatusCode;
    }
}
