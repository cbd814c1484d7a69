namespace Yizhan.Inventory.Ledger;

/// <summary>What a row of the ledger is. The numbers are stored: never change one.</summary>
internal enum MovementKind
{
    /// <summary>Goods came.</summary>
    Receive = 1,

    /// <summary>Goods were used, for a patient or not.</summary>
    Issue = 2,

    /// <summary>A correction with a reason, either way.</summary>
    Adjust = 3,

    /// <summary>Somebody counted: an observation, so the balance is what was counted, whatever is recorded later about the time before.</summary>
    Count = 4,

    /// <summary>Goods went to or came from another place.</summary>
    Transfer = 5,

    /// <summary>Goods were thrown away.</summary>
    Waste = 6,

    /// <summary>The lot may not be issued any more; its quantity is as it was.</summary>
    Recall = 7,
}
