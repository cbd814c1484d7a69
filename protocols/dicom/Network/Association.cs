using System.IO.Pipelines;
using System.Net.Sockets;

namespace Yizhan.Dicom.Network;

/// <summary>
/// One DICOM association over one connection, in either role: the upper layer state machine of PS3.8 §9.2 and the message exchange of
/// PS3.7. One task receives (<see cref="ReceiveAsync"/>, then <see cref="ReleaseAsync"/>); any number of tasks may send. Always dispose it: that
/// ends the association if nothing else did, waits for the peer to close (ARTIM) and closes the connection.
/// </summary>
public sealed partial class Association : IAsyncDisposable
{
    private readonly PduReader _reader;
    private readonly Stream _output;
    private readonly AssociationOptions _options;
    private readonly TimeProvider _clock;
    private readonly Lock _gate = new();

    private volatile State _state;
    private volatile AssociationException? _failure;
    private int _receiving;
    private int _disposed;
    private bool _released;

    private Association(PipeReader input, Stream output, bool isRequestor, AssociationOptions options, TimeProvider clock)
    {
        _options = options.Checked();
        _output = output;
        _clock = clock;
        _lastWrite = clock.GetTimestamp();
        _reader = new PduReader(input, clock);
        _writeTimer = clock.CreateTimer(_ => OnWriteTimeout(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        IsRequestor = isRequestor;
    }

    /// <summary>The states of PS3.8 §9.2.1 that exist while there is a connection; the decision (Sta3) is a call, not a state.</summary>
    private enum State
    {
        /// <summary>Sta2: acceptor, the connection is open, the A-ASSOCIATE-RQ is awaited.</summary>
        AwaitingRequest,

        /// <summary>Sta5: requestor, the A-ASSOCIATE answer is awaited.</summary>
        AwaitingAnswer,

        /// <summary>Sta6: data may be transferred.</summary>
        Established,

        /// <summary>Sta7 (and Sta9 to Sta12 in a collision): we asked for the release.</summary>
        Releasing,

        /// <summary>Sta8: the peer asked for the release, we have not answered.</summary>
        ReleaseRequested,

        /// <summary>Sta13: nothing more is sent; the peer should close the connection.</summary>
        AwaitingClose,

        /// <summary>Sta1: the connection is closed.</summary>
        Closed,
    }

    /// <summary>True when this side asked for the association.</summary>
    public bool IsRequestor { get; }

    /// <summary>The A-ASSOCIATE-RQ.</summary>
    public AssociateRequest Request { get; private set; } = null!;

    /// <summary>The A-ASSOCIATE-AC.</summary>
    public AssociateAccept Acceptance { get; private set; } = null!;

    /// <summary>The agreed presentation contexts, by id.</summary>
    public IReadOnlyDictionary<byte, AcceptedContext> PresentationContexts => _contexts;

    /// <summary>Operations that this side may have outstanding at the peer.</summary>
    public int InvokeWindow { get; private set; } = 1;

    /// <summary>Operations that the peer may have outstanding here.</summary>
    public int PerformWindow { get; private set; } = 1;

    /// <summary>The longest P-DATA-TF that we send, in bytes: what the peer offered, within our own limit.</summary>
    public int SendPduBytes { get; private set; }

    /// <summary>
    /// Aborts the association from any task; what is pending on other tasks fails. Does nothing when it is already over.
    /// </summary>
    public async ValueTask AbortAsync(CancellationToken cancellationToken)
    {
        var failure = new AssociationException(AssociationEnd.AbortedByUs, "This side aborted the association.") { Abort = Abort.ByUser };
        if (_state < State.AwaitingClose)
        {
            await FailAsync(failure, Abort.ByUser, cancellationToken);
        }

        _reader.Stop(failure);
    }

    /// <summary>
    /// Closes the connection. An association that was not released is aborted first. Takes up to the ARTIM time when the peer does not
    /// close its side. No receive may be pending; call <see cref="AbortAsync"/> to end one.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        if (_state < State.AwaitingClose)
        {
            await AbortAsync(CancellationToken.None);
        }

        if (_state == State.AwaitingClose)
        {
            await AwaitCloseAsync();
        }

        Close();
        await _output.DisposeAsync();
        _reader.Dispose();
        await _writeTimer.DisposeAsync();
    }

    /// <summary>
    /// Sta13. Closing while unread bytes wait would reset the connection, and the reset may overtake our last PDU; so everything
    /// is read and thrown away until the peer closes or ARTIM expires, even when the peer never pauses. A peer may also abort after it was
    /// released and then waits for us to close (AA-2): dcmtk's getscu does, when a last C-GET response had a data set.
    /// </summary>
    private async ValueTask AwaitCloseAsync()
    {
        var start = _clock.GetTimestamp();
        _reader.Stop(null);
        _reader.StartClock(_options.Artim);
        try
        {
            // After a release the next byte begins a PDU; after a failure it may be any byte, and only the end can be recognised.
            while (_released && _clock.GetElapsedTime(start) < _options.Artim && await _reader.ReadHeaderAsync(CancellationToken.None) is { } header)
            {
                if (header.Type == PduType.Abort)
                {
                    return;
                }

                if (header.Type != PduType.Data || header.Length > _options.MaxPduBytes)
                {
                    break;
                }

                _reader.BeginData(header.Length);
                await _reader.SkipDataAsync(CancellationToken.None);
            }

            do
            {
                _reader.DiscardBuffered();
            }
            while (_clock.GetElapsedTime(start) < _options.Artim && await _reader.WaitAsync(CancellationToken.None));
        }
        catch (Exception e) when (e is TimeoutException || IsConnectionError(e))
        {
            // ARTIM expired or the connection broke: either way it is closed now (PS3.8 AA-2, AR-5).
        }
    }

    private void Close()
    {
        _state = State.Closed;
        _cut.Cancel();
        _ended.Cancel();
    }

    /// <summary>Records the first failure, tells the peer if an abort is given, and wakes whoever waits on this association.</summary>
    private async ValueTask<AssociationException> FailAsync(
        AssociationException failure, Abort? tellPeer, CancellationToken cancellationToken, bool hasOutputLock = false)
    {
        lock (_gate)
        {
            if (_failure is { } earlier)
            {
                return earlier.Again();
            }

            _failure = failure;
        }

        _ended.Cancel();
        if (tellPeer is { } abort)
        {
            // Sta13 only once it is sent: the writer refuses in that state.
            await TrySendAbortAsync(abort, hasOutputLock, cancellationToken);
            _state = State.AwaitingClose;
        }
        else
        {
            Close();
        }

        return failure;
    }

    /// <summary>What a failed read means, told to the peer where it should know.</summary>
    private ValueTask<AssociationException> FailAsync(Exception cause)
    {
        if (cause is AssociationException already)
        {
            return new(already);
        }

        if (cause is ProtocolViolationException violation)
        {
            // PS3.8 §9.2.2: in Sta2 the action is AA-1 (source: service user), later AA-8 (source: service provider).
            var abort = _state == State.AwaitingRequest ? Abort.ByUser : new Abort(2, violation.Reason);
            return FailAsync(
                new(AssociationEnd.ProtocolViolation, $"The peer broke the protocol: {violation.Message}.", violation) { Abort = abort }, abort, CancellationToken.None);
        }

        return cause is TimeoutException
            ? FailAsync(new(AssociationEnd.TimedOut, cause.Message, cause) { Abort = Abort.ByUser }, Abort.ByUser, CancellationToken.None)
            : FailAsync(new(AssociationEnd.ConnectionLost, $"The connection to the peer is lost: {cause.Message}", cause), null, CancellationToken.None);
    }

    private static bool IsPeerFault(Exception e) => e is ProtocolViolationException or TimeoutException or AssociationException || IsConnectionError(e);

    private static bool IsConnectionError(Exception e) => e is IOException or SocketException or ObjectDisposedException;

    private void ThrowIfOver(bool nothingSent = false)
    {
        if (_failure is { } failure)
        {
            throw failure.Again(nothingSent);
        }

        ObjectDisposedException.ThrowIf(_disposed != 0, this);
    }
}
