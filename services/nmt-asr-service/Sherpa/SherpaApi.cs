using System.Reflection;
using System.Runtime.InteropServices;

namespace Yizhan.NmtAsr.Sherpa;

/// <summary>
/// The C functions of sherpa-onnx that are used (<c>c-api.h</c> of <see cref="Version"/>). Its structures change between versions and carry no version of their own, so another version is refused. Only the
/// process of <see cref="SherpaWorker"/> calls them: what does not suit it ends the process (<c>exit</c>), and it brings an ONNX Runtime of its own.
/// </summary>
internal static partial class SherpaApi
{
    /// <summary>The version whose structures are declared here.</summary>
    public const string Version = "1.13.8";

    /// <summary>Its file.</summary>
    public const string FileName = "libsherpa-onnx-c-api.so";

    private const string Library = "sherpa-onnx-c-api";

    /// <summary>Loads the library of a folder, once for the process. Names stay its own (<c>RTLD_LOCAL</c>); its ONNX Runtime is the one beside it.</summary>
    /// <exception cref="DllNotFoundException">It is not there, or not of this processor.</exception>
    public static void Use(string folder)
    {
        var handle = NativeLibrary.Load(Path.Combine(folder, FileName));
        NativeLibrary.SetDllImportResolver(Assembly.GetExecutingAssembly(), (name, _, _) => name == Library ? handle : 0);
    }

    [LibraryImport(Library, EntryPoint = "SherpaOnnxGetVersionStr")]
    public static partial nint GetVersion();

