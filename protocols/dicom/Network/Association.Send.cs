using System.Buffers;

namespace Yizhan.Dicom.Network;

public sealed partial class Association
{
    private readonly SemaphoreSlim _outputLock = new(1);
    private readonly CancellationTokenSource _ended = new();
    private readonly CancellationTokenSource _cut = new();
    private readonly ITimer _writeTimer;
    private readonly HashSet<ushort> _invoked = [];
    private SemaphoreSlim _invokeSlots = new(1);
    private long _lastWrite;
    private bool _writeTimedOut;
    private bool _outputCut;

    /// <summary>Sends a message without a data set, in one write.</summary>
    /// <inheritdoc cref="SendAsync(byte, CommandSet, Stream, CancellationToken)"/>
    public ValueTask SendAsync(byte contextId, CommandSet command, CancellationToken cancellationToken) =>
        SendAsync(contextId, command, default, null, hasDataSet: false, cancellationToken);

    /// <summary>Sends a message whose data set is in memory. It must not change until the call returns.</summary>
    /// <inheritdoc cref="SendAsync(byte, CommandSet, Stream, CancellationToken)"/>
    public ValueTask SendAsync(byte contextId, CommandSet command, ReadOnlyMemory<byte> dataSet, CancellationToken cancellationToken) =>
        SendAsync(contextId, command, new(dataSet), null, hasDataSet: true, cancellationToken);

    /// <summary>Sends a message whose data set is in memory. It must not change until the call returns.</summary>
    /// <inheritdoc cref="SendAsync(byte, CommandSet, Stream, CancellationToken)"/>
    public ValueTask SendAsync(byte contextId, CommandSet command, ReadOnlySequence<byte> dataSet, CancellationToken cancellationToken) =>
        SendAsync(contextId, command, dataSet, null, hasDataSet: true, cancellationToken);

    /// <summary>Sends a message; the data set is everything that is left in a stream, sent as it is read, never collected.</summary>
    /// <param name="contextId">An accepted presentation context; the data set is in its transfer syntax.</param>
    /// <param name="command">The command set. A response's final status gives the request's place in the window back.</param>
    /// <param name="dataSet">The data set.</param>
    /// <param name="cancellationToken">
    /// Before the first byte is sent it only cancels; after it the association is aborted, because half a message cannot be taken back.
    /// </param>
    /// <remarks>
    /// A stream that can seek says how much is left; what it has not, half way, is a failure. Of another one a byte is read ahead to know its end.
    /// A data set of odd length gets one NUL at its end, because fragments are even (PS3.8 Annex E.2). A request waits while
    /// <see cref="InvokeWindow"/> earlier ones are unanswered, so somebody must be receiving.
    /// </remarks>
    /// <exception cref="AssociationException">
    /// The association is over. Whether the peer got the message is not known, unless <see cref="AssociationException.NothingSent"/>.
    /// </exception>
    /// <exception cref="ArgumentException">The context was not accepted.</exception>
    /// <exception cref="InvalidOperationException">A response to a message that is not outstanding, a message ID that is in use, or a released association.</exception>
    public ValueTask SendAsync(byte contextId, CommandSet command, Stream dataSet, CancellationToken cancellationToken) =>
        SendAsync(contextId, command, default, dataSet, hasDataSet: true, cancellationToken);

    /// <summary>
    /// Makes a message whose data set is a stream ready to be sent: its first part is read, the rest when it is sent. Nothing of the association is taken for
    /// it, so it may be done while another message goes out.
    /// </summary>
    /// <remarks>As of <see cref="SendAsync(byte, CommandSet, Stream, CancellationToken)"/>. What the stream throws comes out of here.</remarks>
    /// <exception cref="AssociationException">The association is over; nothing was sent.</exception>
    /// <exception cref="ArgumentException">The context was not accepted.</exception>
    public ValueTask<OutgoingMessage> PrepareAsync(byte contextId, CommandSet command, Stream dataSet, CancellationToken cancellationToken) =>
        PrepareAsync(contextId, command, default, dataSet, hasDataSet: true, cancellationToken);

