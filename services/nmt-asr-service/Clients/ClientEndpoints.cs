using System.Net.WebSockets;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Options;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Live;
using Yizhan.NmtAsr.Packs;
using Yizhan.Platform.Identity;

namespace Yizhan.NmtAsr.Clients;

/// <summary>
/// Clients that others have written for Vosk's server, sherpa-onnx's and FunASR's (two passes), each in its own words over a WebSocket: <c>/nmt-asr/vosk</c>, <c>/nmt-asr/sherpa-onnx</c>,
/// <c>/nmt-asr/sherpa-onnx/offline</c>, <c>/nmt-asr/funasr</c>. The query may name <c>dialect</c> or <c>pack</c>. What is heard is answered and not kept: what has to survive a broken line
/// goes through <c>/nmt-asr/live</c>.
/// </summary>
internal static class ClientEndpoints
{
    private static readonly JsonSerializerOptions s_readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static void Map(IEndpointRouteBuilder routes)
    {
        foreach (var (path, run) in new (string, Func<Talk, ClientSession, Task>)[]
        {
            ("/vosk", VoskClient.RunAsync), ("/sherpa-onnx", SherpaClient.OnlineAsync), ("/sherpa-onnx/offline", SherpaClient.OfflineAsync), ("/funasr", FunAsrClient.RunAsync),
        })
        {
            routes.MapGet(path, (HttpContext context, string? dialect, string? pack, SpeechRouter router, PackStore packs, IOptions<NmtAsrOptions> options, TimeProvider clock) =>
                ServeAsync(context, dialect, pack, router, packs, options.Value, clock, run)).Needs(Permission.WriteRecords);
        }
    }

    /// <summary>Sends an object as text.</summary>
    public static Task SendAsync(this Talk talk, JsonObject message) => talk.SendAsync(System.Text.Encoding.UTF8.GetBytes(message.ToJsonString(s_readable)));

    private static async Task ServeAsync(
        HttpContext context, string? dialect, string? pack, SpeechRouter router, PackStore packs, NmtAsrOptions options, TimeProvider clock, Func<Talk, ClientSession, Task> run)
    {
        if (!context.WebSockets.IsWebSocketRequest)
        {
            await TypedResults.Problem("This is a WebSocket; send an upgrade.", statusCode: 400).ExecuteAsync(context);
            return;
        }

        using var session = new ClientSession(router, packs, options, dialect, pack);
        if (session.Problem is { } problem)
        {
            await TypedResults.Problem(problem, statusCode: 422).ExecuteAsync(context);
            return;
        }

        // FunASR's clients ask for this one, and end when they do not get it.
        using var socket = await context.WebSockets.AcceptWebSocketAsync(context.WebSockets.WebSocketRequestedProtocols.Contains("binary") ? "binary" : null);
        using var talk = new Talk(socket, clock, TimeSpan.FromSeconds(options.IdleSeconds), context.RequestAborted);
        try
        {
            await run(talk, session);
        }
        catch (Exception e) when (e is AudioRefusedException or EngineMissingException or TooManyStreamsException or JsonException)
        {
            await talk.CloseAsync(e is JsonException ? WebSocketCloseStatus.InvalidPayloadData : WebSocketCloseStatus.PolicyViolation, e is JsonException ? "A text message is no JSON that is known here." : e.Message);
        }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException or IOException)
        {
            socket.Abort();
        }
    }
}

/// <summary>One stream of one such client.</summary>
internal sealed class ClientSession(SpeechRouter router, PackStore packs, NmtAsrOptions options, string? dialect, string? pack) : IDisposable
{
    private Packs.Route _route = pack is null ? router.Find(dialect) : router.Named(pack, dialect);
    private PackStore.Loan? _loan;
    private SpeechStream? _stream;
    private Resampler? _resampler;

    /// <summary>Why nothing can be heard; null when it can.</summary>
    public string? Problem => _route.Problem;

    /// <summary>Whether it was opened.</summary>
    public bool IsOpen => _stream is not null;

    /// <summary>Those of some hot words that are not made likelier; only of an open one.</summary>
    public IReadOnlyList<string> Ignored(IReadOnlyList<string> hotWords) => _loan!.Recogniser.Ignored(hotWords);

    /// <summary>What the microphone should be looked at for.</summary>
    public IEnumerable<string> Warnings => _stream?.Warnings ?? [];

    /// <summary>Begins; a pack that the client names goes before the query's.</summary>
    /// <exception cref="AudioRefusedException">The rate or the pack is not one that is taken.</exception>
    public void Open(int sampleRate, string? named, IEnumerable<string> hotWords, bool partials)
    {
        const int MaxHotWords = 1000, PartialEveryMs = 200;
        if (sampleRate is < 8000 or > 48_000)
        {
            throw new AudioRefusedException($"The sample rate is {sampleRate}; accepted: 8000 to 48000.");
        }

        if (named is not null && (_route = router.Named(named, dialect)).Problem is { } problem)
        {
            throw new AudioRefusedException(problem);
        }

        _loan?.Dispose();
        _loan = packs.Lend(_route.Pack!);
        _stream = new SpeechStream(
            _loan.Recogniser, _loan.Voice, new Endpointing(options.EndSilenceMs, options.MaxUtteranceSeconds * 1000, partials ? PartialEveryMs : 0), [.. options.HotWords.Concat(hotWords).Take(MaxHotWords)], denoiser: _loan.Denoiser);
        _resampler = new Resampler(sampleRate, SpeechStream.SampleRate);
    }

    /// <summary>Takes audio.</summary>
    /// <exception cref="AudioRefusedException">It is longer than a dictation may be.</exception>
    public List<SpeechResult> Accept(ReadOnlySpan<short> samples) => _stream!.Samples <= options.MaxDictationMinutes * 60L * SpeechStream.SampleRate
        ? _stream.Accept(_resampler!.Push(samples))
        : throw new AudioRefusedException($"A stream has at most {options.MaxDictationMinutes} minutes (nmt-asr:maxDictationMinutes).");

    /// <summary>Ends what is being said.</summary>
    public List<SpeechResult> Finish()
    {
        if (_stream is null)
        {
            return [];
        }

        List<SpeechResult> results = [.. _stream.Accept(_resampler!.Flush()), .. _stream.Finish()];
        _resampler = new Resampler(_resampler.From, _resampler.To);
        return results;
    }

    /// <inheritdoc/>
    public void Dispose() => _loan?.Dispose();
}
