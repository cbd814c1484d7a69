using System.Runtime.CompilerServices;

namespace Yizhan.Dicom.Network;

public sealed partial class Association
{
    // Empty fragments are legal but move nothing; a peer that sends more in a row than this is only keeping us busy.
    private const int MaxEmptyFragments = 64;

    private readonly Dictionary<ushort, CommandSet> _performing = [];
    private SemaphoreSlim _performSlots = new(1);

    private byte[] _command = [];
    private int _commandBytes;
    private int _commandCost;
    private AcceptedContext? _commandContext;
    private DimseMessage? _waitingForSlot;

    private DataSetReader? _dataSet;
    private AcceptedContext? _dataSetContext;
    private bool _dataSetPdvOpen;
    private int _emptyFragments;

    /// <summary>
    /// Waits for the next message. Returns it as soon as its command set is complete; what nobody read of the previous message's data set
    /// is thrown away first. A request is held back while <see cref="PerformWindow"/> earlier ones are unanswered.
    /// </summary>
    /// <returns>The message, or null when the peer asked for release: answer what is outstanding, then call <see cref="ReleaseAsync"/>.</returns>
    /// <exception cref="AssociationException">The association is over. If the peer broke the protocol or was too slow, it was sent an A-ABORT.</exception>
    /// <exception cref="OperationCanceledException">Nothing was lost; the call may be made again.</exception>
    public async ValueTask<DimseMessage?> ReceiveAsync(CancellationToken cancellationToken)
    {
        EnterReceive();
        try
        {
            while (_dataSet is { } unread)
            {
                unread.IsAbandoned = true;
                await NextPieceAsync(unread, cancellationToken);
            }

            if (_waitingForSlot is null)
            {
                if (_state == State.ReleaseRequested || await ReceiveCommandAsync(cancellationToken) is not { } message)
                {
                    return null;
                }

                if (message.Command.IsResponse)
                {
                    EndInvoked(message.Command);
                    return message;
                }

                if (message.Command.Field == CommandField.CCancelRequest)
                {
                    return message;
                }

                _waitingForSlot = message;
            }

            return await BeginPerformingAsync(_waitingForSlot, cancellationToken);
        }
        catch (Exception e) when (IsPeerFault(e))
        {
            throw await FailAsync(e);
        }
        finally
        {
            Volatile.Write(ref _receiving, 0);
        }
    }

    /// <summary>True for a received request whose final response was not sent.</summary>
    internal bool IsUnanswered(CommandSet command)
    {
        lock (_gate)
        {
            // By reference: the peer may already use the message ID again.
            return _performing.TryGetValue(command.MessageId, out var performing) && performing == command;
        }
    }

