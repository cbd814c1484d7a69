namespace Yizhan.Contracts;

/// <summary>A DICOM peer of this node; an element of <c>GET /pacs-gw/peers</c>.</summary>
/// <param name="AeTitle">Its AE title.</param>
/// <param name="Host">Where it is called; null when it is never called.</param>
/// <param name="Port">TCP port.</param>
/// <param name="Tls">Whether over TLS.</param>
/// <param name="Services">What it may ask for; empty is everything.</param>
/// <param name="Associations">Associations that it has open with us now.</param>
public sealed record PeerView(string AeTitle, string? Host, int Port, bool Tls, IReadOnlyList<string> Services, int Associations);

/// <summary>What a peer is asked for; the body of <c>POST /pacs-gw/peers/{aeTitle}/find|move|get|worklist</c>.</summary>
/// <param name="Level">PATIENT, STUDY, SERIES or IMAGE; not used for the worklist.</param>
/// <param name="Keys">
/// Attributes by keyword or eight hex digits, those in a sequence behind its keyword and a dot, and what they must match. Empty values are wanted in the
/// answer.
/// </param>
/// <param name="Destination">AE title that C-MOVE sends to; this node when null.</param>
/// <param name="Limit">Answers at most; then the query is cancelled. 1000 when null.</param>
public sealed record PeerQuery(string? Level, IReadOnlyDictionary<string, string> Keys, string? Destination = null, int? Limit = null);

/// <summary>What of this node's archive is sent to a peer or committed by it; the body of <c>POST /pacs-gw/peers/{aeTitle}/store|commit</c>.</summary>
/// <param name="StudyInstanceUid">The study.</param>
/// <param name="SeriesInstanceUid">Only this series; null for all.</param>
/// <param name="SopInstanceUid">Only this instance; null for all.</param>
public sealed record PeerStudy(string StudyInstanceUid, string? SeriesInstanceUid = null, string? SopInstanceUid = null);

/// <summary>How an echo ended.</summary>
/// <param name="Milliseconds">From the beginning of the connection to the answer.</param>
public sealed record EchoResult(double Milliseconds);

/// <summary>How sending or retrieving ended.</summary>
/// <param name="Completed">Instances that arrived.</param>
/// <param name="Failed">Instances that did not.</param>
/// <param name="FailedInstances">Their SOP Instance UIDs, as far as they are known.</param>
/// <param name="Message">Why, for the first of them; null when nothing failed.</param>
public sealed record TransferResult(int Completed, int Failed, IReadOnlyList<string> FailedInstances, string? Message);

/// <summary>A request for storage commitment that was made to a peer; also <c>GET /pacs-gw/commitments/{transactionUid}</c>.</summary>
/// <param name="TransactionUid">(0008,1195).</param>
/// <param name="Result">What the peer answered; null when it has not yet.</param>
public sealed record CommitmentView(string TransactionUid, CommitmentReceived? Result);
