using System.Text;
using System.Text.Json;
using Yizhan.NmtAsr.Engines;

namespace Yizhan.NmtAsr.Sherpa;

/// <summary>A stream of a recogniser in sherpa-onnx. A family that does not stream keeps an utterance and hears it when it has ended, so it has no partial results.</summary>
internal sealed class SherpaRecogniser(SherpaProcess process, SherpaModel family, int sampleRate, Func<string, bool>? writes = null) : IRecogniser
{
    // What comes in smaller pieces is sent together: each request is a turn of the process.
    private const int PieceSamples = 1600, LastTokenMs = 200;

    private readonly int _stream = process.NewStream();
    private readonly List<short> _held = [];
    private bool _begun;

    /// <inheritdoc/>
    public int SampleRate => sampleRate;

    /// <inheritdoc/>
    /// <remarks>They need a transducer that streams, and a pack that says what its tokens are.</remarks>
    public IReadOnlyList<string> Ignored(IReadOnlyList<string> hotWords) => [.. hotWords.Where(h => writes?.Invoke(h) != true)];

    /// <inheritdoc/>
    public bool ForgetsStreams => process.Runs;

    /// <inheritdoc/>
    public void Begin(IReadOnlyList<string> hotWords, bool whole)
    {
        _held.Clear();
        process.Ask(SherpaWorker.Begin, _stream, Encoding.UTF8.GetBytes(string.Join('/', hotWords.Where(h => writes?.Invoke(h) == true))));
        _begun = true;
    }

    /// <inheritdoc/>
    public void Accept(ReadOnlySpan<short> samples)
    {
        _held.AddRange(samples);
        if (_held.Count >= PieceSamples)
        {
            Send();
        }
    }

    /// <inheritdoc/>
    public Hypothesis Partial()
    {
        if (!_begun || !family.Streams)
        {
            return Hypothesis.Nothing;
        }

        Send();
        return Read(process.Ask(SherpaWorker.Partial, _stream));
    }

    /// <inheritdoc/>
    public Hypothesis End()
    {
        if (!_begun)
        {
            return Hypothesis.Nothing;
        }

        Send();
        _begun = false;
        return Read(process.Ask(SherpaWorker.End, _stream));
    }

    /// <inheritdoc/>
    public void Dispose() => process.Forget(_stream);

    /// <summary>Whether a pack can write a hot word with its tokens; null when it takes none. sherpa-onnx passes over all of them for one that it cannot.</summary>
    public static Func<string, bool>? Writer(string? modelingUnit, string models)
    {
        if (modelingUnit is null)
        {
            return null;
        }

        var tokens = modelingUnit != "cjkchar" ? null : File.ReadLines(Path.Combine(models, "tokens.txt")).Select(l => l.Split(' ')[0]).ToHashSet(StringComparer.Ordinal);

        // "/" is between them, and ":" before a number of their own.
        return word => !string.IsNullOrWhiteSpace(word) && !word.Any(c => char.IsControl(c) || c is '/' or ':') && (tokens is null || word.EnumerateRunes().All(r => tokens.Contains(r.ToString())));
    }

    /// <summary>Words of what sherpa-onnx says as JSON: a token of Chinese is one, and "▁" begins one of another script. A token lasts until the next one.</summary>
    internal static Hypothesis Read(ReadOnlySpan<byte> json)
    {
        if (json.IsEmpty)
        {
            return Hypothesis.Nothing;
        }

        using var document = JsonDocument.Parse(json.ToArray());
        var root = document.RootElement;
        var text = root.GetProperty("text").GetString()!.Trim();
        var tokens = root.TryGetProperty("tokens", out var t) ? t.EnumerateArray().Select(e => e.GetString()!).ToArray() : [];
        var times = root.TryGetProperty("timestamps", out var s) ? s.EnumerateArray().Select(e => (long)(e.GetDouble() * 1000)).ToArray() : [];
        var sure = root.TryGetProperty("ys_log_probs", out var l) || root.TryGetProperty("ys_probs", out l) ? l.EnumerateArray().Select(e => Math.Clamp(Math.Exp(e.GetDouble()), 0, 1)).ToArray() : [];
        var words = new List<(string Text, long Start, long End, double Sure)>();
        for (var i = 0; i < tokens.Length && i < times.Length; i++)
        {
            var (token, end, probability) = (tokens[i].TrimStart('▁', ' '), i + 1 < times.Length ? times[i + 1] : times[i] + LastTokenMs, i < sure.Length ? sure[i] : 0);
            if (token.Length == 0)
            {
                continue;
            }

            if (words.Count > 0 && tokens[i][0] is not ('▁' or ' ') && char.IsAscii(token[0]) && char.IsAscii(words[^1].Text[^1]))
            {
                words[^1] = (words[^1].Text + token, words[^1].Start, end, Math.Min(words[^1].Sure, probability));
            }
            else
            {
                words.Add((token, times[i], end, probability));
            }
        }

        return new Hypothesis(text, [.. words.Select(w => new RecognisedWord(w.Text, w.Start, w.End, w.Sure))]);
    }

    private void Send()
    {
        if (_held.Count > 0)
        {
            process.Ask(SherpaWorker.Accept, _stream, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_held));
            _held.Clear();
        }
    }
}
