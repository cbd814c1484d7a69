using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics;

namespace Yizhan.Dicom.Network;

/// <summary>
/// A message on its way out, cut into P-DATA-TF PDUs (PS3.8 §9.3.5) and these into parts of one write each. Its first part is made before it is sent, so
/// that one message can be read from storage while another goes out; each further one is made while the one before it goes out. Sent once; dispose it, sent
/// or not. The data set stays its maker's, who disposes it after this.
/// </summary>
public sealed class OutgoingMessage : IAsyncDisposable
{
    /// <summary>A fragment of a stream is so many bytes, or a multiple of it, where the peer takes that: storage reads whole blocks, and they go out uncut.</summary>
    private const int BlockBytes = 64 * 1024;

    /// <summary>Headers of a P-DATA-TF with one presentation data value.</summary>
    private const int HeaderBytes = 12;

    private readonly Stream? _stream;
    private readonly byte[] _encoded;
    private readonly int _room;
    private readonly int _fragment;
    private readonly int _bufferBytes;

    private ReadOnlySequence<byte> _memory;
    private Memory<byte> _commandLeft;
    private long? _left;
    private bool _dataSetLeft;

    // Of a stream that does not know its length, one byte more than fits is read, to know whether a fragment is the last; it begins the next one.
    private byte? _carried;

    private byte[] _part;
    private int _partBytes;
    private byte[]? _other;
    private Task<int>? _next;

    internal OutgoingMessage(byte contextId, CommandSet command, ReadOnlySequence<byte> memory, Stream? stream, bool hasDataSet, int pduBytes, int bufferBytes)
    {
        (ContextId, Command, _memory, _stream, _dataSetLeft) = (contextId, command, memory, stream, hasDataSet);

        // PS3.8 Annex E.1: fragments have an even length; the 6 bytes are the header of the one value in each PDU.
        _room = (pduBytes - 6) & ~1;
        _left = stream is { CanSeek: true } ? stream.Length - stream.Position : stream is null ? memory.Length : null;
        _fragment = stream is not null && _left is not null && _room >= BlockBytes ? _room - (_room % BlockBytes) : _room;

        var commandBytes = command.EncodedBytes;
        _encoded = ArrayPool<byte>.Shared.Rent(commandBytes);
        _commandLeft = _encoded.AsMemory(0, commandBytes);
        command.Encode(_commandLeft.Span, hasDataSet);

        var all = (HeaderBytes * (1L + (commandBytes / _room))) + commandBytes;
        all += !hasDataSet ? 0 : _left is { } known ? known + (HeaderBytes * (1 + (known / _fragment))) + 1 : int.MaxValue;
        _bufferBytes = (int)Math.Min(all, Math.Max(bufferBytes, HeaderBytes + _room + 1));
        _part = ArrayPool<byte>.Shared.Rent(_bufferBytes);
    }

    /// <summary>The command set.</summary>
    public CommandSet Command { get; }

    /// <summary>False once the rest of it fits into the part that is made: a short message, which is not worth another thread.</summary>
    public bool IsLong => !_commandLeft.IsEmpty || _dataSetLeft;

    internal byte ContextId { get; }

    /// <summary>What is to be written now.</summary>
    internal ReadOnlyMemory<byte> Part => _part.AsMemory(0, _partBytes);

    /// <summary>Makes the first part. What the stream throws comes out of here.</summary>
    internal async ValueTask BeginAsync(CancellationToken cancellationToken) => _partBytes = await FillAsync(_part, cancellationToken);

    /// <summary>Begins to make the part after this one, if there is one. A stream is read on another thread: this one writes meanwhile.</summary>
    internal void BeginNext(CancellationToken cancellationToken)
    {
        if (!IsLong)
        {
            return;
        }

        var buffer = _other ??= ArrayPool<byte>.Shared.Rent(_bufferBytes);
        _next = _stream is null ? FillAsync(buffer, cancellationToken) : Task.Run(() => FillAsync(buffer, cancellationToken), CancellationToken.None);
    }

    /// <summary>Moves to the part that <see cref="BeginNext"/> made; false when this is the last. What the stream throws comes out of here.</summary>
    internal async ValueTask<bool> MoveNextAsync()
    {
        if (_next is not { } next)
        {
            return false;
        }

        _next = null;
        _partBytes = await next;
        (_part, _other) = (_other!, _part);
        return true;
    }

    /// <summary>Waits for a read that is under way and gives the buffers back.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_next is { } next)
        {
            await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _next = null;
        }

        if (_part.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(_encoded);
            ArrayPool<byte>.Shared.Return(_part);
            _part = [];
            _partBytes = 0;
        }

        if (_other is { } other)
        {
            _other = null;
            ArrayPool<byte>.Shared.Return(other);
        }
    }

    /// <summary>Fills a buffer with whole PDUs, at least one.</summary>
    private async Task<int> FillAsync(byte[] buffer, CancellationToken cancellationToken)
    {
        var used = 0;
        while (!_commandLeft.IsEmpty)
        {
            var length = Math.Min(_room, _commandLeft.Length);
            if (used + HeaderBytes + length > buffer.Length)
            {
                return used;
            }

            _commandLeft.Span[..length].CopyTo(buffer.AsSpan(used + HeaderBytes));
            _commandLeft = _commandLeft[length..];
            used = EndPdu(buffer, used, length, isCommand: true, isLast: _commandLeft.IsEmpty);
        }

        while (_dataSetLeft)
        {
            var wanted = (int)Math.Min(_fragment, _left ?? _fragment);
            if (used + HeaderBytes + wanted + 1 > buffer.Length)
            {
                return used;
            }

            var length = await ReadFragmentAsync(buffer.AsMemory(used + HeaderBytes, wanted + (_left is null ? 1 : 0)), cancellationToken);
            if (length % 2 != 0)
            {
                // Only the end of the data set can be odd: a deflated one that its file did not pad (PS3.5 §A.5). dcmtk aborts at an odd fragment.
                buffer[used + HeaderBytes + length++] = 0;
            }

            used = EndPdu(buffer, used, length, isCommand: false, isLast: !_dataSetLeft);
        }

        return used;
    }

    private async ValueTask<int> ReadFragmentAsync(Memory<byte> target, CancellationToken cancellationToken)
    {
        if (_left is { } left)
        {
            if (_stream is null)
            {
                _memory.Slice(0, target.Length).CopyTo(target.Span);
                _memory = _memory.Slice(target.Length);
            }
            else
            {
                await _stream.ReadExactlyAsync(target, cancellationToken);
            }

            _left = left - target.Length;
            _dataSetLeft = _left > 0;
            return target.Length;
        }

        Debug.Assert(_stream is not null);
        var start = _carried is null ? 0 : 1;
        target.Span[0] = _carried ?? 0;
        var length = start + await _stream.ReadAtLeastAsync(target[start..], target.Length - start, throwOnEndOfStream: false, cancellationToken);
        _dataSetLeft = length > _room;
        _carried = _dataSetLeft ? target.Span[_room] : null;
        return Math.Min(length, _room);
    }

    private int EndPdu(byte[] buffer, int at, int length, bool isCommand, bool isLast)
    {
        var header = buffer.AsSpan(at, HeaderBytes);
        header[0] = (byte)PduType.Data;
        header[1] = 0;
        BinaryPrimitives.WriteInt32BigEndian(header[2..], length + 6);
        BinaryPrimitives.WriteInt32BigEndian(header[6..], length + 2);
        header[10] = ContextId;
        header[11] = (byte)((isCommand ? 1 : 0) | (isLast ? 2 : 0));
        return at + HeaderBytes + length;
    }
}
