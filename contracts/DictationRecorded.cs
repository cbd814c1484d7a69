namespace Yizhan.Contracts;

/// <summary>The recording behind a dictated note, in lane bulk with its audio: the note itself (<see cref="ReportIssued"/>) does not wait for it.</summary>
/// <param name="ReportId">The note.</param>
/// <param name="PatientId">Whom it is about; may be empty.</param>
/// <param name="AudioSha256">Hash of the recording (WAV, 16 kHz, mono), a blob of this event.</param>
/// <param name="DurationMs">Its length.</param>
/// <param name="Dialect">What was spoken (BCP 47).</param>
/// <param name="Pack">What heard it, name and version.</param>
/// <param name="Errors">Errors that the person corrected, in mixed tokens.</param>
/// <param name="Words">Tokens of the corrected text.</param>
/// <param name="RecordedMs">When, Unix milliseconds UTC.</param>
public sealed record DictationRecorded(
    string ReportId, string PatientId, string AudioSha256, long DurationMs, string Dialect, string Pack, long Errors, long Words, long RecordedMs)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.asr.dictation-recorded.v1";
}
