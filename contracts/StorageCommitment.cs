namespace Yizhan.Contracts;

/// <summary>SOP instances of one class.</summary>
/// <param name="SopClassUid">(0008,1150).</param>
/// <param name="SopInstanceUids">(0008,1155) of each.</param>
public sealed record SopReferences(string SopClassUid, IReadOnlyList<string> SopInstanceUids);

/// <summary>A peer asked whether it may delete its copies (PS3.4 §J.3.2); it will be told once the answer is known.</summary>
/// <param name="PeerAeTitle">Who asked.</param>
/// <param name="TransactionUid">(0008,1195), the peer's name for it.</param>
/// <param name="References">The instances that it asked about.</param>
public sealed record CommitmentRequested(string PeerAeTitle, string TransactionUid, IReadOnlyList<SopReferences> References)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.dicom.commitment-requested.v1";
}

/// <summary>The peer has taken the answer to its <see cref="CommitmentRequested"/>, or could not be told in time.</summary>
/// <param name="PeerAeTitle">Who asked.</param>
/// <param name="TransactionUid">(0008,1195).</param>
/// <param name="Committed">Instances that are kept here.</param>
/// <param name="Failed">Instances that are not.</param>
/// <param name="Delivered">False when it was given up.</param>
public sealed record CommitmentReported(string PeerAeTitle, string TransactionUid, int Committed, int Failed, bool Delivered)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.dicom.commitment-reported.v1";
}

/// <summary>A peer answered our own request: what it promises to keep (PS3.4 §J.3.3).</summary>
/// <param name="PeerAeTitle">Who answered.</param>
/// <param name="TransactionUid">(0008,1195), our name for the request.</param>
/// <param name="Committed">SOP Instance UIDs that it keeps.</param>
/// <param name="Failed">SOP Instance UIDs that it does not.</param>
public sealed record CommitmentReceived(
    string PeerAeTitle, string TransactionUid, IReadOnlyList<string> Committed, IReadOnlyList<string> Failed)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.dicom.commitment-received.v1";
}
