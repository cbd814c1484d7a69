using System.Buffers.Binary;
using System.Net.Http.Json;
using System.Runtime.InteropServices;
using System.Text.Json;
using Yizhan.NmtAsr.Audio;

namespace Yizhan.NmtAsr.Tests;

/// <summary>Who has a channel of a recording to himself is told apart by it.</summary>
[Trait("Clause", "S4")]
public sealed class SpeakerTests() : NodeTest("--nmt-asr:dialects:0=cmn", "--nmt-asr:maxStreams=3")
{
    private const string Doctor = "六周后复查", Patient = "双肺呼吸音清";

    [Fact]
    public async Task Two_channels_are_two_speakers_in_the_order_in_which_they_begin_also_when_they_speak_at_a_time()
    {
        using var http = Operator.Client(App, "/nmt-asr/");
        var heard = await HearAsync(http, "transcripts?speakers=channels", Call());
        Assert.Equal([(2, Doctor), (1, Patient), (2, Patient)], Said(heard));
        Assert.Equal([0, 1, 2], heard.GetProperty("utterances").EnumerateArray().Select(u => u.GetProperty("segment").GetInt32()));
        var starts = heard.GetProperty("utterances").EnumerateArray().Select(u => u.GetProperty("startMs").GetInt64()).ToArray();
        Assert.Equal(starts.Order(), starts);
        Assert.Equal($"2: {Doctor}\n1: {Patient}\n2: {Patient}", heard.GetProperty("text").GetString());
        using var subtitles = await http.PostAsync("transcripts?speakers=channels&format=vtt", new ByteArrayContent(Call()), Cancel);
        Assert.Contains($"<v 2>{Doctor}", await subtitles.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_job_tells_them_apart_too()
    {
        using var http = Operator.Client(App, "/nmt-asr/");
        using var given = await http.PostAsync("jobs?speakers=channels", new ByteArrayContent(Call()), Cancel);
        Assert.Equal(202, (int)given.StatusCode);
        var id = (await given.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("id").GetString();
        JsonElement job;
        do
        {
            await Task.Delay(20, Cancel);
            job = await http.GetFromJsonAsync<JsonElement>($"jobs/{id}", Cancel);
        }
        while (job.GetProperty("state").GetString() is "queued" or "running");

        Assert.Equal(("done", "channels"), (job.GetProperty("state").GetString(), job.GetProperty("speakers").GetString()));
        Assert.Equal([(2, Doctor), (1, Patient), (2, Patient)], Said(await http.GetFromJsonAsync<JsonElement>($"jobs/{id}/transcript", Cancel)));
    }

    [Fact]
    public async Task Without_being_asked_nobody_is_told_apart_and_what_cannot_be_is_refused()
    {
        using var http = Operator.Client(App, "/nmt-asr/");
        var one = await HearAsync(http, "transcripts", Wav(1, Sound("clean-012.wav")));
        Assert.Equal(JsonValueKind.Null, one.GetProperty("utterances")[0].GetProperty("speaker").ValueKind);
        var alone = await HearAsync(http, "transcripts?speakers=channels", Wav(1, Sound("clean-012.wav")));
        Assert.Equal(Doctor, alone.GetProperty("text").GetString());
        foreach (var (query, channels, status, problem) in new (string, short, int, string)[] { ("channels", 4, 415, "4 channels; accepted as speakers: up to 3"), ("voices", 1, 400, "'voices'; accepted: channels") })
        {
            using var refused = await http.PostAsync($"transcripts?speakers={query}", new ByteArrayContent(Wav(channels, new short[16_000 * channels])), Cancel);
            Assert.Equal(status, (int)refused.StatusCode);
            Assert.Contains(problem, (await refused.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("detail").GetString(), StringComparison.Ordinal);
        }

        // What was refused has given its decoders back.
        _ = await HearAsync(http, "transcripts?speakers=channels", Call());
    }

    /// <summary>Two ends of a line: the second begins, and the first speaks before it has ended.</summary>
    private static byte[] Call()
    {
        short[] first = [.. new short[12_000], .. Sound("clean-020.wav")], second = [.. Sound("clean-012.wav"), .. new short[16_000], .. Sound("clean-020.wav")];
        var frames = new short[Math.Max(first.Length, second.Length) * 2];
        for (var i = 0; i < frames.Length / 2; i++)
        {
            (frames[i * 2], frames[i * 2 + 1]) = (i < first.Length ? first[i] : (short)0, i < second.Length ? second[i] : (short)0);
        }

        return Wav(2, frames);
    }

    private static short[] Sound(string name) => CtcTests.Recording(name);

    private static byte[] Wav(short channels, short[] frames)
    {
        const int ChannelsAt = 22, FrameBytesAt = 32;
        var header = WavWriter.Header(16_000, frames.Length * 2L);
        BinaryPrimitives.WriteInt16LittleEndian(header.AsSpan(ChannelsAt), channels);
        BinaryPrimitives.WriteInt16LittleEndian(header.AsSpan(FrameBytesAt), (short)(channels * 2));
        return [.. header, .. MemoryMarshal.AsBytes(frames.AsSpan())];
    }

    private static (int Speaker, string Text)[] Said(JsonElement heard) =>
        [.. heard.GetProperty("utterances").EnumerateArray().Select(u => (u.GetProperty("speaker").GetInt32(), u.GetProperty("text").GetString()!))];

    private static async Task<JsonElement> HearAsync(HttpClient http, string path, byte[] wav)
    {
        using var answer = await http.PostAsync(path, new ByteArrayContent(wav), Cancel);
        var heard = await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel);
        Assert.True(answer.IsSuccessStatusCode, heard.ToString());
        return heard;
    }
}
