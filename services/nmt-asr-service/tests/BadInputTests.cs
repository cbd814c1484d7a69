using System.Buffers.Binary;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.Platform;
using static Yizhan.NmtAsr.Tests.LiveClient;

namespace Yizhan.NmtAsr.Tests;

/// <summary>What microphones, files and clients do wrong. One of its tests counts the memory of the process, so it runs alone.</summary>
[Collection(nameof(BadInputTests))]
[CollectionDefinition(nameof(BadInputTests), DisableParallelization = true)]
[Trait("Clause", "S4")]
public sealed class BadInputTests : IAsyncDisposable
{
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
    public async Task Music_is_answered_and_its_utterances_end()
    {
        var music = Enumerable.Range(0, 16_000 * 8).Select(i => (short)(4000 * (Math.Sin(i * 0.1) + Math.Sin(i * 0.126) + Math.Sin(i * 0.15)) * (0.6 + 0.4 * Math.Sin(i * 0.0004)))).ToArray();
        var heard = await HearAsync(Wav(16_000, 1, music));
        Assert.All(heard.GetProperty("utterances").EnumerateArray(), u => Assert.InRange(u.GetProperty("endMs").GetInt64(), 0, 8000));
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
        // Ten hours in the long run (YIZHAN_LONG=1), twenty minutes in the short one; never as one array.
        var seconds = Environment.GetEnvironmentVariable("YIZHAN_LONG") == "1" ? 36_000 : 1200;
        await StartAsync("--nmt-asr:maxUploadMiB=4096");
        Assert.SkipUnless(PocketSphinxApi.IsInstalled, PocketSphinxApi.Missing);
        using var http = Operator.Client(_app!, "/nmt-asr/");
        http.Timeout = Timeout.InfiniteTimeSpan;
        var before = GC.GetTotalMemory(forceFullCollection: true);
        using var answer = await http.PostAsync("transcripts?dialect=en", new LongSilence(seconds), Cancel);
        var heard = await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel);
        Assert.Equal(seconds * 1000L, heard.GetProperty("durationMs").GetInt64());
        Assert.True(GC.GetTotalMemory(forceFullCollection: true) - before < 32 * 1024 * 1024, "memory grew with the file");
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

    private async Task<JsonElement> HearAsync(byte[] wav)
    {
        Assert.SkipUnless(PocketSphinxApi.IsInstalled, PocketSphinxApi.Missing);
        await StartAsync();
        using var http = Operator.Client(_app!, "/nmt-asr/");
        http.Timeout = Timeout.InfiniteTimeSpan;
        using var answer = await http.PostAsync("transcripts?dialect=en", new ByteArrayContent(wav), Cancel);
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

    /// <summary>A WAV file that is made while it is sent.</summary>
    private sealed class LongSilence(int seconds) : HttpContent
    {
        protected override async Task SerializeToStreamAsync(Stream stream, System.Net.TransportContext? context)
        {
            await stream.WriteAsync(WavWriter.Header(16_000, seconds * 32_000L));
            var second = new byte[32_000];
            for (var i = 0; i < seconds; i++)
            {
                await stream.WriteAsync(second);
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = WavWriter.HeaderBytes + seconds * 32_000L;
            return true;
        }
    }
}
