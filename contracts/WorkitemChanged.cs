namespace Yizhan.Contracts;

/// <summary>A workitem of the unified worklist (UPS, PS3.4 annex CC) was created or changed. Event type <see cref="EventType"/>.</summary>
/// <param name="WorkitemUid">Its SOP Instance UID.</param>
/// <param name="Version">1 when it was created, then one more with each change.</param>
/// <param name="State">Procedure Step State: SCHEDULED, IN PROGRESS, COMPLETED or CANCELED.</param>
/// <param name="TransactionUid">Who claimed it proves it with this; null while nobody has.</param>
/// <param name="CancelRequested">Somebody asked whoever claimed it to cancel.</param>
/// <param name="Dataset">All of it after the change, DICOM JSON.</param>
public sealed record WorkitemChanged(
    string WorkitemUid, long Version, string State, string? TransactionUid, bool CancelRequested, string Dataset)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.dicom.workitem-changed.v1";
}
