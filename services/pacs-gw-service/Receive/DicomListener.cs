using System.Collections.Frozen;
using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Options;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;

namespace Yizhan.PacsGw.Receive;

/// <summary>Listens for DICOM associations and decides who may open one.</summary>
internal sealed partial class DicomListener(
    IOptions<PacsGwOptions> options,
    InstanceIntake intake,
    GatewayMetrics metrics,
    TimeProvider clock,
    ILoggerFactory loggers) : BackgroundService
{
    /// <summary>Connections beyond the allowed associations that are kept long enough to be told so.</summary>
    private const int SpareConnections = 32;

    private static readonly FrozenSet<string> TransferSyntaxes = DicomTransferSyntax.All
        .Select(s => s.Uid)
        .Where(uid => !uid.StartsWith("1.2.840.10008.1.2.6.", StringComparison.Ordinal)
            && !uid.StartsWith("1.2.840.10008.1.2.7.", StringComparison.Ordinal))
        .ToFrozenSet();

    private static readonly FrozenSet<string> VerificationSyntaxes =
        new[] { DicomTransferSyntax.ImplicitVrLittleEndian.Uid, DicomTransferSyntax.ExplicitVrLittleEndian.Uid }.ToFrozenSet();

    private readonly ILogger _logger = loggers.CreateLogger<DicomListener>();
    private readonly PacsGwOptions _options = options.Value;
    private readonly Lock _gate = new();
    private readonly HashSet<Task> _connections = [];
    private Socket? _socket;
    private int _associations;

    /// <summary>Where it listens once it has started; null when it does not.</summary>
    public IPEndPoint? EndPoint => (IPEndPoint?)_socket?.LocalEndPoint;

    /// <inheritdoc/>
    /// <exception cref="SocketException">The port is taken: the node does not start.</exception>
    public override Task StartAsync(CancellationToken cancellationToken)
    {
        if (!_options.AcceptAssociations)
        {
            return Task.CompletedTask;
        }

        var endPoint = new IPEndPoint(IPAddress.Parse(_options.DicomAddress), _options.DicomPort);
        _socket = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            _socket.Bind(endPoint);
            _socket.Listen(512);
        }
        catch (SocketException e)
        {
            _socket.Dispose();
            throw new IOException($"Cannot listen for DICOM on {endPoint}: {e.Message}", e);
        }

        Listening(_options.AeTitle, EndPoint!, _options.Peers.Count);
        return base.StartAsync(cancellationToken);
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var slots = new SemaphoreSlim(_options.MaxAssociations + SpareConnections);
        try
        {
            while (true)
            {
                // With every slot taken, further connections wait in the kernel's bounded backlog.
                await slots.WaitAsync(stoppingToken);
                var connection = await AcceptAsync(_socket!, stoppingToken);
                var serving = ServeAsync(connection, stoppingToken);
                lock (_gate)
                {
                    _connections.Add(serving);
                }

                _ = ForgetAsync(serving, slots);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            _socket!.Dispose();
            await Task.WhenAll(Connections());
        }
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _socket?.Dispose();
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
    private async Task ServeAsync(Socket socket, CancellationToken cancellationToken)
    {
        await Task.Yield();
        var address = (socket.RemoteEndPoint as IPEndPoint)?.Address;
        var source = new IntakeSource("", _options.AeTitle, address?.ToString(), Guid.CreateVersion7(clock.GetUtcNow()).ToString("N"));
        var counted = false;
        try
        {
            socket.NoDelay = true;
            var stream = new NetworkStream(socket, ownsSocket: true);
            await using var association = await Association.AcceptAsync(
                Connector.CreateReader(stream),
                stream,
                (request, _) =>
                {
                    var answer = Decide(request, address, source.Id, out counted);
                    source = new IntakeSource(request.CallingAeTitle, request.CalledAeTitle, address?.ToString(), source.Id);
                    return new(answer);
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
                await new StoreScp(association, source, intake, loggers.CreateLogger<StoreScp>()).RunAsync(cancellationToken);
            }
        }
        catch (AssociationException e)
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
            if (counted)
            {
                Interlocked.Decrement(ref _associations);
            }
        }
    }

    /// <summary>PS3.8 §9.3.4: who is not known is refused for good, who is too many may come again.</summary>
    private AssociateAnswer Decide(AssociateRequest request, IPAddress? address, string associationId, out bool counted)
    {
        counted = false;
        if (request.CalledAeTitle != _options.AeTitle)
        {
            return Reject(request, address, RejectReason.CalledAeTitleNotRecognized, transient: false);
        }

        if (!_options.Peers.Any(p => p.AeTitle == request.CallingAeTitle && (p.Address is null || IPAddress.Parse(p.Address).Equals(address))))
        {
            return Reject(request, address, RejectReason.CallingAeTitleNotRecognized, transient: false);
        }

        if (Interlocked.Increment(ref _associations) > _options.MaxAssociations)
        {
            Interlocked.Decrement(ref _associations);
            return Reject(request, address, RejectReason.LocalLimitExceeded, transient: true);
        }

        counted = true;
        Accepted(associationId, request.CallingAeTitle, address, request.PresentationContexts.Count);
        metrics.Association(request.CallingAeTitle, "Accepted");
        return AssociateAnswer.Accept(request, SupportedTransferSyntaxes);
    }

    private AssociateAnswer Reject(AssociateRequest request, IPAddress? address, RejectReason reason, bool transient)
    {
        Rejected(request.CallingAeTitle, address, request.CalledAeTitle, reason);
        metrics.Association(request.CallingAeTitle, $"{reason}");
        return AssociateAnswer.Reject(reason, transient);
    }

    private FrozenSet<string>? SupportedTransferSyntaxes(string sopClass) =>
        sopClass == DicomUids.Verification ? VerificationSyntaxes
        : intake.Stores(sopClass) ? TransferSyntaxes
        : null;

    private async Task ForgetAsync(Task serving, SemaphoreSlim slots)
    {
        await serving.ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        lock (_gate)
        {
            _connections.Remove(serving);
        }

        slots.Release();
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
}