    [LibraryImport(Library, EntryPoint = "SherpaOnnxCreateOnlineRecognizer")]
    public static partial nint CreateOnline(in OnlineConfig config);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxCreateOnlineStream")]
    public static partial nint CreateOnlineStream(nint recogniser);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxCreateOnlineStreamWithHotwords", StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint CreateOnlineStream(nint recogniser, string hotWords);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxDestroyOnlineStream")]
    public static partial void DestroyOnlineStream(nint stream);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxOnlineStreamAcceptWaveform")]
    public static partial void AcceptOnline(nint stream, int sampleRate, ReadOnlySpan<float> samples, int count);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxOnlineStreamInputFinished")]
    public static partial void FinishOnline(nint stream);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxIsOnlineStreamReady")]
    public static partial int IsOnlineReady(nint recogniser, nint stream);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxDecodeOnlineStream")]
    public static partial void DecodeOnline(nint recogniser, nint stream);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxGetOnlineStreamResultAsJson")]
    public static partial nint OnlineResult(nint recogniser, nint stream);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxDestroyOnlineStreamResultJson")]
    public static partial void FreeOnlineResult(nint json);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxCreateOfflineRecognizer")]
    public static partial nint CreateOffline(in OfflineConfig config);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxCreateOfflineStream")]
    public static partial nint CreateOfflineStream(nint recogniser);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxDestroyOfflineStream")]
    public static partial void DestroyOfflineStream(nint stream);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxAcceptWaveformOffline")]
    public static partial void AcceptOffline(nint stream, int sampleRate, ReadOnlySpan<float> samples, int count);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxDecodeOfflineStream")]
    public static partial void DecodeOffline(nint recogniser, nint stream);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxGetOfflineStreamResultAsJson")]
    public static partial nint OfflineResult(nint stream);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxDestroyOfflineStreamResultJson")]
    public static partial void FreeOfflineResult(nint json);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxCreateOnlineSpeechDenoiser")]
    public static partial nint CreateDenoiser(in DenoiserConfig config);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxDestroyOnlineSpeechDenoiser")]
    public static partial void DestroyDenoiser(nint denoiser);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxOnlineSpeechDenoiserRun")]
    public static partial nint Denoise(nint denoiser, ReadOnlySpan<float> samples, int count, int sampleRate);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxOnlineSpeechDenoiserFlush")]
    public static partial nint FlushDenoiser(nint denoiser);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxDestroyDenoisedAudio")]
    public static partial void FreeDenoised(nint audio);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxCreateVoiceActivityDetector")]
    public static partial nint CreateVoice(in VoiceConfig config, float bufferSeconds);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxDestroyVoiceActivityDetector")]
    public static partial void DestroyVoice(nint voice);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxVoiceActivityDetectorAcceptWaveform")]
    public static partial void AcceptVoice(nint voice, ReadOnlySpan<float> samples, int count);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxVoiceActivityDetectorDetected")]
    public static partial int IsVoice(nint voice);

    [LibraryImport(Library, EntryPoint = "SherpaOnnxVoiceActivityDetectorClear")]
    public static partial void ClearVoice(nint voice);

    /// <summary><c>SherpaOnnxOnlineRecognizerConfig</c>: of the families transducer, Paraformer, Zipformer CTC, NeMo CTC and T-one CTC one is given.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct OnlineConfig
    {
        public int SampleRate, FeatureDimensions;
        public nint TransducerEncoder, TransducerDecoder, TransducerJoiner, ParaformerEncoder, ParaformerDecoder, ZipformerCtc;
        public nint Tokens;
        public int Threads;
        public nint Provider;
        public int Debug;
        public nint ModelType, ModelingUnit, BpeVocabulary, TokensText;
        public int TokensTextBytes;
        public nint NemoCtc, ToneCtc;
        public nint DecodingMethod;
        public int MaxActivePaths, EnableEndpoint;
        public float Rule1, Rule2, Rule3;
        public nint HotWordsFile;
        public float HotWordsScore;
        public nint Graph;
        public int GraphMaxActive;
        public nint RuleFsts, RuleFars;
        public float BlankPenalty;
        public nint HotWordsText;
        public int HotWordsTextBytes;
        public nint HomophoneFolder, HomophoneLexicon, HomophoneRules;
    }

    /// <summary><c>SherpaOnnxOfflineRecognizerConfig</c> up to the family that is given; what is behind is zero, which takes each default.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct OfflineConfig
    {
        public int SampleRate, FeatureDimensions;
        public nint TransducerEncoder, TransducerDecoder, TransducerJoiner, Paraformer, NemoCtc;
        public nint WhisperEncoder, WhisperDecoder, WhisperLanguage, WhisperTask;
        public int WhisperTail, WhisperTokenTimes, WhisperSegmentTimes;
        public nint Tdnn;
        public nint Tokens;
        public int Threads, Debug;
        public nint Provider, ModelType, ModelingUnit, BpeVocabulary, TeleSpeechCtc;
        public nint SenseVoice, SenseVoiceLanguage;
        public int SenseVoiceNumbers;
        public nint MoonshinePreprocessor, MoonshineEncoder, MoonshineUncached, MoonshineCached, MoonshineMerged;
        public nint FireRedEncoder, FireRedDecoder;
        public nint Dolphin, ZipformerCtc;
        public nint CanaryEncoder, CanaryDecoder, CanarySource, CanaryTarget;
        public int CanaryPunctuation;
        public nint WenetCtc, OmnilingualCtc;

        // Other families, language model, search, hot words, rules: more than there are of them.
        public fixed long Rest[128];
    }

    /// <summary><c>SherpaOnnxOnlineSpeechDenoiserConfig</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct DenoiserConfig
    {
        public nint Gtcrn;
        public int Threads, Debug;
        public nint Provider, DpdfNet;
        public long Rest0, Rest1, Rest2, Rest3;
    }

    /// <summary><c>SherpaOnnxVadModelConfig</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct VoiceConfig
    {
        public nint Silero;
        public float Threshold, MinSilenceSeconds, MinSpeechSeconds;
        public int Window;
        public float MaxSpeechSeconds;

        // The part before is a structure of its own, as long as its pointer lets it be.
        public int Padding;
        public int SampleRate, Threads;
        public nint Provider;
        public int Debug;
        public nint Ten;
        public float TenThreshold, TenMinSilence, TenMinSpeech;
        public int TenWindow;
        public float TenMaxSpeech;
        public long Rest0, Rest1, Rest2, Rest3;
    }

    /// <summary><c>SherpaOnnxDenoisedAudio</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct DenoisedAudio
    {
        public nint Samples;
        public int Count, SampleRate;
    }
}
