using System.Net.WebSockets;
using System.Text;
using Yizhan.NmtAsr.Audio;

namespace Yizhan.NmtAsr.Live;

/// <summary>Messages of one socket, bounded in size and time. One may receive; who sends waits for its turn.</summary>
internal sealed class Talk : IDisposable
{
    private const int MaxFrameBytes = 256 * 1024, MaxReasonBytes = 123, FirstBytes = 8 * 1024;

    private readonly WebSocket _socket;
    private readonly TimeSpan _idle;
    private readonly CancellationToken _aborted;
    private readonly CancellationTokenSource _late, _lateOrAborted;
    private readonly SemaphoreSlim _sending = new(1, 1);
    private byte[] _buffer = new byte[FirstBytes];

    public Talk(WebSocket socket, TimeProvider clock, TimeSpan idle, CancellationToken aborted)
    {
        (_socket, _idle, _aborted) = (socket, idle, aborted);
        _late = new CancellationTokenSource(Timeout.InfiniteTimeSpan, clock);
        _lateOrAborted = CancellationTokenSource.CreateLinkedTokenSource(aborted, _late.Token);
    }

    /// <summary>The next message, which is valid until the one after it; null when the client closes.</summary>
    /// <exception cref="AudioRefusedException">It is longer than is taken.</exception>
    /// <exception cref="OperationCanceledException">Nothing came in time.</exception>
    public async Task<(string? Text, ReadOnlyMemory<byte> Binary)?> ReceiveAsync()
    {
        _late.CancelAfter(_idle);
        for (var length = 0; ;)
        {
            var part = await _socket.ReceiveAsync(_buffer.AsMemory(length), _lateOrAborted.Token);
            length += part.Count;
            if (part.MessageType == WebSocketMessageType.Close)
            {
                await CloseAsync();
                return null;
            }

            if (part.EndOfMessage)
            {
                // However long hearing takes, it is not the client that is late.
                _late.CancelAfter(Timeout.InfiniteTimeSpan);
                return part.MessageType == WebSocketMessageType.Text ? (Encoding.UTF8.GetString(_buffer, 0, length), default) : (null, _buffer.AsMemory(0, length));
            }

            if (length == MaxFrameBytes)
            {
                throw new AudioRefusedException($"A message has more than {MaxFrameBytes} bytes; send shorter ones.");
            }

            if (length == _buffer.Length)
            {
                Array.Resize(ref _buffer, Math.Min(MaxFrameBytes, length * 2));
            }
        }
    }

    /// <summary>Sends a text message.</summary>
    public async Task SendAsync(byte[] utf8)
    {
        await _sending.WaitAsync(_aborted);
        try
        {
            await _socket.SendAsync(utf8, WebSocketMessageType.Text, endOfMessage: true, _aborted);
        }
        finally
        {
            _sending.Release();
        }
    }

    /// <summary>Ends the talk; the reason is cut to what a close frame holds (RFC 6455 §5.5).</summary>
    public async Task CloseAsync(WebSocketCloseStatus status = WebSocketCloseStatus.NormalClosure, string? reason = null)
    {
        while (reason is not null && Encoding.UTF8.GetByteCount(reason) > MaxReasonBytes)
        {
            reason = reason[..^1];
        }

        await _sending.WaitAsync(_aborted);
        try
        {
            await _socket.CloseOutputAsync(status, reason, _aborted);
        }
        finally
        {
            _sending.Release();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _lateOrAborted.Dispose();
        _late.Dispose();
        _sending.Dispose();
    }
}
