namespace Yizhan.Dicom.Network;

/// <summary>DIMSE statuses: PS3.7 Annex C for all services, PS3.4 §B.2.3 for storage, §C.4 for query/retrieve.</summary>
public static class DimseStatus
{
    /// <summary>PS3.7 C.1: done.</summary>
    public const ushort Success = 0x0000;

    /// <summary>PS3.7 C.3: the operation was cancelled.</summary>
    public const ushort Cancel = 0xFE00;

    /// <summary>PS3.7 C.2: more responses follow.</summary>
    public const ushort Pending = 0xFF00;

    /// <summary>PS3.4 C.4.1.1.4: more responses follow; an optional key was not matched.</summary>
    public const ushort PendingWithWarning = 0xFF01;

    /// <summary>PS3.7 C.4: attribute list error, the rest was done.</summary>
    public const ushort AttributeListError = 0x0107;

    /// <summary>PS3.7 C.5: general failure in processing the operation.</summary>
    public const ushort ProcessingFailure = 0x0110;

    /// <summary>PS3.7 C.5: no such attribute.</summary>
    public const ushort NoSuchAttribute = 0x0105;

    /// <summary>PS3.7 C.5: invalid attribute value.</summary>
    public const ushort InvalidAttributeValue = 0x0106;

    /// <summary>PS3.7 C.5: the SOP instance is already managed.</summary>
    public const ushort DuplicateSopInstance = 0x0111;

    /// <summary>PS3.7 C.5: no such SOP instance.</summary>
    public const ushort NoSuchSopInstance = 0x0112;

    /// <summary>PS3.7 C.5: invalid argument value.</summary>
    public const ushort InvalidArgumentValue = 0x0115;

    /// <summary>PS3.7 C.5: the SOP instance UID breaks the rules of UIDs.</summary>
    public const ushort InvalidSopInstance = 0x0117;

    /// <summary>PS3.7 C.5: no such SOP class.</summary>
    public const ushort NoSuchSopClass = 0x0118;

    /// <summary>PS3.7 C.5: the SOP instance is not of the SOP class.</summary>
    public const ushort ClassInstanceConflict = 0x0119;

    /// <summary>PS3.7 C.5: a required attribute is missing.</summary>
    public const ushort MissingAttribute = 0x0120;

    /// <summary>PS3.7 C.5: a required attribute has no value.</summary>
    public const ushort MissingAttributeValue = 0x0121;

    /// <summary>PS3.7 C.5: refused, SOP class not supported.</summary>
    public const ushort SopClassNotSupported = 0x0122;

    /// <summary>PS3.7 C.5: no such action.</summary>
    public const ushort NoSuchActionType = 0x0123;

    /// <summary>PS3.7 C.5: refused, the peer is not authorized.</summary>
    public const ushort NotAuthorized = 0x0124;

    /// <summary>PS3.7 C.5: the message ID is in use.</summary>
    public const ushort DuplicateInvocation = 0x0210;

    /// <summary>PS3.7 C.5: the operation is not recognized.</summary>
    public const ushort UnrecognizedOperation = 0x0211;

    /// <summary>PS3.7 C.5: a parameter is mistyped.</summary>
    public const ushort MistypedArgument = 0x0212;

    /// <summary>PS3.7 C.5: resource limitation.</summary>
    public const ushort ResourceLimitation = 0x0213;

    /// <summary>PS3.4 B.2.3: refused, out of resources (0xA700 to 0xA7FF). The sender may try again later.</summary>
    public const ushort OutOfResources = 0xA700;

    /// <summary>PS3.4 B.2.3: failed, the data set does not match the SOP class (0xA900 to 0xA9FF).</summary>
    public const ushort DataSetDoesNotMatchSopClass = 0xA900;

    /// <summary>PS3.4 B.2.3: failed, cannot understand (0xC000 to 0xCFFF).</summary>
    public const ushort CannotUnderstand = 0xC000;

    /// <summary>PS3.4 B.2.3: stored, but elements were coerced.</summary>
    public const ushort CoercionOfDataElements = 0xB000;

    /// <summary>PS3.4 B.2.3: stored, but elements were discarded.</summary>
    public const ushort ElementsDiscarded = 0xB006;

    /// <summary>PS3.4 B.2.3: stored, although the data set does not match the SOP class.</summary>
    public const ushort DataSetDoesNotMatchSopClassWarning = 0xB007;

    /// <summary>PS3.4 C.4.2: the move destination is unknown.</summary>
    public const ushort MoveDestinationUnknown = 0xA801;

    /// <summary>PS3.4 C.4.2: refused, the number of matches cannot be calculated.</summary>
    public const ushort CannotCountMatches = 0xA701;

    /// <summary>PS3.4 C.4.2: refused, no sub-operation could be performed.</summary>
    public const ushort CannotPerformSubOperations = 0xA702;

    /// <summary>PS3.4 C.4.1 to C.4.3: failed, the identifier does not match the SOP class.</summary>
    public const ushort IdentifierDoesNotMatch = 0xA900;

    /// <summary>PS3.4 C.4.2: complete, one or more sub-operations failed.</summary>
    public const ushort SubOperationsFailed = 0xB000;

    /// <summary>True for 0xFF00 and 0xFF01: this response is not the last.</summary>
    public static bool IsPending(ushort status) => status is Pending or PendingWithWarning;

    /// <summary>True for PS3.7 Annex C.4: 0x0001, 0x0107, 0x0116 and 0xBxxx. The operation was done.</summary>
    public static bool IsWarning(ushort status) => status is 0x0001 or AttributeListError or 0x0116 || status >> 12 == 0xB;

    /// <summary>True when the operation was not done.</summary>
    public static bool IsFailure(ushort status) => status != Success && status != Cancel && !IsPending(status) && !IsWarning(status);
}
