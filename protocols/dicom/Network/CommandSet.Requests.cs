namespace Yizhan.Dicom.Network;

/// <content>The requests of PS3.7 §9.3 and §10.3 besides C-ECHO and C-STORE.</content>
public sealed partial class CommandSet
{
    /// <summary>C-FIND-RQ (PS3.7 §9.3.2.1), medium priority.</summary>
    public static CommandSet FindRequest(ushort messageId, string sopClassUid) => Composite(CommandField.CFindRequest, messageId, sopClassUid);

    /// <summary>C-GET-RQ (PS3.7 §9.3.3.1), medium priority.</summary>
    public static CommandSet GetRequest(ushort messageId, string sopClassUid) => Composite(CommandField.CGetRequest, messageId, sopClassUid);

    /// <summary>C-MOVE-RQ (PS3.7 §9.3.4.1), medium priority.</summary>
    public static CommandSet MoveRequest(ushort messageId, string sopClassUid, string destinationAeTitle) =>
        Composite(CommandField.CMoveRequest, messageId, sopClassUid).SetString(CommandElement.MoveDestination, destinationAeTitle);

    /// <summary>C-CANCEL-RQ (PS3.7 §9.3.2.3): asks for the end of an operation; it has no response of its own.</summary>
    public static CommandSet CancelRequest(ushort messageId) => new CommandSet(CommandField.CCancelRequest)
        .SetUInt16(CommandElement.MessageIdBeingRespondedTo, messageId);

    /// <summary>N-ACTION-RQ (PS3.7 §10.3.4.1).</summary>
    public static CommandSet ActionRequest(ushort messageId, string sopClassUid, string sopInstanceUid, ushort actionTypeId) =>
        Requested(CommandField.NActionRequest, messageId, sopClassUid, sopInstanceUid).SetUInt16(CommandElement.ActionTypeId, actionTypeId);

    /// <summary>N-SET-RQ (PS3.7 §10.3.3.1).</summary>
    public static CommandSet SetRequest(ushort messageId, string sopClassUid, string sopInstanceUid) =>
        Requested(CommandField.NSetRequest, messageId, sopClassUid, sopInstanceUid);

    /// <summary>N-CREATE-RQ (PS3.7 §10.3.5.1).</summary>
    public static CommandSet CreateRequest(ushort messageId, string sopClassUid, string sopInstanceUid) =>
        Affected(CommandField.NCreateRequest, messageId, sopClassUid, sopInstanceUid);

    /// <summary>N-EVENT-REPORT-RQ (PS3.7 §10.3.1.1).</summary>
    public static CommandSet EventReportRequest(ushort messageId, string sopClassUid, string sopInstanceUid, ushort eventTypeId) =>
        Affected(CommandField.NEventReportRequest, messageId, sopClassUid, sopInstanceUid).SetUInt16(CommandElement.EventTypeId, eventTypeId);

    /// <summary>
    /// Adds the numbers of sub-operations to a C-GET or C-MOVE response (PS3.7 §9.3.3.2, §9.3.4.2); returns this. More than 65535 are told as that.
    /// </summary>
    /// <param name="counts">The numbers; how many remain is only told while some do or the operation was cancelled.</param>
    public CommandSet SetSubOperations(SubOperations counts)
    {
        if (DimseStatus.IsPending(Status) || Status == DimseStatus.Cancel)
        {
            SetUInt16(CommandElement.NumberOfRemainingSubOperations, Clamp(counts.Remaining));
        }

        return SetUInt16(CommandElement.NumberOfCompletedSubOperations, Clamp(counts.Completed))
            .SetUInt16(CommandElement.NumberOfFailedSubOperations, Clamp(counts.Failed))
            .SetUInt16(CommandElement.NumberOfWarningSubOperations, Clamp(counts.Warning));
    }

    /// <summary>The numbers of sub-operations of a C-GET or C-MOVE response; 0 for those that are absent.</summary>
    public SubOperations GetSubOperations() => new(
        GetUInt16(CommandElement.NumberOfRemainingSubOperations) ?? 0,
        GetUInt16(CommandElement.NumberOfCompletedSubOperations) ?? 0,
        GetUInt16(CommandElement.NumberOfFailedSubOperations) ?? 0,
        GetUInt16(CommandElement.NumberOfWarningSubOperations) ?? 0);

    private static ushort Clamp(int count) => (ushort)Math.Clamp(count, 0, ushort.MaxValue);

    private static CommandSet Composite(CommandField field, ushort messageId, string sopClassUid) => new CommandSet(field)
        .SetString(CommandElement.AffectedSopClassUid, sopClassUid)
        .SetUInt16(CommandElement.MessageId, messageId)
        .SetUInt16(CommandElement.Priority, 0);

    private static CommandSet Affected(CommandField field, ushort messageId, string sopClassUid, string sopInstanceUid) => new CommandSet(field)
        .SetString(CommandElement.AffectedSopClassUid, sopClassUid)
        .SetUInt16(CommandElement.MessageId, messageId)
        .SetString(CommandElement.AffectedSopInstanceUid, sopInstanceUid);

    private static CommandSet Requested(CommandField field, ushort messageId, string sopClassUid, string sopInstanceUid) => new CommandSet(field)
        .SetString(CommandElement.RequestedSopClassUid, sopClassUid)
        .SetUInt16(CommandElement.MessageId, messageId)
        .SetString(CommandElement.RequestedSopInstanceUid, sopInstanceUid);
}

/// <summary>The numbers of C-STORE sub-operations of a C-GET or C-MOVE.</summary>
/// <param name="Remaining">Not begun.</param>
/// <param name="Completed">Stored.</param>
/// <param name="Failed">Not stored.</param>
/// <param name="Warning">Stored with a warning.</param>
public readonly record struct SubOperations(int Remaining, int Completed, int Failed, int Warning);
