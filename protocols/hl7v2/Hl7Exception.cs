namespace Yizhan.Hl7v2;

/// <summary>Error conditions of HL7 table 0357, sent in ERR-3 of an acknowledgement.</summary>
public enum Hl7Error
{
    /// <summary>A segment is missing or is not where it may be.</summary>
    SegmentSequence = 100,

    /// <summary>A field that the message needs is empty.</summary>
    RequiredFieldMissing = 101,

    /// <summary>A field does not hold what its data type says.</summary>
    DataType = 102,

    /// <summary>A coded value is not in its table.</summary>
    TableValueNotFound = 103,

    /// <summary>The message type is not accepted here.</summary>
    UnsupportedMessageType = 200,

    /// <summary>The trigger event is not accepted here.</summary>
    UnsupportedEventCode = 201,

    /// <summary>The processing id (MSH-11) is not accepted here.</summary>
    UnsupportedProcessingId = 202,

    /// <summary>The version (MSH-12) is not accepted here.</summary>
    UnsupportedVersionId = 203,

    /// <summary>A patient, order or visit that the message names is not known.</summary>
    UnknownKeyIdentifier = 204,

    /// <summary>What should be created exists.</summary>
    DuplicateKeyIdentifier = 205,

    /// <summary>The record is in use.</summary>
    ApplicationRecordLocked = 206,

    /// <summary>Anything else.</summary>
    ApplicationInternalError = 207,
}

/// <summary>A message that cannot be read or a value that cannot be written; the text says what it held and what is accepted.</summary>
/// <param name="error">Table 0357, for ERR-3.</param>
/// <param name="message">A sentence without values of the patient's.</param>
/// <param name="location">Where, as a path (<c>PID-5</c>) or an offset; for ERR-2.</param>
public sealed class Hl7Exception(Hl7Error error, string message, string location = "") : Exception(message)
{
    /// <summary>Table 0357.</summary>
    public Hl7Error Error { get; } = error;

    /// <summary>Where; empty when the whole message is meant.</summary>
    public string Location { get; } = location;
}
