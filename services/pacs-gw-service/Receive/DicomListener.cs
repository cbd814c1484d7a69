using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Options;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Peers;
using Yizhan.Platform.Flows;
using Yizhan.Platform.Telemetry;

namespace Yizhan.PacsGw.Receive;

/// <summary>Listens for DICOM associations and decides who may open one.</summary>
internal sealed partial class DicomListener(
    IOptions<PacsGwOptions> options,
    GatewayMetrics metrics,
    PeerDirectory peers,
    PeerServices services,
    OpenAssociations open,
    PeerTls tls,
    TimeProvider clock,
    ILoggerFactory loggers) : BackgroundService
{
    /// <summary>Connections beyond the allowed associations that are kept long enough to ask for one, and to be told that there is none.</summary>
    private const int SpareConnections = 32;

    private readonly ILogger _logger = loggers.CreateLogger<DicomListener>();
    private readonly PacsGwOptions _options = options.Value;
    private readonly Lock _gate = new();
    private readonly HashSet<Task> _connections = [];
    private Socket? _socket;
    private Socket? _tlsSocket;

    /// <summary>Where it listens once it has started; null when it does not.</summary>
    public IPEndPoint? EndPoint => (IPEndPoint?)_socket?.LocalEndPoint;

    /// <summary>Where it listens for DICOM over TLS once it has started; null when it does not.</summary>
    public IPEndPoint? TlsEndPoint => (IPEndPoint?)_tlsSocket?.LocalEndPoint;

    /// <inheritdoc/>
    /// <exception cref="SocketException">The port is taken: the node does not start.</exception>
    public override Task StartAsync(CancellationToken cancellationToken)
    {
        if (!_options.AcceptAssociations)
        {
            return Task.CompletedTask;
        }

        _socket = Listen(_options.DicomPort);
        Listening(_options.AeTitle, EndPoint!, _options.Peers.Count);
        if (_options.DicomTlsPort is { } tlsPort)
        {
            tls.Check();
            _tlsSocket = Listen(tlsPort);
            Listening(_options.AeTitle, TlsEndPoint!, _options.Peers.Count);
        }

        return base.StartAsync(cancellationToken);
    }

    private Socket Listen(int port)
    {
        var endPoint = new IPEndPoint(IPAddress.Parse(_options.DicomAddress), port);
        var socket = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Bind(endPoint);
            socket.Listen(512);
            return socket;
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new IOException($"Cannot listen for DICOM on {endPoint}: {e.Message}", e);
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var table = new ConnectionTable(_options.MaxAssociations + SpareConnections);
        try
        {
            await Task.WhenAll(
                AcceptAllAsync(_socket!, secured: false, table, stoppingToken),
                _tlsSocket is null ? Task.CompletedTask : AcceptAllAsync(_tlsSocket, secured: true, table, stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            _socket!.Dispose();
            _tlsSocket?.Dispose();
            await Task.WhenAll(Connections());
        }
    }

    private async Task AcceptAllAsync(Socket listener, bool secured, ConnectionTable table, CancellationToken cancellationToken)
    {
        while (true)
        {
            // Associations have fewer places than there are, so there is always a connection without one that can make room.
            var connection = await AcceptAsync(listener, cancellationToken);
            if (table.Enter((connection.RemoteEndPoint as IPEndPoint)?.Address, connection.Dispose) is not { } place)
            {
                connection.Dispose();
                continue;
            }

            var serving = ServeAsync(connection, place, secured, cancellationToken);
            lock (_gate)
            {
                _connections.Add(serving);
            }

            _ = ForgetAsync(serving, place);
        }
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _socket?.Dispose();
        _tlsSocket?.Dispose();
        base.Dispose();
    }

    private async Task<Socket> AcceptAsync(Socket listener, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return await listener.AcceptAsync(cancellationToken);
            }
            catch (SocketException e)
            {
                // A connection that died in the backlog, or no file descriptor: neither may end the listener.
                AcceptFailed(e.Message);
                await Task.Delay(TimeSpan.FromMilliseconds(100), clock, cancellationToken);
            }
        }
    }

    /// <summary>Serves one connection and never throws: it has no caller that could act.</summary>
    private async Task ServeAsync(Socket socket, ConnectionTable.Place place, bool secured, CancellationToken cancellationToken)
    {
        await Task.Yield();
        var address = (socket.RemoteEndPoint as IPEndPoint)?.Address;
        var source = new IntakeSource("", _options.AeTitle, address?.ToString(), Guid.CreateVersion7(clock.GetUtcNow()).ToString("N"));
        PeerOptions? peer = null;
        try
        {
            socket.NoDelay = true;
            var (stream, certificate) = await SecureAsync(new NetworkStream(socket, ownsSocket: true), secured, cancellationToken);
            using var shown = certificate;
            await using var association = await Association.AcceptAsync(
                Connector.CreateReader(stream),
                stream,
                (request, _) =>
                {
                    source = new IntakeSource(request.CallingAeTitle, request.CalledAeTitle, address?.ToString(), source.Id);
                    peer = peers.Admit(request, address, certificate, out var rejection);
                    if (peer is not null)
                    {
                        place.Prove();
                    }

                    return new(Answer(request, address, source.Id, peer, rejection));
                },
                new AssociationOptions
                {
                    MaxPduBytes = _options.MaxPduBytes,
                    MaxOperations = _options.MaxOperationsPerformed,
                    Artim = TimeSpan.FromSeconds(_options.ArtimSeconds),
                    IdleTimeout = TimeSpan.FromSeconds(_options.IdleSeconds),
                    PduTimeout = TimeSpan.FromSeconds(_options.IdleSeconds),
                },
                clock,
                cancellationToken);
            if (association is not null)
            {
                var serving = new PeerAssociation(association, peer!, source, services, loggers.CreateLogger<PeerAssociation>());
                open.Add(serving);
                using var span = Tracing.Source.StartActivity("DICOM association", ActivityKind.Server);
                span?.SetTag("dicom.calling_ae_title", source.CallingAeTitle).SetTag("dicom.called_ae_title", source.CalledAeTitle);
                try
                {
                    await serving.RunAsync(cancellationToken);
                }
                finally
                {
                    open.Remove(serving);
                }
            }
        }
        catch (Exception) when (place.WasPushedOut)
        {
            PushedOut(address);
        }
        catch (Exception e) when (e is AssociationException or AuthenticationException)
        {
            Broken(source.Id, source.CallingAeTitle, e.Message);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            Stopped(source.Id, source.CallingAeTitle);
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            Broken(source.Id, source.CallingAeTitle, e.Message);
        }
        finally
        {
            socket.Dispose();
            if (peer is not null)
            {
                peers.Leave(peer);
            }
        }
    }

    private async Task<(Stream Stream, X509Certificate2? Certificate)> SecureAsync(
        NetworkStream stream, bool secured, CancellationToken cancellationToken)
    {
        if (!secured)
        {
            return (stream, null);
        }

        // A peer that connects and never begins the handshake is given as long as one that never asks for an association.
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(_options.ArtimSeconds), clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, limit.Token);
        try
        {
            return await tls.AcceptAsync(stream, either.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new IOException($"No TLS handshake in {_options.ArtimSeconds} s.", e);
        }
    }

    private AssociateAnswer Answer(AssociateRequest request, IPAddress? address, string associationId, PeerOptions? peer, Rejection? rejection)
    {
        if (peer is null)
        {
            Rejected(request.CallingAeTitle, address, request.CalledAeTitle, rejection!.Value.Reason);
            metrics.Association(request.CallingAeTitle, $"{rejection.Value.Reason}");
            return AssociateAnswer.Reject(rejection.Value.Reason, rejection.Value.Transient);
        }

        Accepted(associationId, request.CallingAeTitle, address, request.PresentationContexts.Count);
        metrics.Association(request.CallingAeTitle, "Accepted");
        return Negotiation.Answer(request, peer, services.Intake.Stores);
    }

    private async Task ForgetAsync(Task serving, ConnectionTable.Place place)
    {
        await serving.ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        lock (_gate)
        {
            _connections.Remove(serving);
        }

        place.Dispose();
    }

    private Task[] Connections()
    {
        lock (_gate)
        {
            return [.. _connections];
        }
    }

    [LoggerMessage(3020, LogLevel.Information, "Listening for DICOM as {AeTitle} on {EndPoint}; {Peers} peers may open associations.")]
    private partial void Listening(string aeTitle, IPEndPoint endPoint, int peers);

    [LoggerMessage(3021, LogLevel.Information, "Association {AssociationId} of {CallingAeTitle} at {Address} accepted, {Contexts} contexts proposed.")]
    private partial void Accepted(string associationId, string callingAeTitle, IPAddress? address, int contexts);

    [LoggerMessage(3022, LogLevel.Warning, "Association of '{CallingAeTitle}' at {Address} to '{CalledAeTitle}' rejected: {Reason}.")]
    private partial void Rejected(string callingAeTitle, IPAddress? address, string calledAeTitle, RejectReason reason);

    [LoggerMessage(3023, LogLevel.Warning, "Association {AssociationId} of '{CallingAeTitle}' broke: {Reason}")]
    private partial void Broken(string associationId, string callingAeTitle, string reason);

    [LoggerMessage(3024, LogLevel.Information, "Association {AssociationId} of '{CallingAeTitle}' was aborted because this node stops.")]
    private partial void Stopped(string associationId, string callingAeTitle);

    [LoggerMessage(3025, LogLevel.Warning, "A DICOM connection could not be accepted: {Reason}.")]
    private partial void AcceptFailed(string reason);

    [LoggerMessage(3026, LogLevel.Debug, "A connection of {Address} had not asked for an association and made room for another.")]
    private partial void PushedOut(IPAddress? address);
}
