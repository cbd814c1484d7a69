using System.Net.WebSockets;
using System.Text;
using Yizhan.NmtAsr.Audio;

namespace Yizhan.NmtAsr.Live;

/// <summary>Messages of one socket, bounded in size and time.</summary>
internal sealed class Talk(WebSocket socket, TimeProvider clock, TimeSpan idle, CancellationToken aborted)
{
    private const int MaxFrameBytes = 256 * 1024, MaxReasonBytes = 123;

    private readonly byte[] _buffer = new byte[MaxFrameBytes];

    /// <summary>The next message; null when the client closes.</summary>
    /// <exception cref="AudioRefusedException">It is longer than is taken.</exception>
    /// <exception cref="OperationCanceledException">Nothing came in time.</exception>
    public async Task<(string? Text, ReadOnlyMemory<byte> Binary)?> ReceiveAsync()
    {
        using var late = new CancellationTokenSource(idle, clock);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(aborted, late.Token);
        for (var length = 0; ;)
        {
            var part = await socket.ReceiveAsync(_buffer.AsMemory(length), both.Token);
            length += part.Count;
            if (part.MessageType == WebSocketMessageType.Close)
            {
                await CloseAsync();
                return null;
            }

            if (part.EndOfMessage)
            {
                return part.MessageType == WebSocketMessageType.Text ? (Encoding.UTF8.GetString(_buffer, 0, length), default) : (null, _buffer.AsMemory(0, length));
            }

            if (length == _buffer.Length)
            {
                throw new AudioRefusedException($"A message has more than {MaxFrameBytes} bytes; send shorter ones.");
            }
        }
    }

    /// <summary>Sends a text message.</summary>
    public async Task SendAsync(byte[] utf8) => await socket.SendAsync(utf8, WebSocketMessageType.Text, endOfMessage: true, aborted);

    /// <summary>Ends the talk; the reason is cut to what a close frame holds (RFC 6455 §5.5).</summary>
    public async Task CloseAsync(WebSocketCloseStatus status = WebSocketCloseStatus.NormalClosure, string? reason = null)
    {
        while (reason is not null && Encoding.UTF8.GetByteCount(reason) > MaxReasonBytes)
        {
            reason = reason[..^1];
        }

        await socket.CloseOutputAsync(status, reason, aborted);
    }
}
