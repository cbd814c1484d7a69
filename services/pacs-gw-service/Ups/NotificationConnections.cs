using System.Collections.Concurrent;
using System.Net.WebSockets;
using System.Threading.Channels;

namespace Yizhan.PacsGw.Ups;

/// <summary>
/// The WebSockets on which events go out (PS3.18 §8.10.4). What happens while an application entity has none is not kept for it: it reads the
/// workitems when it comes back. One that does not take its events is cut off, and knows by that that it has missed some.
/// </summary>
internal sealed class NotificationConnections
{
    private const int MaxConnections = 256;

    /// <summary>Events that one connection may be behind: a subscription to the worklist reports as many workitems at once.</summary>
    private const int MaxWaiting = 20_000;

    private static readonly TimeSpan MaxSending = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan MaxClosing = TimeSpan.FromSeconds(5);

    private readonly ConcurrentDictionary<Connection, byte> _open = [];

    /// <summary>Queues an event for each connection of an application entity; never waits.</summary>
    public void Send(string aeTitle, UpsEvent report)
    {
        foreach (var (connection, _) in _open)
        {
            if (connection.AeTitle == aeTitle && !connection.Waiting.Writer.TryWrite(report))
            {
                connection.Waiting.Writer.TryComplete();
                connection.Overtaken = true;
            }
        }
    }

    /// <summary>False when as many are open as may be.</summary>
    public bool HasRoom => _open.Count < MaxConnections;

    /// <summary>Sends events until the client closes, is cut off, or the node stops.</summary>
    public async Task ServeAsync(WebSocket socket, string aeTitle, CancellationToken cancellationToken)
    {
        var connection = new Connection(aeTitle);
        _open.TryAdd(connection, 0);
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var closing = ReadUntilClosedAsync(socket, over);
        try
        {
            for (ushort number = 1; await connection.Waiting.Reader.WaitToReadAsync(over.Token);)
            {
                while (connection.Waiting.Reader.TryRead(out var report))
                {
                    using var patience = CancellationTokenSource.CreateLinkedTokenSource(over.Token);
                    patience.CancelAfter(MaxSending);
                    await socket.SendAsync(report.ToJson(number++), WebSocketMessageType.Text, endOfMessage: true, patience.Token);
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or WebSocketException)
        {
            // The client closed, is gone, did not take what was sent, or the node stops.
        }
        finally
        {
            _open.TryRemove(connection, out _);
        }

        await CloseAsync(socket, connection.Overtaken);
        try
        {
            await closing.WaitAsync(MaxClosing, CancellationToken.None);
        }
        catch (TimeoutException)
        {
            // The client does not answer our close.
            socket.Abort();
            await closing;
        }
    }

    private static async Task CloseAsync(WebSocket socket, bool overtaken)
    {
        if (socket.State is not (WebSocketState.Open or WebSocketState.CloseReceived))
        {
            return;
        }

        // 1013, try again later (the registry of RFC 6455 §11.7).
        var (status, why) = overtaken ? ((WebSocketCloseStatus)1013, "Too slow: events were missed.") : (WebSocketCloseStatus.NormalClosure, "");
        using var patience = new CancellationTokenSource(MaxClosing);
        try
        {
            await socket.CloseOutputAsync(status, why, patience.Token);
        }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException)
        {
            socket.Abort();
        }
    }

    /// <summary>Clients say nothing here: what they send is skipped, their close ends it. Without a token: a receive that is cancelled cuts the line, and our close with it.</summary>
    private static async Task ReadUntilClosedAsync(WebSocket socket, CancellationTokenSource over)
    {
        var buffer = new byte[1024];
        try
        {
            while ((await socket.ReceiveAsync(buffer.AsMemory(), CancellationToken.None)).MessageType != WebSocketMessageType.Close)
            {
            }
        }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException or IOException or ObjectDisposedException)
        {
            // Gone without a word, or we ended it.
        }

        await over.CancelAsync();
    }

    private sealed class Connection(string aeTitle)
    {
        public string AeTitle { get; } = aeTitle;

        public Channel<UpsEvent> Waiting { get; } = Channel.CreateBounded<UpsEvent>(new BoundedChannelOptions(MaxWaiting) { SingleReader = true });

        public bool Overtaken { get; set; }
    }
}
