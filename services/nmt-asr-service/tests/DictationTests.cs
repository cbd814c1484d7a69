using System.Buffers.Binary;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.NmtAsr.Engines;
using Yizhan.Storage;
using Yizhan.Transcripts;
using static Yizhan.NmtAsr.Tests.LiveClient;

namespace Yizhan.NmtAsr.Tests;

/// <summary>Real recordings (LibriVox) through a real node, socket and recogniser.</summary>
[Trait("Clause", "S4")]
public sealed class DictationTests() : NodeTest("--nmt-asr:dialects:0=en")
{
    [Fact]
    public async Task A_recording_becomes_text_subtitles_and_an_error_rate()
    {
        var (wav, reference) = Recording();
        using var http = Operator.Client(App, "/nmt-asr/");
        using var answer = await http.PostAsync("transcripts?dialect=en", new ByteArrayContent(wav), Cancel);
        var body = await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel);
        Assert.True(answer.IsSuccessStatusCode, body.ToString());
        var text = body.GetProperty("text").GetString()!;
        var counts = Alignment.Count(TranscriptTokens.Mixed(reference), TranscriptTokens.Mixed(text), AlignmentCost.Sclite);
        Assert.True(counts.Rate < 0.6, $"{counts.Rate:P0}: '{text}' for '{reference}'");
        using var subtitles = await http.PostAsync("transcripts?dialect=en&format=vtt", new ByteArrayContent(wav), Cancel);
        Assert.StartsWith("WEBVTT\n\n00:00:0", await subtitles.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Recordings_are_heard_as_well_as_pocketsphinx_hears_them_whole()
    {
        // Its own program, given each file whole, makes 20 errors in these 71 words; heard from the front, with a cepstral mean of another room, there were 28.
        Assert.SkipUnless(PocketSphinxApi.IsInstalled && Directory.Exists(PocketSphinxModel.EnglishOfDebian.AcousticModel), PocketSphinxApi.Missing);
        var given = Given.Path("wav", "librivox");
        using var http = Operator.Client(App, "/nmt-asr/");
        var counts = default(ErrorCounts);
        foreach (var line in File.ReadLines(Path.Combine(given, "transcription")).Select(l => l.Replace("<s>", "", StringComparison.Ordinal).Replace("</s>", "", StringComparison.Ordinal).Trim().TrimEnd(')').Split('(')))
        {
            using var answer = await http.PostAsync("transcripts?dialect=en&format=txt", new ByteArrayContent(await File.ReadAllBytesAsync(Path.Combine(given, line[1] + ".wav"), Cancel)), Cancel);
            counts += Alignment.Count(TranscriptTokens.Words(line[0]), TranscriptTokens.Words((await answer.Content.ReadAsStringAsync(Cancel)).Replace('\n', ' ')), AlignmentCost.Sclite);
        }

        Assert.Equal(71, counts.Reference);
        Assert.InRange(counts.Errors, 1, 23);
    }

    [Theory]
    [InlineData("transcripts?dialect=hak", 422, "Nothing here hears 'hak'. Heard here: cmn, en.")]
    [InlineData("transcripts?format=doc", 400, "format is 'doc'")]
    [InlineData("transcripts?dialect=en", 415, "no WAV")]
    public async Task What_cannot_be_heard_is_said_and_not_guessed(string path, int status, string detail)
    {
        using var http = Operator.Client(App, "/nmt-asr/");
        using var answer = await http.PostAsync(path, new ByteArrayContent("music"u8.ToArray()), Cancel);
        Assert.Equal(status, (int)answer.StatusCode);
        Assert.Contains(detail, (await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_dictation_across_a_broken_line_becomes_a_note_with_its_audio_and_moves_the_figures_of_the_alert()
    {
        var (wav, reference) = Recording();
        var (samples, half) = ((wav.Length - 44) / 2, (wav.Length - 44) / 4);
        long resumeAt;
        using (var first = await ConnectAsync(App))
        {
            await SendTextAsync(first, """{"session":"note-0001","dialect":"en"}""");
            Assert.Equal(0, (await NextAsync(first, "ready")).GetProperty("samples").GetInt64());
            await SendAudioAsync(first, wav, 0, half);
            _ = await NextAsync(first, "ack");
            first.Abort();
        }

        JsonElement done;
        while (true)
        {
            using var second = await ConnectAsync(App);
            await SendTextAsync(second, """{"session":"note-0001","dialect":"en"}""");
            var ready = await NextAsync(second, null);
            if (ready.GetProperty("type").GetString() == "error" && ready.GetProperty("code").GetString() == "busy")
            {
                await Task.Delay(20, Cancel);
                continue;
            }

            resumeAt = ready.GetProperty("samples").GetInt64();
            Assert.InRange(resumeAt, 1, half);
            await SendAudioAsync(second, wav, (int)resumeAt - 800, samples);
            await SendTextAsync(second, "finish");
            done = await NextAsync(second, "done");
            break;
        }

        Assert.Equal(samples, done.GetProperty("samples").GetInt64());
        using var http = Operator.Client(App, "/nmt-asr/");
        using var made = await http.PostAsJsonAsync("dictations/note-0001/note", new { patientId = "P1", title = "Progress note", text = reference }, Cancel);
        var note = await made.Content.ReadFromJsonAsync<JsonElement>(Cancel);
        Assert.Equal(201, (int)made.StatusCode);

        var entries = await App.Services.GetRequiredService<IEventLog>().ReadAsync(0, 100, Cancel);
        var report = JsonSerializer.Deserialize(entries.Single(e => e.Entry.Type == ReportIssued.EventType).Entry.Data.Span, ContractsJson.Default.ReportIssued)!;
        var recorded = entries.Single(e => e.Entry.Type == DictationRecorded.EventType).Entry;
        Assert.Equal(("NOTE", "P1", reference), (report.Kind, report.PatientId, report.Text));
        await using var audio = (await App.Services.GetRequiredService<IBlobStore>().OpenAsync(recorded.Blobs.Single().Hash, Cancel))!;
        var kept = new byte[audio.Length];
        _ = await audio.ReadAsync(0, kept, Cancel);
        Assert.Equal(wav[44..], kept[44..]);

        using var node = Operator.Client(App);
        var metrics = await node.GetStringAsync("metrics", Cancel);
        Assert.Contains(metrics.Split('\n'), l => l.StartsWith("yizhan_asr_reference_words_total{", StringComparison.Ordinal) && l.Contains("dialect=\"en\"", StringComparison.Ordinal) && l.Contains($" {note.GetProperty("words").GetInt64()}", StringComparison.Ordinal));
        Assert.Contains("yizhan_asr_word_errors_total{", metrics, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_gap_is_refused_with_where_to_go_on()
    {
        Assert.SkipUnless(PocketSphinxApi.IsInstalled, PocketSphinxApi.Missing);
        using var socket = await ConnectAsync(App);
        await SendTextAsync(socket, """{"session":"gap-00001"}""");
        _ = await NextAsync(socket, "ready");
        var frame = new byte[8 + 320];
        BinaryPrimitives.WriteInt64LittleEndian(frame, 160);
        await socket.SendAsync(frame, WebSocketMessageType.Binary, true, Cancel);
        Assert.Equal("gap", (await NextAsync(socket, "error")).GetProperty("code").GetString());
    }

    private static (byte[] Wav, string Text) Recording()
    {
        Assert.SkipUnless(PocketSphinxApi.IsInstalled && Directory.Exists(PocketSphinxModel.EnglishOfDebian.AcousticModel), PocketSphinxApi.Missing);
        var given = Given.Path("wav", "librivox");
        const string Name = "sense_and_sensibility_01_austen_64kb-0880";
        var line = File.ReadLines(Path.Combine(given, "transcription")).Single(l => l.Contains(Name, StringComparison.Ordinal));
        return (File.ReadAllBytes(Path.Combine(given, Name + ".wav")), line[..line.LastIndexOf('(')].Replace("<s>", "", StringComparison.Ordinal).Replace("</s>", "", StringComparison.Ordinal).Trim());
    }
}
