using System.Buffers.Binary;
using System.Net.WebSockets;
using System.Runtime.InteropServices;
using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Packs;
using Yizhan.NmtAsr.Quality;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.NmtAsr.Live;

/// <summary>
/// Live dictation at <c>/nmt-asr/live</c>: a start message, then binary frames of an offset (int64 little-endian) and PCM of 16 bits, or a piece of a recording in Opus; text frames <c>pause</c> and <c>finish</c>.
/// The service acknowledges what is on disk, so a client that keeps what is not acknowledged loses nothing when the line breaks.
/// </summary>
internal static class LiveEndpoints
{
    private const int MaxHotWords = 1000, MaxNoteChars = 200_000, AckEverySamples = SpeechStream.SampleRate / 2;

    // Of time, not of sound: who catches up after a break sends many seconds in one, and a flush for each half of them is what hearing would wait for.
    private static readonly TimeSpan s_ackPause = TimeSpan.FromMilliseconds(250);

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/live", LiveAsync).Needs(Permission.WriteRecords);
        routes.MapPost("/dictations/{id}/note", NoteAsync).Needs(Permission.WriteRecords);
    }

    private static async Task LiveAsync(HttpContext context, SpeechRouter router, PackStore packs, Dictations dictations, IOptions<NmtAsrOptions> options, TimeProvider clock)
    {
        if (!context.WebSockets.IsWebSocketRequest)
        {
            await TypedResults.Problem("This is a WebSocket; send an upgrade.", statusCode: 400).ExecuteAsync(context);
            return;
        }

        using var socket = await context.WebSockets.AcceptWebSocketAsync();
        using var talk = new Talk(socket, clock, TimeSpan.FromSeconds(options.Value.IdleSeconds), context.RequestAborted);
        try
        {
            await RunAsync(talk, Caller.Of(context)!.Subject, router, packs, dictations, options.Value, clock);
        }
        catch (AudioRefusedException e)
        {
            await RefuseAsync(talk, "frame", e.Message);
        }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException or IOException)
        {
            // The line broke, or the client fell silent: the dictation stays and can be resumed.
            socket.Abort();
        }
    }

    private static async Task RunAsync(Talk talk, string owner, SpeechRouter router, PackStore packs, Dictations dictations, NmtAsrOptions options, TimeProvider clock)
    {
        if (await talk.ReceiveAsync() is not { Text: { } first } || Start(first) is not { } start)
        {
            await RefuseAsync(talk, "start", "The first message is {\"session\": 8 to 48 of a-z, 0-9 and '-', \"dialect\": …, \"sampleRate\": 8000 to 48000, \"hotWords\": up to 1000, \"format\": \"pcm\" or \"opus\"}.");
            return;
        }

        if (dictations.Find(start.Session) is { } there && (there.Owner != owner || there.Finished))
        {
            await RefuseAsync(talk, "owner", there.Finished ? "This dictation is finished; begin another." : "This dictation is of somebody else.");
            return;
        }

        var opus = start.Format == "opus";
        if (File.Exists(dictations.AudioOf(start.Session)) && File.Exists(dictations.RecordingOf(start.Session)) != opus)
        {
            await RefuseAsync(talk, "format", $"This dictation was begun as {(opus ? "pcm" : "opus")}; go on with that, or begin another.");
            return;
        }

        var route = router.Find(start.Dialect);
        if (route.Pack is not { } pack)
        {
            await RefuseAsync(talk, "dialect", route.Problem!);
            return;
        }

        Dictation? dictation;
        try
        {
            var loan = packs.Lend(pack);
            dictation = dictations.Open(start.Session, owner, route.Dialect, loan, [.. options.HotWords, .. start.HotWords ?? []], opus);
            if (dictation is null)
            {
                loan.Dispose();
                await RefuseAsync(talk, "busy", "Another connection has this dictation.");
                return;
            }

            using (dictation)
            {
                var ignored = loan.Recogniser.Ignored(start.HotWords ?? []);
                await SendAsync(talk, new LiveMessage("ready")
                {
                    Samples = dictation.Samples,
                    Bytes = opus ? dictation.Bytes : null,
                    Pack = pack.Id,
                    Text = dictation.State.Text,
                    Warnings = ignored.Count > 0 ? ["hot-words-ignored"] : [],
                    IgnoredHotWords = ignored.Count > 0 ? ignored : null,
                });
                await HearAsync(talk, dictation, start.SampleRate, opus, options, clock);
            }
        }
        catch (Exception e) when (e is EngineMissingException or TooManyStreamsException)
        {
            await RefuseAsync(talk, e is EngineMissingException ? "engine" : "full", e.Message);
        }
    }

    private static async Task HearAsync(Talk talk, Dictation dictation, int rate, bool opus, NmtAsrOptions options, TimeProvider clock)
    {
        // Offsets count samples as they are kept, 16 kHz; another rate is changed on the way, and resuming begins at a frame of the client's own.
        var (asked, due, most) = (dictation.Samples, false, options.MaxDictationMinutes * 60L * SpeechStream.SampleRate);
        var (acknowledging, hurry, last) = (Task.CompletedTask, new TaskCompletionSource(), clock.GetTimestamp() - (long)(s_ackPause.TotalSeconds * clock.TimestampFrequency));
        try
        {
            while (await talk.ReceiveAsync() is { } message)
            {
                switch (message.Text)
                {
                    case "finish" or "pause":
                        hurry.TrySetResult();
                        await acknowledging;
                        var ended = dictation.Finish(message.Text == "finish");
                        foreach (var result in ended)
                        {
                            await SendAsync(talk, new LiveMessage("final") { Result = result });
                        }

                        (asked, due) = (dictation.Samples, false);
                        await AcknowledgeAsync(talk, dictation, opus);
                        if (message.Text == "finish")
                        {
                            await SendAsync(talk, new LiveMessage("done") { Text = dictation.State.Text, Samples = dictation.Samples, Warnings = dictation.Warnings });
                            await talk.CloseAsync();
                            return;
                        }

                        continue;
                    case not null:
                        await RefuseAsync(talk, "frame", "A text frame says pause or finish; audio is in binary frames.");
                        return;
                }

                if (message.Binary.Length < 8 || !opus && message.Binary.Length % 2 != 0)
                {
                    await RefuseAsync(talk, "frame", $"A binary frame has {message.Binary.Length} bytes; accepted: 8 for the offset, then {(opus ? "a piece of the recording" : "samples of 2 bytes")}.");
                    return;
                }

                var offset = BinaryPrimitives.ReadInt64LittleEndian(message.Binary.Span);
                var sound = message.Binary.Span[8..];
                string? refused;
                var results = opus ? TakeOpus(dictation, offset, sound, most, out refused)
                    : Take(dictation, offset, rate == SpeechStream.SampleRate ? MemoryMarshal.Cast<byte, short>(sound) : Whole(rate, MemoryMarshal.Cast<byte, short>(sound)), most, out refused);
                if (refused is not null)
                {
                    await RefuseAsync(talk, refused, refused == "gap"
                        ? $"The frame begins at {(opus ? $"byte {offset}; go on from {dictation.Bytes}" : $"sample {offset}; go on from {dictation.Samples}")}."
                        : $"A dictation has at most {options.MaxDictationMinutes} minutes (nmt-asr:maxDictationMinutes); finish it and begin another.");
                    return;
                }

                foreach (var result in results)
                {
                    due |= result.IsFinal;
                    await SendAsync(talk, new LiveMessage(result.IsFinal ? "final" : "partial") { Result = result });
                }

                // The disk takes its time, and what comes meanwhile is heard: the next acknowledgement is for all of it.
                due |= dictation.Samples - asked >= AckEverySamples;
                if (due && acknowledging.IsCompleted)
                {
                    await acknowledging;
                    var pause = s_ackPause - clock.GetElapsedTime(last);
                    (asked, due, hurry, last) = (dictation.Samples, false, new TaskCompletionSource(), clock.GetTimestamp() + Math.Max(0, (long)(pause.TotalSeconds * clock.TimestampFrequency)));
                    acknowledging = pause <= TimeSpan.Zero ? AcknowledgeAsync(talk, dictation, opus) : AcknowledgeLaterAsync(talk, dictation, opus, Task.WhenAny(Task.Delay(pause, clock), hurry.Task));
                }
            }

            hurry.TrySetResult();
            await acknowledging;
            await dictation.FlushAsync();
        }
        finally
        {
            // Its files are closed next.
            hurry.TrySetResult();
            await acknowledging.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>What was heard in a frame; what was sent twice is skipped. <paramref name="refused"/>: the code of why it is not taken.</summary>
    private static List<SpeechResult> Take(Dictation dictation, long offset, ReadOnlySpan<short> samples, long most, out string? refused)
    {
        var known = (int)Math.Clamp(dictation.Samples - offset, 0, samples.Length);
        refused = offset < 0 || offset > dictation.Samples ? "gap" : dictation.Samples + samples.Length - known > most ? "full" : null;
        return refused is null ? dictation.Accept(samples[known..]) : [];
    }

    /// <summary>The same of a recording in Opus. No second of it has more bytes than Opus' fastest (510 kbit/s, RFC 6716 §2.1.1), with room for its container.</summary>
    private static List<SpeechResult> TakeOpus(Dictation dictation, long offset, ReadOnlySpan<byte> bytes, long most, out string? refused)
    {
        const int MostBytesASecond = 80_000;
        var known = (int)Math.Clamp(dictation.Bytes - offset, 0, bytes.Length);
        refused = offset < 0 || offset > dictation.Bytes ? "gap"
            : dictation.Samples >= most || dictation.Bytes + bytes.Length - known > most / SpeechStream.SampleRate * MostBytesASecond ? "full" : null;
        return refused is null ? dictation.AcceptOpus(bytes[known..]) : [];
    }

    /// <summary>The client may forget what is on disk.</summary>
    private static async Task AcknowledgeAsync(Talk talk, Dictation dictation, bool opus)
    {
        var (samples, bytes) = await dictation.FlushAsync();
        await SendAsync(talk, new LiveMessage("ack") { Samples = samples, Bytes = opus ? bytes : null });
    }

    private static async Task AcknowledgeLaterAsync(Talk talk, Dictation dictation, bool opus, Task due)
    {
        await due;
        await AcknowledgeAsync(talk, dictation, opus);
    }

    private static Task SendAsync(Talk talk, LiveMessage message) => talk.SendAsync(JsonSerializer.SerializeToUtf8Bytes(message, SpeechJson.Default.LiveMessage));

    private static async Task RefuseAsync(Talk talk, string code, string detail)
    {
        await SendAsync(talk, new LiveMessage("error") { Code = code, Detail = detail });
        await talk.CloseAsync();
    }

    private static short[] Whole(int rate, ReadOnlySpan<short> samples)
    {
        var resampler = new Resampler(rate, SpeechStream.SampleRate);
        short[] made = [.. resampler.Push(samples), .. resampler.Flush()];
        var length = (int)((long)samples.Length * SpeechStream.SampleRate / rate);
        return made.Length >= length ? made[..length] : [.. made, .. new short[length - made.Length]];
    }

    private static LiveStart? Start(string text)
    {
        try
        {
            return JsonSerializer.Deserialize(text, SpeechJson.Default.LiveStart) is { } start && Dictations.IsId(start.Session) && start.SampleRate is >= 8000 and <= 48_000
                && (start.HotWords?.Count ?? 0) <= MaxHotWords && start.Format is "pcm" or "opus" ? start : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>The note is durable, with the recording and an audit record, when this answers 201. Doing it again changes nothing.</summary>
    private static async Task<Results<Created<NoteView>, NotFound, ProblemHttpResult>> NoteAsync(
        string id, NoteRequest request, HttpContext context, Dictations dictations, ErrorFigures figures, IEventLog log, IBlobStore blobs, TimeProvider clock, CancellationToken cancellationToken)
    {
        if (request.PatientId.Length is 0 or > 64 || request.Title.Length is 0 or > 200 || request.Text.Length is 0 or > MaxNoteChars || request.PatientId.Concat(request.Title).Any(char.IsControl))
        {
            return TypedResults.Problem($"patientId needs 1 to 64 characters, title 1 to 200, none of them a control character; text 1 to {MaxNoteChars}.", statusCode: 400);
        }

        if (!Dictations.IsId(id) || dictations.Find(id) is not { } state || state.Owner != Caller.Of(context)!.Subject)
        {
            return TypedResults.NotFound();
        }

        if (!state.Finished)
        {
            return TypedResults.Problem("The dictation is not finished.", statusCode: 409);
        }

        await using var writer = blobs.Begin(Lane.Bulk);
        await using var audio = File.OpenRead(dictations.AudioOf(id));
        await writer.WriteAsync(WavWriter.Header(SpeechStream.SampleRate, audio.Length), cancellationToken);
        var buffer = new byte[64 * 1024];
        while (await audio.ReadAsync(buffer, cancellationToken) is > 0 and var read)
        {
            await writer.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
        }

        var blob = await writer.CompleteAsync(cancellationToken);
        var text = string.Concat(request.Text.Where(c => !char.IsControl(c) || c == '\n'));
        var counts = ErrorFigures.Count(state.Text, text);
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var (report, who) = ($"dictation-{id}", Caller.AgentOf(context));
        var receipts = await log.AppendAsync(
            [
                new Entry(Lane.Normal, ReportIssued.EventType, $"asr/note/{log.Site}/{id}", report, now, JsonSerializer.SerializeToUtf8Bytes(
                    new ReportIssued(report, "NOTE", "final", "", "", request.PatientId, request.Title, text, who, now), ContractsJson.Default.ReportIssued)),
                new Entry(Lane.Bulk, DictationRecorded.EventType, $"asr/dictation/{log.Site}/{id}", report, now, JsonSerializer.SerializeToUtf8Bytes(
                    new DictationRecorded(
                        report, request.PatientId, blob.Hash.ToString(), audio.Length / 2 * 1000 / SpeechStream.SampleRate, state.Dialect, state.Pack, counts.Errors, counts.Reference, now),
                    ContractsJson.Default.DictationRecorded))
                { Blobs = [blob] },
                new Entry(Lane.Normal, AuditRecord.EventType, $"asr/audit/{log.Site}/{id}", report, now, JsonSerializer.SerializeToUtf8Bytes(
                    new AuditRecord("110106", "C", 0, who, context.Connection.RemoteIpAddress?.ToString(), $"nmt-asr@{log.Site}", $"note/{report}", null, now, request.PatientId),
                    ContractsJson.Default.AuditRecord)),
            ],
            cancellationToken);
        if (!receipts[0].AlreadyKnown)
        {
            figures.Add(state.Dialect, "correction", counts);
        }

        dictations.Remove(id);
        return TypedResults.Created((string?)null, new NoteView(report, blob.Hash.ToString(), counts.Errors, counts.Reference, Math.Round(counts.Rate, 4)));
    }
}
