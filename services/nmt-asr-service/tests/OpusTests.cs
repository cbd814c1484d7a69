using System.Buffers.Binary;
using System.Diagnostics;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Runtime.InteropServices;
using System.Text.Json;
using Yizhan.NmtAsr.Audio;
using static Yizhan.NmtAsr.Tests.LiveClient;

namespace Yizhan.NmtAsr.Tests;

/// <summary>Opus in WebM and Ogg while it arrives, and dictated live over a line that breaks. The recordings are coded by ffmpeg, as a browser's recorder would.</summary>
[Trait("Clause", "S4")]
public sealed class OpusTests() : NodeTest("--nmt-asr:dialects:0=cmn")
{
    private const string Phrase = "clean-012.wav", PhraseText = "六周后复查";

    [Theory]
    [InlineData("webm")]
    [InlineData("webm", "-live", "1", "-cluster_time_limit", "500")]
    [InlineData("ogg", "-page_duration", "100000")]
    public async Task The_same_samples_come_out_however_it_is_cut_and_they_are_those_that_went_in(string container, params string[] more)
    {
        var said = CtcTests.Recording(Phrase);
        var coded = await CodedAsync(said, container, more);
        var whole = Decoded(coded, coded.Length);
        foreach (var piece in new[] { 1, 7, 997 })
        {
            Assert.Equal(whole, Decoded(coded, piece));
        }

        Assert.InRange(whole.Length, said.Length - 320, said.Length + 960);
        var (best, at) = Enumerable.Range(-48, 97).Select(lag => (Alike: Alike(said, whole, lag), lag)).Max();
        Assert.True(best > 0.9 && Math.Abs(at) <= 16, $"{best:0.000} at {at} samples");
    }

    [Theory]
    [InlineData("webm", 0)]
    [InlineData("ogg", 0)]
    [InlineData("webm", 3)]
    public async Task A_dictation_in_Opus_goes_on_across_a_broken_line_and_its_sound_is_kept_whole(string container, int inTheMiddleOfABlock)
    {
        var said = CtcTests.Recording(Phrase);
        short[] twice = [.. new short[8000], .. said, .. new short[24_000], .. said, .. new short[16_000]];
        var coded = await CodedAsync(twice, container, container == "webm" ? ["-live", "1", "-cluster_time_limit", "500"] : []);
        var cut = coded.Length * 2 / 3 + inTheMiddleOfABlock;
        long acknowledged;
        using (var first = await ConnectAsync(App))
        {
            await SendTextAsync(first, """{"session":"opus-0001","format":"opus"}""");
            Assert.Equal(0, (await NextAsync(first, "ready")).GetProperty("bytes").GetInt64());
            await SendAsync(first, coded, 0, cut);
            acknowledged = (await NextAsync(first, "ack")).GetProperty("bytes").GetInt64();
            Assert.InRange(acknowledged, 1, cut);
            first.Abort();
        }

        JsonElement ready;
        ClientWebSocket second;
        while (true)
        {
            second = await ConnectAsync(App);
            await SendTextAsync(second, """{"session":"opus-0001","format":"opus"}""");
            ready = await NextAsync(second, null);
            if (ready.GetProperty("type").GetString() != "error" || ready.GetProperty("code").GetString() != "busy")
            {
                break;
            }

            second.Dispose();
            await Task.Delay(20, Cancel);
        }

        // What was sent twice is skipped, to the byte.
        var from = (int)ready.GetProperty("bytes").GetInt64();
        Assert.InRange(from, acknowledged, cut);
        await SendAsync(second, coded, Math.Max(0, from - 333), coded.Length);
        await SendTextAsync(second, "finish");
        var done = await NextAsync(second, "done");
        second.Dispose();
        Assert.Equal(PhraseText + PhraseText, done.GetProperty("text").GetString());
        var whole = Decoded(coded, coded.Length);
        Assert.Equal(whole.Length, done.GetProperty("samples").GetInt64());
        Assert.Equal(MemoryMarshal.AsBytes(whole.AsSpan()).ToArray(), await File.ReadAllBytesAsync(Path.Combine(Folder, "nmt-asr", "dictations", "opus-0001.pcm"), Cancel));

        using var http = Operator.Client(App, "/nmt-asr/");
        using var made = await http.PostAsJsonAsync("dictations/opus-0001/note", new { patientId = "P1", title = "Note", text = PhraseText }, Cancel);
        Assert.Equal(201, (int)made.StatusCode);
        Assert.Empty(Directory.GetFiles(Path.Combine(Folder, "nmt-asr", "dictations"), "opus-0001.*"));
    }

