namespace Yizhan.NmtAsr.Ctc;

/// <summary>The sounds that a network tells apart (<c>tokens.txt</c>, "sound number" in each line, 0 is the blank) and the words that are made of them (<c>lexicon.txt</c>, "word sound …").</summary>
internal sealed class Lexicon
{
    private const int MaxWords = 200_000;

    private readonly Dictionary<string, int> _tokens = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<int[]>> _words = new(StringComparer.Ordinal);

    /// <summary>Number of sounds, the blank among them.</summary>
    public int Tokens => _tokens.Count;

    /// <summary>All words.</summary>
    public IEnumerable<string> Words => _words.Keys;

    /// <summary>Reads both files.</summary>
    /// <exception cref="InvalidDataException">A line is not of the form above, or has a sound that the network does not know.</exception>
    public static Lexicon Load(string models)
    {
        var lexicon = new Lexicon();
        foreach (var parts in Lines(models, "tokens.txt"))
        {
            lexicon._tokens[parts[0]] = parts.Length == 2 && int.TryParse(parts[1], out var number) && number == lexicon._tokens.Count
                ? number : throw new InvalidDataException($"tokens.txt: '{string.Join(' ', parts)}' is not a sound and the number {lexicon._tokens.Count}.");
        }

        foreach (var parts in Lines(models, "lexicon.txt").Take(MaxWords))
        {
            if (!lexicon._words.TryGetValue(parts[0], out var known))
            {
                lexicon._words[parts[0]] = known = [];
            }

            known.Add([.. parts.Skip(1).Select(p => lexicon._tokens.TryGetValue(p, out var token) && token > 0
                ? token : throw new InvalidDataException($"lexicon.txt: '{p}' of the word '{parts[0]}' is no sound of tokens.txt."))]);
            if (known[^1].Length == 0)
            {
                throw new InvalidDataException($"lexicon.txt: the word '{parts[0]}' has no sounds.");
            }
        }

        return lexicon;
    }

    /// <summary>How a word is said; one that is not in the lexicon is said as its characters are. Empty when that is not known.</summary>
    public IReadOnlyList<int[]> Sounds(string word)
    {
        if (_words.TryGetValue(word, out var known))
        {
            return known;
        }

        var sounds = new List<int>();
        foreach (var rune in word.EnumerateRunes())
        {
            if (!_words.TryGetValue(rune.ToString(), out var one))
            {
                return [];
            }

            sounds.AddRange(one[0]);
        }

        return sounds.Count == 0 ? [] : [[.. sounds]];
    }

    private static IEnumerable<string[]> Lines(string models, string name) =>
        File.ReadLines(Path.Combine(models, name)).Where(l => l.Length > 0).Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries));
}

/// <summary>Words by their sounds: a node is what has been said of one.</summary>
internal sealed class SoundNode
{
    /// <summary>Next sounds.</summary>
    public SortedList<int, SoundNode> Next { get; } = [];

    /// <summary>Words that are complete here.</summary>
    public List<int> Words { get; } = [];

    /// <summary>Adds a word.</summary>
    public void Add(int word, IEnumerable<int> sounds)
    {
        var node = this;
        foreach (var sound in sounds)
        {
            if (!node.Next.TryGetValue(sound, out var next))
            {
                node.Next.Add(sound, next = new SoundNode());
            }

            node = next;
        }

        if (!node.Words.Contains(word))
        {
            node.Words.Add(word);
        }
    }
}
