namespace Yizhan.Contracts;

/// <summary>
/// Something that an auditor wants to know. Any service appends it to its node's event log, in the same append as the fact
/// itself; the audit service turns it into a leaf of its tree. Codes are those of DICOM PS3.15 A.5 and FHIR AuditEvent.
/// </summary>
/// <param name="EventId">DICOM code, such as <c>110104</c> (DICOM Instances Transferred).</param>
/// <param name="Action">One of C, R, U, D, E (FHIR audit-event-action).</param>
/// <param name="Outcome">0 success, 4 minor, 8 serious, 12 major failure (FHIR audit-event-outcome).</param>
/// <param name="Agent">Who did it: an AE title, the subject of a token, a service.</param>
/// <param name="AgentAddress">Network address of the agent; null when there is none.</param>
/// <param name="Source">What recorded it: service and site.</param>
/// <param name="Entity">What it was done to: <c>study/1.2.3</c>, <c>patient/…</c>, <c>config/…</c>. Never a name.</param>
/// <param name="Detail">A few words for people: counts, refusal reasons. Never patient data. May be null.</param>
/// <param name="RecordedMs">When, Unix milliseconds UTC.</param>
/// <param name="Patient">Id of the patient that it was about, when the entity does not say it: makes "who looked at this patient" complete. May be null.</param>
public sealed record AuditRecord(
    string EventId,
    string Action,
    int Outcome,
    string Agent,
    string? AgentAddress,
    string Source,
    string Entity,
    string? Detail,
    long RecordedMs,
    string? Patient = null)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.audit.record.v1";

    /// <summary>Most characters of <see cref="Patient"/>; a record with more is refused.</summary>
    public const int MaxPatientLength = 256;
}
