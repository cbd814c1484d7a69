using System.ComponentModel.DataAnnotations;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Yizhan.Platform.Certificates;

namespace Yizhan.Platform.Flows;

/// <summary>Where a protocol of its own is listened for, and with which certificates.</summary>
public class TlsListenerOptions
{
    /// <summary>Address to listen on. Default 127.0.0.1.</summary>
    [Required]
    public string Address { get; set; } = "127.0.0.1";

    /// <summary>Port; 0 takes a free one; null for none. Default null.</summary>
    [Range(0, 65535)]
    public int? Port { get; set; }

    /// <summary>PEM file with the certificate of this node: TLS. Null for none.</summary>
    public string? CertificateFile { get; set; }

    /// <summary>PEM file with its key.</summary>
    public string? KeyFile { get; set; }

    /// <summary>PEM file with the root that signs the certificates of senders; null asks for none.</summary>
    public string? RootFile { get; set; }

    /// <summary>Most connections at a time; when all are taken, those that have not said who they are make room. Default 64.</summary>
    [Range(1, 4096)]
    public int MaxConnections { get; set; } = 64;
}

/// <summary>Takes connections of a protocol of its own, as many at a time as the settings allow, over TLS where they have a certificate (IHE ATNA's secure node).</summary>
public sealed class TlsListener : IDisposable
{
    private static readonly TimeSpan HandshakePatience = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan PauseAfterFailure = TimeSpan.FromMilliseconds(100);

    private readonly TcpListener _listener;
    private readonly string _section;
    private readonly int _maxConnections;
    private readonly TimeProvider _clock;
    private readonly X509Certificate2? _certificate;
    private readonly CertificateTrust? _trust;

    /// <summary>Opens the port, so that one that somebody else has stops the start.</summary>
    /// <param name="section">Section of the settings, for messages.</param>
    /// <param name="options">The settings; they name a port.</param>
    /// <param name="clock">The clock.</param>
    /// <exception cref="SocketException">The port is taken.</exception>
    /// <exception cref="InvalidOperationException">There is a certificate without a key.</exception>
    public TlsListener(string section, TlsListenerOptions options, TimeProvider clock)
    {
        _certificate = options.CertificateFile is { } file ? TlsFiles.Certificate(section, file, options.KeyFile) : null;
        _trust = options.RootFile is { } root ? CertificateTrust.FromFile(root, clock) : null;
        (_section, _maxConnections, _clock) = (section, options.MaxConnections, clock);
        _listener = new TcpListener(IPAddress.Parse(options.Address), options.Port!.Value);
        _listener.Start();
        EndPoint = (IPEndPoint)_listener.LocalEndpoint;
    }

    /// <summary>Where it listens.</summary>
    public IPEndPoint EndPoint { get; }

    /// <summary>Serves connections until it is stopped; then those that are open are waited for.</summary>
    /// <param name="serve">
    /// Serves one, given its stream, the peer's address and port, and what to call when the peer has shown that it belongs here; with a root its certificate has.
    /// Ends by itself when it is cancelled; the stream is then closed.
    /// </param>
    /// <param name="closed">Told why a connection ended that did not end in order.</param>
    /// <param name="stopping">Stops it.</param>
    public async Task RunAsync(Func<Stream, IPEndPoint?, Action, CancellationToken, Task> serve, Action<IPEndPoint?, string> closed, CancellationToken stopping)
    {
        var table = new ConnectionTable(_maxConnections);
        var connections = new List<Task>();
        try
        {
            while (true)
            {
                var socket = await AcceptAsync(closed, stopping);
                var peer = socket.RemoteEndPoint as IPEndPoint;
                connections.RemoveAll(c => c.IsCompleted);
                if (table.Enter(peer?.Address, socket.Dispose) is { } place)
                {
                    connections.Add(ServeAsync(socket, peer, place));
                }
                else
                {
                    socket.Dispose();
                    closed(peer, $"{_maxConnections} peers are connected already ({_section}:maxConnections).");
                }
            }
        }
        catch (OperationCanceledException)
        {
            await Task.WhenAll(connections);
        }

        async Task ServeAsync(Socket socket, IPEndPoint? peer, ConnectionTable.Place place)
        {
            await Task.Yield();
            using (place)
            using (socket)
            {
                try
                {
                    socket.NoDelay = true;
                    NoticeSilentEnd(socket);
                    await using var stream = await SecureAsync(new NetworkStream(socket, ownsSocket: true), stopping);
                    if (_certificate is not null && _trust is not null)
                    {
                        place.Prove();
                    }

                    await serve(stream, peer, place.Prove, stopping);
                }
                catch (Exception e) when (place.WasPushedOut || e is AuthenticationException or IOException or FormatException or SocketException or OperationCanceledException or ObjectDisposedException)
                {
                    closed(peer, place.WasPushedOut ? $"It had not said who it is and made room for another ({_section}:maxConnections)." : e.Message);
                }
            }
        }
    }

