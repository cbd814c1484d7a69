namespace Yizhan.NmtAsr.Ctc;

/// <summary>
/// Phrases and no others (<c>phrases.txt</c>): a phrase for each line, words with spaces between; <c>$name = one | another thing</c> before it is used is a class. <c>$hot</c> is the class of
/// the hot words. Phrases may follow each other in one utterance, which costs something, so that one is preferred to two.
/// </summary>
internal sealed class ClosedGrammar : IWordModel
{
    private const int MaxLines = 10_000, MaxArcs = 1_000_000;
    private const double PhraseCost = -4, HotBonus = 1;

    private readonly Lexicon _lexicon;
    private readonly List<string> _texts = [];
    private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);
    private readonly HashSet<int> _hot = [];
    private readonly List<List<(int Word, int To)>> _arcs = [[], []];
    private readonly Dictionary<string, List<string[]>> _classes = new(StringComparer.Ordinal);
    private readonly List<State> _states = [];
    private readonly Dictionary<string, int> _stateIds = new(StringComparer.Ordinal);
    private int _arcCount;

    /// <summary>Compiles phrases.</summary>
    /// <exception cref="InvalidDataException">A line has a class that is not defined before it, or a word that cannot be said.</exception>
    public ClosedGrammar(Lexicon lexicon, IEnumerable<string> lines, IEnumerable<string> hotWords)
    {
        _lexicon = lexicon;
        _classes["$hot"] = [.. hotWords.Where(h => lexicon.Sounds(h).Count > 0).Select(h => new[] { h })];
        foreach (var hot in _classes["$hot"])
        {
            _hot.Add(Id(hot[0]));
        }

        foreach (var line in lines.Take(MaxLines).Where(l => l.Length > 0 && l[0] != '#'))
        {
            if (line.IndexOf(" = ", StringComparison.Ordinal) is > 0 and var at)
            {
                _classes[line[..at].Trim()] = [.. line[(at + 3)..].Split('|').Select(Split)];
                foreach (var word in _classes[line[..at].Trim()].SelectMany(a => a))
                {
                    Check(word, line);
                }
            }
            else
            {
                var words = Split(line);
                Array.ForEach(words, w => Check(w, line));
                Add(0, 1, words, 0);
            }
        }

        _ = StateOf([0]);
    }

    /// <inheritdoc/>
    public int Start => 0;

    /// <inheritdoc/>
    public SoundNode Words(int state) => _states[state].Words ??= Root(_states[state]);

    /// <inheritdoc/>
    public IReadOnlyList<WordStep> After(int state, int word)
    {
        var from = _states[state];
        if (!from.After.TryGetValue(word, out var steps))
        {
            from.After[word] = steps = [];
            var bonus = _hot.Contains(word) ? HotBonus : 0;
            if (Follow(from.Places, word) is { Length: > 0 } on)
            {
                steps.Add(new WordStep(StateOf(on), bonus, false));
            }

            if (from.Ends && Follow([0], word) is { Length: > 0 } anew)
            {
                steps.Add(new WordStep(StateOf(anew), bonus + PhraseCost, true));
            }
        }

        return steps;
    }

    /// <inheritdoc/>
    public double? End(int state) => _states[state].Ends ? 0 : null;

    /// <inheritdoc/>
    public string Text(int word) => _texts[word];

    private static string[] Split(string text) => text.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    private void Check(string word, string line)
    {
        if (word[0] == '$' ? !_classes.ContainsKey(word) : _lexicon.Sounds(word).Count == 0)
        {
            throw new InvalidDataException($"phrases.txt: '{word}' of '{line}' is {(word[0] == '$' ? "no class that is defined before" : "no word of lexicon.txt, and not all of its characters are")}.");
        }
    }

    private void Add(int from, int to, string[] words, int depth)
    {
        for (var i = 0; i < words.Length; i++)
        {
            var next = i == words.Length - 1 ? to : _arcs.Count;
            if (next == _arcs.Count)
            {
                _arcs.Add([]);
            }

            if (words[i][0] == '$')
            {
                // A class names only what is defined before it, so this ends.
                _classes[words[i]].ForEach(alternative => Add(from, next, alternative, depth + 1));
            }
            else
            {
                _arcs[from].Add((Id(words[i]), next));
                if (++_arcCount > MaxArcs)
                {
                    throw new InvalidDataException($"phrases.txt: its classes make more than {MaxArcs} steps.");
                }
            }

            from = next;
        }
    }

    private int Id(string word)
    {
        if (!_ids.TryGetValue(word, out var id))
        {
            _ids[word] = id = _texts.Count;
            _texts.Add(word);
        }

        return id;
    }

    private int[] Follow(int[] places, int word) => [.. places.SelectMany(p => _arcs[p]).Where(a => a.Word == word).Select(a => a.To).Distinct().Order()];

    private int StateOf(int[] places)
    {
        var key = string.Join(',', places);
        if (!_stateIds.TryGetValue(key, out var id))
        {
            _stateIds[key] = id = _states.Count;
            _states.Add(new State(places, places.Contains(1)));
        }

        return id;
    }

    private SoundNode Root(State state)
    {
        var root = new SoundNode();
        foreach (var word in (state.Ends ? [.. state.Places, 0] : state.Places).SelectMany(p => _arcs[p]).Select(a => a.Word).Distinct())
        {
            foreach (var sounds in _lexicon.Sounds(_texts[word]))
            {
                root.Add(word, sounds);
            }
        }

        return root;
    }

    /// <summary>All places of the phrases at which an utterance may be at a time.</summary>
    private sealed record State(int[] Places, bool Ends)
    {
        public SoundNode? Words { get; set; }

        public Dictionary<int, List<WordStep>> After { get; } = [];
    }
}
