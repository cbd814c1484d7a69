namespace Yizhan.Contracts;

/// <summary>A destination of the gateway's rules; an element of <c>GET /pacs-gw/routes</c>.</summary>
/// <param name="Name">Name in the rules.</param>
/// <param name="Address">AE title, host and port, or the address of its REST API.</param>
/// <param name="Waiting">Copies that are still to be sent.</param>
/// <param name="Delivered">Copies that it has.</param>
/// <param name="Failed">Copies that wait for a person.</param>
/// <param name="OldestWaitingMs">When the oldest waiting copy was noted, Unix milliseconds UTC; null when none waits.</param>
/// <param name="AwaySinceMs">Since when it cannot be reached, Unix milliseconds UTC; null when it can, or was not asked.</param>
/// <param name="AwayReason">Why; null when it can be reached.</param>
public sealed record DestinationView(
    string Name, string Address, long Waiting, long Delivered, long Failed, long? OldestWaitingMs, long? AwaySinceMs, string? AwayReason);

/// <summary>A copy that its destination refused or that could not be made; an element of <c>GET /pacs-gw/routes/failed</c>.</summary>
/// <param name="Key">For <c>POST /pacs-gw/routes/failed/KEY/retry</c> and <c>DELETE /pacs-gw/routes/failed/KEY</c>.</param>
/// <param name="Destination">Where it was to go.</param>
/// <param name="Rule">The rule that says so.</param>
/// <param name="StudyInstanceUid">Study of the original.</param>
/// <param name="SopInstanceUid">The original.</param>
/// <param name="Attempts">How often it was tried.</param>
/// <param name="Reason">Why it was refused, without patient data.</param>
/// <param name="QueuedMs">When it was noted, Unix milliseconds UTC.</param>
/// <param name="FailedMs">When it was given to a person, Unix milliseconds UTC.</param>
public sealed record DeliveryView(
    long Key, string Destination, string Rule, string StudyInstanceUid, string SopInstanceUid, int Attempts, string Reason, long QueuedMs, long FailedMs);
