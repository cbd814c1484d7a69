using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Sherpa;

namespace Yizhan.NmtAsr.Engines;

/// <summary>A result of a stream: a partial one may still change, a final one does not.</summary>
/// <param name="IsFinal">It does not change any more.</param>
/// <param name="Segment">Number of the utterance, from 0.</param>
/// <param name="Text">What was heard.</param>
/// <param name="Words">Words; times are of the whole stream.</param>
/// <param name="StartMs">Where the utterance begins in the stream.</param>
/// <param name="EndMs">Where it ends, or how far it was heard.</param>
internal sealed record SpeechResult(bool IsFinal, int Segment, string Text, IReadOnlyList<RecognisedWord> Words, long StartMs, long EndMs)
{
    /// <summary>Mean of the words' confidence; 0 without words.</summary>
    public double Confidence => Words.Count == 0 ? 0 : Words.Average(w => w.Confidence);

    /// <summary>Who said it: the channel of the recording, from 1; null when nobody was told apart.</summary>
    public int? Speaker { get; init; }
}

/// <summary>When an utterance begins and ends.</summary>
/// <param name="EndSilenceMs">Silence that ends it.</param>
/// <param name="MaxUtteranceMs">Longest one; then it is ended whatever is said.</param>
/// <param name="PartialEveryMs">How much audio between two partial results; 0 for none.</param>
internal sealed record Endpointing(int EndSilenceMs, int MaxUtteranceMs, int PartialEveryMs);

/// <summary>
/// Audio in, results out: finds the utterances in a stream of 16 kHz and lets an engine hear each. Silence never reaches an engine, so nothing is invented in it.
/// Memory is bounded by what is kept before an utterance begins. Not for concurrent use.
/// </summary>
internal sealed class SpeechStream(IRecogniser engine, IVoiceDetector voice, Endpointing endpointing, IReadOnlyList<string> hotWords, long from = 0, int segment = 0, SherpaDenoiser? denoiser = null)
{
    /// <summary>Samples for each second of every stream.</summary>
    public const int SampleRate = 16_000;

    private const int StartWindows = 3;
    private const int PrerollSamples = SampleRate * 3 / 10;
    private const float StartAt = 0.5f, EndBelow = 0.35f;

    private Resampler _toEngine = new(SampleRate, engine.SampleRate);
    private readonly List<short> _window = new(IVoiceDetector.Window);
    private readonly Queue<short[]> _preroll = new();
    private int _prerollSamples, _speechWindows, _silentSamples, _segment = segment;
    private long _heard = from, _start, _utteranceSamples, _nextPartial, _clipped;
    private bool _inUtterance, _truncated;

    /// <summary>Samples that were taken.</summary>
    public long Samples => _heard + _window.Count;

    /// <summary>Samples up to which whole windows were heard: where a stream that is broken off goes on.</summary>
    public long Heard => _heard;

    /// <summary>What the microphone should be looked at for; empty when there is nothing.</summary>
    public IEnumerable<string> Warnings
    {
        get
        {
            if (Samples > SampleRate && _segment == 0 && !_inUtterance)
            {
                yield return "silent";
            }

            if (_clipped > Samples / 1000 && _clipped > 100)
            {
                yield return "clipped";
            }

            if (_truncated)
            {
                yield return "truncated";
            }
        }
    }

    /// <summary>Hears a whole recording, a second at a time.</summary>
    public async Task<IReadOnlyList<SpeechResult>> HearAsync(IAudioReader recording, CancellationToken cancellationToken)
    {
        var found = new List<SpeechResult>();
        await HearAsync(recording, found.AddRange, cancellationToken);
        return found;
    }

    /// <summary>Hears a whole recording, a second at a time, and says after each what was found in it.</summary>
    public async Task HearAsync(IAudioReader recording, Action<List<SpeechResult>> found, CancellationToken cancellationToken)
    {
        var resampler = new Resampler(recording.SampleRate, SampleRate);
        while (await recording.ReadAsync(recording.SampleRate, cancellationToken) is { Length: > 0 } block)
        {
            found(Accept(resampler.Push(block)));
        }

        found(Accept(resampler.Flush()));
        found(Finish());
        _truncated = recording.IsTruncated;
    }