    /// <summary>See <see cref="DataSetReader.ReadAsync"/>.</summary>
    internal ValueTask<ReadOnlyMemory<byte>> ReadPieceAsync(DataSetReader dataSet, CancellationToken cancellationToken)
    {
        if (dataSet.IsAbandoned)
        {
            // Saying "complete" here would let a cut data set pass for a whole one.
            throw new InvalidOperationException("The rest of this data set was thrown away by a later receive.");
        }

        return dataSet.IsComplete ? default : ReadPieceSafelyAsync(dataSet, cancellationToken);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<ReadOnlyMemory<byte>> ReadPieceSafelyAsync(DataSetReader dataSet, CancellationToken cancellationToken)
    {
        EnterReceive();
        ReadOnlyMemory<byte> piece;
        try
        {
            piece = await NextPieceAsync(dataSet, cancellationToken);
        }
        catch (Exception e) when (IsPeerFault(e))
        {
            throw await FailAsync(e);
        }
        finally
        {
            Volatile.Write(ref _receiving, 0);
        }

        if (piece.IsEmpty)
        {
            // Not before the receive is over: whoever waits for the end receives the next message at once, on another processor.
            dataSet.Complete();
        }

        return piece;
    }

    /// <summary>The next piece of the open data set; empty, once, when it is complete.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<ReadOnlyMemory<byte>> NextPieceAsync(DataSetReader dataSet, CancellationToken cancellationToken)
    {
        while (true)
        {
            if (_dataSetPdvOpen && _reader.PdvLeft > 0)
            {
                var piece = await _reader.TakePieceAsync(cancellationToken);
                dataSet.BytesRead += piece.Length;
                return dataSet.BytesRead <= _options.MaxDataSetBytes
                    ? piece
                    : throw new ProtocolViolationException(AbortReason.NotSpecified, $"a data set of more than {_options.MaxDataSetBytes} bytes");
            }

            if (_dataSetPdvOpen && _reader.PdvIsLast)
            {
                _dataSetPdvOpen = false;
                _dataSet = null;
                return default;
            }

            _dataSetPdvOpen = false;
            if (!await NextPdvAsync(insideUnit: false, cancellationToken))
            {
                throw new ProtocolViolationException(AbortReason.UnexpectedPdu, "an A-RELEASE-RQ came inside a data set");
            }

            if (_reader.PdvIsCommand || _reader.PdvContext != _dataSetContext?.Id)
            {
                throw new ProtocolViolationException(
                    AbortReason.UnexpectedPduParameter,
                    $"a {(_reader.PdvIsCommand ? "command" : "data set")} fragment of context {_reader.PdvContext} came inside a data set of context {_dataSetContext?.Id}");
            }

            _dataSetPdvOpen = true;
        }
    }

    /// <summary>Collects the fragments of one command set; null when the peer asked for release instead.</summary>
    private async ValueTask<DimseMessage?> ReceiveCommandAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            // A cancelled call left off inside a fragment when some of it is still to come.
            if (_commandContext is null || _reader.PdvLeft == 0)
            {
                if (!await NextPdvAsync(insideUnit: _commandContext is not null, cancellationToken))
                {
                    return _commandContext is null ? null : throw new ProtocolViolationException(AbortReason.UnexpectedPdu, "an A-RELEASE-RQ came inside a command set");
                }

                BeginCommandFragment();
            }

            while (_reader.PdvLeft > 0)
            {
                var piece = await _reader.TakePieceAsync(cancellationToken);
                piece.CopyTo(_command.AsMemory(_commandBytes));
                _commandBytes += piece.Length;
            }

            if (_reader.PdvIsLast)
            {
                return EndCommand();
            }
        }
    }

    private void BeginCommandFragment()
    {
        if (!_reader.PdvIsCommand || !_contexts.TryGetValue(_reader.PdvContext, out var context) || (_commandContext ?? context) != context)
        {
            throw new ProtocolViolationException(
                AbortReason.UnexpectedPduParameter,
                $"a {(_reader.PdvIsCommand ? "command" : "data set")} fragment of context {_reader.PdvContext} came where a command fragment of {(_commandContext is { } open ? $"context {open.Id}" : "an accepted context")} is expected");
        }

        // Each fragment costs its header too, so that a command set of empty fragments ends.
        _commandContext = context;
        if (_reader.PdvLeft + 6 > _options.MaxCommandSetBytes - _commandCost)
        {
            throw new ProtocolViolationException(AbortReason.InvalidPduParameter, $"a command set of more than {_options.MaxCommandSetBytes} bytes");
        }

        _commandCost += (int)_reader.PdvLeft + 6;
        if (_command.Length < _commandBytes + (int)_reader.PdvLeft)
        {
            Array.Resize(ref _command, Math.Max(512, (_commandBytes + (int)_reader.PdvLeft) * 2));
        }
    }

    private DimseMessage EndCommand()
    {
        var command = CommandSet.Decode(_command.AsSpan(0, _commandBytes));
        var context = _commandContext!;
        _commandContext = null;
        _commandBytes = _commandCost = 0;
        if (command.HasDataSet)
        {
            _dataSet = new DataSetReader(this);
            _dataSetContext = context;
            _dataSetPdvOpen = false;
        }

        return new(context, command, _dataSet);
    }

    /// <summary>Moves to the next presentation data value; false when the peer asked for release.</summary>
    private async ValueTask<bool> NextPdvAsync(bool insideUnit, CancellationToken cancellationToken)
    {
        if (_reader.PduLeft == 0 && !await NextDataPduAsync(insideUnit, cancellationToken))
        {
            return false;
        }

        await _reader.NextPdvAsync(cancellationToken);
        _emptyFragments = _reader.PdvLeft > 0 ? 0 : _emptyFragments + 1;
        return _emptyFragments <= MaxEmptyFragments
            ? true
            : throw new ProtocolViolationException(AbortReason.InvalidPduParameter, $"more than {MaxEmptyFragments} empty fragments in a row");
    }

    /// <summary>Moves into the next P-DATA-TF; false when the peer asked for release. Every other PDU ends the association.</summary>
    private async ValueTask<bool> NextDataPduAsync(bool insideUnit, CancellationToken cancellationToken)
    {
        if (!insideUnit)
        {
            await AwaitPduAsync(cancellationToken);
            _reader.StartClock(_options.PduTimeout);
        }

        var (type, length) = await _reader.ReadHeaderAsync(cancellationToken) ?? throw new EndOfStreamException("It was closed without a release.");
        switch (type)
        {
            case PduType.Data when length <= _options.MaxPduBytes:
                _reader.BeginData(length);
                return true;
            case PduType.Data:
                throw new ProtocolViolationException(AbortReason.InvalidPduParameter, $"a P-DATA-TF of {length} bytes where at most {_options.MaxPduBytes} were agreed");
            case PduType.ReleaseRequest when length == 4:
                // Not cancellable: its header is consumed. PduTimeout bounds the four bytes.
                await _reader.ReadBodyAsync(length, CancellationToken.None);
                _state = State.ReleaseRequested;
                return false;
            case PduType.Abort:
                throw await ReceivedAbortAsync(length, cancellationToken);
            default:
                throw UnexpectedPdu(type, length);
        }
    }

    /// <summary>
    /// Waits for the first byte of a PDU: as long as a response may take, or the idle time. Neither runs while we send, and the idle
    /// time does not run while we owe the peer an answer.
    /// </summary>
    private async ValueTask AwaitPduAsync(CancellationToken cancellationToken)
    {
        for (var since = _clock.GetTimestamp(); ;)
        {
            bool invoked, performing;
            lock (_gate)
            {
                (invoked, performing) = (_invoked.Count > 0, _performing.Count > 0);
            }

            var limit = invoked ? _options.ResponseTimeout : _options.IdleTimeout;
            _reader.StartClock(limit - _clock.GetElapsedTime(Math.Max(since, Volatile.Read(ref _lastWrite))));
            try
            {
                await _reader.WaitAsync(cancellationToken);
                return;
            }
            catch (TimeoutException) when (performing && !invoked && _dataSet is null)
            {
                since = _clock.GetTimestamp();
            }
            catch (TimeoutException) when (_clock.GetElapsedTime(Volatile.Read(ref _lastWrite)) < limit)
            {
                // We sent something in the meantime: the peer's time began again.
            }
            catch (TimeoutException e)
            {
                throw new TimeoutException($"The peer sent nothing for {limit.TotalSeconds:0.###} s{(invoked ? " while a response is due" : "")}.", e);
            }
        }
    }

    /// <summary>Takes the peer's A-ABORT; the connection is ours to close (PS3.8 AA-3).</summary>
    private async ValueTask<AssociationException> ReceivedAbortAsync(uint length, CancellationToken cancellationToken)
    {
        var abort = default(Abort);
        if (length == 4)
        {
            var body = await _reader.ReadBodyAsync(length, CancellationToken.None);
            abort = new Abort(body[2], (AbortReason)body[3]);
        }

        return await FailAsync(new(AssociationEnd.AbortedByPeer, $"The peer aborted the association: {abort}.") { Abort = abort }, null, cancellationToken);
    }

    private async ValueTask<DimseMessage> BeginPerformingAsync(DimseMessage message, CancellationToken cancellationToken)
    {
        using (var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _ended.Token))
        {
            try
            {
                await _performSlots.WaitAsync(either.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                ThrowIfOver();
                throw;
            }
        }

        _waitingForSlot = null;
        lock (_gate)
        {
            if (!_performing.TryAdd(message.Command.MessageId, message.Command))
            {
                throw new ProtocolViolationException(AbortReason.InvalidPduParameter, $"message ID {message.Command.MessageId} is already in use");
            }
        }

        return message;
    }

    private void EndInvoked(CommandSet response)
    {
        if (DimseStatus.IsPending(response.Status))
        {
            return;
        }

        lock (_gate)
        {
            if (!_invoked.Remove(response.MessageIdBeingRespondedTo))
            {
                throw new ProtocolViolationException(
                    AbortReason.InvalidPduParameter, $"a response to message {response.MessageIdBeingRespondedTo}, which is not outstanding");
            }
        }

        _invokeSlots.Release();
    }

    private void EnterReceive()
    {
        if (Interlocked.Exchange(ref _receiving, 1) != 0)
        {
            throw new InvalidOperationException("Another receive is pending on this association.");
        }

        try
        {
            ThrowIfOver();
            if (_state is not (State.Established or State.ReleaseRequested))
            {
                throw new InvalidOperationException("The association was released.");
            }
        }
        catch
        {
            Volatile.Write(ref _receiving, 0);
            throw;
        }
    }
}
