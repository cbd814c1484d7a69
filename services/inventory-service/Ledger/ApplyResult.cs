namespace Yizhan.Inventory.Ledger;

/// <summary>What became of a batch.</summary>
internal abstract record ApplyResult
{
    private ApplyResult()
    {
    }

    /// <summary>All of its movements are in the ledger.</summary>
    public sealed record Applied : ApplyResult;

    /// <summary>It was there before, with the same movements.</summary>
    public sealed record Known : ApplyResult;

    /// <summary>Nothing of it was recorded.</summary>
    public abstract record Refused(string Problem) : ApplyResult;

    /// <summary>Its name was used for other movements.</summary>
    public sealed record NameTaken(string Problem) : Refused(Problem);

    /// <summary>It cannot be true: there is not that much stock, the lot was recalled, it has another expiry.</summary>
    public sealed record Impossible(string Problem) : Refused(Problem);

    /// <summary>It is not well formed, or names what is not defined.</summary>
    public sealed record Invalid(string Problem) : Refused(Problem);

    /// <summary>The event log's lane is full; it may be sent again.</summary>
    public sealed record NoRoom(string Problem) : Refused(Problem);
}
