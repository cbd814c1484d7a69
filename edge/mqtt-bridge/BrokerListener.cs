using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using MQTTnet.Adapter;
using MQTTnet.Diagnostics.Logger;
using MQTTnet.Formatter;
using MQTTnet.Implementations;
using MQTTnet.Server;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Flows;

namespace Yizhan.MqttBridge;

/// <summary>
/// The broker's port: bounds the number of connections, the time of a handshake and the size of a packet before the broker sees any of them, and with TLS
/// lets in only who has a certificate of this installation.
/// </summary>
internal sealed partial class BrokerListener(MqttBridgeOptions options, TimeProvider clock, ILogger logger) : IMqttServerAdapter
{
    // Topic, identifiers and properties around the largest payload.
    private const int PacketOverhead = 64 * 1024;
    private static readonly TimeSpan HandshakeLimit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan PauseAfterFailure = TimeSpan.FromMilliseconds(100);

    private readonly CancellationTokenSource _stopping = new();
    private readonly ILogger _logger = logger;
    private TcpListener? _listener;
    private Task _accepting = Task.CompletedTask;

    /// <inheritdoc/>
    public Func<IMqttChannelAdapter, Task>? ClientHandler { get; set; }

    /// <summary>Where it listens; null before the start.</summary>
    public IPEndPoint? EndPoint => (IPEndPoint?)_listener?.LocalEndpoint;

    /// <summary>The common name of a device's certificate; null without one.</summary>
    public static string? NameOf(X509Certificate2? certificate) => certificate?.GetNameInfo(X509NameType.SimpleName, forIssuer: false);

    /// <inheritdoc/>
    public Task StartAsync(MqttServerOptions _, IMqttNetLogger netLogger)
    {
        _listener = new TcpListener(IPAddress.Parse(options.Address), options.Port);
        try
        {
            _listener.Start();
        }
        catch (SocketException e)
        {
            throw new IOException($"mqtt-bridge cannot listen on {options.Address}:{options.Port}: {e.Message}", e);
        }

        _accepting = AcceptAsync(_listener, netLogger);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public async Task StopAsync()
    {
        await _stopping.CancelAsync();
        _listener?.Dispose();
        await _accepting;
    }

    /// <inheritdoc/>
    public void Dispose() => _stopping.Dispose();

    private async Task AcceptAsync(TcpListener listener, IMqttNetLogger netLogger)
    {
        var connections = new List<Task>();
        var table = new ConnectionTable(options.MaxClients);
        while (!_stopping.IsCancellationRequested)
        {
            try
            {
                var socket = await listener.AcceptSocketAsync(_stopping.Token);
                connections.RemoveAll(connection => connection.IsCompleted);
                if (table.Enter((socket.RemoteEndPoint as IPEndPoint)?.Address, socket.Dispose) is not { } place)
                {
                    TooMany(options.MaxClients);
                    socket.Dispose();
                    continue;
                }

                connections.Add(ServeAsync(socket, place, netLogger));
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                // Stopping.
            }
            catch (SocketException)
            {
                // A connection that was gone before it was taken, or no file descriptor: asking again at once would only burn the processor.
                await Task.Delay(PauseAfterFailure, clock, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }

        await Task.WhenAll(connections);
    }

    private async Task ServeAsync(Socket socket, ConnectionTable.Place place, IMqttNetLogger netLogger)
    {
        await Task.Yield();
        try
        {
            socket.NoDelay = true;
            TlsListener.NoticeSilentEnd(socket);
            await using var stream = new NetworkStream(socket, ownsSocket: true);
            await using var secure = options.IsSecure ? await HandshakeAsync(stream) : null;
            using var certificate = secure?.RemoteCertificate is { } remote ? X509CertificateLoader.LoadCertificate(remote.GetRawCertData()) : null;
            await using var bounded = new PacketLimitStream(secure ?? (Stream)stream, options.MaxPayloadBytes + PacketOverhead, place.Prove);
            using var channel = new MqttTcpChannel(bounded, socket.LocalEndPoint!, socket.RemoteEndPoint!, certificate);
            using var adapter = new MqttChannelAdapter(channel, new MqttPacketFormatterAdapter(new MqttBufferWriter(4096, 65535)), netLogger);
            await ClientHandler!(adapter);
        }
        catch (Exception e) when (e is IOException or AuthenticationException or OperationCanceledException or SocketException or ObjectDisposedException)
        {
            Ended(e.Message);
        }
        finally
        {
            socket.Dispose();
            place.Dispose();
        }
    }

    private async Task<SslStream> HandshakeAsync(NetworkStream stream)
    {
        var secure = new SslStream(stream);
        using var certificate = X509Certificate2.CreateFromPemFile(options.CertificatePath!, options.KeyPath);
        using var limit = new CancellationTokenSource(HandshakeLimit, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, _stopping.Token);
        try
        {
            await secure.AuthenticateAsServerAsync(
                new SslServerAuthenticationOptions
                {
                    ServerCertificate = certificate,
                    ClientCertificateRequired = true,
                    EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                    CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
                    RemoteCertificateValidationCallback = (_, remote, _, _) => IsDevice(remote, certificate.NotBefore),
                },
                either.Token);
            return secure;
        }
        catch
        {
            await secure.DisposeAsync();
            throw;
        }
    }

    private bool IsDevice(X509Certificate? remote, DateTime notEarlierThan)
    {
        if (remote is null)
        {
            return false;
        }

        using var certificate = X509CertificateLoader.LoadCertificate(remote.GetRawCertData());
        var verdict = CertificateTrust.FromFile(options.RootPath!, clock, notEarlierThan).Check(certificate, CertificateTrust.ClientAuth);
        if (verdict != CertificateVerdict.Valid)
        {
            Refused(verdict, certificate.Thumbprint);
        }

        return verdict == CertificateVerdict.Valid;
    }

    [LoggerMessage(8110, LogLevel.Warning, "A device's certificate was refused ({Verdict}), thumbprint {Thumbprint}.")]
    private partial void Refused(CertificateVerdict verdict, string thumbprint);

    [LoggerMessage(8111, LogLevel.Warning, "A device was turned away: {MaxClients} are connected already (mqtt-bridge:maxClients).")]
    private partial void TooMany(int maxClients);

    [LoggerMessage(8112, LogLevel.Debug, "A device's connection ended: {Reason}")]
    private partial void Ended(string reason);
}
