namespace Yizhan.Contracts;

/// <summary>
/// An imaging procedure step is to be done, was changed or was cancelled: an entry of the modality worklist (PS3.4 §K.6). The newest event for an
/// <paramref name="Id"/> counts. Names are of DICOM's; empty is unknown.
/// </summary>
/// <param name="Id">Identity of the step at whoever orders, 1 to 64 characters, such as the FHIR ServiceRequest's.</param>
/// <param name="Status">SCHEDULED, CANCELLED or COMPLETED; only what is scheduled is listed.</param>
/// <param name="AccessionNumber">(0008,0050).</param>
/// <param name="PatientId">(0010,0020).</param>
/// <param name="IssuerOfPatientId">(0010,0021).</param>
/// <param name="PatientName">(0010,0010): component groups joined by <c>=</c>, components by <c>^</c>.</param>
/// <param name="PatientBirthDate">(0010,0030), YYYYMMDD.</param>
/// <param name="PatientSex">(0010,0040): M, F or O.</param>
/// <param name="StudyInstanceUid">(0020,000D) that the study shall have; made from the id when empty.</param>
/// <param name="RequestedProcedureId">(0040,1001).</param>
/// <param name="RequestedProcedureDescription">(0032,1060).</param>
/// <param name="ReferringPhysicianName">(0008,0090).</param>
/// <param name="ScheduledStationAeTitle">(0040,0001): the modality that shall do it.</param>
/// <param name="Modality">(0008,0060).</param>
/// <param name="ScheduledStart">(0040,0002) and (0040,0003) in local time: YYYYMMDD or YYYYMMDDHHMMSS.</param>
/// <param name="ScheduledProcedureStepId">(0040,0009); the id when empty.</param>
/// <param name="ScheduledProcedureStepDescription">(0040,0007).</param>
public sealed record ProcedureScheduled(
    string Id,
    string Status,
    string AccessionNumber,
    string PatientId,
    string IssuerOfPatientId,
    string PatientName,
    string PatientBirthDate,
    string PatientSex,
    string StudyInstanceUid,
    string RequestedProcedureId,
    string RequestedProcedureDescription,
    string ReferringPhysicianName,
    string ScheduledStationAeTitle,
    string Modality,
    string ScheduledStart,
    string ScheduledProcedureStepId,
    string ScheduledProcedureStepDescription)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.dicom.procedure-scheduled.v1";
}
