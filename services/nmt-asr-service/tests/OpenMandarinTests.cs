using System.IO.Compression;
using System.Net.Http.Json;
using System.Text.Json;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.Platform.Bundles;
using Yizhan.Transcripts;
using static Yizhan.NmtAsr.Tests.LiveClient;

namespace Yizhan.NmtAsr.Tests;

/// <summary>
/// Open dictation of Mandarin by real speakers: the given acoustic model, dictionary and words of CMU's as the pack that a site brings, its dump of pairs written as text by our own tool, heard by Debian's pocketsphinx.
/// </summary>
[Trait("Clause", "S4")]
public sealed class OpenMandarinTests() : NodeTest("--nmt-asr:allowUnsigned=true", "--nmt-asr:dialects:0=cmn", "--nmt-asr:routes:cmn=mandarin-open", "--nmt-asr:maxPackMiB=64")
{
    /// <summary>Three speakers; the text of the third is its publisher's recogniser's.</summary>
    private static readonly (string File, string Said)[] Recordings =
    [
        ("wenet-aishell-BAC009S0724W0121.wav", "广州市房地产中介协会分析"), ("funasr-asr_example.wav", "欢迎大家来体验达摩院推出的语音识别模型"), ("rknn-zipformer-test.wav", "对我做了介绍那么我想说的是大家如果对我的研究感兴趣呢"),
    ];

    [Fact]
    public async Task Open_dictation_by_real_speakers_is_heard_from_files_and_over_the_live_socket_by_the_pack_that_the_dialect_is_routed_to()
    {
        await AddAsync();
        using var http = Operator.Client(App, "/nmt-asr/");
        var files = default(ErrorCounts);
        foreach (var (file, said) in Recordings)
        {
            using var answer = await http.PostAsync("transcripts", new ByteArrayContent(await File.ReadAllBytesAsync(Given.Path("wav", file), Cancel)), Cancel);
            var heard = await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel);
            Assert.Equal(("mandarin-open 1.0", "cmn"), (heard.GetProperty("pack").GetString(), heard.GetProperty("dialect").GetString()));
            files += Alignment.Count(TranscriptTokens.Characters(said), TranscriptTokens.Characters(heard.GetProperty("text").GetString()!), AlignmentCost.Sclite);
        }

        // It is a recogniser of 2006 with 5,000 words of newspapers: most characters are wrong, and none of this is a guess among a few phrases.
        Assert.Equal(57, files.Reference);
        Assert.InRange(files.Errors, 1, 42);
        Assert.True(files.Correct >= 17, files.ToString());

        // The first speaker dictates, without saying in what: the site's first dialect counts.
        var wav = await File.ReadAllBytesAsync(Given.Path("wav", Recordings[0].File), Cancel);
        var samples = (wav.Length - WavWriter.HeaderBytes) / 2;
        JsonElement done;
        using (var socket = await ConnectAsync(App))
        {
            await SendTextAsync(socket, """{"session":"mandarin-0001"}""");
            var ready = await NextAsync(socket, "ready");
            Assert.Equal("mandarin-open 1.0", ready.GetProperty("pack").GetString());
            await SendAudioAsync(socket, wav, 0, samples);
            Assert.NotEmpty((await NextAsync(socket, "partial")).GetProperty("result").GetProperty("text").GetString()!);
            await SendTextAsync(socket, "finish");
            done = await NextAsync(socket, "done");
        }

        var text = done.GetProperty("text").GetString()!;
        Assert.DoesNotContain(' ', text);
        Assert.Contains("房地产", text, StringComparison.Ordinal);
        Assert.Equal(samples, done.GetProperty("samples").GetInt64());

        // What a person corrects is counted for the alert, in mixed tokens of the dialect, and the note has the recording.
        using var made = await http.PostAsJsonAsync("dictations/mandarin-0001/note", new { patientId = "P1", title = "病程记录", text = Recordings[0].Said }, Cancel);
        var note = await made.Content.ReadFromJsonAsync<JsonElement>(Cancel);
        Assert.Equal((201, 12), ((int)made.StatusCode, note.GetProperty("words").GetInt32()));
        Assert.InRange(note.GetProperty("errors").GetInt32(), 1, 12);
        using var node = Operator.Client(App);
        Assert.Contains((await node.GetStringAsync("metrics", Cancel)).Split('\n'), l =>
            l.StartsWith("yizhan_asr_reference_words_total{", StringComparison.Ordinal) && l.Contains("dialect=\"cmn\"", StringComparison.Ordinal) && l.Contains(" 12", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_pack_without_a_language_model_or_with_the_damaged_dump_is_refused_with_what_it_needs()
    {
        using var http = Operator.Client(App, "/nmt-asr/");
        foreach (var (dump, problem) in new[] { (false, "models/words.arpa nor models/words.lm.bin"), (true, "does not take this model") })
        {
            var pack = Pack(withWords: false);
            if (dump)
            {
                File.Copy(Given.Path("pocketsphinx-zh", "gigatdt.5000.DMP"), Path.Combine(pack, "models", "words.lm.bin"));
                Seal(pack);
            }

            await using var zip = Zip(pack);
            using var added = await http.PostAsync("packs", new StreamContent(zip), Cancel);
            Assert.Equal(422, (int)added.StatusCode);
            Assert.Contains(problem, (await added.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("detail").GetString(), StringComparison.Ordinal);
            Directory.Delete(pack, recursive: true);
        }
    }

    private async Task AddAsync()
    {
        using var http = Operator.Client(App, "/nmt-asr/");
        await using var zip = Zip(Pack(withWords: true));
        using var added = await http.PostAsync("packs", new StreamContent(zip), Cancel);
        Assert.True(added.IsSuccessStatusCode, await added.Content.ReadAsStringAsync(Cancel));
    }

    private string Pack(bool withWords)
    {
        Assert.SkipUnless(PocketSphinxApi.IsInstalled, PocketSphinxApi.Missing);
        var (pack, given) = (Path.Combine(Folder, "packs", "open"), Given.Path("pocketsphinx-zh"));
        Directory.CreateDirectory(Path.Combine(pack, "configs"));
        Directory.CreateDirectory(Path.Combine(pack, "models"));
        foreach (var file in new[] { "feat.params", "mdef", "means", "variances", "sendump", "transition_matrices", "noisedict" })
        {
            File.Copy(Path.Combine(given, file), Path.Combine(pack, "models", file));
        }

        File.Copy(Path.Combine(given, "mandarin_notone.dic"), Path.Combine(pack, "models", "words.dict"));
        if (withWords)
        {
            using var to = new StreamWriter(Path.Combine(pack, "models", "words.arpa"));
            SphinxModel.Read(File.ReadAllBytes(Path.Combine(given, "gigatdt.5000.DMP"))).WriteArpa(to);
        }

        File.WriteAllText(Path.Combine(pack, "configs", "speech.json"), """
            {"task":"asr","engine":"pocketsphinx","licence":"BSD (CMU Sphinx)","description":"Open Mandarin, 5000 words of newspapers","dialects":["cmn"],"sampleRate":8000,"joinsWords":true}
            """);
        Seal(pack);
        return pack;
    }

    private static void Seal(string pack) => File.WriteAllBytes(Path.Combine(pack, BundleManifest.Path), BundleManifest.Of("mandarin-open", "1.0", pack).ToBytes());

    private static MemoryStream Zip(string folder)
    {
        var stream = new MemoryStream();
        ZipFile.CreateFromDirectory(folder, stream, CompressionLevel.Fastest, includeBaseDirectory: false);
        stream.Position = 0;
        return stream;
    }
}
