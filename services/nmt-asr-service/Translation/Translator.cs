using System.Text;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Options;
using Yizhan.NmtAsr.Packs;

namespace Yizhan.NmtAsr.Translation;

/// <summary>One sentence and what became of it.</summary>
/// <param name="Source">The sentence.</param>
/// <param name="Text">Its translation; the sentence itself when there is none.</param>
/// <param name="Origin"><c>memory</c>, <c>phrase</c> or <c>glossary</c> (people wrote it), <c>model</c> (a draft), <c>none</c> (not translated) or <c>same</c> (nothing to translate).</param>
/// <param name="Problems">What is lost or was not checked: <c>number</c>, <c>unit</c>, <c>negation</c>, <c>side</c>, <c>term</c>, <c>unsure</c>, <c>not-translated</c>. Not empty: unverified.</param>
internal sealed record TranslatedSentence(string Source, string Text, string Origin, IReadOnlyList<string> Problems);

/// <summary>
/// Chinese and English, sentence by sentence: what people have translated first (memory, phrases with places, glossary), then the pack's model. Whatever it comes from, numbers, units,
/// negation, side of the body and terms are held against the source; what lost one is marked.
/// </summary>
internal sealed partial class Translator(PackStore packs, IOptions<NmtAsrOptions> options, ILogger<Translator> logger) : IDisposable
{
    /// <summary>Languages that are known here.</summary>
    public static IReadOnlyList<string> Languages { get; } = ["zh", "en"];

    /// <summary>Below this mean the model itself is not sure.</summary>
    private const double Unsure = -0.9;

    /// <summary>What is longer is no sentence, whatever it is: it would hold a translation's turn for minutes and come out as nonsense.</summary>
    private const int MaxSentenceChars = 4000;

    private readonly NmtAsrOptions _options = options.Value;
    private readonly SemaphoreSlim _running = new(options.Value.MaxTranslations);
    private readonly Lock _lock = new();
    private readonly Dictionary<string, Seq2Seq> _models = [];
    private (Glossary Glossary, TranslationMemory Memory)? _known;

    /// <summary>Into what a language is translated here: by a model, or only what people have translated.</summary>
    public static IReadOnlyList<string> Targets(string source) => [.. Languages.Where(l => l != source)];

    /// <summary>Name of the model of a direction; null when there is none and only the memory answers.</summary>
    public string? ModelOf(string source, string target) => Pack(source, target)?.Id;

    /// <summary>Guesses between the languages that are known here, by their characters; 0 to 100.</summary>
    public static (string Language, double Confidence) Detect(string text)
    {
        var (han, letters) = (text.Count(c => c is >= '\u4e00' and <= '\u9fff'), text.Count(char.IsAsciiLetter));
        return han + letters == 0 ? ("en", 0) : han * 3 >= letters ? ("zh", Math.Round(100.0 * Math.Min(1, han * 3.0 / (han * 3 + letters)))) : ("en", Math.Round(100.0 * letters / (han * 3 + letters)));
    }

    /// <summary>Translates a text; waits while as many as may run are running.</summary>
    public async Task<IReadOnlyList<TranslatedSentence>> TranslateAsync(string text, string from, string to, CancellationToken cancellationToken)
    {
        await _running.WaitAsync(cancellationToken);
        try
        {
            return await Task.Run(() => Sentences(Clean(text)).Select(s => One(s, from, to, cancellationToken)).ToArray(), cancellationToken);
        }
        finally
        {
            _running.Release();
        }
    }

    /// <summary>The text as it was laid out, each sentence that is unverified marked as such.</summary>
    public static string Join(IReadOnlyList<TranslatedSentence> sentences, string to, bool marks)
    {
        var text = new StringBuilder();
        foreach (var sentence in sentences)
        {
            if (text.Length > 0 && to == "en" && text[^1] is not ('\n' or ' ') && sentence.Origin != "same")
            {
                text.Append(' ');
            }

            text.Append(marks && sentence.Problems.Count > 0 ? $"[{(to == "zh" ? "未核实" : "unverified")}: {string.Join(", ", sentence.Problems)}] " : "").Append(sentence.Text);
        }

        return text.ToString();
    }

