using System.Text.Json;
using Yizhan.NmtAsr.Ctc;

namespace Yizhan.NmtAsr.Tests;

/// <summary>Our own way from sound to words: windows and network as they were trained, the search through grammar, n-grams and hot words.</summary>
[Trait("Clause", "S4")]
public sealed class CtcTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-ctc-").FullName;

    private static string Pack => Path.Combine(Given.Root, "models", "speech", "mandarin-phrases", "1.0.0", "models");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Windows_and_network_give_what_the_training_wrote_down()
    {
        using var vectors = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Given.Root, "models", "training", "mandarin", "vectors.json")));
        var samples = Enumerable.Range(0, 16_000).Select(i => i / 16_000.0).Select(t => (short)Math.Round(32_768 * 0.3 * Math.Sin(2 * Math.PI * (200 * t + 1500 * t * t)))).ToArray();
        var windows = new List<float>();
        new LogMel().Push(samples, windows);
        Assert.Equal(98 * LogMel.Bands, windows.Count);
        foreach (var (row, values) in vectors.RootElement.GetProperty("rows").EnumerateArray().Zip(vectors.RootElement.GetProperty("features").EnumerateArray()))
        {
            foreach (var (value, band) in values.EnumerateArray().Select((v, b) => (v.GetSingle(), b)))
            {
                // Half precision in the training, 16 bits here: what matters is more than -12.
                var ours = windows[row.GetInt32() * LogMel.Bands + band];
                Assert.True(Math.Abs(Math.Max(ours, -11) - Math.Max(value, -11)) < 0.15, $"window {row}, band {band}: {ours}, trained with {value}");
            }
        }

        using var model = CtcModel.Load(Pack, true, true, 9, 2);
        var found = model.Run([.. windows.Take(96 * LogMel.Bands)]);
        var best = vectors.RootElement.GetProperty("best").EnumerateArray().Select(b => b.GetInt32()).ToArray();
        Assert.Equal(best.Length, found.Length / model.Tokens);
        Assert.InRange(best.Where((b, i) => found.AsSpan(i * model.Tokens, model.Tokens).IndexOf(found.Skip(i * model.Tokens).Take(model.Tokens).Max()) == b).Count(), best.Length - 1, best.Length);
    }

    [Theory]
    [InlineData(160)]
    [InlineData(1000)]
    [InlineData(48_000)]
    public void A_stream_hears_what_the_whole_recording_does_whatever_its_pieces(int piece)
    {
        using var model = CtcModel.Load(Pack, true, true, 9, 100);
        using var whole = new CtcRecogniser(model);
        using var stream = new CtcRecogniser(model);
        var said = Recording("clean-005.wav");
        whole.Begin([], whole: true);
        whole.Accept(said);
        stream.Begin([], whole: false);
        foreach (var part in said.Chunk(piece))
        {
            stream.Accept(part);
            _ = stream.Partial();
        }

        var (a, b) = (whole.End(), stream.End());
        Assert.NotEmpty(a.Text);
        Assert.Equal(a.Text, b.Text);
        Assert.Equal(a.Words.Select(w => (w.Text, w.StartMs, w.EndMs)), b.Words.Select(w => (w.Text, w.StartMs, w.EndMs)));
        Assert.All(a.Words, w => Assert.InRange(w.Confidence, 0.05, 1));
        Assert.True(a.Words.Zip(a.Words.Skip(1)).All(p => p.First.EndMs <= p.Second.StartMs && p.First.StartMs < p.First.EndMs), string.Join(' ', a.Words));
    }

    [Fact]
    public void A_closed_grammar_hears_its_phrases_and_nothing_else()
    {
        Write("""
            $n = one | two
            stop
            stop a
            go $n
            go $n $n
            """);
        Assert.Equal("go two", Read(Grammar(), "g.o..t.u.."));
        Assert.Equal("go one", Read(Grammar(), "ggoowwuunn"));
        Assert.Equal("go one one", Read(Grammar(), "gowun.wun"));

        // Nearer to nothing that may be said: "two" alone ends no phrase, and "ga" is no word.
        Assert.Equal("stop", Read(Grammar(), "s.t.o.p"));
        Assert.Equal("", Read(Grammar(), "t.u.."));
        Assert.Equal("", Read(Grammar(), "n.s.g.u.n"));

        // Two phrases in one breath.
        Assert.Equal("go two, stop", Read(Grammar(), "gotu.stop"));
    }

    [Fact]
    public void A_sound_is_heard_twice_only_with_a_blank_between()
    {
        // The sound at the end of one word begins the next. Only "stop a" may be said: one long "p" is no likelier as "stop".
        Write("stop a");
        Assert.Equal("", Read(Grammar(), "s.t.o.pp"));
        Assert.Equal("stop a", Read(Grammar(), "s.t.o.p.p"));
        Assert.Equal("stop a", Read(Grammar(), "s.t.o.pp.pp"));
    }

    [Fact]
    public void A_hot_word_is_heard_where_the_grammar_has_a_place_for_it_and_nowhere_without()
    {
        Write("""
            go $hot
            go one
            """);
        Assert.Equal("go one", Read(Grammar(), "g.o.w.u.n"));
        Assert.Equal("", Read(Grammar(), "g.o.t.u"));
        Assert.Equal("go two", Read(Grammar("two"), "g.o.t.u"));

        // Not in the lexicon as a word, but each of its characters is.
        Assert.Equal("go ab", Read(Grammar("ab"), "g.o.p.t"));

        // What cannot be said is no hot word.
        Assert.Equal("", Read(Grammar("zz"), "g.o.t.u"));
    }

    [Fact]
    public void N_grams_decide_between_words_that_sound_alike_and_a_hot_word_wins()
    {
        Write("go");
        string[] arpa =
        [
            "\\data\\", "ngram 1=5", "ngram 2=3", "", "\\1-grams:", "-1\tgo\t-0.3", "-1\ttwo\t-0.3", "-1\ttoo\t-0.3", "-1\t</s>", "-99\t<s>\t-0.3", "", "\\2-grams:", "-0.1\t<s> go", "-0.1\tgo two",
            "-2\tgo too", "", "\\end\\",
        ];
        var lexicon = Lexicon.Load(_folder);
        Assert.Equal("go two", Read(new NGram(lexicon, arpa, []), "g.o.t.u"));
        Assert.Equal("go too", Read(new NGram(lexicon, [.. arpa.Select(l => l.Replace("-0.1\tgo two", "-3\tgo two", StringComparison.Ordinal))], []), "g.o.t.u"));
        Assert.Equal("go too", Read(new NGram(lexicon, [.. arpa.Select(l => l.Replace("-0.1\tgo two", "-1.5\tgo two", StringComparison.Ordinal))], ["too"]), "g.o.t.u"));
        Assert.Throws<InvalidDataException>(() => new NGram(lexicon, ["hello"], []));
    }

    [Theory]
    [InlineData("go nowhere", "'nowhere' of 'go nowhere' is no word")]
    [InlineData("go $unknown", "no class that is defined before")]
    public void Phrases_that_cannot_be_heard_are_refused_by_name(string line, string problem)
    {
        Write(line);
        Assert.Contains(problem, Assert.Throws<InvalidDataException>(() => Grammar()).Message, StringComparison.Ordinal);
    }

    /// <summary>A recording of the test set (<c>models/training/mandarin/recordings.py</c>).</summary>
    internal static short[] Recording(string name) => System.Runtime.InteropServices.MemoryMarshal.Cast<byte, short>(
        File.ReadAllBytes(Path.Combine(Given.Root, "models", "training", "mandarin", "recordings", name)).AsSpan(44)).ToArray();

    private void Write(string phrases)
    {
        File.WriteAllLines(Path.Combine(_folder, "tokens.txt"), ".gotuwnsp".Select((c, i) => $"{c} {i}"));
        File.WriteAllText(Path.Combine(_folder, "lexicon.txt"), "go g o\none w u n\ntwo t u\ntoo t u\nstop s t o p\na p\nb t\n");
        File.WriteAllText(Path.Combine(_folder, "phrases.txt"), phrases);
    }

    private ClosedGrammar Grammar(params string[] hot) => new(Lexicon.Load(_folder), File.ReadLines(Path.Combine(_folder, "phrases.txt")), hot);

    /// <summary>Reads frames of which each is nearly sure of one sound; a point is the blank.</summary>
    private static string Read(IWordModel words, string frames)
    {
        const string Tokens = ".gotuwnsp";
        var search = new PrefixSearch(words, 16);
        foreach (var c in frames)
        {
            var frame = Enumerable.Repeat(MathF.Log(0.1f / (Tokens.Length - 1)), Tokens.Length).ToArray();
            frame[Tokens.IndexOf(c, StringComparison.Ordinal)] = MathF.Log(0.9f);
            search.Accept(frame);
        }

        return search.TryRead(ended: true, 1.5, out var found) ? string.Concat(found.Select((w, i) => (i == 0 ? "" : w.NewPhrase ? ", " : " ") + words.Text(w.Word))) : "";
    }
}
