using Microsoft.ML.OnnxRuntime;
using Yizhan.NmtAsr.Engines;

namespace Yizhan.NmtAsr.Ctc;

/// <summary>
/// What all decoders of one pack share: the network (<c>model.onnx</c>: <c>x</c>, windows of <see cref="LogMel"/>, to <c>log_probs</c>, a frame for each three windows), its lexicon, and its
/// phrases or n-grams.
/// </summary>
internal sealed class CtcModel : IDisposable
{
    /// <summary>Windows of a frame.</summary>
    public const int WindowsPerFrame = 3;

    /// <summary>Length of a frame, in milliseconds.</summary>
    public const int FrameMs = 30;

    private readonly InferenceSession _session;
    private readonly RunOptions _run = new();
    private readonly Lexicon _lexicon;
    private readonly string[] _lines;
    private readonly bool _closed;

    private CtcModel(InferenceSession session, Lexicon lexicon, string[] lines, bool closed, bool joinsWords, int context, double reject) =>
        (_session, _lexicon, _lines, _closed, JoinsWords, Context, Reject) = (session, lexicon, lines, closed, joinsWords, context, reject);

    /// <summary>Words are written without spaces.</summary>
    public bool JoinsWords { get; }

    /// <summary>Frames to each side that a frame's answer depends on.</summary>
    public int Context { get; }

    /// <summary>How much worse than the network's freest reading each sound may be.</summary>
    public double Reject { get; }

    /// <summary>Loads a model.</summary>
    /// <exception cref="EngineMissingException">Its files do not belong together.</exception>
    public static CtcModel Load(string models, bool closed, bool joinsWords, int context, double reject)
    {
        using var options = new Microsoft.ML.OnnxRuntime.SessionOptions { IntraOpNumThreads = 1, InterOpNumThreads = 1 };
        var session = new InferenceSession(Path.Combine(models, "model.onnx"), options);
        try
        {
            var lexicon = Lexicon.Load(models);
            var model = new CtcModel(session, lexicon, File.ReadAllLines(Path.Combine(models, closed ? "phrases.txt" : "words.arpa")), closed, joinsWords, context, reject);
            _ = model.Words([]);
            return session.InputMetadata.ContainsKey("x") && session.OutputMetadata.TryGetValue("log_probs", out var output) && output.Dimensions[^1] is var width && (width == lexicon.Tokens || width < 0)
                ? model : throw new InvalidDataException($"model.onnx has no input x and output log_probs of {lexicon.Tokens} sounds.");
        }
        catch (Exception e) when (e is InvalidDataException or IOException)
        {
            session.Dispose();
            throw new EngineMissingException(e.Message);
        }
    }

    /// <summary>Phrases or n-grams, with a stream's hot words among them.</summary>
    public IWordModel Words(IReadOnlyList<string> hotWords) => _closed ? new ClosedGrammar(_lexicon, _lines, hotWords) : new NGram(_lexicon, _lines, hotWords);

    /// <summary>Whether the lexicon says how a word, or each of its characters, sounds.</summary>
    public bool CanSay(string word) => _lexicon.Sounds(word).Count > 0;

    /// <summary>Logarithms of the probabilities of every sound in every frame. May be called by several threads.</summary>
    public float[] Run(float[] windows)
    {
        using var x = OrtValue.CreateTensorValueFromMemory(windows, [1, windows.Length / LogMel.Bands, LogMel.Bands]);
        using var results = _session.Run(_run, ["x"], [x], ["log_probs"]);
        return results[0].GetTensorDataAsSpan<float>().ToArray();
    }

    /// <summary>Sounds that the network tells apart, the blank among them.</summary>
    public int Tokens => _lexicon.Tokens;

    /// <inheritdoc/>
    public void Dispose()
    {
        _run.Dispose();
        _session.Dispose();
    }
}
