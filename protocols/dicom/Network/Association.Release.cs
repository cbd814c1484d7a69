namespace Yizhan.Dicom.Network;

public sealed partial class Association
{
    /// <summary>
    /// Releases the association (PS3.8 §7.2): answers when the peer has asked for it (<see cref="ReceiveAsync"/> returned null), asks otherwise and
    /// waits up to ARTIM for the answer; data that still comes is thrown away. Nothing may be outstanding. Dispose the association afterwards.
    /// </summary>
    /// <exception cref="AssociationException">The peer aborted, vanished or did not answer.</exception>
    public async ValueTask ReleaseAsync(CancellationToken cancellationToken)
    {
        EnterReceive();
        try
        {
            if (_state == State.ReleaseRequested)
            {
                await WritePduAsync(ReleasePdu(PduType.ReleaseResponse), cancellationToken);
                (_state, _released) = (State.AwaitingClose, true);
                return;
            }

            _state = State.Releasing;
            await WritePduAsync(ReleasePdu(PduType.ReleaseRequest), cancellationToken);
            await AwaitReleaseAsync(cancellationToken);
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

    private async ValueTask AwaitReleaseAsync(CancellationToken cancellationToken)
    {
        var start = _clock.GetTimestamp();
        var peerAsked = false;
        _reader.StartClock(_options.Artim);
        while (true)
        {
            await _reader.SkipDataAsync(cancellationToken);
            if (_clock.GetElapsedTime(start) >= _options.Artim)
            {
                throw new TimeoutException("The peer sends data instead of an A-RELEASE-RP.");
            }

            var (type, length) = await _reader.ReadHeaderAsync(cancellationToken) ?? throw new EndOfStreamException("It was closed without an A-RELEASE-RP.");
            switch (type)
            {
                case PduType.Data when length <= _options.MaxPduBytes:
                    _reader.BeginData(length);
                    break;
                case PduType.ReleaseResponse when length == 4:
                    await _reader.ReadBodyAsync(length, CancellationToken.None);
                    if (peerAsked && !IsRequestor)
                    {
                        // Sta10 to Sta13: in a collision the acceptor answers second.
                        await WritePduAsync(ReleasePdu(PduType.ReleaseResponse), cancellationToken);
                        (_state, _released) = (State.AwaitingClose, true);
                    }
                    else
                    {
                        Close();
                    }

                    return;
                case PduType.ReleaseRequest when length == 4 && !peerAsked:
                    // Release collision (PS3.8 AR-8): the requestor of the association answers first (Sta9 to Sta11).
                    await _reader.ReadBodyAsync(length, CancellationToken.None);
                    peerAsked = true;
                    if (IsRequestor)
                    {
                        await WritePduAsync(ReleasePdu(PduType.ReleaseResponse), cancellationToken);
                    }

                    break;
                case PduType.Abort:
                    throw await ReceivedAbortAsync(length, cancellationToken);
                default:
                    throw UnexpectedPdu(type, length);
            }
        }
    }

    private static byte[] ReleasePdu(PduType type) => [(byte)type, 0, 0, 0, 0, 4, 0, 0, 0, 0];
}