    /// <summary>Hears each channel of a recording by a stream of its own, a second at a time: who has a microphone or an end of the line to himself is known by its number.</summary>
    public static async Task HearAsync(IReadOnlyList<SpeechStream> channels, IAudioReader recording, Action<List<SpeechResult>> found, CancellationToken cancellationToken)
    {
        var resamplers = channels.Select(_ => new Resampler(recording.SampleRate, SampleRate)).ToArray();

        void Give(int channel, List<SpeechResult> results) => found([.. results.Select(r => r with { Speaker = channel + 1 })]);
        while (await recording.ReadFramesAsync(recording.SampleRate, cancellationToken) is { Length: > 0 } frames)
        {
            var one = new short[frames.Length / channels.Count];
            for (var c = 0; c < channels.Count; c++)
            {
                for (var i = 0; i < one.Length; i++)
                {
                    one[i] = frames[i * channels.Count + c];
                }

                Give(c, channels[c].Accept(resamplers[c].Push(one)));
            }
        }

        for (var c = 0; c < channels.Count; c++)
        {
            Give(c, [.. channels[c].Accept(resamplers[c].Flush()), .. channels[c].Finish()]);
            channels[c]._truncated = recording.IsTruncated;
        }
    }

    /// <summary>Takes audio.</summary>
    public List<SpeechResult> Accept(ReadOnlySpan<short> samples)
    {
        var results = new List<SpeechResult>();
        _clipped += Clipped(samples);
        Cut(denoiser is null ? samples : denoiser.Push(samples), results);
        return results;
    }

    private void Cut(ReadOnlySpan<short> samples, List<SpeechResult> results)
    {
        foreach (var sample in samples)
        {
            _window.Add(sample);
            if (_window.Count == IVoiceDetector.Window)
            {
                Hear([.. _window], results);
                _window.Clear();
            }
        }
    }

    private static int Clipped(ReadOnlySpan<short> samples)
    {
        var clipped = 0;
        foreach (var sample in samples)
        {
            clipped += sample is short.MaxValue or short.MinValue ? 1 : 0;
        }

        return clipped;
    }

    /// <summary>Ends the utterance that is being said, if there is one; the stream goes on.</summary>
    public List<SpeechResult> Finish()
    {
        var results = new List<SpeechResult>();
        Cut(denoiser is null ? [] : denoiser.Flush(), results);
        if (_inUtterance && _window.Count > 0)
        {
            Give([.. _window]);
        }

        _heard += _window.Count;
        _window.Clear();
        End(results);
        return results;
    }

    private void Hear(short[] window, List<SpeechResult> results)
    {
        var speech = voice.Probability(window);
        _heard += window.Length;
        if (!_inUtterance)
        {
            _preroll.Enqueue(window);
            _prerollSamples += window.Length;
            while (_prerollSamples > PrerollSamples)
            {
                _prerollSamples -= _preroll.Dequeue().Length;
            }

            _speechWindows = speech >= StartAt ? _speechWindows + 1 : 0;
            if (_speechWindows >= StartWindows)
            {
                Begin();
            }

            return;
        }

        Give(window);
        _silentSamples = speech < EndBelow ? _silentSamples + window.Length : 0;
        if (_silentSamples >= (long)endpointing.EndSilenceMs * SampleRate / 1000 || _utteranceSamples >= (long)endpointing.MaxUtteranceMs * SampleRate / 1000)
        {
            End(results);
        }
        else if (endpointing.PartialEveryMs > 0 && _utteranceSamples >= _nextPartial)
        {
            _nextPartial = _utteranceSamples + (long)endpointing.PartialEveryMs * SampleRate / 1000;
            if (engine.Partial() is { Text.Length: > 0 } hypothesis)
            {
                results.Add(Result(hypothesis, false));
            }
        }
    }

    private void Begin()
    {
        engine.Begin(hotWords, whole: endpointing.PartialEveryMs == 0);
        _toEngine = new Resampler(SampleRate, engine.SampleRate);
        (_inUtterance, _silentSamples, _utteranceSamples, _speechWindows) = (true, 0, 0, 0);
        _nextPartial = (long)endpointing.PartialEveryMs * SampleRate / 1000;
        _start = _heard - _prerollSamples;
        while (_preroll.TryDequeue(out var early))
        {
            Give(early);
        }

        _prerollSamples = 0;
    }

    private void Give(short[] samples)
    {
        engine.Accept(_toEngine.Push(samples));
        _utteranceSamples += samples.Length;
    }

    private void End(List<SpeechResult> results)
    {
        if (!_inUtterance)
        {
            return;
        }

        engine.Accept(_toEngine.Flush());
        var hypothesis = engine.End();
        _inUtterance = false;
        _speechWindows = 0;
        if (hypothesis.Text.Length > 0)
        {
            results.Add(Result(hypothesis, true));
        }

        _segment++;
    }

    private SpeechResult Result(Hypothesis hypothesis, bool final)
    {
        var startMs = _start * 1000 / SampleRate;
        return new SpeechResult(
            final, _segment, hypothesis.Text, [.. hypothesis.Words.Select(w => w with { StartMs = w.StartMs + startMs, EndMs = w.EndMs + startMs })], startMs, _heard * 1000 / SampleRate);
    }
}
