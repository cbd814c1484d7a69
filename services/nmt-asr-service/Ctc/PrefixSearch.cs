namespace Yizhan.NmtAsr.Ctc;

/// <summary>A word that was found; frames are the network's.</summary>
internal sealed record FoundWord(FoundWord? Before, int Word, int First, int Last, double Confidence, bool NewPhrase);

/// <summary>
/// The likeliest words for what a network says of each frame (connectionist temporal classification): a beam of prefixes, each with what it is worth when it ends in a blank and when it
/// does not, through the sounds of the words that may follow. Not for concurrent use.
/// </summary>
internal sealed class PrefixSearch(IWordModel words, int beam)
{
    private const double Never = double.NegativeInfinity, Behind = 30;

    private readonly Dictionary<(int History, int Word, int State), int> _histories = [];
    private List<Prefix> _prefixes = [new Prefix(0, words.Start, words.Words(words.Start), 0) { Blank = 0 }];
    private Dictionary<(int, SoundNode, int), Prefix> _next = [];
    private double _free;
    private int _frame;

    /// <summary>Takes the logarithms of one frame's probabilities; the first is the blank's.</summary>
    public void Accept(ReadOnlySpan<float> frame)
    {
        _next = new Dictionary<(int, SoundNode, int), Prefix>(_prefixes.Count * 4);
        var most = float.NegativeInfinity;
        foreach (var value in frame)
        {
            most = Math.Max(most, value);
        }

        _free += most;
        var least = _prefixes[0].Total + most - Behind;
        foreach (var prefix in _prefixes)
        {
            Stay(prefix, frame);
            foreach (var (sound, node) in prefix.Node.Next)
            {
                // The same sound twice needs a blank between.
                var score = (sound == prefix.Last ? prefix.Blank : prefix.Total) + frame[sound];
                if (score > least)
                {
                    Extend(prefix, sound, node, score, frame[sound]);
                }
            }
        }

        _prefixes = [.. _next.Values.OrderByDescending(p => p.Total).Take(beam)];
        _frame++;
    }

    /// <summary>The likeliest words so far, or of an utterance that ends here; null when nothing that may be said comes near to what was heard.</summary>
    /// <param name="ended">Only what may end is an answer.</param>
    /// <param name="reject">How much worse than the network's freest reading each sound may be, on average.</param>
    /// <param name="text">Words in the order in which they were said.</param>
    public bool TryRead(bool ended, double reject, out IReadOnlyList<FoundWord> text)
    {
        var best = _prefixes.Where(p => !ended || p.Node == words.Words(p.State) && words.End(p.State) is not null)
            .MaxBy(p => p.Total + (ended ? words.End(p.State)!.Value : 0));
        var found = new List<FoundWord>();
        for (var word = best?.Words; word is not null; word = word.Before)
        {
            found.Add(word);
        }

        found.Reverse();
        text = found;
        return best is { AllSounds: > 0 } && (_free - best.Total) / best.AllSounds <= reject;
    }

    private void Stay(Prefix prefix, ReadOnlySpan<float> frame)
    {
        var same = Same(prefix.History, prefix.State, prefix.Node, prefix.Last);
        var (blank, again) = (prefix.Total + frame[0], prefix.Last > 0 ? prefix.Sound + frame[prefix.Last] : Never);
        same.Blank = Sum(same.Blank, blank);
        same.Sound = Sum(same.Sound, again);
        same.Take(prefix, Math.Max(blank, again));
    }

    private void Extend(Prefix prefix, int sound, SoundNode node, double score, double said)
    {
        var begins = prefix.Sounds == 0;
        var (first, sounds, spoken) = (begins ? _frame : prefix.First, prefix.Sounds + 1, prefix.Spoken + said);
        if (node.Next.Count > 0)
        {
            var on = Same(prefix.History, prefix.State, node, sound);
            on.Sound = Sum(on.Sound, score);
            on.Take(score, prefix.Words, first, sounds, spoken, prefix.AllSounds + 1);
        }

        foreach (var word in node.Words)
        {
            foreach (var step in words.After(prefix.State, word))
            {
                var after = Same(History(prefix.History, word, step.State), step.State, words.Words(step.State), sound);
                after.Sound = Sum(after.Sound, score + step.Score);
                after.Take(score + step.Score, new FoundWord(prefix.Words, word, first, _frame, Math.Exp(spoken / sounds), step.NewPhrase), 0, 0, 0, prefix.AllSounds + 1);
            }
        }
    }

    private int History(int before, int word, int state)
    {
        if (!_histories.TryGetValue((before, word, state), out var id))
        {
            _histories[(before, word, state)] = id = _histories.Count + 1;
        }

        return id;
    }

    private Prefix Same(int history, int state, SoundNode node, int last)
    {
        if (!_next.TryGetValue((history, node, last), out var prefix))
        {
            _next[(history, node, last)] = prefix = new Prefix(history, state, node, last);
        }

        return prefix;
    }

    private static double Sum(double a, double b) => a < b ? Sum(b, a) : double.IsNegativeInfinity(b) ? a : a + Math.Log(1 + Math.Exp(b - a));

    /// <summary>What was said: whole words, and of the next one the sounds up to a node.</summary>
    private sealed class Prefix(int history, int state, SoundNode node, int last)
    {
        private double _taken = Never;

        public int History { get; } = history;

        public int State { get; } = state;

        public SoundNode Node { get; } = node;

        public int Last { get; } = last;

        public double Blank { get; set; } = Never;

        public double Sound { get; set; } = Never;

        public double Total => Sum(Blank, Sound);

        public FoundWord? Words { get; private set; }

        public int First { get; private set; }

        public int Sounds { get; private set; }

        public double Spoken { get; private set; }

        public int AllSounds { get; private set; }

        /// <summary>Of the ways that lead here the likeliest one says when words were said.</summary>
        public void Take(double score, FoundWord? words, int first, int sounds, double spoken, int allSounds)
        {
            if (score > _taken)
            {
                (_taken, Words, First, Sounds, Spoken, AllSounds) = (score, words, first, sounds, spoken, allSounds);
            }
        }

        public void Take(Prefix from, double score) => Take(score, from.Words, from.First, from.Sounds, from.Spoken, from.AllSounds);
    }
}
