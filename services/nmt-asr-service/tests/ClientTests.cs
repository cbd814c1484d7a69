using System.Buffers.Binary;
using System.Net.WebSockets;
using System.Runtime.InteropServices;
using System.Text.Json;
using static Yizhan.NmtAsr.Tests.LiveClient;

namespace Yizhan.NmtAsr.Tests;

/// <summary>Clients of other servers, as those servers' documents describe them: Vosk's, sherpa-onnx's, FunASR's.</summary>
[Trait("Clause", "S4")]
public sealed class ClientTests() : NodeTest("--nmt-asr:dialects:0=cmn")
{
    private const string First = "clean-012.wav", FirstText = "六周后复查", Second = "clean-020.wav", SecondText = "双肺呼吸音清";

    [Fact]
    public async Task Vosk_answers_each_message_once_and_ends_with_a_result()
    {
        using var socket = await ConnectAsync(App, "/nmt-asr/vosk");
        await SendTextAsync(socket, """{ "config" : { "sample_rate" : 16000 } }""");
        var (texts, partials) = (new List<string>(), new List<string>());
        foreach (var part in CtcTests.Recording(First).Chunk(4000))
        {
            await SendAsync(socket, part);
            var answer = await JsonAsync(socket);
            (answer.TryGetProperty("partial", out var partial) ? partials : texts).Add(answer.TryGetProperty("text", out var text) ? text.GetString()! : partial.GetString()!);
        }

        await SendTextAsync(socket, """{"eof" : 1}""");
        texts.Add((await JsonAsync(socket)).GetProperty("text").GetString()!);
        Assert.Equal(FirstText, string.Concat(texts));
        Assert.Contains(partials, p => p.Length > 0);
        Assert.Null(await TextAsync(socket));
    }

    [Fact]
    public async Task Vosk_s_words_have_times_and_a_reset_ends_what_is_being_said()
    {
        using var socket = await ConnectAsync(App, "/nmt-asr/vosk", "pack=mandarin-phrases");
        await SendTextAsync(socket, """{"config":{"sample_rate":16000,"words":1,"phrase_list":["卡马西平"]}}""");
        foreach (var (name, said) in new[] { (First, FirstText), (Second, SecondText) })
        {
            var sound = CtcTests.Recording(name);

            // Without the silence at its end, so that the reset is what ends it.
            await SendAsync(socket, sound[..^14_000]);
            Assert.True((await JsonAsync(socket)).TryGetProperty("partial", out _));
            await SendTextAsync(socket, """{"reset":1}""");
            var answer = await JsonAsync(socket);
            Assert.Equal(said, answer.GetProperty("text").GetString());
            var words = answer.GetProperty("result").EnumerateArray().Select(w => (Text: w.GetProperty("word").GetString(), Start: w.GetProperty("start").GetDouble(), End: w.GetProperty("end").GetDouble(), Conf: w.GetProperty("conf").GetDouble())).ToArray();
            Assert.Equal(said, string.Concat(words.Select(w => w.Text)));
            Assert.All(words, w => Assert.True(w.Start < w.End && w.Conf is > 0 and <= 1, w.ToString()));
        }

        await SendTextAsync(socket, "hello");
        Assert.Null(await TextAsync(socket));
        Assert.Equal(WebSocketCloseStatus.InvalidPayloadData, socket.CloseStatus);
    }

    [Fact]
    public async Task Sherpa_online_sends_segments_and_says_done()
    {
        using var socket = await ConnectAsync(App, "/nmt-asr/sherpa-onnx");
        foreach (var part in CtcTests.Recording(First).Concat(CtcTests.Recording(Second)).ToArray().Chunk(1600))
        {
            await SendAsync(socket, Floats(part));
        }

        await SendTextAsync(socket, "Done");
        var (finals, partials, done) = (new List<JsonElement>(), 0, false);
        while (await TextAsync(socket) is { } message)
        {
            Assert.False(done, "Something came after 'Done!'.");
            if (message == "Done!")
            {
                done = true;
                continue;
            }

            var answer = JsonDocument.Parse(message).RootElement.Clone();
            Assert.Equal(answer.GetProperty("tokens").GetArrayLength(), answer.GetProperty("timestamps").GetArrayLength());
            partials += answer.GetProperty("is_final").GetBoolean() ? 0 : 1;
            finals.AddRange(answer.GetProperty("is_final").GetBoolean() ? [answer] : []);
        }

        Assert.True(done && partials > 0);
        Assert.Equal([(FirstText, 0), (SecondText, 1)], finals.Select(f => (f.GetProperty("text").GetString()!, f.GetProperty("segment").GetInt32())));
        Assert.True(finals[1].GetProperty("start_time").GetDouble() > finals[0].GetProperty("start_time").GetDouble() + 1);
    }

    [Fact]
    public async Task Sherpa_offline_answers_each_recording_whatever_its_parts()
    {
        using var socket = await ConnectAsync(App, "/nmt-asr/sherpa-onnx/offline");
        byte[] both = [.. Offline(First), .. Offline(Second)];
        foreach (var part in both.Chunk(10_241))
        {
            await SendAsync(socket, part);
        }

        Assert.Equal(FirstText, (await JsonAsync(socket)).GetProperty("text").GetString());
        Assert.Equal(SecondText, (await JsonAsync(socket)).GetProperty("text").GetString());
        await SendTextAsync(socket, "Done");
        Assert.Null(await TextAsync(socket));
    }

