using System.CommandLine;
using System.Diagnostics;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.NmtAsr;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Ctc;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Translation;
using Yizhan.Platform;
using Yizhan.Transcripts;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench asr</c> and <c>bench translate</c>: live streams and translations through the service, beside the same engine called in a loop in the same process: the limit. The clients
/// of the streams are a process of their own on the same machine, so what they need is in what took how long, and not in the processor time and memory of the service.
/// </summary>
internal static class SpeechBench
{
    private const double PacedSeconds = 10;
    private const int Rounds = 3;

    private static readonly int[] Translators = [1, 2];

    // Of everyday life and not in the memory, so that the model has to answer.
    private static readonly string[] Sentences =
    [
        "我们明天早上去学校。", "他喜欢在公园里散步。", "这本书比那本书有意思。", "你为什么不给我打电话？", "她的妹妹在银行工作。", "昨天晚上下了很大的雨。", "请把窗户打开。", "我忘了带我的雨伞。",
        "火车已经离开了车站。", "他们正在吃晚饭。", "我想学习一门新的语言。", "这家饭馆的菜很好吃。", "老师让我们写一篇文章。", "他从来没有去过北京。", "孩子们在花园里玩。", "我的电脑坏了。",
    ];

    public static Command Asr()
    {
        var seconds = new Option<double>("--seconds") { Description = "Audio of each stream, in seconds: a dictation.", DefaultValueFactory = _ => 120 };
        var streams = new Option<int[]>("--streams") { Description = "How many dictate at a time.", DefaultValueFactory = _ => [1, 4, 16], AllowMultipleArgumentsPerToken = true };
        var librivox = new Option<DirectoryInfo?>("--english") { Description = "Folder of English recordings with a file 'transcription', for the word error rate beside pocketsphinx." };
        var json = new Option<bool>("--json") { Description = "Print only the JSON object." };
        var command = new Command("asr", "Live streams (1, 4, 16): times real time, first partial result, memory, beside the engine called directly; word error rates beside pocketsphinx.") { seconds, streams, librivox, json };
        command.SetAction((parsed, cancellationToken) => AsrAsync(parsed.GetValue(seconds), parsed.GetRequiredValue(streams), parsed.GetValue(librivox), parsed.GetValue(json), cancellationToken));
        return command;
    }

    public static Command Translate()
    {
        var seconds = new Option<double>("--seconds") { Description = "Time of each measurement.", DefaultValueFactory = _ => 5 };
        var json = new Option<bool>("--json") { Description = "Print only the JSON object." };
        var command = new Command("translate", "Tokens of Chinese translated a second, beside the bare model in a loop.") { seconds, json };
        command.SetAction((parsed, cancellationToken) => TranslateAsync(TimeSpan.FromSeconds(parsed.GetValue(seconds)), parsed.GetValue(json), cancellationToken));
        return command;
    }

    private static async Task<int> AsrAsync(double seconds, int[] loads, DirectoryInfo? english, bool json, CancellationToken cancellationToken)
    {
        var sound = SpeechClients.Sound(seconds);
        using var model = CtcModel.Load(Path.Combine(AppContext.BaseDirectory, "speech", "mandarin-phrases", "1.0.0", "models"), true, true, 9, 2);

        // Decoders are kept for the next stream, as the service keeps them.
        var decoders = Enumerable.Range(0, loads.Max()).Select(_ => new CtcRecogniser(model)).ToArray();
        return await WithNodeAsync("asr", json, async (app, rows) =>
        {
            await using var clients = await SpeechClients.StartAsync(app, cancellationToken);

            // Both have run before anything is measured, long enough for what runs often to be compiled well.
            for (var i = 0; i < Rounds; i++)
            {
                _ = await DirectAsync(decoders, sound);
                _ = await clients.RunAsync(loads.Max(), seconds, paced: false, cancellationToken);
            }

            foreach (var streams in loads)
            {
                GC.Collect();
                var before = Environment.WorkingSet;
                var (direct, live) = (new List<Run>(), new List<Run>());
                for (var i = 0; i < Rounds; i++)
                {
                    direct.Add(await MeasureAsync(streams * seconds, () => DirectAsync(decoders[..streams], sound)));
                    live.Add(await MeasureAsync(streams * seconds, () => clients.RunAsync(streams, seconds, paced: false, cancellationToken)));
                    if (live[^1].Text != direct[^1].Text)
                    {
                        throw new InvalidOperationException($"The service heard '{live[^1].Text}' and the loop '{direct[^1].Text}': they did not do the same work.");
                    }
                }

                rows.Add(BenchRow.More($"engine called directly; {streams} live streams as fast as they go", BenchTable.Median(live.Select(r => r.Speed)), BenchTable.Median(direct.Select(r => r.Speed)), "times real time"));
                rows.Add(BenchRow.More(
                    $"engine called directly; {streams} live streams, sound that a second of the service's processor hears", BenchTable.Median(live.Select(r => r.PerCpu)), BenchTable.Median(direct.Select(r => r.PerCpu)), "s"));

                var paced = clients.RunAsync(streams, Math.Min(seconds, PacedSeconds), paced: true, cancellationToken);
                var most = 0L;
                while (!paced.IsCompleted)
                {
                    most = Math.Max(most, Environment.WorkingSet);
                    await Task.WhenAny(paced, Task.Delay(TimeSpan.FromMilliseconds(200), TimeProvider.System, cancellationToken));
                }

                rows.Add(BenchRow.Less($"engine called directly; {streams} live streams at the speed of speech, first partial result", (await paced).FirstPartialMs, direct[^1].FirstPartialMs, "ms"));
                rows.Add(BenchRow.Less($"goal; {streams} live streams, memory of the service for each", Math.Max(0.1, (most - before) / 1048576.0 / streams), 20, "MiB"));
            }

            if (english is not null)
            {
                rows.Add(await ErrorsAsync(app, english.FullName, cancellationToken));
            }
        }, cancellationToken);
    }

