using System.IO.Compression;
using System.Net.Http.Json;
using System.Text.Json;
using Yizhan.NmtAsr.Engines;
using Yizhan.Platform.Bundles;

namespace Yizhan.NmtAsr.Tests;

/// <summary>A pack that a site brings: the given Mandarin model of pocketsphinx with a closed grammar, real recordings of two speakers.</summary>
[Trait("Clause", "S4")]
public sealed class MandarinPackTests() : NodeTest("--nmt-asr:allowUnsigned=true")
{
    private static readonly string[] Phrases =
    [
        "欢迎 大家 来 体验", "广州市 房地产 中介 协会 分析", "请 深 呼吸", "请 不要 动", "血压 正常", "体温 正常", "没有 头痛", "病人 头痛 三 天", "每天 一 次", "广州市 人民 医院", "大家 好",
    ];

    [Fact]
    public async Task A_pack_for_Mandarin_phrases_is_installed_hears_a_real_speaker_and_no_other_dialect()
    {
        Assert.SkipUnless(PocketSphinxApi.IsInstalled, PocketSphinxApi.Missing);
        using var http = Operator.Client(App, "/nmt-asr/");
        var recording = await File.ReadAllBytesAsync(Given.Path("wav", "wenet-aishell-BAC009S0724W0121.wav"), Cancel);
        using (var before = await http.PostAsync("transcripts?dialect=cmn", new ByteArrayContent(recording), Cancel))
        {
            // The pack that ships hears its own phrases, and this is none of them.
            var nothing = await before.Content.ReadFromJsonAsync<JsonElement>(Cancel);
            Assert.Equal(("mandarin-phrases 1.0.0", ""), (nothing.GetProperty("pack").GetString(), nothing.GetProperty("text").GetString()));
        }

        await using (var zip = Zip(Pack("site-mandarin", Phrases)))
        {
            using var added = await http.PostAsync("packs", new StreamContent(zip), Cancel);
            Assert.True(added.IsSuccessStatusCode, await added.Content.ReadAsStringAsync(Cancel));
        }

        using var answer = await http.PostAsync("transcripts?dialect=cmn", new ByteArrayContent(recording), Cancel);
        var heard = await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel);
        Assert.Equal(("广州市房地产中介协会分析", false), (heard.GetProperty("text").GetString(), heard.GetProperty("clinicalUse").GetBoolean()));
        using var written = await http.PostAsync("transcripts?dialect=cmn-Hans-CN&format=txt", new ByteArrayContent(recording), Cancel);
        Assert.Equal("广州市房地产中介协会分析", await written.Content.ReadAsStringAsync(Cancel));
        using var sichuan = await http.PostAsync("transcripts?dialect=cmn-sichuan", new ByteArrayContent(recording), Cancel);
        Assert.Equal(422, (int)sichuan.StatusCode);
        using var hakka = await http.PostAsync("transcripts?dialect=hak", new ByteArrayContent(recording), Cancel);
        Assert.Equal(422, (int)hakka.StatusCode);
        using var named = await http.PostAsync("transcripts?pack=nobody", new ByteArrayContent(recording), Cancel);
        Assert.Contains("accepted: mandarin-phrases, pocketsphinx-en-us, site-mandarin", (await named.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_phrase_with_a_word_that_the_model_does_not_know_is_refused_when_the_pack_is_added()
    {
        Assert.SkipUnless(PocketSphinxApi.IsInstalled, PocketSphinxApi.Missing);
        using var http = Operator.Client(App, "/nmt-asr/");
        await using var zip = Zip(Pack("broken", ["请 深 呼吸", "请 呼吸囧囧"]));
        using var added = await http.PostAsync("packs", new StreamContent(zip), Cancel);
        Assert.Equal(422, (int)added.StatusCode);
        Assert.Contains("呼吸囧囧", (await added.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    private string Pack(string name, string[] phrases)
    {
        var (pack, given) = (Path.Combine(Folder, "packs", name), Given.Path("pocketsphinx-zh"));
        Directory.CreateDirectory(Path.Combine(pack, "configs"));
        Directory.CreateDirectory(Path.Combine(pack, "models"));
        foreach (var file in new[] { "feat.params", "mdef", "means", "variances", "sendump", "transition_matrices", "noisedict" })
        {
            File.Copy(Path.Combine(given, file), Path.Combine(pack, "models", file));
        }

        File.Copy(Path.Combine(given, "mandarin_notone.dic"), Path.Combine(pack, "models", "words.dict"));
        File.WriteAllLines(Path.Combine(pack, "models", "phrases.txt"), phrases);
        File.WriteAllText(Path.Combine(pack, "configs", "speech.json"), """
            {"task":"asr","engine":"pocketsphinx","licence":"BSD (CMU Sphinx)","description":"Mandarin phrases","dialects":["cmn"],"sampleRate":8000,"grammar":true,"joinsWords":true}
            """);
        File.WriteAllBytes(Path.Combine(pack, BundleManifest.Path), BundleManifest.Of(name, "1.0", pack).ToBytes());
        return pack;
    }

    private static MemoryStream Zip(string folder)
    {
        var stream = new MemoryStream();
        ZipFile.CreateFromDirectory(folder, stream, CompressionLevel.Fastest, includeBaseDirectory: false);
        stream.Position = 0;
        return stream;
    }
}