    [Fact]
    public async Task FunAsr_s_first_pass_is_replaced_by_the_second_and_only_the_last_message_is_final()
    {
        using var socket = await ConnectAsync(App, "/nmt-asr/funasr", protocol: "binary");
        Assert.Equal("binary", socket.SubProtocol);
        await SendTextAsync(socket, """{"mode":"2pass","chunk_size":[5,10,5],"wav_name":"ward","wav_format":"pcm","is_speaking":true,"audio_fs":16000,"hotwords":"{\"阿司匹林\":20}","itn":true}""");
        foreach (var part in CtcTests.Recording(First).Concat(CtcTests.Recording(Second)).ToArray().Chunk(960))
        {
            await SendAsync(socket, part);
        }

        await SendTextAsync(socket, """{"is_speaking":false}""");

        // As FunASR's client shows it: what is online is added, what is offline replaces it.
        var (online, offline, modes, final) = ("", "", new HashSet<string>(), false);
        while (!final)
        {
            var answer = await JsonAsync(socket);
            var (mode, text) = (answer.GetProperty("mode").GetString()!, answer.GetProperty("text").GetString()!);
            Assert.Equal("ward", answer.GetProperty("wav_name").GetString());
            modes.Add(mode);
            final = answer.GetProperty("is_final").GetBoolean();
            if (mode == "2pass-online")
            {
                online += text;
                Assert.DoesNotContain(online, "?", StringComparison.Ordinal);
                continue;
            }

            (offline, online) = (offline + text, "");
            if (text.Length > 0)
            {
                var sentence = answer.GetProperty("stamp_sents")[0];
                Assert.Equal(text, sentence.GetProperty("text_seg").GetString()!.Replace(" ", "", StringComparison.Ordinal));
                Assert.Equal(JsonDocument.Parse(answer.GetProperty("timestamp").GetString()!).RootElement.GetArrayLength(), sentence.GetProperty("ts_list").GetArrayLength());
            }
        }

        Assert.Equal(FirstText + SecondText, offline);
        Assert.Equal(["2pass-offline", "2pass-online"], modes.Order());
    }

    [Theory]
    [InlineData("offline")]
    [InlineData("online")]
    public async Task FunAsr_s_single_passes_end_with_one_final_message(string mode)
    {
        using var socket = await ConnectAsync(App, "/nmt-asr/funasr");
        await SendTextAsync(socket, $$"""{"mode":"{{mode}}","wav_name":"a","wav_format":"pcm","is_speaking":true}""");
        await SendAsync(socket, CtcTests.Recording(First));
        await SendTextAsync(socket, """{"is_speaking":false}""");
        var text = "";
        while (true)
        {
            var answer = await JsonAsync(socket);
            Assert.Equal(mode, answer.GetProperty("mode").GetString());
            text += answer.GetProperty("text").GetString();
            if (answer.GetProperty("is_final").GetBoolean())
            {
                break;
            }
        }

        Assert.Equal(FirstText, text);
    }

    [Theory]
    [InlineData("/nmt-asr/funasr", """{"mode":"2pass","wav_format":"mp3"}""", "accepted: 2pass, online, offline; pcm")]
    [InlineData("/nmt-asr/vosk", """{"config":{"sample_rate":7}}""", "accepted: 8000 to 48000")]
    [InlineData("/nmt-asr/vosk", """{"config":{"sample_rate":16000,"model":"nobody"}}""", "There is no pack 'nobody'")]
    [InlineData("/nmt-asr/sherpa-onnx", "hello", "'Done'")]
    public async Task What_cannot_be_done_closes_with_the_reason(string path, string message, string reason)
    {
        using var socket = await ConnectAsync(App, path);
        await SendTextAsync(socket, message);
        Assert.Null(await TextAsync(socket));
        Assert.Equal(WebSocketCloseStatus.PolicyViolation, socket.CloseStatus);
        Assert.Contains(reason, socket.CloseStatusDescription, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_dialect_that_nobody_hears_is_refused_before_the_socket_opens()
    {
        var refused = await Assert.ThrowsAsync<WebSocketException>(() => ConnectAsync(App, "/nmt-asr/vosk", "dialect=hak"));
        Assert.Contains("422", refused.Message, StringComparison.Ordinal);
    }

    private static byte[] Offline(string name)
    {
        var audio = Floats(CtcTests.Recording(name));
        var header = new byte[8];
        BinaryPrimitives.WriteInt32LittleEndian(header, 16_000);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(4), audio.Length);
        return [.. header, .. audio];
    }

    private static byte[] Floats(short[] samples) => MemoryMarshal.AsBytes<float>(samples.Select(s => s / 32768f).ToArray()).ToArray();

    private static Task SendAsync(ClientWebSocket socket, short[] samples) => SendAsync(socket, MemoryMarshal.AsBytes<short>(samples).ToArray());

    private static Task SendAsync(ClientWebSocket socket, byte[] bytes) => socket.SendAsync(bytes, WebSocketMessageType.Binary, true, Cancel);

    private static async Task<JsonElement> JsonAsync(ClientWebSocket socket)
    {
        var text = await TextAsync(socket);
        Assert.True(text is not null, $"closed: {socket.CloseStatus} {socket.CloseStatusDescription}");
        return JsonDocument.Parse(text).RootElement.Clone();
    }
}
