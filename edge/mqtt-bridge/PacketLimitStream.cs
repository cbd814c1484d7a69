namespace Yizhan.MqttBridge;

/// <summary>
/// Watches the fixed headers (MQTT 5.0 §2.1) of what comes in and ends the connection at one that announces more than is accepted: a length is five bytes,
/// and whoever believes it reserves 256 MiB. Says when the first packet is whole, after which the broker knows who is there or ends the connection.
/// </summary>
internal sealed class PacketLimitStream(Stream inner, int maxPacketBytes, Action firstPacket) : Stream
{
    private long _rest;
    private int _length;
    private int _shift = -1;
    private bool _whole;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var read = await inner.ReadAsync(buffer, cancellationToken);
        Watch(buffer.Span[..read]);
        return read;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count)
    {
        var read = inner.Read(buffer, offset, count);
        Watch(buffer.AsSpan(offset, read));
        return read;
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => inner.WriteAsync(buffer, cancellationToken);

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        inner.WriteAsync(buffer, offset, count, cancellationToken);

    public override void Write(byte[] buffer, int offset, int count) => inner.Write(buffer, offset, count);

    public override void Flush() => inner.Flush();

    public override Task FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    private void Watch(ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            if (_rest > 0)
            {
                var skip = (int)Math.Min(_rest, bytes.Length);
                _rest -= skip;
                bytes = bytes[skip..];
                Whole();
            }
            else if (_shift < 0)
            {
                // The packet's type; its length follows, seven bits a byte.
                (_shift, _length) = (0, 0);
                bytes = bytes[1..];
            }
            else
            {
                _length |= (bytes[0] & 0x7F) << _shift;
                _shift = (bytes[0] & 0x80) != 0 ? _shift + 7 : -1;
                if (_length > maxPacketBytes || _shift > 21)
                {
                    throw new IOException($"A packet of {_length} bytes or more was announced; {maxPacketBytes} are accepted.");
                }

                _rest = _shift < 0 ? _length : 0;
                bytes = bytes[1..];
                Whole();
            }
        }
    }

    private void Whole()
    {
        if (!_whole && _shift < 0 && _rest == 0)
        {
            _whole = true;
            firstPacket();
        }
    }
}