    [Fact]
    public async Task A_gap_another_format_and_what_is_no_Opus_are_refused_with_what_would_be_taken()
    {
        var coded = await CodedAsync(CtcTests.Recording(Phrase), "webm");
        using (var socket = await ConnectAsync(App))
        {
            await SendTextAsync(socket, """{"session":"opus-0002","format":"opus"}""");
            _ = await NextAsync(socket, "ready");
            await SendAsync(socket, coded, 100, 200);
            var error = await NextAsync(socket, "error");
            Assert.Equal(("gap", "The frame begins at byte 100; go on from 0."), (error.GetProperty("code").GetString(), error.GetProperty("detail").GetString()));
        }

        foreach (var (bytes, problem) in new[]
        {
            ("RIFF....WAVEfmt "u8.ToArray(), "neither WebM nor Ogg: it begins with 52494646"), (coded[4..], "neither WebM nor Ogg"),
            (await CodedAsync(CtcTests.Recording(Phrase), "webm", "-c:a", "libvorbis"), "A_VORBIS; accepted: one track of A_OPUS"),
        })
        {
            using var socket = await ConnectAsync(App);
            await SendTextAsync(socket, $$"""{"session":"opus-{{Guid.NewGuid():N}}","format":"opus"}""");
            _ = await NextAsync(socket, "ready");
            await SendAsync(socket, bytes, 0, bytes.Length);
            var error = await NextAsync(socket, "error");
            Assert.Equal("frame", error.GetProperty("code").GetString());
            Assert.Contains(problem, error.GetProperty("detail").GetString(), StringComparison.Ordinal);
        }

        using (var pcm = await ConnectAsync(App))
        {
            await SendTextAsync(pcm, """{"session":"opus-0003"}""");
            _ = await NextAsync(pcm, "ready");
            await SendTextAsync(pcm, "pause");
            _ = await NextAsync(pcm, "ack");
            await pcm.CloseAsync(WebSocketCloseStatus.NormalClosure, null, Cancel);
        }

        using var other = await ConnectAsync(App);
        await SendTextAsync(other, """{"session":"opus-0003","format":"opus"}""");
        var format = await NextAsync(other, "error");
        Assert.Equal("format", format.GetProperty("code").GetString());
        Assert.Contains("begun as pcm", format.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Damaged_recordings_are_refused_or_heard_and_nothing_else()
    {
        var (random, refused) = (new Random(20261123), 0);
        foreach (var container in new[] { "webm", "ogg" })
        {
            var coded = await CodedAsync(CtcTests.Recording(Phrase)[..16_000], container);
            for (var i = 0; i < 400; i++)
            {
                var bytes = coded.ToArray();
                for (var broken = random.Next(1, 20); broken > 0; broken--)
                {
                    bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
                }

                try
                {
                    // However it says that it is, no more comes out than Opus can hold: 120 ms for a packet of a byte.
                    Assert.InRange(Decoded(bytes, random.Next(1, bytes.Length)).Length, 0, bytes.Length * 1920);
                }
                catch (AudioRefusedException)
                {
                    refused++;
                }
            }
        }

        Assert.InRange(refused, 1, 799);
    }

    private static Task SendAsync(ClientWebSocket socket, byte[] bytes, int from, int to)
    {
        return Enumerable.Range(0, (to - from + 699) / 700).Select(i => from + i * 700).Aggregate(Task.CompletedTask, async (before, at) =>
        {
            await before;
            var count = Math.Min(700, to - at);
            var frame = new byte[8 + count];
            BinaryPrimitives.WriteInt64LittleEndian(frame, at);
            bytes.AsSpan(at, count).CopyTo(frame.AsSpan(8));
            await socket.SendAsync(frame, WebSocketMessageType.Binary, true, Cancel);
        });
    }

    private static short[] Decoded(byte[] coded, int piece)
    {
        using var opus = new OpusStream();
        return [.. coded.Chunk(piece).SelectMany(c => opus.Push(c))];
    }

    /// <summary>How alike two sounds are, 1 for the same, with one of them later.</summary>
    private static double Alike(short[] a, short[] b, int lag)
    {
        double both = 0, one = 0, other = 0;
        for (var i = Math.Max(0, -lag); i < Math.Min(a.Length, b.Length - lag); i++)
        {
            both += (double)a[i] * b[i + lag];
            one += (double)a[i] * a[i];
            other += (double)b[i + lag] * b[i + lag];
        }

        return both / Math.Sqrt(one * other + 1);
    }

    private async Task<byte[]> CodedAsync(short[] samples, string container, params string[] more)
    {
        Assert.SkipUnless(OpusStream.IsInstalled, "libopus is not installed (Debian: libopus0).");
        Assert.SkipUnless(File.Exists("/usr/bin/ffmpeg"), "ffmpeg is not installed.");
        var (wav, coded) = (Path.Combine(Folder, "said.wav"), Path.Combine(Folder, "said." + container));
        await File.WriteAllBytesAsync(wav, [.. WavWriter.Header(16_000, samples.Length * 2), .. MemoryMarshal.AsBytes(samples.AsSpan())], Cancel);
        using var process = Process.Start(new ProcessStartInfo("ffmpeg", ["-v", "error", "-y", "-i", wav, "-c:a", "libopus", "-b:a", "32k", .. more, "-f", container, coded]) { RedirectStandardError = true })!;
        var errors = await process.StandardError.ReadToEndAsync(Cancel);
        await process.WaitForExitAsync(Cancel);
        Assert.True(process.ExitCode == 0, errors);
        return await File.ReadAllBytesAsync(coded, Cancel);
    }
}
