using Yizhan.NmtAsr.Engines;

namespace Yizhan.NmtAsr.Live;

/// <summary>The first message of a client.</summary>
/// <param name="Session">Identity of the dictation, 8 to 48 of a-z, 0-9 and '-'; the same to resume it.</param>
/// <param name="Dialect">What is spoken (BCP 47); null for the site's first.</param>
/// <param name="SampleRate">Of the audio that follows. Default 16000.</param>
/// <param name="HotWords">Words that are likelier, beside the site's; those that an engine cannot make likelier are in the answer.</param>
/// <param name="Format"><c>pcm</c>: 16 bits, mono, offsets in samples of 16 kHz. <c>opus</c>: a recording in WebM or Ogg as MediaRecorder gives it, in pieces of any length; offsets are bytes of it.</param>
internal sealed record LiveStart(string Session, string? Dialect = null, int SampleRate = 16_000, IReadOnlyList<string>? HotWords = null, string Format = "pcm");

/// <summary>Every message of the service.</summary>
/// <param name="Type"><c>ready</c>, <c>partial</c>, <c>final</c>, <c>ack</c>, <c>done</c> or <c>error</c>.</param>
internal sealed record LiveMessage(string Type)
{
    /// <summary>Samples that are on disk: the client goes on from there and may forget what is before.</summary>
    public long? Samples { get; init; }

    /// <summary>The same of a recording in Opus, in bytes: its frames go on from there.</summary>
    public long? Bytes { get; init; }

    /// <summary>What was heard.</summary>
    public SpeechResult? Result { get; init; }

    /// <summary>The whole text of a finished dictation.</summary>
    public string? Text { get; init; }

    /// <summary>Name and version of what hears.</summary>
    public string? Pack { get; init; }

    /// <summary>What the microphone should be looked at for (silent, clipped), and what was asked for and is not done (hot-words-ignored).</summary>
    public IReadOnlyList<string>? Warnings { get; init; }

    /// <summary>Hot words of the client that what hears does not know how to say, or cannot make likelier.</summary>
    public IReadOnlyList<string>? IgnoredHotWords { get; init; }

    /// <summary>What is wrong: <c>start</c>, <c>dialect</c>, <c>busy</c>, <c>gap</c>, <c>frame</c>, <c>idle</c>, <c>full</c>, <c>owner</c>, <c>format</c> or <c>engine</c>.</summary>
    public string? Code { get; init; }

    /// <summary>The same for people.</summary>
    public string? Detail { get; init; }
}

/// <summary>What a person made of a dictation: <c>POST /nmt-asr/dictations/{id}/note</c>.</summary>
/// <param name="PatientId">Whom it is about.</param>
/// <param name="Title">One line.</param>
/// <param name="Text">The corrected text.</param>
internal sealed record NoteRequest(string PatientId, string Title, string Text);

/// <summary>The note that was made.</summary>
/// <param name="ReportId">Its identity in the EMR.</param>
/// <param name="AudioSha256">The recording.</param>
/// <param name="Errors">Errors that were corrected.</param>
/// <param name="Words">Tokens of the corrected text.</param>
/// <param name="Rate">Errors for each token.</param>
internal sealed record NoteView(string ReportId, string AudioSha256, long Errors, long Words, double Rate);
