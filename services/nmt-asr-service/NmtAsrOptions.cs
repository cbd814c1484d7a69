using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace Yizhan.NmtAsr;

/// <summary>Speech to text. Section <c>nmt-asr</c>.</summary>
public sealed class NmtAsrOptions
{
    /// <summary>Folder of the site's packs, one folder for each name and in it one for each version; null for <c>nmt-asr/packs</c> in the data folder.</summary>
    public string? PacksFolder { get; set; }

    /// <summary>Whose signatures of packs count (<c>trust.json</c>, as for releases); null: none, so only packs that ship with the product are taken.</summary>
    public string? TrustPath { get; set; }

    /// <summary>Takes packs that nobody signed: for development only. Default false.</summary>
    public bool AllowUnsigned { get; set; }

    /// <summary>Largest pack, in MiB. Default 1024.</summary>
    [Range(1, 8192)]
    public int MaxPackMiB { get; set; } = 1024;

    /// <summary>Dialects that the site declares (BCP 47: cmn, yue, hak, en …), the most spoken first: that one counts when nobody says another. Default none.</summary>
    public IReadOnlyList<string> Dialects { get; set; } = [];

    /// <summary>Which pack hears which dialect, where the packs' own word does not do. Default none.</summary>
    public Dictionary<string, string> Routes { get; set; } = [];

    /// <summary>Words that are likelier here: drugs, doctors. Default none.</summary>
    public IReadOnlyList<string> HotWords { get; set; } = [];

    /// <summary>Folder of sherpa-onnx's library (<c>libsherpa-onnx-c-api.so</c> and the ONNX Runtime beside it), for packs that need it; null when there is none.</summary>
    public string? SherpaFolder { get; set; }

    /// <summary>Most memory of the process in which sherpa-onnx runs one pack, in MiB. Default 2048.</summary>
    [Range(256, 65_536)]
    public int SherpaMemoryMiB { get; set; } = 2048;

    /// <summary>Threads of one computation of sherpa-onnx. Default 1.</summary>
    [Range(1, 64)]
    public int SherpaThreads { get; set; } = 1;

    /// <summary>Pack that takes noise out of what is heard before anything else hears it; null: none does. What is kept and sent is the sound as it was.</summary>
    public string? Denoiser { get; set; }

    /// <summary>Streams at a time, live and from files. Default 8.</summary>
    [Range(1, 256)]
    public int MaxStreams { get; set; } = 8;

    /// <summary>Decoders of each pack that are kept for the next stream. Default 2.</summary>
    [Range(0, 64)]
    public int KeptDecoders { get; set; } = 2;

    /// <summary>Silence that ends an utterance, in milliseconds. Default 700.</summary>
    [Range(100, 10_000)]
    public int EndSilenceMs { get; set; } = 700;

    /// <summary>Longest utterance, in seconds; then it is ended whatever is said. Default 30.</summary>
    [Range(2, 120)]
    public int MaxUtteranceSeconds { get; set; } = 30;

    /// <summary>A live stream that sends nothing for so many seconds is closed; it can be resumed. Default 60.</summary>
    [Range(1, 3600)]
    public int IdleSeconds { get; set; } = 60;

    /// <summary>How long an unfinished dictation may be resumed, in hours; then it is deleted. Default 24.</summary>
    [Range(1, 720)]
    public int ResumeHours { get; set; } = 24;

    /// <summary>Longest dictation, in minutes. Default 120.</summary>
    [Range(1, 720)]
    public int MaxDictationMinutes { get; set; } = 120;

    /// <summary>Hour of the day (UTC) at which golden sets are played. Default 18, which is night in China.</summary>
    [Range(0, 23)]
    public int GoldenHour { get; set; } = 18;

    /// <summary>Files of terms that translations must honour (lines of 'Chinese TAB English'). Default none beside what ships.</summary>
    public IReadOnlyList<string> Glossary { get; set; } = [];

    /// <summary>Files of sentences that people have translated (TMX, or lines of 'Chinese TAB English'). Default none beside what ships.</summary>
    public IReadOnlyList<string> Memory { get; set; } = [];

    /// <summary>Likeliest translations that are followed at a time. Default 4.</summary>
    [Range(1, 16)]
    public int Beam { get; set; } = 4;

    /// <summary>Texts that are translated at a time; more wait. Default 2.</summary>
    [Range(1, 64)]
    public int MaxTranslations { get; set; } = 2;

    /// <summary>Threads of one computation of a translation. Default 1.</summary>
    [Range(1, 64)]
    public int TranslationThreads { get; set; } = 1;

    /// <summary>Most characters of one request to translate. Default 50000.</summary>
    [Range(100, 1_000_000)]
    public int MaxTranslateChars { get; set; } = 50_000;

    /// <summary>Largest recording that is uploaded, in MiB. Default 2048.</summary>
    [Range(1, 65_536)]
    public int MaxUploadMiB { get; set; } = 2048;

    /// <summary>Recordings that may wait to be heard in the background. Default 20.</summary>
    [Range(1, 1000)]
    public int MaxJobs { get; set; } = 20;

    /// <summary>How long the recording and the text of a job that is done are kept, in hours. Default 72.</summary>
    [Range(1, 8760)]
    public int JobHours { get; set; } = 72;
}

[OptionsValidator]
internal sealed partial class NmtAsrOptionsValidator : IValidateOptions<NmtAsrOptions>;
