namespace Yizhan.Contracts;

/// <summary>An EMR created, corrected or merged a patient.</summary>
/// <param name="Source">The system that said so.</param>
/// <param name="Action">UPDATE (also for a new one) or MERGE.</param>
/// <param name="Patient">The patient; of a merge the one that stays.</param>
/// <param name="Retired">Of a merge, the identifier that is not used any more; null otherwise.</param>
/// <param name="ChangedMs">When, by the source's clock, Unix milliseconds UTC.</param>
public sealed record PatientChanged(string Source, string Action, EmrPatient Patient, EmrIdentifier? Retired, long ChangedMs)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.emr.patient.v1";
}
