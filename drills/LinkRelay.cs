using System.Net;
using System.Net.Sockets;

namespace Yizhan.Drills;

/// <summary>
/// The line between site and centre: passes bytes between a port that the site knows and the centre's. Cutting it closes the
/// listener and resets every connection, as a broken line does: nobody is told anything.
/// </summary>
public sealed class LinkRelay(int port, int centrePort) : IAsyncDisposable
{
    private readonly Lock _lock = new();
    private readonly List<Socket> _open = [];
    private TcpListener? _listener;
    private Task _accepting = Task.CompletedTask;

    /// <summary>Bytes that went from the site to the centre.</summary>
    public long BytesToCentre => Interlocked.Read(ref _bytesToCentre);

    private long _bytesToCentre;

    /// <summary>Opens the line.</summary>
    public void Open()
    {
        _listener = new TcpListener(IPAddress.Loopback, port);
        _listener.Server.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        _listener.Start();
        _accepting = AcceptAsync(_listener);
    }

    /// <summary>Cuts the line.</summary>
    public async Task CutAsync()
    {
        _listener?.Dispose();
        lock (_lock)
        {
            _listener = null;
            foreach (var socket in _open)
            {
                // Linger 0 sends RST instead of FIN.
                socket.LingerState = new LingerOption(true, 0);
                socket.Dispose();
            }

            _open.Clear();
        }

        await _accepting;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync() => await CutAsync();

    private async Task AcceptAsync(TcpListener listener)
    {
        var lines = new List<Task>();
        try
        {
            while (true)
            {
                lines.Add(PassAsync(await listener.AcceptSocketAsync(), listener));
                lines.RemoveAll(line => line.IsCompleted);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The line was cut.
        }

        await Task.WhenAll(lines);
    }

    private async Task PassAsync(Socket site, TcpListener listener)
    {
        var centre = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        site.NoDelay = true;
        lock (_lock)
        {
            if (_listener != listener)
            {
                // Cut while it was being accepted: it is not among those that were reset.
                site.Dispose();
                centre.Dispose();
                return;
            }

            _open.Add(site);
            _open.Add(centre);
        }

        try
        {
            await centre.ConnectAsync(IPAddress.Loopback, centrePort);
            await Task.WhenAll(CopyAsync(site, centre, count: true), CopyAsync(centre, site, count: false));
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // One end went away; so does the other.
        }
        finally
        {
            lock (_lock)
            {
                _open.Remove(site);
                _open.Remove(centre);
            }

            site.Dispose();
            centre.Dispose();
        }
    }

    private async Task CopyAsync(Socket from, Socket to, bool count)
    {
        var buffer = new byte[128 * 1024];
        int read;
        while ((read = await from.ReceiveAsync(buffer)) > 0)
        {
            for (var sent = 0; sent < read;)
            {
                sent += await to.SendAsync(buffer.AsMemory(sent, read - sent));
            }

            if (count)
            {
                Interlocked.Add(ref _bytesToCentre, read);
            }
        }

        to.Shutdown(SocketShutdown.Send);
    }
}
