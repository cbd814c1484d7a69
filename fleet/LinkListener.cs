using System.Net;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.Options;
using Yizhan.Fleet.Releases;
using Yizhan.Platform.Certificates;

namespace Yizhan.Fleet;

/// <summary>
/// The door for sites: a server of its own, HTTP/2 over TLS 1.3, with a certificate of this installation at both ends. Who has
/// none is turned away in the handshake and never reaches a route.
/// </summary>
/// <remarks>It can be closed and opened again on the same port while the rest of the centre runs; a drill does.</remarks>
public sealed partial class LinkListener(
    LinkIntake intake, ReleaseCentre releases, EmbeddedCa ca, IOptions<FleetOptions> options, TimeProvider clock, ILoggerFactory loggers)
    : IHostedService, IAsyncDisposable
{
    private readonly ILogger _logger = loggers.CreateLogger<LinkListener>();
    private readonly FleetOptions _options = options.Value;
    private readonly SemaphoreSlim _door = new(1);
    private WebApplication? _server;
    private X509Certificate2? _certificate;

    /// <summary>Where it listens, or would; the port is known after the first start.</summary>
    public IPEndPoint EndPoint { get; private set; } = new(IPAddress.Parse(options.Value.LinkAddress), options.Value.LinkPort);

    /// <summary>Opens the door; does nothing when it is open.</summary>
    /// <exception cref="IOException">The port is taken.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        await _door.WaitAsync(cancellationToken);
        try
        {
            if (_server is not null)
            {
                return;
            }

            var server = Build();
            try
            {
                await server.StartAsync(cancellationToken);
            }
            catch
            {
                await server.DisposeAsync();
                throw;
            }

            _server = server;
            var address = server.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
            EndPoint = new IPEndPoint(EndPoint.Address, new Uri(address).Port);
            Opened(EndPoint);
        }
        finally
        {
            _door.Release();
        }
    }

    /// <summary>Closes the door: requests under way may end until <paramref name="cancellationToken"/> is cancelled, then they are cut.</summary>
    /// <param name="cancellationToken">A cancelled token cuts every connection at once, as a pulled cable would.</param>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _door.WaitAsync(CancellationToken.None);
        try
        {
            if (_server is { } server)
            {
                _server = null;
                await server.StopAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                await server.DisposeAsync();
                Closed(EndPoint);
            }
        }
        finally
        {
            _door.Release();
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await StopAsync(new CancellationToken(canceled: true));
        _certificate?.Dispose();
    }

    private WebApplication Build()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(loggers);
        builder.Services.AddRoutingCore();
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            var limits = kestrel.Limits;
            limits.MaxConcurrentConnections = _options.MaxConnections;
            limits.MaxRequestBodySize = Link.LinkRoutes.MaxBodyBytes + 1024;
            limits.RequestHeadersTimeout = TimeSpan.FromSeconds(30);
            limits.KeepAliveTimeout = TimeSpan.FromMinutes(5);

            // Slower than any line that still carries something; a site that stalls is noticed by its pings.
            limits.MinRequestBodyDataRate = new MinDataRate(bytesPerSecond: 50, gracePeriod: TimeSpan.FromSeconds(60));
            limits.Http2.MaxStreamsPerConnection = 32;
            limits.Http2.InitialConnectionWindowSize = 8 * 1024 * 1024;
            limits.Http2.InitialStreamWindowSize = 2 * 1024 * 1024;
            limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(15);
            limits.Http2.KeepAlivePingTimeout = TimeSpan.FromSeconds(60);
            kestrel.Listen(EndPoint, listen =>
            {
                listen.Protocols = HttpProtocols.Http2;
                listen.UseHttps(new HttpsConnectionAdapterOptions
                {
                    ServerCertificateSelector = (_, _) => Certificate(),
                    SslProtocols = SslProtocols.Tls13,
                    ClientCertificateMode = ClientCertificateMode.RequireCertificate,
                    ClientCertificateValidation = (certificate, _, _) => IsSite(certificate),
                    HandshakeTimeout = TimeSpan.FromSeconds(30),
                });
            });
        });
        var app = builder.Build();
        LinkEndpoints.Map(app, intake, releases, new BodyBudget(_options.MaxBodiesMiB * 1024L * 1024), loggers);
        return app;
    }

    /// <summary>The listener's certificate lives in memory only; another is issued when two thirds of its life are over.</summary>
    private X509Certificate2 Certificate()
    {
        lock (_door)
        {
            if (_certificate is null || clock.GetUtcNow() > _certificate.NotAfter.AddDays(-EmbeddedCa.LeafDays / 3))
            {
                _certificate = ca.IssueServer(_options.LinkHosts).ToCertificate();
            }

            return _certificate;
        }
    }

    private bool IsSite(X509Certificate2 certificate)
    {
        var verdict = ca.Trust.Check(certificate, CertificateTrust.ClientAuth);
        if (verdict == CertificateVerdict.Valid && SitePrincipal.From(certificate) is not null)
        {
            return true;
        }

        Refused(verdict == CertificateVerdict.Valid ? "NoSite" : verdict.ToString(), certificate.Thumbprint);
        return false;
    }

    [LoggerMessage(9010, LogLevel.Information, "Sites are awaited on {EndPoint}.")]
    private partial void Opened(IPEndPoint endPoint);

    [LoggerMessage(9011, LogLevel.Information, "The listener for sites on {EndPoint} is closed.")]
    private partial void Closed(IPEndPoint endPoint);

    [LoggerMessage(9012, LogLevel.Warning, "A client certificate was refused ({Verdict}), thumbprint {Thumbprint}.")]
    private partial void Refused(string verdict, string thumbprint);
}
