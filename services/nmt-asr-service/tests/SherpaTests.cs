using System.IO.Compression;
using System.Net.Http.Json;
using System.Runtime.InteropServices;
using System.Text.Json;
using Microsoft.ML.OnnxRuntime;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Sherpa;
using Yizhan.Platform;
using Yizhan.Platform.Bundles;

namespace Yizhan.NmtAsr.Tests;

/// <summary>The real sherpa-onnx (npm, pinned) in a process of its own: our own network as one of its families, silero's and GTCRN's; and what it does not take.</summary>
[Trait("Clause", "S4")]
public sealed class SherpaTests() : NodeTest("--nmt-asr:allowUnsigned=true", $"--nmt-asr:sherpaFolder={Library}")
{
    private const string Phrase = "clean-012.wav";

    internal static SherpaSettings Settings => new(Library, 2048, 1);

    private static string Library { get; } = Path.Combine(
        Given.Root, "services", "nmt-asr-service", "tests", "peers", "node_modules", RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? "sherpa-onnx-linux-arm64" : "sherpa-onnx-linux-x64");

    [Fact]
    public void A_network_is_heard_by_sherpa_onnx_as_by_our_own_runtime()
    {
        using var process = Start(Network());
        using var recogniser = new SherpaRecogniser(process, SherpaModel.Find("omnilingual-ctc", "asr")!, 16_000);
        var texts = new List<string>();
        foreach (var name in new[] { Phrase, "clean-005.wav", Phrase })
        {
            var said = CtcTests.Recording(name);
            recogniser.Begin([], whole: true);
            foreach (var piece in said.Chunk(1000))
            {
                recogniser.Accept(piece);
            }

            var heard = recogniser.End();
            Assert.Equal(Relabelled.Greedy(said), heard.Text);
            Assert.All(heard.Words, w => Assert.InRange(w.StartMs, 0, said.Length / 16));
            texts.Add(heard.Text);
        }

        Assert.Equal("liuzhouhoufucha", texts[0]);
        Assert.Equal(texts[0], texts[2]);
        Assert.NotEqual(texts[0], texts[1]);
    }

    [Fact]
    public async Task A_pack_for_it_is_installed_and_hears_beside_the_packs_of_other_engines()
    {
        Assert.SkipUnless(Settings.Problem is null, Settings.Problem ?? "");
        using var http = Operator.Client(App, "/nmt-asr/");
        using var added = await AddAsync(http, "site-zh", Network(), "omnilingual-ctc");
        Assert.True(added.IsSuccessStatusCode, await added.Content.ReadAsStringAsync(Cancel));
        foreach (var (pack, text) in new[] { ("site-zh", "liuzhouhoufucha"), ("mandarin-phrases", "六周后复查"), ("site-zh", "liuzhouhoufucha") })
        {
            // Both ONNX Runtimes, each in its process.
            using var answer = await http.PostAsync("transcripts?dialect=cmn&format=txt&pack=" + pack, new ByteArrayContent(
                await File.ReadAllBytesAsync(Path.Combine(Given.Root, "models", "training", "mandarin", "recordings", Phrase), Cancel)), Cancel);
            Assert.Equal(text, (await answer.Content.ReadAsStringAsync(Cancel)).Trim());
        }
    }

