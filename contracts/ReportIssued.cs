namespace Yizhan.Contracts;

/// <summary>
/// A report or note about a patient was written or changed, for the EMR. Of two events for one <paramref name="ReportId"/> the later one counts.
/// </summary>
/// <param name="ReportId">Identity of the report, 1 to 64 characters; the same for each of its versions.</param>
/// <param name="Kind">REPORT (of an imaging study) or NOTE (a clinical document).</param>
/// <param name="Status">preliminary, final, amended, corrected or appended (FHIR diagnostic-report-status).</param>
/// <param name="StudyInstanceUid">The study that it reports; empty for a note.</param>
/// <param name="AccessionNumber">Its accession number; may be empty.</param>
/// <param name="PatientId">Whom it is about; may be empty when the study or the accession number says it.</param>
/// <param name="Title">One line.</param>
/// <param name="Text">What it says, plain text.</param>
/// <param name="Author">Who signed it.</param>
/// <param name="IssuedMs">When, Unix milliseconds UTC.</param>
/// <param name="PdfSha256">Hash of its PDF, a blob of this event; empty when there is none.</param>
public sealed record ReportIssued(
    string ReportId, string Kind, string Status, string StudyInstanceUid, string AccessionNumber, string PatientId, string Title, string Text, string Author,
    long IssuedMs, string PdfSha256 = "")
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.emr.report.v1";
}