    /// <summary>Sends a message that is ready.</summary>
    /// <inheritdoc cref="SendAsync(byte, CommandSet, Stream, CancellationToken)"/>
    public async ValueTask SendAsync(OutgoingMessage message, CancellationToken cancellationToken)
    {
        ThrowIfOver(nothingSent: true);
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _ended.Token);
        var command = message.Command;
        var isRequest = !command.IsResponse && command.Field != CommandField.CCancelRequest;
        CommandSet? answered = null;
        var begun = false;
        var writing = false;
        try
        {
            if (isRequest)
            {
                await _invokeSlots.WaitAsync(ending.Token);
                BeginInvoked(command);
                begun = true;
            }
            else if (command.IsResponse)
            {
                answered = EndPerforming(command);
            }

            await _outputLock.WaitAsync(ending.Token);
            writing = true;
            try
            {
                await WriteMessageAsync(message, cancellationToken);
            }
            finally
            {
                _outputLock.Release();
            }
        }
        catch when (_failure is null && !_outputCut)
        {
            // Nothing was sent, or the association would have failed: the message ID and its place in the window are as before.
            if (begun)
            {
                CancelInvoked(command);
            }

            if (answered is not null)
            {
                lock (_gate)
                {
                    _performing.Add(answered.MessageId, answered);
                }
            }

            throw;
        }
        catch (OperationCanceledException) when (!writing && !cancellationToken.IsCancellationRequested)
        {
            ThrowIfOver(nothingSent: true);
            throw;
        }