    [Fact]
    public async Task Hot_words_of_site_and_client_are_heard_by_a_transducer_whose_pack_says_what_its_tokens_are()
    {
        Assert.SkipUnless(Settings.Problem is null, Settings.Problem ?? "");
        var toy = ToyTransducer.Write(Path.Combine(Folder, "toy"));
        using var process = SherpaProcess.Start(Settings, SherpaModel.TakesHotWords, toy, 16_000, null, "cjkchar");
        using var recogniser = new SherpaRecogniser(process, SherpaModel.Find(SherpaModel.TakesHotWords, "asr")!, 16_000, SherpaRecogniser.Writer("cjkchar", toy));
        foreach (var (hot, heard) in new (string[], string)[] { ([], "甲"), (["乙"], "乙"), (["丙"], "甲"), (["丙丁", "戊", "乙/丁", "乙"], "乙"), ([], "甲") })
        {
            recogniser.Begin(hot, whole: false);
            recogniser.Accept(new short[16_000]);
            Assert.Equal(heard, recogniser.Partial().Text);
            Assert.Equal(heard, recogniser.End().Text);
        }

        // One that cannot be written would cost all of them.
        Assert.Equal(["戊", "乙/丁"], recogniser.Ignored(["丙丁", "戊", "乙/丁", "乙"]));
        using (var plain = SherpaProcess.Start(Settings, SherpaModel.TakesHotWords, toy, 16_000, null))
        using (var without = new SherpaRecogniser(plain, SherpaModel.Find(SherpaModel.TakesHotWords, "asr")!, 16_000))
        {
            Assert.Equal(["乙"], without.Ignored(["乙"]));
            without.Begin(["乙"], whole: false);
            without.Accept(new short[16_000]);
            Assert.Equal("甲", without.End().Text);
        }

        using var http = Operator.Client(App, "/nmt-asr/");
        using var added = await AddAsync(http, "toy", toy, SherpaModel.TakesHotWords, unit: "cjkchar");
        Assert.True(added.IsSuccessStatusCode, await added.Content.ReadAsStringAsync(Cancel));
        using var refused = await AddAsync(http, "toy-2", toy, SherpaModel.TakesHotWords, unit: "words");
        Assert.Contains("modelingUnit is 'words'", (await refused.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_it_does_not_take_ends_its_process_and_not_the_node()
    {
        Assert.SkipUnless(Settings.Problem is null, Settings.Problem ?? "");
        using var http = Operator.Client(App, "/nmt-asr/");
        var text = Directory.CreateDirectory(Path.Combine(Folder, "text")).FullName;
        await File.WriteAllTextAsync(Path.Combine(text, "model.onnx"), "no network", Cancel);
        await File.WriteAllTextAsync(Path.Combine(text, "tokens.txt"), "<blk> 0\n", Cancel);
        var empty = Directory.CreateDirectory(Path.Combine(Folder, "empty")).FullName;
        await File.WriteAllTextAsync(Path.Combine(empty, "tokens.txt"), "<blk> 0\n", Cancel);
        foreach (var (models, family, problem) in new[]
        {
            // The library ends its process over metadata that it misses, by "exit", of its own streaming family too.
            (Network(), "zipformer-ctc-streaming", "sherpa-onnx ended with 255"), (Network(), "wenet-ctc", "sherpa-onnx ended with"), (text, "omnilingual-ctc", "sherpa-onnx ended with"),
            (empty, "nemo-ctc", "models/model.onnx is missing; a pack of 'nemo-ctc' has model.onnx, tokens.txt"), (Network(), "tea-leaves", "model is 'tea-leaves'; accepted for asr by sherpa-onnx: zipformer-streaming"),
        })
        {
            using var added = await AddAsync(http, "broken", models, family);
            Assert.Equal(422, (int)added.StatusCode);
            Assert.Contains(problem, (await added.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("detail").GetString(), StringComparison.Ordinal);
        }

        Assert.DoesNotContain((await http.GetFromJsonAsync<JsonElement>("packs", Cancel)).EnumerateArray(), p => p.GetProperty("name").GetString() == "broken");
    }

    [Fact]
    public void A_process_that_ends_costs_what_it_heard_and_says_so()
    {
        using var process = Start(Network());
        using var recogniser = new SherpaRecogniser(process, SherpaModel.Find("omnilingual-ctc", "asr")!, 16_000);
        recogniser.Begin([], whole: true);
        recogniser.Accept(CtcTests.Recording(Phrase));
        Assert.True(recogniser.ForgetsStreams);
        process.Kill();
        Assert.Contains("sherpa-onnx ended with", Assert.Throws<EngineMissingException>(() => recogniser.End()).Message, StringComparison.Ordinal);
        Assert.False(recogniser.ForgetsStreams);
    }

    [Fact]
    public void Another_library_is_refused_and_a_missing_one_says_what_to_install()
    {
        Assert.Contains("npm package sherpa-onnx-linux-", (Settings with { Library = null }).Problem, StringComparison.Ordinal);
        var refused = Assert.Throws<EngineMissingException>(() => SherpaProcess.Start(Settings with { Library = Folder }, "omnilingual-ctc", Folder, 16_000, null));
        Assert.Contains($"has no {SherpaApi.FileName}: unpack the npm package sherpa-onnx-linux-", refused.Message, StringComparison.Ordinal);
        File.WriteAllText(Path.Combine(Folder, SherpaApi.FileName), "no library");
        Assert.Contains("sherpa-onnx ended with 65", Assert.Throws<EngineMissingException>(() => SherpaProcess.Start(Settings with { Library = Folder }, "omnilingual-ctc", Folder, 16_000, null)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Silero_in_sherpa_onnx_finds_the_speech_that_it_finds_in_our_runtime()
    {
        var models = One(Given.Path("silero-vad", "silero_vad.onnx"));
        using var process = Start(models, "silero");
        using var theirs = new SherpaDetector(process);
        using var session = new InferenceSession(Path.Combine(models, "model.onnx"));
        using var ours = new SileroDetector(session);
        var samples = Samples(Given.Path("wav", "silero-test.wav"));
        var windows = samples.Chunk(IVoiceDetector.Window).Where(c => c.Length == IVoiceDetector.Window).Select(w => (Ours: ours.Probability(w) >= 0.5f, Theirs: theirs.Probability(w) >= 0.5f)).ToArray();
        Assert.True(windows.Length > 1000, $"{windows.Length} windows");
        Assert.InRange(windows.Count(w => w.Ours), windows.Length / 10, windows.Length * 19 / 20);

        // It waits a moment before it says yes, and before it says no.
        var agree = windows.Count(w => w.Ours == w.Theirs) / (double)windows.Length;
        Assert.True(agree > 0.85, $"{agree:P1} of {windows.Length} windows");
    }

    [Fact]
    public void Noise_is_taken_out_and_the_sound_keeps_its_length()
    {
        var models = Gtcrn();
        var noisy = Samples(Given.Path("gtcrn", "mix.wav"));
        using (var process = Start(models, "gtcrn"))
        using (var denoiser = new SherpaDenoiser(process))
        {
            var clean = noisy.Chunk(1600).SelectMany(c => denoiser.Push(c)).ToList();
            Assert.InRange(clean.Count, noisy.Length - 2048, noisy.Length);
            clean.AddRange(denoiser.Flush());
            Assert.InRange(clean.Count, noisy.Length - 512, noisy.Length + 512);
            var (before, after) = (Levels(noisy), Levels([.. clean]));
            Assert.True(before.Quiet - after.Quiet > 10, $"pauses went from {before.Quiet:0.0} to {after.Quiet:0.0} dB");
            Assert.True(Math.Abs(before.Loud - after.Loud) < 4, $"speech went from {before.Loud:0.0} to {after.Loud:0.0} dB");
        }

    }

    [Fact]
    public async Task A_node_that_names_a_denoiser_hears_through_it_and_not_without_it()
    {
        Assert.SkipUnless(Settings.Problem is null, Settings.Problem ?? "");
        await using var node = new ServiceHost([
            $"--node:dataFolder={Path.Combine(Folder, "second")}", "--node:siteId=site-b", "--web:url=http://127.0.0.1:0", "--log:level=none", "--storage:freeFloorBytes=0", "--nmt-asr:allowUnsigned=true",
            $"--nmt-asr:sherpaFolder={Library}", "--nmt-asr:denoiser=quiet"]).Add<NmtAsrModule>().Build();
        await node.StartAsync(Cancel);
        using var http = Operator.Client(node, "/nmt-asr/");
        var recording = await File.ReadAllBytesAsync(Path.Combine(Given.Root, "models", "training", "mandarin", "recordings", Phrase), Cancel);
        using (var without = await http.PostAsync("transcripts?dialect=cmn", new ByteArrayContent(recording), Cancel))
        {
            Assert.False(without.IsSuccessStatusCode);
            Assert.Contains("nmt-asr:denoiser names 'quiet'", (await without.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("detail").GetString(), StringComparison.Ordinal);
        }

        foreach (var (name, models, family, task) in new[] { ("quiet", Gtcrn(), "gtcrn", "denoise"), ("who-speaks", One(Given.Path("silero-vad", "silero_vad.onnx")), "silero", "vad") })
        {
            using var added = await AddAsync(http, name, models, family, task);
            Assert.True(added.IsSuccessStatusCode, await added.Content.ReadAsStringAsync(Cancel));
            using var answer = await http.PostAsync("transcripts?dialect=cmn", new ByteArrayContent(recording), Cancel);
            var heard = await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel);
            Assert.Equal("六周后复查", heard.GetProperty("text").GetString());
            Assert.InRange(heard.GetProperty("durationMs").GetInt64(), (recording.Length - WavWriter.HeaderBytes) / 32 - 40, (recording.Length - WavWriter.HeaderBytes) / 32 + 40);
        }

        await node.StopAsync(CancellationToken.None);
    }

    private static (double Quiet, double Loud) Levels(short[] samples)
    {
        var levels = samples.Chunk(320).Select(c => 10 * Math.Log10(c.Average(s => (double)s * s) + 1)).Order().ToArray();
        return (levels[levels.Length / 10], levels[levels.Length * 19 / 20]);
    }

    private static short[] Samples(string wav)
    {
        using var reader = WavReader.OpenAsync(File.OpenRead(wav), CancellationToken.None).GetAwaiter().GetResult();
        return new Resampler(reader.SampleRate, 16_000).Push(reader.ReadAsync(60 * reader.SampleRate, CancellationToken.None).GetAwaiter().GetResult());
    }

    private static SherpaProcess Start(string models, string family = "omnilingual-ctc")
    {
        Assert.SkipUnless(Settings.Problem is null, Settings.Problem ?? "");
        return SherpaProcess.Start(Settings, family, models, 16_000, null);
    }

    private string Network()
    {
        var folder = Path.Combine(Folder, "network");
        if (!Directory.Exists(folder))
        {
            Relabelled.Write(Directory.CreateDirectory(folder).FullName);
        }

        return folder;
    }

    /// <summary>Its authors' file, with what sherpa-onnx wants to know of it.</summary>
    private string Gtcrn()
    {
        var models = One(Given.Path("gtcrn", "gtcrn_simple.onnx"));
        File.WriteAllBytes(Path.Combine(models, "model.onnx"), Relabelled.WithMetadata(
            File.ReadAllBytes(Path.Combine(models, "model.onnx")), ("model_type", "gtcrn"), ("sample_rate", "16000"), ("n_fft", "512"), ("hop_length", "256"), ("window_length", "512"),
            ("window_type", "hann_sqrt"), ("version", "1"), ("conv_cache_shape", "2,1,16,16,33"), ("tra_cache_shape", "2,3,1,1,16"), ("inter_cache_shape", "2,1,33,16")));
        return models;
    }

    private string One(string model)
    {
        var folder = Directory.CreateDirectory(Path.Combine(Folder, Path.GetFileNameWithoutExtension(model))).FullName;
        File.Copy(model, Path.Combine(folder, "model.onnx"));
        return folder;
    }

    private async Task<HttpResponseMessage> AddAsync(HttpClient http, string name, string models, string family, string task = "asr", string? unit = null)
    {
        var pack = Path.Combine(Folder, "packs", Guid.NewGuid().ToString("N"));
        Directory.CreateDirectory(Path.Combine(pack, "configs"));
        Directory.CreateDirectory(Path.Combine(pack, "models"));
        foreach (var file in Directory.GetFiles(models))
        {
            File.Copy(file, Path.Combine(pack, "models", Path.GetFileName(file)));
        }

        await File.WriteAllTextAsync(Path.Combine(pack, "configs", "speech.json"), $$"""
            {"task":"{{task}}","engine":"sherpa-onnx","model":"{{family}}","licence":"for this test","description":"{{family}}","dialects":["cmn"]{{(unit is null ? "" : $",\"modelingUnit\":\"{unit}\"")}}}
            """, Cancel);
        await File.WriteAllBytesAsync(Path.Combine(pack, BundleManifest.Path), BundleManifest.Of(name, "1.0", pack).ToBytes(), Cancel);
        var zip = new MemoryStream();
        await ZipFile.CreateFromDirectoryAsync(pack, zip, CompressionLevel.Fastest, includeBaseDirectory: false, Cancel);
        zip.Position = 0;
        return await http.PostAsync("packs", new StreamContent(zip), Cancel);
    }
}
