using System.Buffers.Binary;
using System.CommandLine;
using System.Diagnostics;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
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
/// <c>yizhan bench asr</c> and <c>bench translate</c>: live streams and translations through the service, beside the same engine called in a loop in the same process: the limit. Clients and
/// service share the machine, so what sockets and clients need is in our figures and not in the loop's.
/// </summary>
internal static class SpeechBench
{
    private const int Rate = SpeechStream.SampleRate, Frame = Rate / 10;
    private const string Folder = "models/training/mandarin/recordings";

    private static readonly int[] Streams = [1, 4, 16], Translators = [1, 2];

    // Of everyday life and not in the memory, so that the model has to answer.
    private static readonly string[] Sentences =
    [
        "我们明天早上去学校。", "他喜欢在公园里散步。", "这本书比那本书有意思。", "你为什么不给我打电话？", "她的妹妹在银行工作。", "昨天晚上下了很大的雨。", "请把窗户打开。", "我忘了带我的雨伞。",
        "火车已经离开了车站。", "他们正在吃晚饭。", "我想学习一门新的语言。", "这家饭馆的菜很好吃。", "老师让我们写一篇文章。", "他从来没有去过北京。", "孩子们在花园里玩。", "我的电脑坏了。",
    ];

    public static Command Asr()
    {
        var seconds = new Option<double>("--seconds") { Description = "Audio of each stream, in seconds.", DefaultValueFactory = _ => 30 };
        var librivox = new Option<DirectoryInfo?>("--english") { Description = "Folder of English recordings with a file 'transcription', for the word error rate beside pocketsphinx." };
        var json = new Option<bool>("--json") { Description = "Print only the JSON object." };
        var command = new Command("asr", "Live streams (1, 4, 16): times real time, first partial result, memory, beside the engine called directly; word error rates beside pocketsphinx.") { seconds, librivox, json };
        command.SetAction((parsed, cancellationToken) => AsrAsync(parsed.GetValue(seconds), parsed.GetValue(librivox), parsed.GetValue(json), cancellationToken));
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

    private static async Task<int> AsrAsync(double seconds, DirectoryInfo? english, bool json, CancellationToken cancellationToken)
    {
        var said = Directory.GetFiles(Folder, "*.wav").Order(StringComparer.Ordinal).SelectMany(f => MemoryMarshal.Cast<byte, short>(File.ReadAllBytes(f).AsSpan(WavWriter.HeaderBytes)).ToArray()).ToArray();
        var sound = Enumerable.Range(0, (int)(seconds * Rate)).Select(i => said[i % said.Length]).ToArray();
        using var model = CtcModel.Load(Path.Combine(AppContext.BaseDirectory, "speech", "mandarin-phrases", "1.0.0", "models"), true, true, 9, 2);
        return await WithNodeAsync("asr", json, async (app, rows) =>
        {
            // Both have run once before anything is measured.
            _ = await DirectAsync(model, sound, 1);
            _ = await LiveAsync(app, sound, 1, paced: false, cancellationToken);
            foreach (var streams in Streams)
            {
                GC.Collect();
                var before = Environment.WorkingSet;
                var direct = await DirectAsync(model, sound, streams);
                var live = await LiveAsync(app, sound, streams, paced: false, cancellationToken);
                rows.Add(BenchRow.More($"engine called directly; {streams} live streams as fast as they go", live.Speed, direct.Speed, "times real time"));
                if (streams == Streams[^1])
                {
                    rows.Add(BenchRow.Less($"goal; memory of {streams} streams, each, clients with them", Math.Max(0.1, (Environment.WorkingSet - before) / 1048576.0 / streams), 20, "MiB"));
                }

                var paced = await LiveAsync(app, sound[..Math.Min(sound.Length, Rate * 5)], streams, paced: true, cancellationToken);
                rows.Add(BenchRow.Less($"engine called directly; {streams} live streams at the speed of speech, first partial result", paced.FirstPartialMs, direct.FirstPartialMs, "ms"));
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

    /// <summary>The limit: decoders alone, given the same pieces, asked for a partial result as often.</summary>
    private static async Task<Figures> DirectAsync(CtcModel model, short[] sound, int streams)
    {
        var watch = Stopwatch.StartNew();
        var firsts = await Task.WhenAll(Enumerable.Range(0, streams).Select(_ => Task.Run(() =>
        {
            using var recogniser = new CtcRecogniser(model);
            using var voice = new LevelDetector();
            var stream = new SpeechStream(recogniser, voice, new Endpointing(700, 30_000, 300), []);
            double first = 0;
            for (var at = 0; at < sound.Length; at += Frame)
            {
                var from = Stopwatch.GetTimestamp();
                if (stream.Accept(sound.AsSpan(at, Math.Min(Frame, sound.Length - at))).Count > 0 && first == 0)
                {
                    // As somebody who speaks would see it: what was said until then, and the last computation.
                    first = (at + Frame) * 1000.0 / Rate + Stopwatch.GetElapsedTime(from).TotalMilliseconds;
                }
            }

            stream.Finish();
            return first;
        })));
        return new Figures(streams * sound.Length / (double)Rate / watch.Elapsed.TotalSeconds, BenchTable.Median(firsts));
    }

    private static async Task<Figures> LiveAsync(WebApplication app, short[] sound, int streams, bool paced, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        var firsts = await Task.WhenAll(Enumerable.Range(0, streams).Select(_ => Task.Run(() => OneAsync(app, sound, paced, cancellationToken), cancellationToken)));
        return new Figures(streams * sound.Length / (double)Rate / watch.Elapsed.TotalSeconds, BenchTable.Median(firsts));
    }

    /// <summary>One dictation; milliseconds from its first sample to the first result.</summary>
    private static async Task<double> OneAsync(WebApplication app, short[] sound, bool paced, CancellationToken cancellationToken)
    {
        using var socket = new ClientWebSocket();
        socket.Options.SetRequestHeader("Authorization", "Bearer " + app.Services.GetRequiredService<Platform.Identity.LocalOperator>().Token());
        await socket.ConnectAsync(new UriBuilder(app.Urls.First()) { Scheme = "ws", Path = "/nmt-asr/live" }.Uri, cancellationToken);
        await socket.SendAsync(Encoding.UTF8.GetBytes($$"""{"session":"{{Guid.CreateVersion7(TimeProvider.System.GetUtcNow()):N}}"}"""), WebSocketMessageType.Text, true, cancellationToken);
        var (watch, first) = (Stopwatch.StartNew(), 0.0);
        var buffer = new byte[256 * 1024];
        var hears = Task.Run(async () =>
        {
            while (true)
            {
                var part = await socket.ReceiveAsync(buffer, cancellationToken);
                if (part.MessageType == WebSocketMessageType.Close)
                {
                    return;
                }

                var type = JsonDocument.Parse(buffer.AsMemory(0, part.Count)).RootElement.GetProperty("type").GetString();
                if (type == "error")
                {
                    throw new InvalidOperationException(Encoding.UTF8.GetString(buffer, 0, part.Count));
                }

                if (first == 0 && type is ("partial" or "final"))
                {
                    first = watch.Elapsed.TotalMilliseconds;
                }
            }
        }, cancellationToken);
        for (var at = 0; at < sound.Length; at += Frame)
        {
            var count = Math.Min(Frame, sound.Length - at);
            var due = TimeSpan.FromSeconds((double)(at + count) / Rate) - watch.Elapsed;
            if (paced && due > TimeSpan.Zero)
            {
                await Task.Delay(due, TimeProvider.System, cancellationToken);
            }

            var frame = new byte[8 + count * 2];
            BinaryPrimitives.WriteInt64LittleEndian(frame, at);
            MemoryMarshal.AsBytes(sound.AsSpan(at, count)).CopyTo(frame.AsSpan(8));
            await socket.SendAsync(frame, WebSocketMessageType.Binary, true, cancellationToken);
        }

        await socket.SendAsync("finish"u8.ToArray(), WebSocketMessageType.Text, true, cancellationToken);
        await hears;
        return first;
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
            whole.Begin([]);
            while (await wav.ReadAsync(Rate, cancellationToken) is { Length: > 0 } block)
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

    private readonly record struct Figures(double Speed, double FirstPartialMs);
}
