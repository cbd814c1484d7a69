using System.Text;

namespace Yizhan.Transcripts.Tests;

/// <summary>Language models that CMU's tools dumped: a small one that is written here, and what is wrong with others.</summary>
[Trait("Clause", "S4")]
public sealed class SphinxModelTests
{
    [Theory]
    [InlineData(-1)]
    [InlineData(-2)]
    [InlineData(3)]
    public void Words_and_pairs_become_text_and_triples_are_left_out(int version)
    {
        var model = SphinxModel.Read(Dump(version));
        Assert.Equal((3, 2, 1), (model.Unigrams, model.Bigrams, model.LeftOut));
        var text = new StringWriter();
        model.WriteArpa(text);
        Assert.Equal("\\data\\\nngram 1=3\nngram 2=2\n\n\\1-grams:\n-1.0000\t<s>\t-0.5000\n-2.0000\t血压\t-0.2500\n-3.0000\t正常\t0.0000\n\n\\2-grams:\n-0.1250\t<s> 血压\n-0.7500\t血压 正常\n\n\\end\\\n", text.ToString());
    }

    [Fact]
    public void A_model_that_ends_early_is_refused_wherever_it_ends()
    {
        var whole = Dump(-1);
        for (var length = 0; length < whole.Length; length++)
        {
            Assert.Throws<InvalidDataException>(() => SphinxModel.Read(whole.AsSpan(0, length)));
        }
    }

    [Theory]
    [InlineData("word 9")]
    [InlineData("probability 9")]
    [InlineData("first 9")]
    [InlineData("infinite")]
    [InlineData("blank")]
    public void A_number_that_points_beside_is_refused(string broken) =>
        Assert.Contains("do not belong together", Assert.Throws<InvalidDataException>(() => SphinxModel.Read(Dump(-1, broken))).Message, StringComparison.Ordinal);

    [Fact]
    public void Versions_that_are_not_read_and_other_files_are_named()
    {
        Assert.Contains("-3", Assert.Throws<InvalidDataException>(() => SphinxModel.Read(Dump(-3))).Message, StringComparison.Ordinal);
        Assert.Contains("Darpa Trigram LM", Assert.Throws<InvalidDataException>(() => SphinxModel.Read("\\data\\\nngram 1=1"u8)).Message, StringComparison.Ordinal);
    }

    /// <summary>A dump of three words, two pairs and one triple.</summary>
    private static byte[] Dump(int version, string? broken = null)
    {
        var stream = new MemoryStream();
        using var to = new BinaryWriter(stream);
        Text("Darpa Trigram LM");
        Text("small.lm");
        if (version <= 0)
        {
            to.Write(version);
            to.Write(0);
            Text("BEGIN FILE FORMAT DESCRIPTION");
            to.Write(0);
        }

        if (version == -2)
        {
            to.Write(9);
        }

        foreach (var n in new[] { 3, 2, 1 })
        {
            to.Write(n);
        }

        foreach (var (probability, backoff, first) in new (float, float, int)[] { (-1, -0.5f, 0), (-2, -0.25f, broken == "first 9" ? 9 : 1), (broken == "infinite" ? float.NaN : -3, 0, 2), (0, 0, 2) })
        {
            to.Write(-1);
            to.Write(probability);
            to.Write(backoff);
            to.Write(first);
        }

        foreach (var (word, probability) in new[] { (broken == "word 9" ? 9 : 1, 0), (2, broken == "probability 9" ? 9 : 1), (0, 0) })
        {
            to.Write((ushort)word);
            to.Write((ushort)probability);
            to.Write(0);
        }

        to.Write(0);
        foreach (var floats in new float[][] { [-0.125f, -0.75f], [0], [-0.0625f], [0] })
        {
            to.Write(floats.Length);
            Array.ForEach(floats, to.Write);
        }

        Text(broken == "blank" ? "<s>\0血 压\0正常" : "<s>\0血压\0正常");
        return stream.ToArray();

        void Text(string text)
        {
            var bytes = Encoding.UTF8.GetBytes(text + "\0");
            to.Write(bytes.Length);
            to.Write(bytes);
        }
    }
}
