using System.Buffers.Binary;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.Platform;
using Yizhan.Storage;
using static Yizhan.NmtAsr.Tests.LiveClient;

namespace Yizhan.NmtAsr.Tests;

/// <summary>What microphones, files and clients do wrong. One of its tests counts the memory of the process, so it runs alone.</summary>
[Collection(nameof(BadInputTests))]
[CollectionDefinition(nameof(BadInputTests), DisableParallelization = true)]
[Trait("Clause", "S4")]
public sealed class BadInputTests : IAsyncDisposable
{
    private const string Phrase = "clean-012.wav", PhraseText = "六周后复查";

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-asr-").FullName;
    private WebApplication? _app;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        if (_app is not null)
        {
            await _app.StopAsync(CancellationToken.None);
            await _app.DisposeAsync();
        }

        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Silence_is_no_text_and_the_microphone_is_named()
    {
        var heard = await HearAsync(Wav(16_000, 1, new short[16_000 * 4]));
        Assert.Equal(("", "silent"), (heard.GetProperty("text").GetString(), heard.GetProperty("warnings")[0].GetString()));
    }

    [Fact]
    public async Task Clipped_sound_is_named() =>
        Assert.Contains("clipped", (await HearAsync(Wav(16_000, 1, [.. Said().Select(s => (short)Math.Clamp(s * 100, short.MinValue, short.MaxValue))]))).GetProperty("warnings").EnumerateArray().Select(w => w.GetString()));

    [Fact]
    public async Task Stereo_is_heard_as_one_voice() =>
        Assert.Equal("go forward ten meters", (await HearAsync(Wav(16_000, 2, [.. Said().SelectMany(s => new[] { s, s })]))).GetProperty("text").GetString());

    [Fact]
    public async Task A_telephone_s_eight_kilohertz_keep_their_time()
    {
        var said = Said();
        var heard = await HearAsync(Wav(8000, 1, new Resampler(16_000, 8000).Push(said)));
        Assert.InRange(heard.GetProperty("durationMs").GetInt64(), said.Length / 16 - 20, said.Length / 16 + 20);
    }

    [Fact]
    public async Task A_phrase_over_a_telephone_s_eight_kilohertz_is_heard() =>
        Assert.Equal(PhraseText, (await HearAsync(Wav(8000, 1, new Resampler(16_000, 8000).Push(CtcTests.Recording(Phrase))), "cmn")).GetProperty("text").GetString());

    [Fact]
    public async Task Music_is_answered_and_its_utterances_end()
    {
        var music = Enumerable.Range(0, 16_000 * 8).Select(i => (short)(4000 * (Math.Sin(i * 0.1) + Math.Sin(i * 0.126) + Math.Sin(i * 0.15)) * (0.6 + 0.4 * Math.Sin(i * 0.0004)))).ToArray();
        var heard = await HearAsync(Wav(16_000, 1, music));
        Assert.Equal(8000, heard.GetProperty("durationMs").GetInt64());
        Assert.All(heard.GetProperty("utterances").EnumerateArray(), u => Assert.InRange(u.GetProperty("endMs").GetInt64(), 0, 8000));
    }

    [Fact]
    public async Task Music_is_no_phrase_of_a_closed_grammar()
    {
        var music = Enumerable.Range(0, 16_000 * 8).Select(i => (short)(4000 * (Math.Sin(i * 0.1) + Math.Sin(i * 0.126) + Math.Sin(i * 0.15)) * (0.6 + 0.4 * Math.Sin(i * 0.0004)))).ToArray();
        Assert.Equal("", (await HearAsync(Wav(16_000, 1, music), "cmn")).GetProperty("text").GetString());
    }

