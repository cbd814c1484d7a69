namespace Yizhan.NmtAsr.Engines;

/// <summary>One decoder: it hears one utterance at a time and may be used again for the next. Not for concurrent use.</summary>
/// <remarks>Everything above it (sockets, files, golden sets) meets the engines only here; what an engine cannot do it says in <see cref="Ignored"/>.</remarks>
internal interface IRecogniser : IDisposable
{
    /// <summary>Samples for each second that <see cref="Accept"/> takes, mono.</summary>
    int SampleRate { get; }

    /// <summary>Those of some hot words that cannot be made likelier: all of them by some engines, words that nobody told them how to say by others.</summary>
    IReadOnlyList<string> Ignored(IReadOnlyList<string> hotWords);

    /// <summary>Whether nothing of one stream is left for the next. What is left of a broken microphone would spoil another's text, so such a decoder is used once.</summary>
    bool ForgetsStreams { get; }

    /// <summary>Begins an utterance.</summary>
    /// <param name="hotWords">Words that are likelier.</param>
    /// <param name="whole">Nobody asks what it sounds like so far, so an engine that hears better when it has all of it may wait for the end. What it keeps is the longest utterance.</param>
    void Begin(IReadOnlyList<string> hotWords, bool whole);

    /// <summary>Adds audio.</summary>
    void Accept(ReadOnlySpan<short> samples);

    /// <summary>What it sounds like so far.</summary>
    Hypothesis Partial();

    /// <summary>Ends the utterance.</summary>
    Hypothesis End();
}

/// <summary>What was heard.</summary>
/// <param name="Text">The text; empty when nothing was understood.</param>
/// <param name="Words">Its words; times are of the utterance.</param>
internal sealed record Hypothesis(string Text, IReadOnlyList<RecognisedWord> Words)
{
    /// <summary>Nothing.</summary>
    public static Hypothesis Nothing { get; } = new("", []);
}

/// <summary>A word with its time.</summary>
/// <param name="Text">The word.</param>
/// <param name="StartMs">When it begins.</param>
/// <param name="EndMs">When it ends.</param>
/// <param name="Confidence">0 to 1 as the engine sees it; engines are not comparable.</param>
internal sealed record RecognisedWord(string Text, long StartMs, long EndMs, double Confidence);

/// <summary>An engine cannot be had; the message says what is missing and how to get it.</summary>
internal sealed class EngineMissingException(string message) : Exception(message);
