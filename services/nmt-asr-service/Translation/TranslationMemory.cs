using System.Text;
using System.Text.RegularExpressions;
using System.Xml;
using Yizhan.Transcripts;

namespace Yizhan.NmtAsr.Translation;

/// <summary>
/// Sentences that people have translated, both ways. A sentence is found as it is, or as a phrase with other numbers and other terms of the glossary in the same places
/// (每日服用阿司匹林100毫克 for …布洛芬200毫克): what stands in such a place is never made up.
/// </summary>
internal sealed partial class TranslationMemory(Glossary glossary)
{
    private const int MaxPairs = 2_000_000, MaxSegmentChars = 2000;

    private readonly Dictionary<(string To, string Source), string> _exact = [];
    private readonly Dictionary<(string To, string Key), (string Target, int[] Order)> _phrases = [];

    /// <summary>Pairs, each direction counted.</summary>
    public int Count => _exact.Count;

    /// <summary>Reads a TMX file (English and Chinese) or lines of <c>Chinese TAB English</c>.</summary>
    /// <exception cref="InvalidDataException">It is neither.</exception>
    public void Read(string path)
    {
        if (!path.EndsWith(".tmx", StringComparison.OrdinalIgnoreCase))
        {
            foreach (var columns in File.ReadLines(path).Where(l => l.Length > 0 && l[0] != '#').Select(l => l.Split('\t')))
            {
                Add(columns.Length == 2 ? columns : throw new InvalidDataException($"The memory {Path.GetFileName(path)} has a line that is not 'Chinese TAB English'."));
            }

            return;
        }

        try
        {
            using var reader = XmlReader.Create(path, new XmlReaderSettings { DtdProcessing = DtdProcessing.Ignore, XmlResolver = null, MaxCharactersInDocument = 1024L * 1024 * 1024 });
            var (language, pair) = ("", new string[2]);
            while (reader.Read())
            {
                if (reader.NodeType == XmlNodeType.Element && reader.Name == "tuv")
                {
                    language = reader.GetAttribute("xml:lang") ?? reader.GetAttribute("lang") ?? "";
                }
                else if (reader.NodeType == XmlNodeType.Element && reader.Name == "seg")
                {
                    pair[language.StartsWith("zh", StringComparison.OrdinalIgnoreCase) ? 0 : 1] = reader.ReadElementContentAsString().Trim();
                }

                if (reader.NodeType == XmlNodeType.EndElement && reader.Name == "tu")
                {
                    if (pair is [{ Length: > 0 }, { Length: > 0 }])
                    {
                        Add(pair);
                    }

                    pair = new string[2];
                }
            }
        }
        catch (XmlException e)
        {
            throw new InvalidDataException($"The memory {Path.GetFileName(path)} is no TMX: {e.Message}", e);
        }
    }

    /// <summary>What people said for a sentence; null when the memory does not have it.</summary>
    public (string Text, string Origin)? Find(string sentence, string from, string to)
    {
        var source = Normal(sentence);
        if (_exact.TryGetValue((to, source), out var known))
        {
            return (known, "memory");
        }

        var (key, slots) = Slots(sentence, from);
        if (slots.Count == 0 || !_phrases.TryGetValue((to, key), out var phrase))
        {
            return null;
        }

        // The places of the phrase are filled from the end, so that those before stay where they are.
        var (_, places) = Slots(phrase.Target, to);
        var text = new StringBuilder(phrase.Target);
        for (var i = places.Count - 1; i >= 0; i--)
        {
            var slot = slots[phrase.Order[i]];
            text.Remove(places[i].Index, places[i].Length).Insert(places[i].Index, slot.Term is { } term ? term.In(to)[0] : slot.Number);
        }

        return (text.ToString(), "phrase");
    }

    private void Add(string[] pair)
    {
        if (_exact.Count >= MaxPairs || pair.Any(p => p.Length > MaxSegmentChars))
        {
            return;
        }

        AddOne(pair[0], "zh", pair[1], "en");
        AddOne(pair[1], "en", pair[0], "zh");
    }

    private void AddOne(string source, string from, string target, string to)
    {
        _exact.TryAdd((to, Normal(source)), target);
        var (key, slots) = Slots(source, from);
        var (_, places) = Slots(target, to);
        if (slots.Count == 0 || slots.Count != places.Count)
        {
            return;
        }

        // Each place of the target is one of the source and the other way round, or it is no phrase.
        var free = Enumerable.Range(0, slots.Count).ToList();
        var order = new int[places.Count];
        for (var i = 0; i < places.Count; i++)
        {
            var match = free.FirstOrDefault(f => slots[f].Term == places[i].Term && slots[f].Number == places[i].Number, -1);
            if (match < 0)
            {
                return;
            }

            order[i] = match;
            free.Remove(match);
        }

        _phrases.TryAdd((to, key), (target, order));
    }

    /// <summary>The sentence with its numbers and terms taken out, and what they are in the order of the text.</summary>
    private (string Key, List<Slot> Slots) Slots(string text, string language)
    {
        var slots = glossary.Within(text, language).Select(t => new Slot(t.Index, t.Length, t.Term, "")).ToList();
        slots.AddRange(Digits().Matches(text).Where(m => !slots.Any(s => m.Index < s.Index + s.Length && s.Index < m.Index + m.Length)).Select(m => new Slot(m.Index, m.Length, null, m.Value)));
        slots.Sort((a, b) => a.Index.CompareTo(b.Index));
        var key = new StringBuilder(text);
        for (var i = slots.Count - 1; i >= 0; i--)
        {
            key.Remove(slots[i].Index, slots[i].Length).Insert(slots[i].Index, slots[i].Term is null ? " numberslot " : " termslot ");
        }

        return (Normal(key.ToString()), slots);
    }

    private static string Normal(string text) => TranscriptTokens.Normalise(text);

    [GeneratedRegex(@"\d+(?:\.\d+)?")]
    private static partial Regex Digits();

    private sealed record Slot(int Index, int Length, Term? Term, string Number);
}
