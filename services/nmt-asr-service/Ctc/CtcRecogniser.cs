using Yizhan.NmtAsr.Engines;

namespace Yizhan.NmtAsr.Ctc;

/// <summary>
/// A decoder of our own: windows, network, search. The network runs on a piece at a time with its context to both sides, so what a stream hears is what a whole recording would have heard;
/// memory is the context's and the beam's.
/// </summary>
internal sealed class CtcRecogniser(CtcModel model) : IRecogniser
{
    private const int Beam = 64, PieceFrames = 10;
    private const int FrameValues = CtcModel.WindowsPerFrame * LogMel.Bands;

    private readonly LogMel _mel = new();
    private readonly List<float> _windows = [];
    private IReadOnlyList<string> _hot = [];
    private IWordModel _words = model.Words([]);
    private PrefixSearch? _search;
    private int _first, _heard;

    /// <inheritdoc/>
    public int SampleRate => SpeechStream.SampleRate;

    /// <inheritdoc/>
    public IReadOnlyList<string> Ignored(IReadOnlyList<string> hotWords) => [.. hotWords.Where(h => !model.CanSay(h))];

    /// <inheritdoc/>
    public bool ForgetsStreams => true;

    /// <inheritdoc/>
    public void Begin(IReadOnlyList<string> hotWords, bool whole)
    {
        if (!_hot.SequenceEqual(hotWords))
        {
            (_hot, _words) = (hotWords, model.Words(hotWords));
        }

        _mel.Reset();
        _windows.Clear();
        (_first, _heard, _search) = (0, 0, new PrefixSearch(_words, Beam));
    }

    /// <inheritdoc/>
    public void Accept(ReadOnlySpan<short> samples)
    {
        _mel.Push(samples, _windows);
        if (_first + _windows.Count / FrameValues - model.Context - _heard >= PieceFrames)
        {
            Run(model.Context);
        }
    }

    /// <inheritdoc/>
    public Hypothesis Partial() => Read(ended: false);

    /// <inheritdoc/>
    public Hypothesis End()
    {
        if (_search is null)
        {
            return Hypothesis.Nothing;
        }

        // A frame that is not full has its last window again.
        while (_windows.Count > 0 && _windows.Count % FrameValues != 0)
        {
            _windows.Add(_windows[^LogMel.Bands]);
        }

        Run(0);
        var heard = Read(ended: true);
        _search = null;
        return heard;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    /// <summary>Hears all frames but the last few, whose right side is not there yet, and forgets what no later frame needs.</summary>
    private void Run(int keep)
    {
        var frames = _windows.Count / FrameValues;
        if (_search is null || _first + frames - keep <= _heard)
        {
            return;
        }

        var found = model.Run([.. _windows.Take(frames * FrameValues)]);
        for (; _heard < _first + frames - keep; _heard++)
        {
            _search.Accept(found.AsSpan((_heard - _first) * model.Tokens, model.Tokens));
        }

        var unneeded = Math.Max(0, _heard - model.Context - _first);
        _windows.RemoveRange(0, unneeded * FrameValues);
        _first += unneeded;
    }

    private Hypothesis Read(bool ended)
    {
        if (_search is null || !_search.TryRead(ended, model.Reject, out var found) || found.Count == 0)
        {
            return Hypothesis.Nothing;
        }

        var text = string.Concat(found.Select((w, i) => (i == 0 ? "" : w.NewPhrase ? model.JoinsWords ? "，" : ", " : model.JoinsWords ? "" : " ") + _words.Text(w.Word)));
        return new Hypothesis(text, [.. found.Select(w => new RecognisedWord(_words.Text(w.Word), w.First * CtcModel.FrameMs, (w.Last + 1L) * CtcModel.FrameMs, w.Confidence))]);
    }
}
