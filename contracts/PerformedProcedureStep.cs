using System.Text.Json;

namespace Yizhan.Contracts;

/// <summary>A modality began, changed or ended a performed procedure step (PS3.4 annex F). Each event has the whole step as it is then.</summary>
/// <param name="SopInstanceUid">The step.</param>
/// <param name="PeerAeTitle">The modality.</param>
/// <param name="Status">(0040,0252): IN PROGRESS, COMPLETED or DISCONTINUED.</param>
/// <param name="Attributes">All attributes so far, as a DICOM JSON object (PS3.18 annex F).</param>
public sealed record PerformedProcedureStep(string SopInstanceUid, string PeerAeTitle, string Status, JsonElement Attributes)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.dicom.procedure-step.v1";
}