    [Fact]
    public async Task What_is_no_WAV_is_refused_with_what_would_be_accepted()
    {
        await StartAsync();
        using var http = Operator.Client(_app!, "/nmt-asr/");
        foreach (var (bytes, problem) in new (byte[], string)[] { ([.. "OggS"u8, 0, 2, .. new byte[40], .. "OpusHead"u8], SoundFile.IsInstalled ? "libsndfile reads" : "apt-get install libsndfile1"), (Wav(16_000, 1, [1, 2])[..30], "ends before its first sample"), ([], "no WAV") })
        {
            using var answer = await http.PostAsync("transcripts?dialect=en", new ByteArrayContent(bytes), Cancel);
            Assert.Equal(415, (int)answer.StatusCode);
            Assert.Contains(problem, (await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("detail").GetString(), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_file_of_many_hours_does_not_grow_in_memory()
    {
        // Ten hours of speech in the long run (YIZHAN_LONG=1), twenty minutes in the short one; never as one array.
        var seconds = Environment.GetEnvironmentVariable("YIZHAN_LONG") == "1" ? 36_000 : 1200;
        await StartAsync("--nmt-asr:maxUploadMiB=4096");
        using var http = Operator.Client(_app!, "/nmt-asr/");
        http.Timeout = Timeout.InfiniteTimeSpan;
        var content = new LongSpeech(seconds);
        using var answer = await http.PostAsync("transcripts?dialect=cmn", content, Cancel);
        var heard = await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel);
        Assert.Equal(seconds * 1000L, heard.GetProperty("durationMs").GetInt64());

        // What was heard is kept until the end, some 500 bytes for each phrase; the sound is not.
        var phrases = heard.GetProperty("utterances").GetArrayLength();
        Assert.True(phrases > seconds / 10, $"{phrases} phrases in {seconds} s");
        Assert.True(content.Grew < 16 * 1024 * 1024 + phrases * 2048L, $"memory grew by {content.Grew >> 20} MiB with {seconds} s");
    }

    [Fact]
    public async Task A_second_client_of_a_dictation_is_told_that_it_is_taken()
    {
        await StartAsync();
        Said();
        using var first = await ConnectAsync(_app!);
        await SendTextAsync(first, """{"session":"taken-0001"}""");
        _ = await NextAsync(first, "ready");
        using var second = await ConnectAsync(_app!);
        await SendTextAsync(second, """{"session":"taken-0001"}""");
        Assert.Equal("busy", (await NextAsync(second, "error")).GetProperty("code").GetString());

        // The first one goes on as if nothing had happened.
        await SendAudioAsync(first, Wav(16_000, 1, new short[16_000]), 0, 16_000);
        await SendTextAsync(first, "finish");
        Assert.Equal(16_000, (await NextAsync(first, "done")).GetProperty("samples").GetInt64());
    }

    [Fact]
    public async Task A_client_that_sends_faster_than_anybody_speaks_loses_nothing_and_is_told_only_of_what_is_on_disk()
    {
        // Two minutes as fast as the socket takes them; a phrase every four seconds.
        const int Repeated = 30;
        await StartAsync();
        var one = CtcTests.Recording(Phrase);
        short[] said = [.. Enumerable.Repeat((short[])[.. one, .. new short[64_000 - one.Length]], Repeated).SelectMany(s => s)];
        using var socket = await ConnectAsync(_app!);
        await SendTextAsync(socket, """{"session":"faster-0001","dialect":"cmn"}""");
        _ = await NextAsync(socket, "ready");
        var sending = Task.Run(async () =>
        {
            await SendAudioAsync(socket, Wav(16_000, 1, said), 0, said.Length);
            await SendTextAsync(socket, "finish");
        }, Cancel);
        var (acknowledged, finals) = (0L, new List<string>());
        while (true)
        {
            var message = await NextAsync(socket, null);
            switch (message.GetProperty("type").GetString())
            {
                case "final":
                    finals.Add(message.GetProperty("result").GetProperty("text").GetString()!);
                    continue;
                case "ack":
                    Assert.InRange(message.GetProperty("samples").GetInt64(), acknowledged, new FileInfo(Path.Combine(_folder, "nmt-asr", "dictations", "faster-0001.pcm")).Length / 2);
                    acknowledged = message.GetProperty("samples").GetInt64();
                    continue;
                case "partial":
                    continue;
            }

            await sending;
            Assert.Equal(("done", said.Length, said.Length), (message.GetProperty("type").GetString(), (int)message.GetProperty("samples").GetInt64(), (int)acknowledged));
            Assert.Equal(Enumerable.Repeat(PhraseText, Repeated), finals);
            Assert.Equal(string.Concat(finals), message.GetProperty("text").GetString());
            return;
        }
    }

    [Fact]
    public async Task A_step_that_a_power_cut_ended_early_is_heard_again_wherever_it_was_cut_and_no_acknowledged_audio_is_lost()
    {
        await StartAsync();
        var (one, json) = (CtcTests.Recording(Phrase), Path.Combine(_folder, "nmt-asr", "dictations", "torn-0001.json"));
        using (var first = await ConnectAsync(_app!))
        {
            await SendTextAsync(first, """{"session":"torn-0001","dialect":"cmn"}""");
            _ = await NextAsync(first, "ready");
            for (var i = 0; i < 2; i++)
            {
                await SendAsync(first, one, i * one.Length);
                await SendTextAsync(first, "pause");
                Assert.Equal(PhraseText, (await NextAsync(first, "final")).GetProperty("result").GetProperty("text").GetString());
                while ((await NextAsync(first, "ack")).GetProperty("samples").GetInt64() < (i + 1) * one.Length)
                {
                }
            }

            first.Abort();
        }

        await _app!.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        var whole = await File.ReadAllBytesAsync(json, Cancel);
        var ends = whole.Select((b, i) => (b, i)).Where(l => l.b == (byte)'\n').Select(l => l.i + 1).ToArray();
        Assert.Equal((3, whole.Length), (ends.Length, ends[^1]));

        // Wherever the last line ends, what is told is what the whole lines say: its own sentence only when all of it is there.
        await StartAsync();
        var dictations = _app.Services.GetRequiredService<Live.Dictations>();
        for (var length = ends[1]; length <= whole.Length; length++)
        {
            await File.WriteAllBytesAsync(json, whole[..length], Cancel);
            var there = dictations.Find("torn-0001")!;
            var sentences = length >= ends[2] - 1 ? 2 : 1;
            Assert.Equal((sentences, false), (there.Finals.Count, there.Finished));
            Assert.InRange(there.HeardSamples, (sentences - 1) * one.Length + 1, sentences * one.Length);
        }

        // The node comes back with half of that line, and the client says one more: nothing of the three is missing, none is there twice.
        await File.WriteAllBytesAsync(json, whole[..((ends[1] + ends[2]) / 2)], Cancel);
        using var second = await ConnectAsync(_app);
        await SendTextAsync(second, """{"session":"torn-0001","dialect":"cmn"}""");
        var ready = await NextAsync(second, "ready");
        Assert.Equal(2 * one.Length, ready.GetProperty("samples").GetInt32());
        Assert.StartsWith(PhraseText, ready.GetProperty("text").GetString(), StringComparison.Ordinal);
        await SendAsync(second, one, 2 * one.Length);
        await SendTextAsync(second, "finish");
        var done = await NextAsync(second, "done");
        Assert.Equal((3 * one.Length, 3), (done.GetProperty("samples").GetInt32(), done.GetProperty("text").GetString()!.Split(PhraseText).Length - 1));
        Assert.Equal(3 * one.Length * 2, new FileInfo(Path.ChangeExtension(json, ".pcm")).Length);

        static Task SendAsync(ClientWebSocket socket, short[] sound, int offset)
        {
            var frame = new byte[8 + sound.Length * 2];
            BinaryPrimitives.WriteInt64LittleEndian(frame, offset);
            System.Runtime.InteropServices.MemoryMarshal.AsBytes(sound.AsSpan()).CopyTo(frame.AsSpan(8));
            return socket.SendAsync(frame, WebSocketMessageType.Binary, true, Cancel);
        }
    }

    [Fact]
    public async Task Control_characters_reach_no_record()
    {
        await StartAsync();
        using var http = Operator.Client(_app!, "/nmt-asr/");
        foreach (var (patient, title) in new[] { ("P\u00071", "Note"), ("P1", "No\u001b[31mte") })
        {
            using var refused = await http.PostAsJsonAsync("dictations/control-0001/note", new { patientId = patient, title, text = "x" }, Cancel);
            Assert.Equal(400, (int)refused.StatusCode);
            Assert.Contains("control character", (await refused.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("detail").GetString(), StringComparison.Ordinal);
        }

        await NoteAsync(_app!, "control-0001", Wav(16_000, 1, CtcTests.Recording(Phrase)), "六周后\u0007复查\u001b[31m\n完", "cmn");
        var entries = await _app!.Services.GetRequiredService<IEventLog>().ReadAsync(0, 100, Cancel);
        Assert.Equal("六周后复查[31m\n完", JsonSerializer.Deserialize(entries.Single(e => e.Entry.Type == ReportIssued.EventType).Entry.Data.Span, ContractsJson.Default.ReportIssued)!.Text);
    }

    [Fact]
    public async Task A_client_that_never_says_who_it_is_is_let_go()
    {
        await StartAsync("--nmt-asr:idleSeconds=1");
        using var socket = await ConnectAsync(_app!);
        var part = await Record.ExceptionAsync(() => socket.ReceiveAsync(new byte[1024], Cancel));
        Assert.IsType<WebSocketException>(part);
        Assert.NotEqual(WebSocketState.Open, socket.State);
    }

    [Fact]
    public async Task A_client_that_never_sends_is_let_go_and_can_go_on_where_it_was()
    {
        await StartAsync("--nmt-asr:idleSeconds=5");
        var said = Said();
        using (var silent = await ConnectAsync(_app!))
        {
            await SendTextAsync(silent, """{"session":"silent-0001"}""");
            _ = await NextAsync(silent, "ready");
            await SendAudioAsync(silent, Wav(16_000, 1, said), 0, 16_000);

            // Whatever comes first: what was acknowledged, then the end of the connection.
            await Assert.ThrowsAsync<WebSocketException>(async () =>
            {
                while ((await silent.ReceiveAsync(new byte[64 * 1024], Cancel)).MessageType != WebSocketMessageType.Close)
                {
                }

                throw new WebSocketException("closed");
            });
        }

        while (true)
        {
            using var again = await ConnectAsync(_app!);
            await SendTextAsync(again, """{"session":"silent-0001"}""");
            var answer = await NextAsync(again, null);
            if (answer.GetProperty("type").GetString() == "ready")
            {
                Assert.Equal(16_000, answer.GetProperty("samples").GetInt64());
                return;
            }

            Assert.Equal("busy", answer.GetProperty("code").GetString());
        }
    }

    [Theory]
    [InlineData("hello", "start")]
    [InlineData("""{"session":"UPPER"}""", "start")]
    [InlineData("""{"session":"rate-0001","sampleRate":7}""", "start")]
    [InlineData("""{"session":"dialect-01","dialect":"tlh"}""", "dialect")]
    public async Task A_start_that_cannot_be_is_refused_by_code(string start, string code)
    {
        await StartAsync();
        using var socket = await ConnectAsync(_app!);
        await SendTextAsync(socket, start);
        var error = await NextAsync(socket, "error");
        Assert.Equal(code, error.GetProperty("code").GetString());
        Assert.True(error.GetProperty("detail").GetString()!.Length > 20);
    }

    private async Task StartAsync(params string[] more)
    {
        _app = new ServiceHost(
            [$"--node:dataFolder={_folder}", "--node:siteId=site-a", "--web:url=http://127.0.0.1:0", "--log:level=none", "--storage:freeFloorBytes=0", "--nmt-asr:dialects:0=en", .. more])
            .Add<NmtAsrModule>().Build();
        await _app.StartAsync(Cancel);
    }

    private async Task<JsonElement> HearAsync(byte[] wav, string dialect = "en")
    {
        Assert.SkipUnless(dialect != "en" || PocketSphinxApi.IsInstalled, PocketSphinxApi.Missing);
        await StartAsync();
        using var http = Operator.Client(_app!, "/nmt-asr/");
        http.Timeout = Timeout.InfiniteTimeSpan;
        using var answer = await http.PostAsync("transcripts?dialect=" + dialect, new ByteArrayContent(wav), Cancel);
        var heard = await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel);
        Assert.True(answer.IsSuccessStatusCode, heard.ToString());
        return heard;
    }

    private static short[] Said()
    {
        Assert.SkipUnless(PocketSphinxApi.IsInstalled, PocketSphinxApi.Missing);
        return System.Runtime.InteropServices.MemoryMarshal.Cast<byte, short>(File.ReadAllBytes(Given.Path("pocketsphinx-en-us", "test", "goforward.raw"))).ToArray();
    }

    private static byte[] Wav(int rate, int channels, short[] samples)
    {
        var header = WavWriter.Header(rate, samples.Length * 2L);
        BinaryPrimitives.WriteInt16LittleEndian(header.AsSpan(22), (short)channels);
        BinaryPrimitives.WriteInt16LittleEndian(header.AsSpan(32), (short)(channels * 2));
        return [.. header, .. System.Runtime.InteropServices.MemoryMarshal.AsBytes(samples.AsSpan())];
    }

    /// <summary>A WAV file of phrases that is made while it is sent; after each minute it looks how much memory there is more than after the first.</summary>
    private sealed class LongSpeech(int seconds) : HttpContent
    {
        public long Grew { get; private set; }

        protected override async Task SerializeToStreamAsync(Stream stream, System.Net.TransportContext? context)
        {
            await stream.WriteAsync(WavWriter.Header(16_000, seconds * 32_000L));
            byte[] phrase = [.. System.Runtime.InteropServices.MemoryMarshal.AsBytes(CtcTests.Recording(Phrase).AsSpan())], second = new byte[32_000];
            var first = 0L;
            for (var i = 0; i < seconds; i++)
            {
                Array.Clear(second);
                var at = i % 4 * second.Length;
                phrase.AsSpan(Math.Min(at, phrase.Length), Math.Clamp(phrase.Length - at, 0, second.Length)).CopyTo(second);
                await stream.WriteAsync(second);
                if (i % 60 == 59)
                {
                    var now = GC.GetTotalMemory(forceFullCollection: true);
                    (first, Grew) = first == 0 ? (now, 0) : (first, Math.Max(Grew, now - first));
                }
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = WavWriter.HeaderBytes + seconds * 32_000L;
            return true;
        }
    }
}
