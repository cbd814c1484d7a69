namespace Yizhan.Console.Language;

/// <summary>Texts of the page of dictation.</summary>
public abstract partial class Texts
{
#pragma warning disable CS1591
    public abstract string Dictation { get; }
    public abstract string DictationNotForYou { get; }
    public abstract string DictationHint { get; }
    public abstract string DictateLive { get; }
    public abstract string DialectSpoken { get; }
    public abstract string DictationSlowLine { get; }
    public abstract string DictationBegin { get; }
    public abstract string DictationPause { get; }
    public abstract string DictationFinish { get; }
    public abstract string DictationText { get; }
    public abstract string DictationTranslation { get; }
    public abstract string DictationTranslationHint { get; }
    public abstract string NoteTitle { get; }
    public abstract string ProgressNote { get; }
    public abstract string SendToEmr { get; }
    public abstract string Recordings { get; }
    public abstract string RecordingsHint { get; }
    public abstract string NobodyHears { get; }
    public abstract string DictationListening { get; }
    public abstract string DictationPaused { get; }
    public abstract string DictationBroken { get; }
    public abstract string DictationFinishing { get; }
    public abstract string DictationFinished { get; }
    public abstract string DictationFull { get; }
    public abstract string NoMicrophone { get; }
    public abstract string MicrophoneSilent { get; }
    public abstract string MicrophoneClipped { get; }
    public abstract string Unverified { get; }
    public abstract string Draft { get; }
    public abstract string NoteSent { get; }
    public abstract string RecordingIsHeard { get; }
#pragma warning restore CS1591
}
