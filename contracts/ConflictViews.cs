namespace Yizhan.Contracts;

/// <summary>Instances that say another patient than their study; an element of <c>GET /pacs-gw/conflicts</c>.</summary>
/// <param name="Key">For <c>POST /pacs-gw/conflicts/KEY</c>.</param>
/// <param name="StudyInstanceUid">The study.</param>
/// <param name="StudyPatientId">(0010,0020) of the study, as first seen.</param>
/// <param name="StudyPatientName">(0010,0010) of the study, as first seen.</param>
/// <param name="PatientId">(0010,0020) of the instances.</param>
/// <param name="PatientName">(0010,0010) of the instances.</param>
/// <param name="Instances">How many instances say so.</param>
/// <param name="FirstStoredMs">When the first of them became durable, Unix milliseconds UTC.</param>
/// <param name="SiteId">Site that received it.</param>
public sealed record ConflictView(
    long Key, string StudyInstanceUid, string StudyPatientId, string StudyPatientName, string PatientId, string PatientName, int Instances, long FirstStoredMs,
    string SiteId);

/// <summary>What a person decided; the body of <c>POST /pacs-gw/conflicts/KEY</c>.</summary>
/// <param name="Decision"><see cref="SamePatient"/> or <see cref="KeepApart"/>.</param>
public sealed record ConflictDecision(string Decision)
{
    /// <summary>Both are one patient: the instances, and later ones that say the same, belong to the study.</summary>
    public const string SamePatient = "same-patient";

    /// <summary>They do not belong to the study: they stay durable, and out of the index.</summary>
    public const string KeepApart = "keep-apart";
}
