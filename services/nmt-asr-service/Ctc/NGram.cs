using System.Globalization;

namespace Yizhan.NmtAsr.Ctc;

/// <summary>Word n-grams with back-off as ARPA's text format has them (<c>words.arpa</c>), up to three words; every word of the lexicon that they know may follow every other.</summary>
internal sealed class NGram : IWordModel
{
    private const double Weight = 0.6, WordBonus = 0.5, HotBonus = 2, Unknown = -7;

    private static readonly double s_ln10 = Math.Log(10);

    private readonly Dictionary<string, (double Score, double BackOff)> _grams = new(StringComparer.Ordinal);
    private readonly List<string> _texts = [];
    private readonly HashSet<int> _hot = [];
    private readonly List<string[]> _states = [];
    private readonly Dictionary<string, int> _stateIds = new(StringComparer.Ordinal);
    private readonly SoundNode _words = new();
    private int _order = 1;

    /// <summary>Reads n-grams.</summary>
    /// <exception cref="InvalidDataException">The file is no ARPA file.</exception>
    public NGram(Lexicon lexicon, IEnumerable<string> arpa, IReadOnlyList<string> hotWords)
    {
        var order = 0;
        foreach (var line in arpa)
        {
            if (line.Length > 0 && line[0] == '\\')
            {
                order = line.EndsWith("-grams:", StringComparison.Ordinal) && int.TryParse(line.AsSpan(1, 1), out var n) && n <= 3 ? n : 0;
                _order = Math.Max(_order, order);
                continue;
            }

            var parts = order == 0 ? [] : line.Split((char[])['\t', ' '], StringSplitOptions.RemoveEmptyEntries);
            if (parts.Length == 0)
            {
                continue;
            }

            var backOff = 0.0;
            if (parts.Length < order + 1 || !double.TryParse(parts[0], CultureInfo.InvariantCulture, out var score)
                || parts.Length > order + 1 && !double.TryParse(parts[order + 1], CultureInfo.InvariantCulture, out backOff))
            {
                throw new InvalidDataException($"words.arpa: '{line}' is no n-gram of {order}.");
            }

            _grams[string.Join(' ', parts.Skip(1).Take(order))] = (score * s_ln10, backOff * s_ln10);
        }

        if (_grams.Count == 0)
        {
            throw new InvalidDataException("words.arpa has no n-grams.");
        }

        foreach (var word in lexicon.Words.Where(_grams.ContainsKey).Concat(hotWords).Distinct())
        {
            foreach (var sounds in lexicon.Sounds(word))
            {
                _words.Add(_texts.Count, sounds);
            }

            if (hotWords.Contains(word))
            {
                _hot.Add(_texts.Count);
            }

            _texts.Add(word);
        }

        _ = StateOf(["<s>"]);
    }

    /// <inheritdoc/>
    public int Start => 0;

    /// <inheritdoc/>
    public SoundNode Words(int state) => _words;

    /// <inheritdoc/>
    public IReadOnlyList<WordStep> After(int state, int word) =>
        [new WordStep(StateOf([.. _states[state].Append(_texts[word]).TakeLast(_order - 1)]), Weight * Score(_states[state], _texts[word]) + WordBonus + (_hot.Contains(word) ? HotBonus : 0), false)];

    /// <inheritdoc/>
    public double? End(int state) => Weight * Score(_states[state], "</s>");

    /// <inheritdoc/>
    public string Text(int word) => _texts[word];

    private double Score(string[] before, string word)
    {
        var backOff = 0.0;
        for (var from = 0; from <= before.Length; from++)
        {
            var context = string.Join(' ', before[from..]);
            if (_grams.TryGetValue(context.Length == 0 ? word : $"{context} {word}", out var found))
            {
                return backOff + found.Score;
            }

            backOff += context.Length > 0 && _grams.TryGetValue(context, out var known) ? known.BackOff : 0;
        }

        return backOff + Unknown;
    }

    private int StateOf(string[] words)
    {
        var key = string.Join(' ', words);
        if (!_stateIds.TryGetValue(key, out var id))
        {
            _stateIds[key] = id = _states.Count;
            _states.Add(words);
        }

        return id;
    }
}
