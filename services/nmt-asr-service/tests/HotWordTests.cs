using System.Runtime.InteropServices;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using static Yizhan.NmtAsr.Tests.LiveClient;

namespace Yizhan.NmtAsr.Tests;

/// <summary>Hot words of a site and of a client in the English of Debian's pocketsphinx, on a real speaker.</summary>
[Trait("Clause", "S4")]
public sealed class HotWordTests() : NodeTest("--nmt-asr:dialects:0=en", "--nmt-asr:hotWords:0=John Dashwood")
{
    // "and mister john dashwood had then leisure to consider how much there might be prudently in his power to do for them"
    private const string Sentence = "sense_and_sensibility_01_austen_64kb-0870.wav";

    [Fact]
    public async Task A_hot_word_is_heard_where_it_was_not_and_others_take_its_place()
    {
        Assert.SkipUnless(PocketSphinxApi.IsInstalled, PocketSphinxApi.Missing);
        var said = await SaidAsync();
        using var english = PocketSphinx.Load(PocketSphinxModel.EnglishOfDebian);

        // A name that the language model knows and does not expect.
        Assert.DoesNotContain("dashwood", Heard(english, said), StringComparison.Ordinal);
        var named = Heard(english, said, "John Dashwood");
        Assert.Contains("john dashwood", named, StringComparison.Ordinal);
        Assert.DoesNotContain("prudently", named, StringComparison.Ordinal);
        var other = Heard(english, said, "prudently", "zyprexa-xyz");
        Assert.Contains("prudently", other, StringComparison.Ordinal);
        Assert.DoesNotContain("dashwood", other, StringComparison.Ordinal);
        Assert.DoesNotContain("dashwood", Heard(english, said), StringComparison.Ordinal);

        // What nobody said is not heard for being likely.
        string[] drugs = ["amoxicillin", "aspirin", "heparin", "insulin", "ibuprofen", "morphine", "penicillin"];
        var hidden = Heard(english, said, drugs);
        Assert.DoesNotContain(drugs, d => hidden.Contains(d, StringComparison.Ordinal));
        Assert.Equal(["zyprexa-xyz", "阿司匹林", "", "john\nsmith"], english.Ignored(["zyprexa-xyz", "Dashwood", "阿司匹林", "", "john smith", "john\nsmith"]));
    }

    [Fact]
    public async Task A_dictation_has_those_of_the_site_and_is_told_which_of_its_own_are_ignored()
    {
        Assert.SkipUnless(PocketSphinxApi.IsInstalled, PocketSphinxApi.Missing);
        var said = await SaidAsync();
        using var socket = await ConnectAsync(App);
        await SendTextAsync(socket, """{"session":"hot-00001","hotWords":["prudently","阿司匹林"]}""");
        var ready = await NextAsync(socket, "ready");
        Assert.Equal(["hot-words-ignored"], ready.GetProperty("warnings").EnumerateArray().Select(w => w.GetString()));
        Assert.Equal(["阿司匹林"], ready.GetProperty("ignoredHotWords").EnumerateArray().Select(w => w.GetString()));
        await SendAudioAsync(socket, [.. new byte[WavWriter.HeaderBytes], .. MemoryMarshal.AsBytes(said.AsSpan())], 0, said.Length);
        await SendTextAsync(socket, "finish");
        Assert.Contains("dashwood", (await NextAsync(socket, "done")).GetProperty("text").GetString(), StringComparison.Ordinal);
    }

    private static async Task<short[]> SaidAsync()
    {
        using var wav = await WavReader.OpenAsync(File.OpenRead(Given.Path("wav", "librivox", Sentence)), Cancel);
        return await wav.ReadAsync(int.MaxValue / 4, Cancel);
    }

    private static string Heard(PocketSphinx engine, short[] said, params string[] hotWords)
    {
        engine.Begin(hotWords, whole: true);
        engine.Accept(said);
        return engine.End().Text;
    }
}
