namespace Yizhan.Dicom.Network;

/// <summary>Command field values (PS3.7 Annex E.1, table E.1-1). A response is its request with bit 15 set.</summary>
public enum CommandField : ushort
{
    /// <summary>C-STORE-RQ.</summary>
    CStoreRequest = 0x0001,

    /// <summary>C-STORE-RSP.</summary>
    CStoreResponse = 0x8001,

    /// <summary>C-GET-RQ.</summary>
    CGetRequest = 0x0010,

    /// <summary>C-GET-RSP.</summary>
    CGetResponse = 0x8010,

    /// <summary>C-FIND-RQ.</summary>
    CFindRequest = 0x0020,

    /// <summary>C-FIND-RSP.</summary>
    CFindResponse = 0x8020,

    /// <summary>C-MOVE-RQ.</summary>
    CMoveRequest = 0x0021,

    /// <summary>C-MOVE-RSP.</summary>
    CMoveResponse = 0x8021,

    /// <summary>C-ECHO-RQ.</summary>
    CEchoRequest = 0x0030,

    /// <summary>C-ECHO-RSP.</summary>
    CEchoResponse = 0x8030,

    /// <summary>N-EVENT-REPORT-RQ.</summary>
    NEventReportRequest = 0x0100,

    /// <summary>N-EVENT-REPORT-RSP.</summary>
    NEventReportResponse = 0x8100,

    /// <summary>N-GET-RQ.</summary>
    NGetRequest = 0x0110,

    /// <summary>N-GET-RSP.</summary>
    NGetResponse = 0x8110,

    /// <summary>N-SET-RQ.</summary>
    NSetRequest = 0x0120,

    /// <summary>N-SET-RSP.</summary>
    NSetResponse = 0x8120,

    /// <summary>N-ACTION-RQ.</summary>
    NActionRequest = 0x0130,

    /// <summary>N-ACTION-RSP.</summary>
    NActionResponse = 0x8130,

    /// <summary>N-CREATE-RQ.</summary>
    NCreateRequest = 0x0140,

    /// <summary>N-CREATE-RSP.</summary>
    NCreateResponse = 0x8140,

    /// <summary>N-DELETE-RQ.</summary>
    NDeleteRequest = 0x0150,

    /// <summary>N-DELETE-RSP.</summary>
    NDeleteResponse = 0x8150,

    /// <summary>C-CANCEL-RQ, which has no response.</summary>
    CCancelRequest = 0x0FFF,
}

/// <summary>Element numbers of group 0000 (PS3.7 Annex E.1, table E.1-1).</summary>
public enum CommandElement : ushort
{
    /// <summary>UI.</summary>
    AffectedSopClassUid = 0x0002,

    /// <summary>UI.</summary>
    RequestedSopClassUid = 0x0003,

    /// <summary>US.</summary>
    CommandField = 0x0100,

    /// <summary>US.</summary>
    MessageId = 0x0110,

    /// <summary>US.</summary>
    MessageIdBeingRespondedTo = 0x0120,

    /// <summary>AE, C-MOVE.</summary>
    MoveDestination = 0x0600,

    /// <summary>US: 0 medium, 1 high, 2 low.</summary>
    Priority = 0x0700,

    /// <summary>US: 0x0101 = no data set.</summary>
    CommandDataSetType = 0x0800,

    /// <summary>US, see <see cref="DimseStatus"/>.</summary>
    Status = 0x0900,

    /// <summary>AT.</summary>
    OffendingElement = 0x0901,

    /// <summary>LO, at most 64 characters.</summary>
    ErrorComment = 0x0902,

    /// <summary>US.</summary>
    ErrorId = 0x0903,

    /// <summary>UI.</summary>
    AffectedSopInstanceUid = 0x1000,

    /// <summary>UI.</summary>
    RequestedSopInstanceUid = 0x1001,

    /// <summary>US, N-EVENT-REPORT.</summary>
    EventTypeId = 0x1002,

    /// <summary>AT, N-GET.</summary>
    AttributeIdentifierList = 0x1005,

    /// <summary>US, N-ACTION.</summary>
    ActionTypeId = 0x1008,

    /// <summary>US, C-GET and C-MOVE responses.</summary>
    NumberOfRemainingSubOperations = 0x1020,

    /// <summary>US, C-GET and C-MOVE responses.</summary>
    NumberOfCompletedSubOperations = 0x1021,

    /// <summary>US, C-GET and C-MOVE responses.</summary>
    NumberOfFailedSubOperations = 0x1022,

    /// <summary>US, C-GET and C-MOVE responses.</summary>
    NumberOfWarningSubOperations = 0x1023,

    /// <summary>AE, C-STORE sub-operation of a C-MOVE.</summary>
    MoveOriginatorApplicationEntityTitle = 0x1030,

    /// <summary>US, C-STORE sub-operation of a C-MOVE.</summary>
    MoveOriginatorMessageId = 0x1031,
}