    /// <summary>A peer that lost its power sends no end; its connection would keep its place for ever.</summary>
    public static void NoticeSilentEnd(Socket socket)
    {
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 60);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 10);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 6);
    }

    private async Task<Socket> AcceptAsync(Action<IPEndPoint?, string> closed, CancellationToken stopping)
    {
        while (true)
        {
            try
            {
                return await _listener.AcceptSocketAsync(stopping);
            }
            catch (SocketException e)
            {
                // A connection that died in the backlog, or no file descriptor: neither may end the listener, and with it the node.
                closed(null, $"A connection could not be accepted: {e.Message}");
                await Task.Delay(PauseAfterFailure, _clock, stopping);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _listener.Dispose();
        _certificate?.Dispose();
    }

    /// <summary>The stream as it is, or TLS over it; with a root the sender needs a certificate of it.</summary>
    private async Task<Stream> SecureAsync(NetworkStream stream, CancellationToken stopping)
    {
        if (_certificate is null)
        {
            return stream;
        }

        var tls = new SslStream(stream);
        try
        {
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(stopping);
            patience.CancelAfter(HandshakePatience);
            await tls.AuthenticateAsServerAsync(
                new SslServerAuthenticationOptions
                {
                    ServerCertificate = _certificate,
                    ClientCertificateRequired = _trust is not null,
                    EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                    RemoteCertificateValidationCallback = (_, sent, _, _) => _trust is null || (sent is not null && TlsFiles.IsTrusted(_trust, sent, CertificateTrust.ClientAuth)),
                },
                patience.Token);
            return tls;
        }
        catch
        {
            await tls.DisposeAsync();
            throw;
        }
    }
}

/// <summary>Certificates of connections, from the files that the settings name.</summary>
public static class TlsFiles
{
    /// <summary>A certificate with its key.</summary>
    /// <exception cref="InvalidOperationException">A file is not named.</exception>
    public static X509Certificate2 Certificate(string section, string? certificateFile, string? keyFile)
    {
        using var pem = X509Certificate2.CreateFromPemFile(Required($"{section}:certificateFile", certificateFile), Required($"{section}:keyFile", keyFile));

        // A key that is only in memory is not shown to the peer by every TLS library; one from PKCS #12 is.
        return X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null);
    }

    /// <summary>A setting that is needed.</summary>
    /// <exception cref="InvalidOperationException">It is missing.</exception>
    public static string Required(string setting, string? file) => file ?? throw new InvalidOperationException($"{setting} is missing: a connection with certificates needs certificate, key and root.");

    /// <summary>Whether what a peer showed is a certificate of the root for this purpose (<see cref="CertificateTrust.ClientAuth"/>).</summary>
    public static bool IsTrusted(CertificateTrust trust, X509Certificate sent, string purpose)
    {
        using var copy = X509CertificateLoader.LoadCertificate(sent.GetRawCertData());
        return trust.Check(copy, purpose) == CertificateVerdict.Valid;
    }
}
