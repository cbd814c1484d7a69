namespace Yizhan.Dicom.Network;

/// <summary>How an association ended, when it was not released.</summary>
public enum AssociationEnd
{
    /// <summary>The peer answered with A-ASSOCIATE-RJ; see <see cref="AssociationException.Rejection"/>.</summary>
    Rejected,

    /// <summary>The peer sent A-ABORT; see <see cref="AssociationException.Abort"/>.</summary>
    AbortedByPeer,

    /// <summary>The peer broke PS3.8 or PS3.7 and was sent an A-ABORT; see <see cref="AssociationException.Abort"/>.</summary>
    ProtocolViolation,

    /// <summary>The peer took too long and was sent an A-ABORT.</summary>
    TimedOut,

    /// <summary>This side aborted, or gave up in the middle of a message.</summary>
    AbortedByUs,

    /// <summary>The connection broke or was closed without a release.</summary>
    ConnectionLost,
}

/// <summary>
/// The association is over, and not by a release. The only exception that a peer can cause; whatever operation was outstanding
/// has no known outcome.
/// </summary>
public sealed class AssociationException : IOException
{
    internal AssociationException(AssociationEnd end, string message, Exception? inner = null)
        : base(message, inner) => End = end;

    /// <summary>How it ended.</summary>
    public AssociationEnd End { get; }

    /// <summary>The A-ABORT that was received or sent, if any.</summary>
    public Abort? Abort { get; internal init; }

    /// <summary>The A-ASSOCIATE-RJ that was received, if any.</summary>
    public Rejection? Rejection { get; internal init; }

    /// <summary>True when it was thrown by sending a message of which nothing had gone out: the peer does not have it.</summary>
    public bool NothingSent { get; internal init; }

    /// <summary>The same end, thrown again where another task meets it.</summary>
    internal AssociationException Again(bool nothingSent = false) =>
        new(End, Message, this) { Abort = Abort, Rejection = Rejection, NothingSent = nothingSent };
}

/// <summary>The reason field of an A-ABORT whose source is the service provider (PS3.8 §9.3.8); 0 when the source is the user.</summary>
public enum AbortReason : byte
{
    /// <summary>Not specified.</summary>
    NotSpecified = 0,

    /// <summary>A PDU type outside PS3.8.</summary>
    UnrecognizedPdu = 1,

    /// <summary>A PDU that this state does not expect.</summary>
    UnexpectedPdu = 2,

    /// <summary>A PDU parameter that is not recognized.</summary>
    UnrecognizedPduParameter = 4,

    /// <summary>A PDU parameter that is not expected here.</summary>
    UnexpectedPduParameter = 5,

    /// <summary>A PDU parameter with an invalid value.</summary>
    InvalidPduParameter = 6,
}

/// <summary>An A-ABORT PDU (PS3.8 §9.3.8).</summary>
/// <param name="Source">0 = service user, 2 = service provider.</param>
/// <param name="Reason">Why; significant only when the provider is the source.</param>
public readonly record struct Abort(byte Source, AbortReason Reason)
{
    /// <summary>The abort of a service user: it has no reason.</summary>
    public static Abort ByUser => new(0, AbortReason.NotSpecified);

    /// <inheritdoc/>
    public override string ToString() => Source == 0 ? "A-ABORT by the service user" : $"A-ABORT by the service provider ({Reason})";
}

/// <summary>Source and reason of an A-ASSOCIATE-RJ (PS3.8 §9.3.4), as source × 256 + reason.</summary>
public enum RejectReason
{
    /// <summary>Service user: no reason given.</summary>
    NoReason = 0x0101,

    /// <summary>Service user: application context name not supported.</summary>
    ApplicationContextNotSupported = 0x0102,

    /// <summary>Service user: calling AE title not recognized.</summary>
    CallingAeTitleNotRecognized = 0x0103,

    /// <summary>Service user: called AE title not recognized.</summary>
    CalledAeTitleNotRecognized = 0x0107,

    /// <summary>Service provider (ACSE): no reason given.</summary>
    AcseNoReason = 0x0201,

    /// <summary>Service provider (ACSE): protocol version not supported.</summary>
    ProtocolVersionNotSupported = 0x0202,

    /// <summary>Service provider (presentation): temporary congestion.</summary>
    TemporaryCongestion = 0x0301,

    /// <summary>Service provider (presentation): local limit exceeded.</summary>
    LocalLimitExceeded = 0x0302,
}

/// <summary>An A-ASSOCIATE-RJ.</summary>
/// <param name="Reason">Source and reason.</param>
/// <param name="Transient">True: it may work later (result 2). False: it will not (result 1).</param>
public readonly record struct Rejection(RejectReason Reason, bool Transient)
{
    /// <inheritdoc/>
    public override string ToString() => $"A-ASSOCIATE-RJ ({Reason}, {(Transient ? "transient" : "permanent")})";
}
