namespace Yizhan.Contracts;

/// <summary>
/// What an EMR said about one imaging order. Orders may arrive in any sequence: of two events for one <paramref name="OrderId"/> the later
/// <paramref name="OrderedMs"/> counts, and a cancelled order stays cancelled. Texts are empty where they are unknown.
/// </summary>
/// <param name="OrderId">Identity of the order here, 1 to 64 characters, made of the source and its order number.</param>
/// <param name="Source">The system that ordered, as in the settings or as it names itself.</param>
/// <param name="Action">NEW, REVISE, RENEW, CANCEL or COMPLETE.</param>
/// <param name="OrderedMs">When the source said so, by its clock, Unix milliseconds UTC.</param>
/// <param name="PlacerOrderNumber">The order number at the source (ORC-2, FHIR PLAC).</param>
/// <param name="AccessionNumber">At most 16 characters (DICOM SH).</param>
/// <param name="PreviousOrderId">The order that this one revises or renews; a revised one is not done any more.</param>
/// <param name="RemoteId">Id of the order's resource at the source (FHIR or OpenMRS UUID).</param>
/// <param name="Patient">Whom it is about.</param>
/// <param name="Code">What is to be done, in the source's code system.</param>
/// <param name="CodeSystem">That code system.</param>
/// <param name="CodeText">The same for people.</param>
/// <param name="Modality">(0008,0060), when the source says it.</param>
/// <param name="ScheduledStationAeTitle">(0040,0001), when the source says it.</param>
/// <param name="ScheduledStart">YYYYMMDD or YYYYMMDDHHMMSS, local time.</param>
/// <param name="StudyInstanceUid">When the source gives it out (ZDS-1, IPC-3).</param>
/// <param name="RequestedProcedureId">IPC-2.</param>
/// <param name="ScheduledProcedureStepId">IPC-4.</param>
/// <param name="Priority">S (stat), A (as soon as possible) or R (routine).</param>
/// <param name="ReferringPhysicianName">Component groups as in DICOM PN.</param>
/// <param name="Reason">Why, or a comment to whoever does it.</param>
public sealed record ImagingOrder(
    string OrderId, string Source, string Action, long OrderedMs, string PlacerOrderNumber, string AccessionNumber, string PreviousOrderId, string RemoteId,
    EmrPatient Patient, string Code, string CodeSystem, string CodeText, string Modality, string ScheduledStationAeTitle, string ScheduledStart,
    string StudyInstanceUid, string RequestedProcedureId, string ScheduledProcedureStepId, string Priority, string ReferringPhysicianName, string Reason)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.emr.order.v1";
}

/// <summary>A patient as an EMR knows him.</summary>
/// <param name="PatientId">The identifier that images carry (0010,0020).</param>
/// <param name="Issuer">Who gives it out (0010,0021).</param>
/// <param name="RemoteId">Id of the patient's resource at the source; empty when it has none.</param>
/// <param name="Identifiers">All of them, the first too.</param>
/// <param name="Name">DICOM PN: components joined by <c>^</c>, groups by <c>=</c>.</param>
/// <param name="BirthDate">YYYYMMDD.</param>
/// <param name="Sex">M, F or O.</param>
public sealed record EmrPatient(
    string PatientId, string Issuer, string RemoteId, IReadOnlyList<EmrIdentifier> Identifiers, string Name, string BirthDate, string Sex);

/// <summary>One identifier of a patient.</summary>
/// <param name="Value">The identifier.</param>
/// <param name="Issuer">Who gives it out: a name, or an OID as <c>urn:oid:…</c>.</param>
/// <param name="Type">HL7 table 0203, such as MR or NI; may be empty.</param>
public sealed record EmrIdentifier(string Value, string Issuer, string Type);