    private static async Task<int> TranslateAsync(TimeSpan time, bool json, CancellationToken cancellationToken)
    {
        using var model = Seq2Seq.Load(Path.Combine(AppContext.BaseDirectory, "speech", "zh-en", "1.0.0", "models"), 1);
        var tokens = Sentences.Sum(s => model.Encode(s).Count);
        Array.ForEach(Sentences, s => model.Translate(model.Encode(s), 4, cancellationToken));
        return await WithNodeAsync("translate", json, async (app, rows) =>
        {
            using var http = Client(app);
            foreach (var clients in Translators)
            {
                await RepeatAsync(clients, TimeSpan.Zero, () => TranslateOnceAsync(http, cancellationToken));
                var ours = await RepeatAsync(clients, time, () => TranslateOnceAsync(http, cancellationToken));
                var bare = await RepeatAsync(clients, time, () =>
                {
                    foreach (var sentence in Sentences)
                    {
                        _ = model.Translate(model.Encode(sentence), 4, cancellationToken);
                    }

                    return Task.CompletedTask;
                });
                rows.Add(BenchRow.More($"bare model loop; texts of {Sentences.Length} sentences, beam of 4, {clients} clients", ours * tokens, bare * tokens, "tokens/s"));
            }
        }, cancellationToken);
    }

    private static async Task<int> WithNodeAsync(string bench, bool json, Func<WebApplication, List<BenchRow>, Task> measure, CancellationToken cancellationToken)
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-bench-speech-").FullName;
        var rows = new List<BenchRow>();
        try
        {
            await using var app = new ServiceHost(
                [$"--node:dataFolder={folder}", "--web:url=http://127.0.0.1:0", "--log:level=error", "--storage:freeFloorBytes=0", "--nmt-asr:dialects:0=cmn", "--nmt-asr:maxStreams=64", "--nmt-asr:keptDecoders=16"])
                .Add<NmtAsrModule>().Build();
            await app.StartAsync(cancellationToken);
            await measure(app, rows);
            await app.StopAsync(cancellationToken);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        BenchTable.Print(bench, rows, json);
        return 0;
    }

    /// <summary>The limit: decoders alone, given the same pieces and asked for a partial result as often.</summary>
    private static async Task<SpeechClients.Figures> DirectAsync(CtcRecogniser[] decoders, short[] sound)
    {
        var watch = Stopwatch.StartNew();
        var firsts = await Task.WhenAll(decoders.Select(recogniser => Task.Run(() =>
        {
            using var voice = new LevelDetector();
            var stream = new SpeechStream(recogniser, voice, new Endpointing(700, 30_000, 300), []);
            var (first, text) = (0.0, new StringBuilder());
            for (var at = 0; at < sound.Length; at += SpeechClients.Frame)
            {
                var from = Stopwatch.GetTimestamp();
                var results = stream.Accept(sound.AsSpan(at, Math.Min(SpeechClients.Frame, sound.Length - at)));
                text.AppendJoin("", results.Where(r => r.IsFinal).Select(r => r.Text));
                if (results.Count > 0 && first == 0)
                {
                    // As somebody who speaks would see it: what was said until then, and the last computation.
                    first = (at + SpeechClients.Frame) * 1000.0 / SpeechStream.SampleRate + Stopwatch.GetElapsedTime(from).TotalMilliseconds;
                }
            }

            return (First: first, Text: text.AppendJoin("", stream.Finish().Select(r => r.Text)).ToString());
        })));
        return new SpeechClients.Figures(watch.Elapsed.TotalSeconds, BenchTable.Median(firsts.Select(f => f.First)), string.Join(" / ", firsts.Select(f => f.Text).Distinct()));
    }

