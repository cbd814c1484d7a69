namespace Yizhan.Storage.Tests.Contract;

/// <summary>
/// What the contract suite needs from a store: open it, close it, open it again with the same data, restore it. Another backend's test
/// project links the suite's files and gives its own.
/// </summary>
public abstract class StoreFixture : IAsyncDisposable
{
    /// <summary>Site of the stores that are opened.</summary>
    public const string Site = "site-a";

    /// <summary>The open log.</summary>
    public abstract IEventLog Log { get; }

    /// <summary>The blobs beside it.</summary>
    public abstract IBlobStore Blobs { get; }

    /// <summary>Closes what is open, in good order, and opens the same data again.</summary>
    /// <param name="restored">Open it as an operator does who put back a backup.</param>
    public abstract Task ReopenAsync(bool restored = false);

    /// <summary>A second store of its own, such as the centre that receives what the first sends. The fixture disposes it.</summary>
    public abstract Task<StoreFixture> AnotherAsync(string site);

    /// <summary>Opens the store empty with a quota in bytes.</summary>
    public abstract Task LimitAsync(long quotaBytes);

    /// <inheritdoc/>
    public abstract ValueTask DisposeAsync();
}
