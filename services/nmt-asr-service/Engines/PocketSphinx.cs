using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace Yizhan.NmtAsr.Engines;

/// <summary>What a decoder of pocketsphinx is made from.</summary>
/// <param name="AcousticModel">Folder of the acoustic model (<c>-hmm</c>).</param>
/// <param name="Dictionary">Pronunciations (<c>-dict</c>).</param>
/// <param name="LanguageModel">N-grams (<c>-lm</c>); null with a grammar.</param>
/// <param name="Grammar">Phrases of a closed grammar; null with a language model.</param>
/// <param name="SampleRate">Samples for each second.</param>
/// <param name="JoinsWords">Words are written without spaces (Chinese).</param>
internal sealed record PocketSphinxModel(string AcousticModel, string Dictionary, string? LanguageModel, IReadOnlyList<string>? Grammar, int SampleRate, bool JoinsWords)
{
    /// <summary>Debian's <c>pocketsphinx-en-us</c>.</summary>
    public static PocketSphinxModel EnglishOfDebian { get; } = new(
        "/usr/share/pocketsphinx/model/en-us/en-us", "/usr/share/pocketsphinx/model/en-us/cmudict-en-us.dict", "/usr/share/pocketsphinx/model/en-us/en-us.lm.bin", null, 16_000, false);
}

/// <summary>A decoder of pocketsphinx through its C functions: real recognition of open English on a CPU, and closed grammars of other languages' models.</summary>
internal sealed class PocketSphinx : IRecogniser
{
    private const int FramesPerSecond = 100, Arpa = 1;

    // Of the probability of every word. Eleven names and drugs that nobody said, at this weight, changed nothing in 71 words of five real sentences.
    private const float HotShare = 0.1f;
    private const string General = "_default", Hot = "hot";

    private readonly PocketSphinxModel _model;
    private string[] _hot = [];
    private nint _decoder;
    private bool _inUtterance;
    private List<short>? _whole;

    private PocketSphinx(PocketSphinxModel model, nint decoder) => (_model, _decoder) = (model, decoder);

    /// <inheritdoc/>
    public int SampleRate => _model.SampleRate;

    /// <inheritdoc/>
    /// <remarks>A word that the dictionary lacks cannot be heard, and a closed grammar has no other words than its own.</remarks>
    public IReadOnlyList<string> Ignored(IReadOnlyList<string> hotWords) => [.. hotWords.Where(h => Words(h).Length == 0)];

    /// <inheritdoc/>
    /// <remarks>The cepstral mean follows the microphone from utterance to utterance, and no function of this version sets it back.</remarks>
    public bool ForgetsStreams => false;

    /// <summary>Loads a model: about a second.</summary>
    /// <exception cref="EngineMissingException">The library is not installed, or it does not take the model.</exception>
    public static PocketSphinx Load(PocketSphinxModel model)
    {
        if (!PocketSphinxApi.IsInstalled)
        {
            throw new EngineMissingException(PocketSphinxApi.Missing);
        }

        foreach (var path in new[] { model.AcousticModel, model.Dictionary, model.LanguageModel }.OfType<string>())
        {
            if (!File.Exists(path) && !Directory.Exists(path))
            {
                throw new EngineMissingException($"'{Path.GetFileName(path)}' of the model is missing.");
            }
        }

        string[] arguments =
        [
            "yizhan", "-hmm", model.AcousticModel, "-dict", model.Dictionary, "-samprate", $"{model.SampleRate}", "-logfn", "/dev/null", "-bestpath", "yes",
            .. model.SampleRate == 8000 ? (string[])["-nfft", "256"] : [], .. model.LanguageModel is { } lm ? (string[])["-lm", lm] : [],

            // A closed grammar is small: it can afford not to lose the right path in a poor beginning.
            .. model.Grammar is not null ? (string[])["-beam", "1e-80", "-pbeam", "1e-80", "-wbeam", "1e-60"] : [],
        ];

        // The library keeps what it was given for as long as the decoder lives, so this is never freed: some hundred bytes for each load.
        var values = Marshal.AllocHGlobal(arguments.Length * nint.Size);
        for (var i = 0; i < arguments.Length; i++)
        {
            Marshal.WriteIntPtr(values, i * nint.Size, Marshal.StringToCoTaskMemUTF8(arguments[i]));
        }

        var parsed = PocketSphinxApi.ParseArguments(0, PocketSphinxApi.Args(), arguments.Length, values, 0);
        var decoder = parsed == 0 ? 0 : PocketSphinxApi.Open(parsed);
        if (parsed != 0)
        {
            _ = PocketSphinxApi.FreeArguments(parsed);
        }

        if (decoder == 0)
        {
            throw new EngineMissingException("pocketsphinx does not take this model: its files do not belong together, or they are of another version.");
        }

        var made = new PocketSphinx(model, decoder);
        if (model.Grammar is { } phrases)
        {
            made.Restrict(phrases);
        }

        return made;
    }

