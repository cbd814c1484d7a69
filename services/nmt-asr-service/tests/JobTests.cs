using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json;
using Yizhan.NmtAsr.Audio;

namespace Yizhan.NmtAsr.Tests;

/// <summary>Recordings in the background, recordings of other codings, and transcripts without names.</summary>
[Trait("Clause", "S4")]
public sealed class JobTests() : NodeTest("--nmt-asr:dialects:0=cmn", "--nmt-asr:maxJobs=2")
{
    private const string Name = "clean-020.wav", Said = "双肺呼吸音清";

    [Fact]
    public async Task A_recording_is_given_once_and_fetched_when_it_was_heard()
    {
        using var http = Operator.Client(App, "/nmt-asr/");
        using var given = await http.PostAsync("jobs", new ByteArrayContent(Wav()), Cancel);
        Assert.Equal(202, (int)given.StatusCode);
        var id = (await given.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("id").GetString();
        Assert.Equal($"/nmt-asr/jobs/{id}", given.Headers.Location!.ToString());
        var done = await DoneAsync(http, id!);
        Assert.Equal(("done", 1.0, 1), (done.GetProperty("state").GetString(), done.GetProperty("progress").GetDouble(), done.GetProperty("utterances").GetInt32()));
        Assert.Equal(done.GetProperty("durationMs").GetInt64(), done.GetProperty("heardMs").GetInt64(), 1.0);
        Assert.Equal(Said, (await http.GetFromJsonAsync<JsonElement>($"jobs/{id}/transcript", Cancel)).GetProperty("text").GetString());
        Assert.StartsWith("WEBVTT", await http.GetStringAsync($"jobs/{id}/transcript?format=vtt", Cancel), StringComparison.Ordinal);
        Assert.Single((await http.GetFromJsonAsync<JsonElement>("jobs", Cancel)).EnumerateArray());
        using var removed = await http.DeleteAsync($"jobs/{id}", Cancel);
        using var gone = await http.GetAsync($"jobs/{id}", Cancel);
        Assert.Equal((204, 404), ((int)removed.StatusCode, (int)gone.StatusCode));
        Assert.Empty(Directory.GetFiles(Path.Combine(Folder, "nmt-asr", "jobs")));
    }

    [Fact]
    public async Task A_job_can_be_removed_while_it_runs_and_too_many_are_refused()
    {
        using var http = Operator.Client(App, "/nmt-asr/");
        var ids = new List<string>();
        for (var i = 0; i < 2; i++)
        {
            // An hour of music, which is heard for a while.
            using var given = await http.PostAsync("jobs", new ByteArrayContent(Wav(Enumerable.Range(0, 16_000 * 600).Select(n => (short)(6000 * Math.Sin(n * 0.1) * Math.Sin(n * 0.001))).ToArray())), Cancel);
            Assert.Equal(202, (int)given.StatusCode);
            ids.Add((await given.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("id").GetString()!);
        }

        using (var third = await http.PostAsync("jobs", new ByteArrayContent(Wav()), Cancel))
        {
            Assert.Equal(503, (int)third.StatusCode);
        }

        using (var early = await http.GetAsync($"jobs/{ids[1]}/transcript", Cancel))
        {
            Assert.Equal(409, (int)early.StatusCode);
        }

        foreach (var id in ids)
        {
            using var removed = await http.DeleteAsync($"jobs/{id}", Cancel);
            Assert.Equal(204, (int)removed.StatusCode);
        }

        Assert.Empty(Directory.GetFiles(Path.Combine(Folder, "nmt-asr", "jobs")));
    }

    [Theory]
    [InlineData("flac", "")]
    [InlineData("mp3", "-b:a 48k")]
    [InlineData("opus", "-b:a 32k")]
    public async Task Other_codings_are_heard_as_the_WAV_is(string coding, string options)
    {
        var file = await EncodedAsync(coding, options);
        using var http = Operator.Client(App, "/nmt-asr/");
        using var answer = await http.PostAsync("transcripts", new ByteArrayContent(file), Cancel);
        var heard = await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel);
        Assert.True(answer.IsSuccessStatusCode, heard.ToString());
        Assert.Equal(Said, heard.GetProperty("text").GetString());
        Assert.Equal(3387, heard.GetProperty("durationMs").GetDouble(), 120.0);
        Assert.Empty(heard.GetProperty("warnings").EnumerateArray());
    }

    [Theory]
    [InlineData("opus")]
    [InlineData("flac")]
    public async Task A_truncated_recording_is_heard_up_to_its_end_and_said_to_be_truncated_or_refused(string coding)
    {
        var file = await EncodedAsync(coding, "");
        using var http = Operator.Client(App, "/nmt-asr/");
        foreach (var length in new[] { file.Length / 2, 60 })
        {
            using var answer = await http.PostAsync("transcripts", new ByteArrayContent(file[..length]), Cancel);
            var heard = await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel);
            Assert.True(
                (int)answer.StatusCode == 415 && heard.GetProperty("detail").GetString()!.Contains("libsndfile", StringComparison.Ordinal)
                || (int)answer.StatusCode == 200 && heard.GetProperty("durationMs").GetInt64() < 3000 && heard.GetProperty("warnings").EnumerateArray().Any(w => w.GetString() == "truncated"),
                heard.ToString());
        }
    }

