using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.Tokenizers;

namespace Yizhan.NmtAsr.Translation;

/// <summary>What a model made of a sentence.</summary>
/// <param name="Text">The text.</param>
/// <param name="Score">Mean of the logarithm of its tokens' probabilities: near 0 is sure.</param>
internal sealed record Candidate(string Text, double Score);

/// <summary>
/// An encoder and a decoder in ONNX with SentencePiece vocabularies (unigram): <c>encoder.onnx</c> (src → h), <c>decoder.onnx</c> (tgt, h, mask → logits of the next token),
/// <c>source.model</c>, <c>target.model</c>. May be used by several threads.
/// </summary>
internal sealed class Seq2Seq : IDisposable
{
    /// <summary>Longest input, in tokens; what is longer is translated in pieces.</summary>
    public const int MaxTokens = 60;

    private const int MaxOutput = 80, Begin = 1, End = 2;

    private readonly InferenceSession _encoder, _decoder;
    private readonly SentencePieceTokenizer _source, _target;
    private readonly RunOptions _run = new();
    private readonly Lock _tokens = new();

    private Seq2Seq(InferenceSession encoder, InferenceSession decoder, SentencePieceTokenizer source, SentencePieceTokenizer target) =>
        (_encoder, _decoder, _source, _target) = (encoder, decoder, source, target);

    /// <summary>Loads a model.</summary>
    /// <param name="models">Folder of its files.</param>
    /// <param name="threads">Threads of one computation.</param>
    public static Seq2Seq Load(string models, int threads)
    {
        using var options = new Microsoft.ML.OnnxRuntime.SessionOptions { IntraOpNumThreads = threads, InterOpNumThreads = 1 };
        using var source = File.OpenRead(Path.Combine(models, "source.model"));
        using var target = File.OpenRead(Path.Combine(models, "target.model"));
        var (from, to) = (SentencePieceTokenizer.Create(source, false, false), SentencePieceTokenizer.Create(target, false, false));
        var encoder = new InferenceSession(Path.Combine(models, "encoder.onnx"), options);
        try
        {
            return new Seq2Seq(encoder, new InferenceSession(Path.Combine(models, "decoder.onnx"), options), from, to);
        }
        catch
        {
            encoder.Dispose();
            throw;
        }
    }

    /// <summary>Tokens of a text.</summary>
    public IReadOnlyList<int> Encode(string text)
    {
        lock (_tokens)
        {
            return _source.EncodeToIds(text);
        }
    }

    /// <summary>The likeliest translations of one sentence of up to <see cref="MaxTokens"/> tokens, best first: a beam of so many.</summary>
    public IReadOnlyList<Candidate> Translate(IReadOnlyList<int> tokens, int beam, CancellationToken cancellationToken)
    {
        long[] source = [.. tokens.Take(MaxTokens).Select(t => (long)t), End];
        using var src = OrtValue.CreateTensorValueFromMemory(source, [1, source.Length]);
        using var encoded = _encoder.Run(_run, ["src"], [src], ["h"]);
        var one = encoded[0].GetTensorDataAsSpan<float>().ToArray();
        var width = one.Length / source.Length;
        var alive = new List<(List<long> Tokens, double Score)> { ([Begin], 0) };
        var done = new List<(List<long> Tokens, double Score)>();
        for (var step = 0; step < MaxOutput && alive.Count > 0; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var next = Step(alive, one, source.Length, width, beam);
            alive.Clear();
            foreach (var candidate in next)
            {
                (candidate.Tokens[^1] == End ? done : alive).Add(candidate);
            }

            // No longer one can be better than what is done already.
            if (done.Count >= beam && alive.Count > 0 && alive.Max(a => a.Score / (a.Tokens.Count + 1)) is var best && done.Order(ByMean).Take(beam).All(d => d.Score / d.Tokens.Count >= best))
            {
                break;
            }
        }

        return [.. (done.Count > 0 ? done : alive).Order(ByMean).Take(beam).Select(c => new Candidate(Text(c.Tokens), c.Score / c.Tokens.Count))];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _run.Dispose();
        _encoder.Dispose();
        _decoder.Dispose();
    }

    private static Comparer<(List<long> Tokens, double Score)> ByMean { get; } = Comparer<(List<long> Tokens, double Score)>.Create((a, b) => (b.Score / b.Tokens.Count).CompareTo(a.Score / a.Tokens.Count));

    private List<(List<long> Tokens, double Score)> Step(List<(List<long> Tokens, double Score)> alive, float[] encoded, int length, int width, int beam)
    {
        var (rows, written) = (alive.Count, alive[0].Tokens.Count);
        var state = new float[rows * encoded.Length];
        for (var r = 0; r < rows; r++)
        {
            encoded.CopyTo(state, r * encoded.Length);
        }

        using var tgt = OrtValue.CreateTensorValueFromMemory(alive.SelectMany(a => a.Tokens).ToArray(), [rows, written]);
        using var h = OrtValue.CreateTensorValueFromMemory(state, [rows, length, width]);
        using var mask = OrtValue.CreateTensorValueFromMemory(new bool[rows * length], [rows, length]);
        using var results = _decoder.Run(_run, ["tgt", "h", "mask"], [tgt, h, mask], ["logits"]);
        var logits = results[0].GetTensorDataAsSpan<float>();
        var vocabulary = logits.Length / rows;
        var found = new PriorityQueue<(int Row, int Token), double>();
        for (var r = 0; r < rows; r++)
        {
            var row = logits.Slice(r * vocabulary, vocabulary);
            double most = float.MinValue, sum = 0;
            foreach (var value in row)
            {
                most = Math.Max(most, value);
            }

            foreach (var value in row)
            {
                sum += Math.Exp(value - most);
            }

            var norm = most + Math.Log(sum);
            for (var token = 0; token < vocabulary; token++)
            {
                var score = alive[r].Score + row[token] - norm;
                if (found.Count < beam || found.TryPeek(out _, out var worst) && score > worst)
                {
                    found.Enqueue((r, token), score);
                    if (found.Count > beam)
                    {
                        found.Dequeue();
                    }
                }
            }
        }

        return [.. found.UnorderedItems.Select(f => ((List<long>)[.. alive[f.Element.Row].Tokens, f.Element.Token], f.Priority))];
    }

    private string Text(List<long> tokens)
    {
        lock (_tokens)
        {
            return _target.Decode(tokens.Where(t => t > 3).Select(t => (int)t)).Trim();
        }
    }
}