    private static async Task<Run> MeasureAsync(double heard, Func<Task<SpeechClients.Figures>> run)
    {
        var cpu = Cpu();
        var figures = await run();
        return new Run(heard / figures.Seconds, heard / (Cpu() - cpu).TotalSeconds, figures.FirstPartialMs, figures.Text);
    }

    private static TimeSpan Cpu()
    {
        using var self = Process.GetCurrentProcess();
        return self.TotalProcessorTime;
    }

    /// <summary>Word error rate of English through the service, beside pocketsphinx given each recording as a whole.</summary>
    private static async Task<BenchRow> ErrorsAsync(WebApplication app, string folder, CancellationToken cancellationToken)
    {
        using var http = Client(app);
        ErrorCounts ours = default, theirs = default;
        foreach (var line in await File.ReadAllLinesAsync(Path.Combine(folder, "transcription"), cancellationToken))
        {
            var at = line.LastIndexOf('(');
            var (file, text) = (Path.Combine(folder, line[(at + 1)..].TrimEnd(')', ' ') + ".wav"), line[..at].Replace("<s>", "", StringComparison.Ordinal).Replace("</s>", "", StringComparison.Ordinal));
            using var answer = await http.PostAsync("/nmt-asr/transcripts?dialect=en&format=txt", new ByteArrayContent(await File.ReadAllBytesAsync(file, cancellationToken)), cancellationToken);
            answer.EnsureSuccessStatusCode();
            ours += Alignment.Count(TranscriptTokens.Words(text), TranscriptTokens.Words((await answer.Content.ReadAsStringAsync(cancellationToken)).Replace('\n', ' ')), AlignmentCost.Sclite);
            using var whole = PocketSphinx.Load(PocketSphinxModel.EnglishOfDebian);
            using var wav = await WavReader.OpenAsync(File.OpenRead(file), cancellationToken);
            whole.Begin([], whole: true);
            while (await wav.ReadAsync(SpeechStream.SampleRate, cancellationToken) is { Length: > 0 } block)
            {
                whole.Accept(block);
            }

            theirs += Alignment.Count(TranscriptTokens.Words(text), TranscriptTokens.Words(whole.End().Text), AlignmentCost.Sclite);
        }

        return BenchRow.Less($"pocketsphinx given whole recordings; English, {ours.Reference} words", ours.Rate * 100, theirs.Rate * 100, "% word errors");
    }

    private static async Task TranslateOnceAsync(HttpClient http, CancellationToken cancellationToken)
    {
        using var answer = await http.PostAsJsonAsync("/nmt-asr/translate", new { q = string.Concat(Sentences), source = "zh", target = "en" }, cancellationToken);
        answer.EnsureSuccessStatusCode();
        _ = await answer.Content.ReadAsByteArrayAsync(cancellationToken);
    }

    private static async Task<double> RepeatAsync(int clients, TimeSpan time, Func<Task> work)
    {
        var watch = Stopwatch.StartNew();
        var done = await Task.WhenAll(Enumerable.Range(0, clients).Select(_ => Task.Run(async () =>
        {
            var count = 0;
            do
            {
                await work();
                count++;
            }
            while (watch.Elapsed < time);
            return count;
        })));
        return done.Sum() / watch.Elapsed.TotalSeconds;
    }

    private static HttpClient Client(WebApplication app)
    {
        var token = app.Services.GetRequiredService<Platform.Identity.LocalOperator>().Token();
        return new HttpClient { BaseAddress = new Uri(app.Urls.First()), Timeout = Timeout.InfiniteTimeSpan, DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", token) } };
    }

    /// <summary>Sound that was heard in a second, and in a second of this process's processor time.</summary>
    private readonly record struct Run(double Speed, double PerCpu, double FirstPartialMs, string Text);
}
