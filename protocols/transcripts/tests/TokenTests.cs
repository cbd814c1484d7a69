namespace Yizhan.Transcripts.Tests;

[Trait("Clause", "S4")]
public sealed class TokenTests
{
    [Theory]
    [InlineData("血压一百四十毫米汞柱", "血 压 140 mmhg")]
    [InlineData("血压140mmHg。", "血 压 140 mmhg")]
    [InlineData("Give 2.5 mg, twice a day", "give 2.5 mg twice a day")]
    [InlineData("体温三十八点五摄氏度", "体 温 38.5 °c")]
    [InlineData("ＣＴ示右肺５ｍｍ结节", "ct 示 右 肺 5 mm 结 节")]
    [InlineData("Don’t", "don't")]
    [InlineData("万医生看一下", "万 医 生 看 一 下")]
    [InlineData("电话一三八零零", "电 话 13800")]
    [InlineData("", "")]
    [InlineData(" \u0000\u0007 ", "")]
    [InlineData("𠮷野家", "𠮷 野 家")]
    public void Mixed_tokens_are_Han_characters_words_and_numbers(string text, string expected) =>
        Assert.Equal(expected, string.Join(' ', TranscriptTokens.Mixed(text)));

    [Fact]
    public void Chinese_without_spaces_is_not_one_wrong_word()
    {
        const string Reference = "患者右侧肺炎", Hypothesis = "患者左侧肺炎";
        var byWord = Alignment.Count(TranscriptTokens.Words(Reference), TranscriptTokens.Words(Hypothesis), AlignmentCost.Sclite);
        var mixed = Alignment.Count(TranscriptTokens.Mixed(Reference), TranscriptTokens.Mixed(Hypothesis), AlignmentCost.Sclite);
        Assert.Equal((1.0, 1L, 6L), (byWord.Rate, mixed.Errors, mixed.Reference));
    }

    [Fact]
    public void Half_a_surrogate_pair_stops_nothing() => Assert.NotNull(TranscriptTokens.Mixed("a\ud842b"));

    [Theory]
    [InlineData("一百四十", "140")]
    [InlineData("十五", "15")]
    [InlineData("两千零三", "2003")]
    [InlineData("一万二千", "12000")]
    [InlineData("一百五", "150")]
    [InlineData("三点五", "3.5")]
    [InlineData("十百", null)]
    [InlineData("点", null)]
    [InlineData("三点", null)]
    [InlineData("二十零", "20")]
    public void Numbers_in_characters_are_read(string text, string? expected) => Assert.Equal(expected, ChineseNumber.TryParse(text, out var number) ? number : null);

    [Fact]
    public void Who_speaks_is_in_the_cue()
    {
        Cue[] cues = [new(0, 1500, "a", 2)];
        Assert.Equal("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n<v 2>a\n", Cue.ToWebVtt(cues));
        Assert.Equal("1\n00:00:00,000 --> 00:00:01,500\n2: a\n\n", Cue.ToSubRip(cues));
    }

    [Fact]
    public void Cues_survive_what_would_end_them()
    {
        Cue[] cues = [new(0, 1500, "a --> b <c> & d\ne"), new(3_661_042, 3_662_000, "末")];
        Assert.Equal("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\na --&gt; b &lt;c&gt; &amp; d e\n\n01:01:01.042 --> 01:01:02.000\n末\n", Cue.ToWebVtt(cues));
        Assert.Equal("1\n00:00:00,000 --> 00:00:01,500\na -> b <c> & d e\n\n2\n01:01:01,042 --> 01:01:02,000\n末\n\n", Cue.ToSubRip(cues));
    }
}
