using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace Yizhan.NmtAsr.Engines;

/// <summary>The C functions of pocketsphinx 5prealpha that are used, as Debian's <c>libpocketsphinx3</c> exports them.</summary>
internal static partial class PocketSphinxApi
{
    /// <summary>How to get it.</summary>
    public const string Missing = "pocketsphinx is not installed: apt-get install libpocketsphinx3 pocketsphinx-en-us";

    private const string Library = "libpocketsphinx.so.3";
    private const string Base = "libsphinxbase.so.3";

    private static readonly Lazy<bool> s_isThere = new(() => NativeLibrary.TryLoad(Library, out _) && NativeLibrary.TryLoad(Base, out _));

    /// <summary>Whether the library is installed.</summary>
    public static bool IsInstalled => s_isThere.Value;

    [LibraryImport(Library, EntryPoint = "ps_args")]
    public static partial nint Args();

    // The function with a list, not the variadic one: C's variable arguments are no platform-independent call.
    [LibraryImport(Base, EntryPoint = "cmd_ln_parse_r")]
    public static partial nint ParseArguments(nint into, nint definitions, int count, nint values, int strict);

    [LibraryImport(Base, EntryPoint = "cmd_ln_free_r")]
    public static partial int FreeArguments(nint arguments);

    [LibraryImport(Library, EntryPoint = "ps_init")]
    public static partial nint Open(nint arguments);

    [LibraryImport(Library, EntryPoint = "ps_free")]
    public static partial int Free(nint decoder);

    [LibraryImport(Library, EntryPoint = "ps_start_utt")]
    public static partial int StartUtterance(nint decoder);

    [LibraryImport(Library, EntryPoint = "ps_process_raw")]
    public static partial int Process(nint decoder, ReadOnlySpan<short> samples, nuint count, int noSearch, int fullUtterance);

    [LibraryImport(Library, EntryPoint = "ps_end_utt")]
    public static partial int EndUtterance(nint decoder);

    [LibraryImport(Library, EntryPoint = "ps_get_hyp")]
    public static partial nint Hypothesis(nint decoder, out int score);

    // Older headers have a second argument for the score; one that is not read does no harm.
    [LibraryImport(Library, EntryPoint = "ps_seg_iter")]
    public static partial nint FirstSegment(nint decoder, out int score);

    [LibraryImport(Library, EntryPoint = "ps_seg_next")]
    public static partial nint NextSegment(nint segment);

    [LibraryImport(Library, EntryPoint = "ps_seg_word")]
    public static partial nint SegmentWord(nint segment);

    [LibraryImport(Library, EntryPoint = "ps_seg_frames")]
    public static partial void SegmentFrames(nint segment, out int first, out int last);

    [LibraryImport(Library, EntryPoint = "ps_seg_prob")]
    public static partial int SegmentProbability(nint segment, out int acoustic, out int language, out int backoff);

    [LibraryImport(Library, EntryPoint = "ps_seg_free")]
    public static partial void FreeSegment(nint segment);

    [LibraryImport(Library, EntryPoint = "ps_get_logmath")]
    public static partial nint LogMath(nint decoder);

    [LibraryImport(Base, EntryPoint = "logmath_exp")]
    public static partial double Exp(nint logMath, int value);

    [LibraryImport(Library, EntryPoint = "ps_set_jsgf_string", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int SetGrammar(nint decoder, string name, string grammar);

    [LibraryImport(Library, EntryPoint = "ps_set_search", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int SetSearch(nint decoder, string name);

    [LibraryImport(Library, EntryPoint = "ps_lookup_word", StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint LookUp(nint decoder, string word);

    [LibraryImport(Library, EntryPoint = "ps_get_config")]
    public static partial nint Config(nint decoder);

    [LibraryImport(Library, EntryPoint = "ps_get_lm")]
    public static partial nint LanguageModel(nint decoder, nint name);

    [LibraryImport(Library, EntryPoint = "ps_set_lm", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int SetLanguageModel(nint decoder, string name, nint model);

    [LibraryImport(Base, EntryPoint = "ngram_model_read", StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint ReadLanguageModel(nint config, string path, int type, nint logMath);

    [LibraryImport(Base, EntryPoint = "ngram_model_set_init")]
    public static partial nint Interpolate(nint config, ReadOnlySpan<nint> models, ReadOnlySpan<nint> names, ReadOnlySpan<float> weights, int count);

    [LibraryImport(Base, EntryPoint = "ngram_model_free")]
    public static partial int FreeLanguageModel(nint model);

    [LibraryImport("libc", EntryPoint = "free")]
    [SuppressMessage("Interoperability", "CA1419", Justification = "It frees what ps_lookup_word allocated.")]
    public static partial void FreeText(nint text);
}
