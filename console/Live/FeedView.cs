using System.Collections.Immutable;

namespace Yizhan.Console.Live;

/// <summary>How a feed stands with its service.</summary>
public enum FeedState
{
    /// <summary>Nothing has been answered yet.</summary>
    Connecting,

    /// <summary>What is shown is what the service has.</summary>
    Live,

    /// <summary>The service does not answer, or not as agreed; what is shown is the last that it said.</summary>
    Interrupted,
}

/// <summary>What a page shows of one service at one moment. Never changed, only replaced.</summary>
/// <param name="State">How it stands.</param>
/// <param name="Items">The last that is known, in the order to show.</param>
/// <param name="UpdatedAt">When the service last confirmed <paramref name="Items"/>; null before its first answer.</param>
/// <param name="Problem">Why it is interrupted; null when it is not.</param>
/// <param name="RetryAt">When the next attempt begins; null while one is under way.</param>
public sealed record FeedView<T>(
    FeedState State,
    ImmutableArray<FeedItem<T>> Items,
    DateTimeOffset? UpdatedAt,
    FeedProblem? Problem,
    DateTimeOffset? RetryAt)
{
    /// <summary>Before the first answer.</summary>
    public FeedView() : this(FeedState.Connecting, [], null, null, null)
    {
    }
}

/// <summary>One record of a feed.</summary>
/// <param name="Value">The record.</param>
/// <param name="ArrivedAt">When the console first saw it; null when it was there already as the console started.</param>
public sealed record FeedItem<T>(T Value, DateTimeOffset? ArrivedAt);

/// <summary>Why a feed is interrupted.</summary>
/// <param name="Address">Base address of the service that was asked.</param>
/// <param name="HttpStatus">What it answered instead of 200; null when there was no answer.</param>
/// <param name="NotUnderstood">True when it answered with something that is not the agreed JSON.</param>
public sealed record FeedProblem(Uri Address, int? HttpStatus, bool NotUnderstood);