        if (answered is not null)
        {
            _performSlots.Release();
        }
    }

    private async ValueTask SendAsync(
        byte contextId, CommandSet command, ReadOnlySequence<byte> memory, Stream? stream, bool hasDataSet, CancellationToken cancellationToken)
    {
        await using var message = await PrepareAsync(contextId, command, memory, stream, hasDataSet, cancellationToken);
        await SendAsync(message, cancellationToken);
    }

    private async ValueTask<OutgoingMessage> PrepareAsync(
        byte contextId, CommandSet command, ReadOnlySequence<byte> memory, Stream? stream, bool hasDataSet, CancellationToken cancellationToken)
    {
        if (!_contexts.ContainsKey(contextId))
        {
            throw new ArgumentException($"Presentation context {contextId} is not accepted on this association.", nameof(contextId));
        }

        ThrowIfOver(nothingSent: true);
        var message = new OutgoingMessage(contextId, command, memory, stream, hasDataSet, SendPduBytes, _options.SendBufferBytes);
        try
        {
            await message.BeginAsync(cancellationToken);
            return message;
        }
        catch
        {
            await message.DisposeAsync();
            throw;
        }
    }

    private async ValueTask WriteMessageAsync(OutgoingMessage message, CancellationToken cancellationToken)
    {
        ThrowIfOver(nothingSent: true);
        if (!(_state == State.Established || (_state == State.ReleaseRequested && message.Command.IsResponse)))
        {
            throw new InvalidOperationException($"{message.Command} cannot be sent: the association is being released.");
        }

        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _cut.Token);
        var begun = false;
        try
        {
            do
            {
                ThrowIfOver(nothingSent: !begun);
                begun = true;
                message.BeginNext(either.Token);
                await WriteAsync(message.Part, either.Token);
            }
            while (await message.MoveNextAsync());
        }
        catch (Exception e)
        {
            // Whatever ended the sending ends the reading.
            await either.CancelAsync();
            if (!begun || _outputCut || e is AssociationException)
            {
                throw;
            }

            // Half a message cannot be taken back, also when it was the caller or the caller's stream that stopped it.
            var failure = await FailAsync(
                new(AssociationEnd.AbortedByUs, $"Sending stopped in the middle of a message: {e.Message}", e) { Abort = Abort.ByUser }, Abort.ByUser, CancellationToken.None,
                hasOutputLock: true);
            _reader.Stop(failure);
            cancellationToken.ThrowIfCancellationRequested();
            throw failure;
        }
    }

    private void BeginInvoked(CommandSet request)
    {
        bool added;
        lock (_gate)
        {
            added = _invoked.Add(request.MessageId);
        }

        if (!added)
        {
            _invokeSlots.Release();
            throw new InvalidOperationException($"Message ID {request.MessageId} is outstanding on this association.");
        }
    }

    private void CancelInvoked(CommandSet request)
    {
        lock (_gate)
        {
            _invoked.Remove(request.MessageId);
        }

        _invokeSlots.Release();
    }

    /// <summary>
    /// Takes the request of a final response from the outstanding ones, before it is sent: the peer may use its message ID again at once. Its place in the
    /// window is given back after that.
    /// </summary>
    private CommandSet? EndPerforming(CommandSet response)
    {
        lock (_gate)
        {
            if (!_performing.TryGetValue(response.MessageIdBeingRespondedTo, out var request))
            {
                throw new InvalidOperationException($"{response}: that message is not outstanding on this association.");
            }

            if (DimseStatus.IsPending(response.Status))
            {
                return null;
            }

            _performing.Remove(request.MessageId);
            return request;
        }
    }

    private async ValueTask WritePduAsync(byte[] pdu, CancellationToken cancellationToken)
    {
        await _outputLock.WaitAsync(cancellationToken);
        try
        {
            ThrowIfOver();
            using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _cut.Token);
            await WriteAsync(pdu, either.Token);
        }
        finally
        {
            _outputLock.Release();
        }
    }

    /// <summary>One write to the connection. The output lock is held.</summary>
    /// <exception cref="AssociationException">
    /// The write failed. That is not recorded as the end of the association: an A-ABORT that says why may be waiting to be received.
    /// </exception>
    private async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        if (_outputCut)
        {
            throw new AssociationException(AssociationEnd.ConnectionLost, "An earlier write to the peer failed.");
        }

        try
        {
            var writing = _output.WriteAsync(bytes, cancellationToken);
            if (!writing.IsCompleted)
            {
                _writeTimer.Change(_options.WriteTimeout, Timeout.InfiniteTimeSpan);
            }

            await writing;
            Volatile.Write(ref _lastWrite, _clock.GetTimestamp());
            _writeTimer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }
        catch (Exception e)
        {
            // How much of it went out is not known: nothing can follow, not even an A-ABORT.
            _outputCut = true;
            _writeTimer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            if (_writeTimedOut)
            {
                throw await FailAsync(
                    new(AssociationEnd.TimedOut, $"The peer read nothing for {_options.WriteTimeout.TotalSeconds:0.###} s.", e), null, CancellationToken.None);
            }

            ThrowIfOver();
            if (IsConnectionError(e))
            {
                throw new AssociationException(AssociationEnd.ConnectionLost, $"The connection to the peer is lost: {e.Message}", e);
            }

            _reader.Stop(await FailAsync(
                new(AssociationEnd.AbortedByUs, "Sending was cancelled in the middle of a PDU.", e), null, CancellationToken.None));
            throw;
        }
    }

    private void OnWriteTimeout()
    {
        _writeTimedOut = true;
        _cut.Cancel();
    }

    /// <summary>
    /// Sends an A-ABORT if a PDU may still follow what was sent. A message that is being sent stops at its next PDU; if it does not, because
    /// the peer does not read, closing the connection has to say it.
    /// </summary>
    private async ValueTask TrySendAbortAsync(Abort abort, bool hasOutputLock, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(_options.Artim, _clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, limit.Token, _cut.Token);
        try
        {
            if (!hasOutputLock)
            {
                await _outputLock.WaitAsync(either.Token);
            }

            try
            {
                await WriteAsync(new byte[] { (byte)PduType.Abort, 0, 0, 0, 0, 4, 0, 0, abort.Source, (byte)abort.Reason }, either.Token);
            }
            finally
            {
                if (!hasOutputLock)
                {
                    _outputLock.Release();
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or AssociationException)
        {
            _outputCut = true;
            _cut.Cancel();
        }
    }
}
