namespace Yizhan.NmtAsr.Ctc;

/// <summary>Which word may follow which: a closed grammar or n-grams. Not for concurrent use.</summary>
internal interface IWordModel
{
    /// <summary>Where an utterance begins.</summary>
    int Start { get; }

    /// <summary>The words that may follow, by their sounds.</summary>
    SoundNode Words(int state);

    /// <summary>Where a word leads, and what it adds to the logarithm of the probability. <c>NewPhrase</c>: a phrase ended before it.</summary>
    IReadOnlyList<WordStep> After(int state, int word);

    /// <summary>What ending here adds; null when nothing may end here.</summary>
    double? End(int state);

    /// <summary>The word as it is written.</summary>
    string Text(int word);
}

/// <summary>A step from word to word.</summary>
internal readonly record struct WordStep(int State, double Score, bool NewPhrase);
