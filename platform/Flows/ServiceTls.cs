using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Claims;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Yizhan.Platform.Certificates;

namespace Yizhan.Platform.Flows;

/// <summary>
/// TLS between services, with a certificate at both ends: who calls is the SPIFFE id of its certificate,
/// <c>spiffe://yizhan/NAMESPACE/SERVICE</c>, and may call when a line of the flow list says so.
/// </summary>
/// <param name="certificatePath">PEM file with our certificate and its chain; read again when it changes.</param>
/// <param name="keyPath">PEM file with its private key.</param>
/// <param name="rootPath">PEM file with the root of the installation.</param>
/// <param name="flowsPath">The flow list.</param>
/// <param name="own">Names of the services of this node.</param>
/// <param name="clock">The clock.</param>
/// <param name="maxConnections">Most connections at a time.</param>
public sealed class ServiceTls(
    string certificatePath, string keyPath, string rootPath, string flowsPath, IReadOnlyCollection<string> own, TimeProvider clock, int maxConnections = ServiceTlsOptions.DefaultMaxConnections)
{
    private readonly ConnectionTable _table = new(maxConnections);
    private readonly CertificateFiles _files = new(certificatePath, keyPath);
    private readonly FlowList _flows = FlowList.Read(flowsPath);

    /// <summary>Why a caller is refused; null when it may call.</summary>
    public string? WhyNot(X509Certificate2 certificate, X509Certificate2Collection? chain)
    {
        var verdict = CertificateTrust.FromFile(rootPath, clock).Check(certificate, CertificateTrust.ClientAuth, chain);
        return verdict != CertificateVerdict.Valid ? verdict.ToString()
            : ServiceOf(certificate) is not { } from ? "its certificate names no service (spiffe://yizhan/NAMESPACE/SERVICE)"
            : !own.Any(to => _flows.MayCall(from, to, FlowList.Web)) ? $"no flow from {from} to {string.Join(", ", own)}"
            : null;
    }

    /// <summary>
    /// Who calls by its certificate alone, which the listener has accepted: the service, with the roles that its lines of the flow list give it (<see cref="Flow.As"/>).
    /// Null when they give none.
    /// </summary>
    /// <param name="certificate">Of the connection.</param>
    /// <param name="asked">
    /// The service that is asked, where the path says it. What a line gives at another service of this process counts for nothing there, but for the one
    /// whose name this process has in its certificate, which is all of it.
    /// </param>
    public ClaimsPrincipal? PrincipalOf(X509Certificate2 certificate, string asked)
    {
        var (from, here) = (ServiceOf(certificate), ServiceOf(_files.Certificate));
        Claim[] roles = [.. _flows.Flows
            .Where(flow => flow.From == from && flow.Port == FlowList.Web && own.Contains(flow.To) && (flow.To == asked || flow.To == here))
            .SelectMany(flow => flow.As.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Distinct().Select(role => new Claim("roles", role))];
        return roles.Length == 0 ? null
            : new ClaimsPrincipal(new ClaimsIdentity([new Claim("sub", $"service:{from}"), new Claim("sites", "*"), .. roles], CertificateScheme, "sub", "roles"));
    }

    /// <summary>How such a caller is known: <see cref="System.Security.Principal.IIdentity.AuthenticationType"/>.</summary>
    public const string CertificateScheme = "ServiceCertificate";

    /// <summary>Makes the https endpoints of a server ask for such certificates.</summary>
    public void Configure(KestrelServerOptions kestrel) => kestrel.ConfigureHttpsDefaults(https =>
    {
        https.SslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13;
        https.ClientCertificateMode = ClientCertificateMode.RequireCertificate;
        https.ClientCertificateValidation = (certificate, chain, _) => WhyNot(certificate, chain?.ChainPolicy.ExtraStore) is null;
        https.ServerCertificateSelector = (_, _) => _files.Certificate;
        https.OnAuthenticate = (connection, tls) =>
        {
            // Here, since it is before the first byte and of TLS alone: the listener on the loopback has no certificates to show.
            if (ConnectionPlaces.Enter(connection, _table) is { } place)
            {
                connection.ConnectionClosed.Register(place.Dispose);
            }

            // With its intermediates, which a selector cannot give.
            tls.ServerCertificateSelectionCallback = null;
            tls.ServerCertificateContext = _files.Context;
            tls.CertificateRevocationCheckMode = X509RevocationMode.NoCheck;
        };
    });

    /// <summary>A handler that calls one service: it shows our certificate and accepts that service's alone, whatever its host is called.</summary>
    public SocketsHttpHandler Client(string service) => new()
    {
        UseProxy = false,
        UseCookies = false,
        AllowAutoRedirect = false,
        PooledConnectionLifetime = TimeSpan.FromMinutes(5),
        ConnectCallback = async (context, cancellationToken) =>
        {
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            SslStream? secured = null;
            try
            {
                await socket.ConnectAsync(context.DnsEndPoint, cancellationToken);
                secured = new SslStream(new NetworkStream(socket, ownsSocket: true));
                await secured.AuthenticateAsClientAsync(
                    new SslClientAuthenticationOptions
                    {
                        TargetHost = context.DnsEndPoint.Host,
                        EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                        ApplicationProtocols = [SslApplicationProtocol.Http11],
                        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
                        ClientCertificateContext = _files.Context,
                        RemoteCertificateValidationCallback = (_, certificate, chain, _) => IsService(certificate, chain, service),
                    },
                    cancellationToken);
                return secured;
            }
            catch
            {
                await (secured?.DisposeAsync() ?? default);
                socket.Dispose();
                throw;
            }
        },
    };

    private bool IsService(X509Certificate? shown, X509Chain? chain, string service)
    {
        if (shown is not X509Certificate2 certificate)
        {
            return false;
        }

        var verdict = CertificateTrust.FromFile(rootPath, clock).Check(certificate, CertificateTrust.ServerAuth, chain?.ChainPolicy.ExtraStore);
        return verdict == CertificateVerdict.Valid && ServiceOf(certificate) == service
            ? true
            : throw new AuthenticationException($"{service} showed a certificate that is not accepted: {(verdict == CertificateVerdict.Valid ? $"it is {SpiffeId.Of(certificate)}" : verdict)}.");
    }

    /// <summary>The service that a certificate names; null for that of a site, a device or nobody.</summary>
    internal static string? ServiceOf(X509Certificate2 certificate) =>
        SpiffeId.Of(certificate) is { } id && id[$"spiffe://{SpiffeId.TrustDomain}/".Length..].Split('/') is [not ("site" or "device" or ""), { Length: > 0 } name]
            ? name
            : null;
}
