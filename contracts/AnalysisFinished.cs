namespace Yizhan.Contracts;

/// <summary>
/// A model has looked at a series: a proposal to whoever reads the study, never a diagnosis. Event type <see cref="EventType"/>, in lane urgent when a finding is above the
/// bundle's threshold; an element of <c>GET /ai-infer/results</c>. From it emr-adapter makes what each EMR is told.
/// </summary>
/// <param name="StudyInstanceUid">(0020,000D).</param>
/// <param name="SeriesInstanceUid">(0020,000E) of what was analysed.</param>
/// <param name="PatientId">(0010,0020), so that the result finds its patient; null when the images have none.</param>
/// <param name="Model">Name of the model.</param>
/// <param name="Version">Its version.</param>
/// <param name="ModelDigest">SHA-256 of the bundle's manifest, which names model and settings: with the input's digest it makes the result reproducible.</param>
/// <param name="InputDigest">SHA-256 of the pixels and UIDs that went in; null when they could not be read.</param>
/// <param name="Outcome"><c>findings</c>, <c>none</c>, <c>refused</c> (the series is not what the model was made for) or <c>failed</c>.</param>
/// <param name="Reason">Why it was refused or failed; null otherwise.</param>
/// <param name="Findings">What was found.</param>
/// <param name="SegmentationUid">SOP Instance UID of the segmentation; null when there is none.</param>
/// <param name="ReportUid">SOP Instance UID of the measurement report; null when there is none.</param>
/// <param name="ClinicalUse">False: not for clinical use.</param>
/// <param name="Urgent">A finding is above the bundle's threshold.</param>
/// <param name="Observations">The findings as FHIR R4 Observation resources, JSON, in the same order; patient and device are by identifier and by name.</param>
/// <param name="TimeMs">When, Unix milliseconds UTC.</param>
public sealed record AnalysisFinished(
    string StudyInstanceUid, string SeriesInstanceUid, string? PatientId, string Model, string Version, string ModelDigest, string? InputDigest, string Outcome, string? Reason,
    IReadOnlyList<AnalysisFinding> Findings, string? SegmentationUid, string? ReportUid, bool ClinicalUse, bool Urgent, IReadOnlyList<string> Observations, long TimeMs)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.ai.analysis-finished.v1";
}

/// <summary>One finding of an analysis.</summary>
/// <param name="Number">Its segment number.</param>
/// <param name="Label">What it is.</param>
/// <param name="VolumeMl">Volume in millilitres.</param>
/// <param name="Mean">Mean of the modality values in it.</param>
/// <param name="Code">What it is, as a code.</param>
/// <param name="CodeSystem">URI of its code system; empty for a local code.</param>
/// <param name="Urgent">It is above the bundle's threshold: somebody has to look at once.</param>
public sealed record AnalysisFinding(int Number, string Label, double VolumeMl, double Mean, string Code = "", string CodeSystem = "", bool Urgent = false);
