using System.IO.Pipelines;
using System.Net.Sockets;
using System.Security.Authentication;

namespace Yizhan.Dicom.Network;

/// <summary>Opens connections for the requesting side. The only place in this folder that knows sockets.</summary>
public static class Connector
{
    /// <summary>Bytes asked for in one read: many small PDUs, or one whole PDU of the size that we offer, in one system call.</summary>
    public const int ReadBytes = 256 * 1024;

    /// <summary>Connects and negotiates an association.</summary>
    /// <param name="host">Name or address.</param>
    /// <param name="port">TCP port.</param>
    /// <param name="request">Titles and presentation contexts.</param>
    /// <param name="options">Limits; <see cref="AssociationOptions.Artim"/> bounds connecting too.</param>
    /// <param name="clock">For the timers.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="AssociationException">No connection, rejected, aborted or timed out; the message says which.</exception>
    public static Task<Association> RequestAsync(
        string host, int port, AssociateRequest request, AssociationOptions options, TimeProvider clock, CancellationToken cancellationToken) =>
        RequestAsync(host, port, null, request, options, clock, cancellationToken);

    /// <summary>Connects, secures the connection and negotiates an association.</summary>
    /// <param name="host">Name or address.</param>
    /// <param name="port">TCP port.</param>
    /// <param name="secure">Puts TLS on the connection; it owns the stream that it is given. Null for none.</param>
    /// <param name="request">Titles and presentation contexts.</param>
    /// <param name="options">Limits; <see cref="AssociationOptions.Artim"/> bounds connecting and securing too.</param>
    /// <param name="clock">For the timers.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="AssociationException">No connection, no trust, rejected, aborted or timed out; the message says which.</exception>
    public static async Task<Association> RequestAsync(
        string host,
        int port,
        Func<Stream, CancellationToken, Task<Stream>>? secure,
        AssociateRequest request,
        AssociationOptions options,
        TimeProvider clock,
        CancellationToken cancellationToken)
    {
        var stream = await ConnectAsync(host, port, secure, options, clock, cancellationToken);
        return await Association.RequestAsync(CreateReader(stream), stream, request, options, clock, cancellationToken);
    }

    /// <summary>The reader of a connection as <see cref="Association"/> likes it; it leaves the stream to the association.</summary>
    public static PipeReader CreateReader(Stream stream) =>
        PipeReader.Create(stream, new StreamPipeReaderOptions(bufferSize: ReadBytes, minimumReadSize: ReadBytes / 4, leaveOpen: true));

    private static async Task<Stream> ConnectAsync(
        string host,
        int port,
        Func<Stream, CancellationToken, Task<Stream>>? secure,
        AssociationOptions options,
        TimeProvider clock,
        CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(options.Artim, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, limit.Token);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(host, port, either.Token);
            var stream = new NetworkStream(socket, ownsSocket: true);
            return secure is null ? stream : await secure(stream, either.Token);
        }
        catch (Exception e) when (e is SocketException or IOException or AuthenticationException
            || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            socket.Dispose();
            var (end, why) = e is not OperationCanceledException ? (AssociationEnd.ConnectionLost, e.Message) : (AssociationEnd.TimedOut, $"no answer in {options.Artim.TotalSeconds:0.###} s");
            throw new AssociationException(end, $"No connection to {host}:{port}: {why}", e);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
