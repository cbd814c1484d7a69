using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;

namespace Yizhan.Dicom.Network;

/// <summary>PDU types of PS3.8 §9.3.1.</summary>
internal enum PduType : byte
{
    AssociateRequest = 1,
    AssociateAccept = 2,
    AssociateReject = 3,
    Data = 4,
    ReleaseRequest = 5,
    ReleaseResponse = 6,
    Abort = 7,
}

/// <summary>
/// The receiving half of the upper layer: cuts the pipe's bytes into PDUs and presentation data values without copying them.
/// One caller at a time. Every field is consistent between awaits, so a cancelled call can be made again.
/// </summary>
internal sealed class PduReader : IDisposable
{
    private readonly PipeReader _pipe;
    private readonly TimeProvider _clock;
    private readonly ITimer _timer;

    // What was read and not consumed yet. Valid until the pipe is advanced, which only FillAsync does.
    private ReadOnlySequence<byte> _buffer;
    private long _bytesInPipe;
    private bool _holdsRead;
    private bool _ended;

    private TimeSpan _limit;
    private TimeSpan _waited;
    private volatile Exception? _stop;

    private uint _pduLeft;
    private uint _pdvLeft;
    private byte _pdvContext;
    private byte _pdvControl;

    public PduReader(PipeReader pipe, TimeProvider clock)
    {
        _pipe = pipe;
        _clock = clock;
        _timer = clock.CreateTimer(static state => ((PipeReader)state!).CancelPendingRead(), pipe, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Bytes of the current P-DATA-TF that were not consumed.</summary>
    public uint PduLeft => _pduLeft;

    /// <summary>Bytes of the current presentation data value that were not consumed.</summary>
    public uint PdvLeft => _pdvLeft;

    /// <summary>The presentation context id of the current presentation data value.</summary>
    public byte PdvContext => _pdvContext;

    /// <summary>PS3.8 Annex E.2: bit 0 of the message control header.</summary>
    public bool PdvIsCommand => (_pdvControl & 1) != 0;

    /// <summary>PS3.8 Annex E.2: bit 1 of the message control header.</summary>
    public bool PdvIsLast => (_pdvControl & 2) != 0;

    /// <summary>Gives the peer this long, counted only while we wait for it and not while our caller works.</summary>
    public void StartClock(TimeSpan limit)
    {
        _limit = limit;
        _waited = TimeSpan.Zero;
    }

    /// <summary>Makes the pending and every later read throw, from any thread; null lets reads go on.</summary>
    public void Stop(Exception? why)
    {
        _stop = why;
        if (why is not null)
        {
            _pipe.CancelPendingRead();
        }
    }

    /// <summary>Waits until there is a byte: true, or the peer closed the connection: false.</summary>
    public async ValueTask<bool> WaitAsync(CancellationToken cancellationToken)
    {
        while (_buffer.IsEmpty)
        {
            if (!await FillAsync(cancellationToken))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The next PDU's type and length; its body is still unread. Null when the peer closed the connection between two PDUs.</summary>
    public async ValueTask<(PduType Type, uint Length)?> ReadHeaderAsync(CancellationToken cancellationToken)
    {
        if (!await WaitAsync(cancellationToken))
        {
            return null;
        }

        await RequireAsync(6, cancellationToken);
        return Header();
    }

    private (PduType Type, uint Length) Header()
    {
        Span<byte> header = stackalloc byte[6];
        Take(header);
        return ((PduType)header[0], BinaryPrimitives.ReadUInt32BigEndian(header[2..]));
    }

    /// <summary>Reads a whole small body. The caller has checked its length against a limit.</summary>
    public async ValueTask<byte[]> ReadBodyAsync(uint length, CancellationToken cancellationToken)
    {
        await RequireAsync(length, cancellationToken);
        var body = new byte[length];
        Take(body);
        return body;
    }

    /// <summary>Enters the body of a P-DATA-TF.</summary>
    public void BeginData(uint length) => _pduLeft = length;

    /// <summary>Reads the header of the next presentation data value of this P-DATA-TF (PS3.8 §9.3.5.1).</summary>
    public async ValueTask NextPdvAsync(CancellationToken cancellationToken)
    {
        if (_pduLeft < 6)
        {
            throw new ProtocolViolationException(AbortReason.InvalidPduParameter, $"{_pduLeft} bytes are left in a P-DATA-TF; a presentation data value has at least 6");
        }

        if (_buffer.Length < 6)
        {
            await RequireAsync(6, cancellationToken);
        }

        PdvHeader();
    }

    private void PdvHeader()
    {
        Span<byte> header = stackalloc byte[6];
        Take(header);
        var length = BinaryPrimitives.ReadUInt32BigEndian(header);
        if (length < 2 || length > _pduLeft - 4)
        {
            throw new ProtocolViolationException(
                AbortReason.InvalidPduParameter, $"a presentation data value of {length} bytes where {_pduLeft - 4} are left in its P-DATA-TF");
        }

        _pduLeft -= 6;
        _pdvLeft = length - 2;
        _pdvContext = header[4];
        _pdvControl = header[5];
    }

    /// <summary>
    /// Takes what is there of the current presentation data value, at least one byte, straight from the pipe: valid until the next call
    /// of any method that waits. The value must not be used up.
    /// </summary>
    public ValueTask<ReadOnlyMemory<byte>> TakePieceAsync(CancellationToken cancellationToken) =>
        _buffer.IsEmpty ? WaitForPieceAsync(cancellationToken) : new(TakePiece());

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<ReadOnlyMemory<byte>> WaitForPieceAsync(CancellationToken cancellationToken)
    {
        await RequireAsync(1, cancellationToken);
        return TakePiece();
    }

    private ReadOnlyMemory<byte> TakePiece()
    {
        // A sequence may begin with an empty segment.
        var position = _buffer.Start;
        ReadOnlyMemory<byte> piece;
        while (_buffer.TryGet(ref position, out piece) && piece.IsEmpty)
        {
        }

        if (piece.Length > _pdvLeft)
        {
            piece = piece[..(int)_pdvLeft];
        }

        _buffer = _buffer.Slice(piece.Length);
        _pdvLeft -= (uint)piece.Length;
        _pduLeft -= (uint)piece.Length;
        return piece;
    }

    /// <summary>Throws away the rest of the current P-DATA-TF.</summary>
    public async ValueTask SkipDataAsync(CancellationToken cancellationToken)
    {
        _pdvLeft = 0;
        while (_pduLeft > 0)
        {
            await RequireAsync(1, cancellationToken);
            var skipped = (uint)Math.Min(_buffer.Length, _pduLeft);
            _buffer = _buffer.Slice(skipped);
            _pduLeft -= skipped;
        }
    }

    /// <summary>Throws away everything that has been read so far; used when only the end of the connection matters.</summary>
    public void DiscardBuffered() => _buffer = _buffer.Slice(_buffer.End);

    /// <summary>Ends reading. The pipe's owner is the association.</summary>
    public void Dispose()
    {
        _timer.Dispose();
        _pipe.Complete();
    }

    private async ValueTask RequireAsync(uint bytes, CancellationToken cancellationToken)
    {
        while (_buffer.Length < bytes)
        {
            if (!await FillAsync(cancellationToken))
            {
                throw new EndOfStreamException($"The connection ended inside a PDU: {_buffer.Length} of {bytes} bytes came.");
            }
        }
    }

    private void Take(Span<byte> target)
    {
        _buffer.Slice(0, target.Length).CopyTo(target);
        _buffer = _buffer.Slice(target.Length);
    }

    /// <summary>Reads more from the pipe; false when no more will come.</summary>
    /// <exception cref="TimeoutException">The time of <see cref="StartClock"/> is over.</exception>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<bool> FillAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            if (_stop is { } why)
            {
                throw why;
            }

            if (_ended)
            {
                return false;
            }

            if (_holdsRead)
            {
                _holdsRead = false;
                _bytesInPipe = _buffer.Length;
                _pipe.AdvanceTo(_buffer.Start, _buffer.End);
                _buffer = default;
            }

            var reading = _pipe.ReadAsync(cancellationToken);
            ReadResult read;
            if (reading.IsCompleted)
            {
                read = await reading;
            }
            else
            {
                var left = _limit - _waited;
                var start = _clock.GetTimestamp();
                _timer.Change(left > TimeSpan.Zero ? left : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
                read = await reading;
                _waited += _clock.GetElapsedTime(start);
            }

            _holdsRead = true;
            _buffer = read.Buffer;
            if (_buffer.Length > _bytesInPipe)
            {
                return true;
            }

            if (read.IsCompleted)
            {
                _ended = true;
                return false;
            }

            // No new byte: the timer woke us. It may be the timer of an earlier wait, so the clock decides.
            if (_waited >= _limit && _stop is null)
            {
                throw new TimeoutException($"The peer sent nothing more for {_limit.TotalSeconds:0.###} s.");
            }
        }
    }
}