    [Fact]
    public async Task A_truncated_WAV_is_heard_and_said_to_be_truncated()
    {
        using var http = Operator.Client(App, "/nmt-asr/");
        using var answer = await http.PostAsync("transcripts", new ByteArrayContent(Wav()[..60_000]), Cancel);
        Assert.Contains("truncated", (await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("warnings").EnumerateArray().Select(w => w.GetString()));
    }

    [Fact]
    public async Task What_is_redacted_has_no_single_words()
    {
        using var http = Operator.Client(App, "/nmt-asr/");
        using var answer = await http.PostAsync("transcripts?redact=true", new ByteArrayContent(Wav()), Cancel);
        var heard = await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel);
        Assert.Equal(Said, heard.GetProperty("text").GetString());
        Assert.Equal(0, heard.GetProperty("utterances")[0].GetProperty("words").GetArrayLength());
        Assert.Empty(heard.GetProperty("redacted").EnumerateObject());
    }

    private static byte[] Wav(short[]? samples = null)
    {
        samples ??= CtcTests.Recording(Name);
        return [.. WavWriter.Header(16_000, samples.Length * 2L), .. System.Runtime.InteropServices.MemoryMarshal.AsBytes(samples.AsSpan())];
    }

    private static async Task<JsonElement> DoneAsync(HttpClient http, string id)
    {
        while (true)
        {
            var job = await http.GetFromJsonAsync<JsonElement>($"jobs/{id}", Cancel);
            if (job.GetProperty("state").GetString() is "done" or "failed")
            {
                return job;
            }

            await Task.Delay(20, Cancel);
        }
    }

    private async Task<byte[]> EncodedAsync(string coding, string options)
    {
        Assert.SkipUnless(SoundFile.IsInstalled, "libsndfile is not installed (Debian: libsndfile1).");
        Assert.SkipUnless(File.Exists("/usr/bin/ffmpeg"), "ffmpeg is not installed.");
        var (wav, made) = (Path.Combine(Folder, "said.wav"), Path.Combine(Folder, "said." + coding));
        await File.WriteAllBytesAsync(wav, Wav(), Cancel);
        using var ffmpeg = Process.Start(new ProcessStartInfo("/usr/bin/ffmpeg", $"-loglevel error -y -i {wav} {options} {made}"))!;
        await ffmpeg.WaitForExitAsync(Cancel);
        Assert.Equal(0, ffmpeg.ExitCode);
        return await File.ReadAllBytesAsync(made, Cancel);
    }
}