    /// <inheritdoc/>
    /// <remarks>What is heard whole has the cepstral mean of the utterance itself (<c>-cmn batch</c>); live, its beginning is heard with a mean that was made in another room.</remarks>
    public void Begin(IReadOnlyList<string> hotWords, bool whole)
    {
        End();
        _whole = whole ? [] : null;
        Prefer([.. hotWords.SelectMany(Words).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)]);
        _inUtterance = PocketSphinxApi.StartUtterance(Decoder) >= 0 ? true : throw new InvalidOperationException("pocketsphinx did not begin an utterance.");
    }

    /// <inheritdoc/>
    public void Accept(ReadOnlySpan<short> samples)
    {
        if (_whole is { } said)
        {
            said.AddRange(samples);
            return;
        }

        _ = PocketSphinxApi.Process(Decoder, samples, (nuint)samples.Length, noSearch: 0, fullUtterance: 0);
    }

    /// <inheritdoc/>
    public Hypothesis Partial() => _whole is null ? Read(final: false) : Hypothesis.Nothing;

    /// <inheritdoc/>
    public Hypothesis End()
    {
        if (!_inUtterance)
        {
            return Hypothesis.Nothing;
        }

        _inUtterance = false;
        if (_whole is { Count: > 0 } said)
        {
            _ = PocketSphinxApi.Process(Decoder, CollectionsMarshal.AsSpan(said), (nuint)said.Count, noSearch: 0, fullUtterance: 1);
        }

        _whole = null;
        _ = PocketSphinxApi.EndUtterance(Decoder);
        return Read(final: true);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_decoder != 0)
        {
            _ = PocketSphinxApi.Free(_decoder);
            _decoder = 0;
        }
    }

    private nint Decoder => _decoder != 0 ? _decoder : throw new ObjectDisposedException(nameof(PocketSphinx));

    private Hypothesis Read(bool final)
    {
        var words = new List<RecognisedWord>();
        var math = PocketSphinxApi.LogMath(Decoder);
        for (var segment = PocketSphinxApi.FirstSegment(Decoder, out _); segment != 0; segment = PocketSphinxApi.NextSegment(segment))
        {
            var word = Marshal.PtrToStringUTF8(PocketSphinxApi.SegmentWord(segment)) ?? "";
            if (word.Length == 0 || word[0] is '<' or '[' or '+')
            {
                continue;
            }

            PocketSphinxApi.SegmentFrames(segment, out var first, out var last);
            var probability = PocketSphinxApi.SegmentProbability(segment, out _, out _, out _);

            // "read(2)" is the second pronunciation of "read".
            var plain = word.IndexOf('(', StringComparison.Ordinal) is > 0 and var at ? word[..at] : word;
            words.Add(new RecognisedWord(
                plain, first * 1000L / FramesPerSecond, (last + 1) * 1000L / FramesPerSecond, final ? Math.Clamp(PocketSphinxApi.Exp(math, probability), 0, 1) : 0));
        }

        return new Hypothesis(string.Join(_model.JoinsWords ? "" : " ", words.Select(w => w.Text)), words);
    }

    /// <summary>The words of a hot word as the dictionary spells them; empty when one of them is not in it.</summary>
    private string[] Words(string hotWord)
    {
        var words = _model.Grammar is not null ? [] : hotWord.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        for (var i = 0; i < words.Length; i++)
        {
            words[i] = IsKnown(words[i]) ? words[i] : words[i].ToLowerInvariant();
            if (!IsKnown(words[i]))
            {
                return [];
            }
        }

        return words;
    }

    private bool IsKnown(string word)
    {
        var sounds = word.Length == 0 || word.Any(c => char.IsControl(c) || char.IsWhiteSpace(c) || c is ';' or '|' or '<' or '>' or '(' or ')' or '[' or ']' or '{' or '}' or '/' or '*' or '+' or '"' or '\\' or '$' or '=')
            ? 0 : PocketSphinxApi.LookUp(Decoder, word);
        if (sounds != 0)
        {
            PocketSphinxApi.FreeText(sounds);
        }

        return sounds != 0;
    }

    /// <summary>Makes words likelier: a second language model, which knows only them, has a share in every probability beside the pack's own.</summary>
    private void Prefer(string[] words)
    {
        if (_hot.SequenceEqual(words))
        {
            return;
        }

        // The search that is replaced may not be the one that is used.
        _ = PocketSphinxApi.SetSearch(Decoder, General);
        _hot = words;
        if (words.Length == 0)
        {
            return;
        }

        var path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        nint hot = 0, both = 0;
        nint[] names = [Marshal.StringToCoTaskMemUTF8(General), Marshal.StringToCoTaskMemUTF8(Hot)];
        try
        {
            var each = (-Math.Log10(words.Length)).ToString("0.0000", CultureInfo.InvariantCulture);
            File.WriteAllText(path, $"\\data\\\nngram 1={words.Length + 2}\n\n\\1-grams:\n-99 <s>\n-99 </s>\n{string.Concat(words.Select(w => $"{each} {w}\n"))}\n\\end\\\n");
            hot = PocketSphinxApi.ReadLanguageModel(PocketSphinxApi.Config(Decoder), path, Arpa, PocketSphinxApi.LogMath(Decoder));
            both = hot == 0 ? 0 : PocketSphinxApi.Interpolate(PocketSphinxApi.Config(Decoder), [PocketSphinxApi.LanguageModel(Decoder, names[0]), hot], names, [1 - HotShare, HotShare], names.Length);
            if (both == 0 || PocketSphinxApi.SetLanguageModel(Decoder, Hot, both) < 0 || PocketSphinxApi.SetSearch(Decoder, Hot) < 0)
            {
                throw new InvalidOperationException("pocketsphinx does not take the hot words.");
            }
        }
        finally
        {
            // Who uses them has counted itself.
            Array.ForEach([both, hot], m => _ = m == 0 ? 0 : PocketSphinxApi.FreeLanguageModel(m));
            Array.ForEach(names, Marshal.FreeCoTaskMem);
            File.Delete(path);
        }
    }

    /// <summary>Lets only these phrases be heard (JSGF). A phrase with a word that the dictionary lacks is refused, since it could never be heard.</summary>
    private void Restrict(IReadOnlyList<string> phrases)
    {
        foreach (var word in phrases.SelectMany(p => p.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Distinct(StringComparer.Ordinal).Where(w => !IsKnown(w)))
        {
            Dispose();
            throw new EngineMissingException($"The dictionary of the model has no '{word}', so no phrase with it can be heard.");
        }

        var grammar = new StringBuilder("#JSGF V1.0 UTF-8;\ngrammar phrases;\npublic <phrase> = ").AppendJoin(" | ", phrases.Select(p => $"({p})")).Append(";\n").ToString();
        if (PocketSphinxApi.SetGrammar(Decoder, "phrases", grammar) < 0 || PocketSphinxApi.SetSearch(Decoder, "phrases") < 0)
        {
            Dispose();
            throw new EngineMissingException("pocketsphinx does not take the grammar.");
        }
    }
}
