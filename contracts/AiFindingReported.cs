namespace Yizhan.Contracts;

/// <summary>A model found something in a study. It is a proposal to whoever reads the study, never a diagnosis.</summary>
/// <param name="FindingId">Identity of the finding, 1 to 64 characters; the same when the model is asked again about the same study.</param>
/// <param name="Model">The model's name.</param>
/// <param name="ModelVersion">Its version.</param>
/// <param name="StudyInstanceUid">The study.</param>
/// <param name="SeriesInstanceUid">The series that was looked at; may be empty.</param>
/// <param name="SopInstanceUid">The instance; may be empty.</param>
/// <param name="Code">What was looked for.</param>
/// <param name="CodeSystem">URI of its code system; empty for a local code.</param>
/// <param name="CodeText">The same for people.</param>
/// <param name="Present">Whether it was found.</param>
/// <param name="Probability">0 to 1; null when the model gives none.</param>
/// <param name="Summary">A sentence for people.</param>
/// <param name="Critical">Somebody has to look at once.</param>
/// <param name="FoundMs">When, Unix milliseconds UTC.</param>
public sealed record AiFindingReported(
    string FindingId, string Model, string ModelVersion, string StudyInstanceUid, string SeriesInstanceUid, string SopInstanceUid, string Code, string CodeSystem,
    string CodeText, bool Present, double? Probability, string Summary, bool Critical, long FoundMs)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.ai.finding.v1";
}
