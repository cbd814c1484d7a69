namespace Yizhan.Console.Language;

internal sealed partial class EnglishTexts
{
    public override string Dictation => "Dictation";
    public override string DictationNotForYou => "Your role may not write records.";
    public override string DictationHint => "Only the languages below are recognised. Other dialects need a pack that your site brings. Read every note before you send it.";
    public override string DictateLive => "Dictate";
    public override string DialectSpoken => "Spoken";
    public override string DictationSlowLine => "Slow line: compress the sound (Opus)";
    public override string DictationBegin => "Begin";
    public override string DictationPause => "Pause";
    public override string DictationFinish => "Finish";
    public override string DictationText => "Text, to be corrected";
    public override string DictationTranslation => "Translation";
    public override string DictationTranslationHint => "A draft. What is marked may have lost a number, a unit, a negation, a side or a term.";
    public override string NoteTitle => "Title";
    public override string ProgressNote => "Progress note";
    public override string SendToEmr => "Send to the record";
    public override string Recordings => "Recordings";
    public override string RecordingsHint => "WAV files; each is heard while it is sent.";
    public override string NobodyHears => "Nothing here recognises speech: no pack is installed.";
    public override string DictationListening => "Listening.";
    public override string DictationPaused => "Paused.";
    public override string DictationBroken => "The line is broken. Go on speaking: what you say is kept and sent later.";
    public override string DictationFinishing => "The last words are on their way.";
    public override string DictationFinished => "Finished. Read the text, then send it.";
    public override string DictationFull => "The line has been broken for too long: the dictation ends here.";
    public override string NoMicrophone => "The microphone cannot be used: {0}";
    public override string MicrophoneSilent => "Nothing was heard: look at the microphone.";
    public override string MicrophoneClipped => "The microphone is too loud: sound was cut off.";
    public override string Unverified => "unverified";
    public override string Draft => "draft";
    public override string NoteSent => "Note {0} is kept and on its way. {1} % was corrected.";
    public override string RecordingIsHeard => "Being heard …";
}
