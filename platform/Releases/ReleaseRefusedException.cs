namespace Yizhan.Platform.Releases;

/// <summary>Why a release is not taken.</summary>
public enum ReleaseRefusal
{
    /// <summary>It is not a release: truncated, of another form, or doubled.</summary>
    Malformed,

    /// <summary>It is larger than a release may be.</summary>
    TooLarge,

    /// <summary>It holds a path that no release has.</summary>
    PathNotAllowed,

    /// <summary>A file is not the one that was signed.</summary>
    HashMismatch,

    /// <summary>Who proposed it has not signed it.</summary>
    NoSignature,

    /// <summary>A signature is of a key that is not trusted here.</summary>
    UnknownKey,

    /// <summary>A signature is of a key that was revoked.</summary>
    RevokedKey,

    /// <summary>A signature does not fit.</summary>
    WrongSignature,

    /// <summary>Too few others have approved it.</summary>
    NotEnoughApprovals,

    /// <summary>Who proposed it cannot approve it, with no key of theirs.</summary>
    OwnProposal,

    /// <summary>A newer one was here already, or another of the same version.</summary>
    Older,

    /// <summary>Its time is over.</summary>
    Expired,

    /// <summary>It has nothing for this site.</summary>
    NotForThisSite,

    /// <summary>Its site file has faults.</summary>
    InvalidSite,

    /// <summary>The keys that it brings are older than those here.</summary>
    OlderTrust,

    /// <summary>There are no keys here that could be trusted.</summary>
    NoTrust,
}

/// <summary>A release is not taken; the message says what was found and what would be accepted.</summary>
public sealed class ReleaseRefusedException(ReleaseRefusal reason, string message) : Exception(message)
{
    /// <summary>Why.</summary>
    public ReleaseRefusal Reason { get; } = reason;
}