    /// <summary>Cuts a text into sentences; together they are the text.</summary>
    public static IEnumerable<string> Sentences(string text) => SentencePattern().Matches(text).Select(m => m.Value).Where(s => s.Length > 0);

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_lock)
        {
            foreach (var model in _models.Values)
            {
                model.Dispose();
            }

            _models.Clear();
        }

        _running.Dispose();
    }

    private TranslatedSentence One(string sentence, string from, string to, CancellationToken cancellationToken)
    {
        var trimmed = sentence.Trim();
        if (!trimmed.Any(char.IsLetter))
        {
            return new TranslatedSentence(sentence, sentence, "same", []);
        }

        if (trimmed.Length > MaxSentenceChars)
        {
            return new TranslatedSentence(sentence, trimmed, "none", ["not-translated"]);
        }

        var (glossary, memory) = Known();
        if (glossary.Find(trimmed, from) is { } term)
        {
            return Checked(sentence, term.In(to)[0], "glossary", from, to, glossary);
        }

        if (memory.Find(trimmed, from, to) is { } known)
        {
            return Checked(sentence, known.Text, known.Origin, from, to, glossary);
        }

        if (Pack(from, to) is not { } pack)
        {
            return new TranslatedSentence(sentence, trimmed, "none", ["not-translated"]);
        }

        var model = Model(pack);
        var tokens = model.Encode(trimmed);
        var parts = tokens.Count <= Seq2Seq.MaxTokens ? [tokens] : tokens.Chunk(Seq2Seq.MaxTokens).ToArray<IReadOnlyList<int>>();
        if (parts.Length > 1)
        {
            // Cut in the middle of a thought: a draft for which nothing speaks.
            var pieces = parts.Select(p => model.Translate(p, 1, cancellationToken)[0].Text);
            var made = Checked(sentence, string.Join(' ', pieces), "model", from, to, glossary);
            return made with { Problems = [.. made.Problems.Union(["unsure"])] };
        }

        // Of the likeliest, the first that loses nothing; else the likeliest, marked.
        (TranslatedSentence Made, double Score)? likeliest = null, clean = null;
        foreach (var candidate in model.Translate(tokens, _options.Beam, cancellationToken))
        {
            var made = Checked(sentence, candidate.Text, "model", from, to, glossary);
            likeliest ??= (made, candidate.Score);
            if (made.Problems.Count == 0)
            {
                clean = (made, candidate.Score);
                break;
            }
        }

        var (best, score) = clean ?? likeliest!.Value;
        return score < Unsure ? best with { Problems = [.. best.Problems, "unsure"] } : best;
    }

    private static TranslatedSentence Checked(string source, string text, string origin, string from, string to, Glossary glossary)
    {
        var problems = TextFacts.Lost(TextFacts.Of(source, from), TextFacts.Of(text, to)).ToList();
        if (glossary.Lost(source, from, text, to).Any())
        {
            problems.Add("term");
        }

        return new TranslatedSentence(source, text, origin, problems);
    }

    private SpeechPack? Pack(string from, string to) => packs.All.FirstOrDefault(p => p.Settings.Task == "mt" && p.Settings.Source == from && p.Settings.Target == to);

    private Seq2Seq Model(SpeechPack pack)
    {
        lock (_lock)
        {
            return _models.TryGetValue(pack.Id, out var model) ? model : _models[pack.Id] = Seq2Seq.Load(pack.Models, _options.TranslationThreads);
        }
    }

    private (Glossary, TranslationMemory) Known()
    {
        lock (_lock)
        {
            if (_known is { } known)
            {
                return known;
            }

            var glossary = new Glossary();
            var memory = new TranslationMemory(glossary);
            var shipped = packs.All.Where(p => p.Settings.Task == "mt").Select(p => Path.Combine(p.Folder!, "configs")).ToArray();
            Each([.. _options.Glossary, .. shipped.Select(s => Path.Combine(s, "glossary.tsv")).Where(File.Exists)], glossary.Read);
            Each([.. _options.Memory, .. shipped.Select(s => Path.Combine(s, "phrases.tsv")).Where(File.Exists)], memory.Read);
            _known = (glossary, memory);
            Ready(glossary.Count, memory.Count);
            return (glossary, memory);
        }
    }

    private void Each(IEnumerable<string> paths, Action<string> read)
    {
        foreach (var path in paths)
        {
            try
            {
                read(path);
            }
            catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
            {
                NotRead(path, e.Message);
            }
        }
    }

    /// <summary>Without what no text needs: control characters but line ends.</summary>
    private static string Clean(string text) => string.Concat(text.Select(c => char.IsControl(c) && c is not '\n' ? ' ' : c));

    // A point ends a sentence only before a space: 3.5 is one number.
    [GeneratedRegex(@"[^。！？!?；;\n.]*(?:\.(?!\s|$)[^。！？!?；;\n.]*)*(?:[。！？!?；;]+|\.(?=\s|$))?[ ]*\n*")]
    private static partial Regex SentencePattern();

    [LoggerMessage(5020, LogLevel.Information, "Translation knows {Terms} terms and {Pairs} sentences of people.")]
    private partial void Ready(int terms, int pairs);

    [LoggerMessage(5021, LogLevel.Error, "The file {Path} of the translation is not used: {Reason}")]
    private partial void NotRead(string path, string reason);
}
