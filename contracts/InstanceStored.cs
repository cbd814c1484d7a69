namespace Yizhan.Contracts;

/// <summary>A DICOM instance became durable at a site. Event type <see cref="EventType"/>; its blob is the data set as received.</summary>
/// <param name="StudyInstanceUid">(0020,000D).</param>
/// <param name="SeriesInstanceUid">(0020,000E).</param>
/// <param name="SopInstanceUid">(0008,0018).</param>
/// <param name="SopClassUid">(0008,0016).</param>
/// <param name="TransferSyntaxUid">Encoding of the blob: the one negotiated, never changed.</param>
/// <param name="Sha256">Hash of the data set, 64 lower-case hex digits: the blob's address.</param>
/// <param name="Length">Bytes of the data set.</param>
/// <param name="CallingAeTitle">Who sent it; the STOW-RS client's name when it came over HTTP.</param>
/// <param name="CalledAeTitle">Whom it was sent to.</param>
/// <param name="AssociationId">Same for all instances of one association or request: groups them for people and audit.</param>
public sealed record InstanceStored(
    string StudyInstanceUid,
    string SeriesInstanceUid,
    string SopInstanceUid,
    string SopClassUid,
    string TransferSyntaxUid,
    string Sha256,
    long Length,
    string CallingAeTitle,
    string CalledAeTitle,
    string AssociationId)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.dicom.instance-stored.v1";
}
