using System.Net;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Threading.RateLimiting;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.Options;
using Yizhan.Fleet.Accounts;
using Yizhan.Fleet.Enrolment;
using Yizhan.Fleet.Models;
using Yizhan.Fleet.Releases;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Flows;

namespace Yizhan.Fleet;

/// <summary>
/// The door for sites: a server of its own, HTTP/2 over TLS 1.3, with a certificate of this installation at both ends. Who has
/// none is turned away in the handshake and never reaches a route. A second port is the door for new devices, which have none yet;
/// behind it is one route, and a token opens it.
/// </summary>
/// <remarks>It can be closed and opened again on the same port while the rest of the centre runs; a drill does.</remarks>
public sealed partial class LinkListener(
    LinkIntake intake, ReleaseCentre releases, EnrolmentDesk desk, AccountDesk accounts, ModelBook models, EmbeddedCa ca, IOptions<FleetOptions> options, TimeProvider clock, ILoggerFactory loggers)
    : IHostedService, IAsyncDisposable
{
    private const string Door = "yizhan.enrolment";

    /// <summary>Most connections at the door for new devices, which show no certificate: a flood of them takes no place of a site.</summary>
    private const int MaxAtDoor = 64;

    private readonly ILogger _logger = loggers.CreateLogger<LinkListener>();
    private readonly FleetOptions _options = options.Value;
    private readonly SemaphoreSlim _door = new(1);
    private readonly CertificateFiles? _files =
        options.Value.CertificatePath is { } path ? new CertificateFiles(path, options.Value.KeyPath ?? path) : null;

    // Tokens have 256 bits: nobody guesses one. The bound keeps strangers from filling the audit log.
    private readonly FixedWindowRateLimiter _attempts = new(new() { PermitLimit = 30, Window = TimeSpan.FromMinutes(1), QueueLimit = 0 });
    private WebApplication? _server;
    private SslStreamCertificateContext? _own;

    /// <summary>Where it listens, or would; the port is known after the first start.</summary>
    public IPEndPoint EndPoint { get; private set; } = new(IPAddress.Parse(options.Value.LinkAddress), options.Value.LinkPort);

    /// <summary>Port on which new devices enrol; known after the first start.</summary>
    public int EnrolmentPort { get; private set; } = options.Value.EnrolmentPort ?? (options.Value.LinkPort == 0 ? 0 : options.Value.LinkPort + 1);

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
            var addresses = server.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.ToArray();
            (EndPoint, EnrolmentPort) = (new IPEndPoint(EndPoint.Address, new Uri(addresses[0]).Port), new Uri(addresses[1]).Port);
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
        _own?.TargetCertificate.Dispose();
        await _attempts.DisposeAsync();
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
                listen.UsePlaces(new ConnectionTable(_options.MaxConnections));
                listen.UseHttps(Tls(clientCertificate: true));
                listen.UseProof();
            });
            kestrel.Listen(new IPEndPoint(EndPoint.Address, EnrolmentPort), listen =>
            {
                listen.Protocols = HttpProtocols.Http2;
                listen.UsePlaces(new ConnectionTable(MaxAtDoor));
                listen.Use(next => connection =>
                {
                    connection.Items[Door] = true;
                    return next(connection);
                });
                listen.UseHttps(Tls(clientCertificate: false));
            });
        });
        var app = builder.Build();
        app.Use((context, next) =>
        {
            // One server, two doors, and each has its own routes.
            var isDoor = context.Features.Get<IConnectionItemsFeature>()?.Items.ContainsKey(Door) == true;
            if (isDoor == context.Request.Path.StartsWithSegments(Platform.Certificates.Enrolment.Route))
            {
                return next(context);
            }

            context.Response.StatusCode = StatusCodes.Status404NotFound;
            return Task.CompletedTask;
        });
        EnrolmentEndpoints.MapDoor(app, desk, _attempts);
        LinkEndpoints.Map(app, intake, releases, desk, accounts, models, ca.Revocations, new BodyBudget(_options.MaxBodiesMiB * 1024L * 1024), loggers);
        return app;
    }

    /// <summary>Each handshake asks which certificate counts: one that was renewed needs no restart, and open connections stay.</summary>
    private TlsHandshakeCallbackOptions Tls(bool clientCertificate) => new()
    {
        HandshakeTimeout = TimeSpan.FromSeconds(30),
        OnConnection = _ => new ValueTask<SslServerAuthenticationOptions>(new SslServerAuthenticationOptions
        {
            ServerCertificateContext = Certificate(),
            EnabledSslProtocols = SslProtocols.Tls13,
            ApplicationProtocols = [SslApplicationProtocol.Http2],
            ClientCertificateRequired = clientCertificate,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
            RemoteCertificateValidationCallback = clientCertificate ? (_, certificate, chain, _) => IsSite(certificate, chain) : null,
        }),
    };

    /// <summary>Files that somebody renews; else one of the embedded authority, in memory only, another when two thirds of its life are over.</summary>
    private SslStreamCertificateContext Certificate()
    {
        if (_files is { } files)
        {
            var context = files.Context;
            if (files.Problem is { } problem)
            {
                NotRenewed(_options.CertificatePath!, problem);
            }

            return context;
        }

        lock (_door)
        {
            if (_own is null || clock.GetUtcNow() > _own.TargetCertificate.NotAfter.ToUniversalTime().AddDays(-EmbeddedCa.LeafDays / 3))
            {
                _own = SslStreamCertificateContext.Create(ca.IssueServer(_options.LinkHosts).ToCertificate(), null, offline: true);
            }

            return _own;
        }
    }

    private bool IsSite(X509Certificate? shown, X509Chain? chain)
    {
        if (shown is not X509Certificate2 certificate)
        {
            Refused("None", "");
            return false;
        }

        var verdict = ca.Trust.Check(certificate, CertificateTrust.ClientAuth, chain?.ChainPolicy.ExtraStore);
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

    [LoggerMessage(9013, LogLevel.Error, "The new certificate in {Path} is not used, the one before goes on: {Problem}")]
    private partial void NotRenewed(string path, string problem);
}
