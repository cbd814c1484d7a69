using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Packs;
using Yizhan.Platform.Identity;
using Yizhan.Transcripts;

namespace Yizhan.NmtAsr.Batch;

/// <summary>A recording as text.</summary>
internal sealed record TranscriptView(string Dialect, string Pack, bool ClinicalUse, string Text, long DurationMs, IReadOnlyList<SpeechResult> Utterances, IReadOnlyList<string> Warnings);

/// <summary>Recordings (WAV) to text while they are uploaded: memory does not grow with their length, but for the text.</summary>
internal static class TranscriptEndpoints
{
    public static void Map(IEndpointRouteBuilder routes) => routes.MapPost("/transcripts", TranscribeAsync).Needs(Permission.WriteRecords);

    private static async Task<Results<Ok<TranscriptView>, ContentHttpResult, ProblemHttpResult>> TranscribeAsync(
        HttpContext context, string? dialect, string? pack, string? format, SpeechRouter router, PackStore packs, IOptions<NmtAsrOptions> options, CancellationToken cancellationToken)
    {
        if (format is not (null or "json" or "vtt" or "srt" or "txt"))
        {
            return TypedResults.Problem($"format is '{format}'; accepted: json, vtt, srt, txt.", statusCode: 400);
        }

        var route = pack is null ? router.Find(dialect) : router.Named(pack, dialect);
        if (route.Pack is not { } chosen)
        {
            return TypedResults.Problem(route.Problem, statusCode: 422);
        }

        var limit = options.Value.MaxUploadMiB * 1024L * 1024;
        context.Features.Get<IHttpMaxRequestBodySizeFeature>()?.MaxRequestBodySize = limit;
        if (context.Request.ContentLength > limit)
        {
            return TypedResults.Problem($"The recording has {context.Request.ContentLength} bytes; accepted: up to {limit} (nmt-asr:maxUploadMiB).", statusCode: 413);
        }

        try
        {
            var wav = await WavReader.OpenAsync(context.Request.Body, cancellationToken);
            using var loan = packs.Lend(chosen);
            var stream = new SpeechStream(loan.Recogniser, loan.Voice, new Endpointing(options.Value.EndSilenceMs, options.Value.MaxUtteranceSeconds * 1000, 0), options.Value.HotWords);
            var found = await stream.HearAsync(wav, cancellationToken);
            var cues = found.Select(f => new Cue(f.StartMs, f.EndMs, f.Text));
            var text = string.Join('\n', found.Select(f => f.Text));
            return format switch
            {
                "vtt" => TypedResults.Text(Cue.ToWebVtt(cues), "text/vtt"),
                "srt" => TypedResults.Text(Cue.ToSubRip(cues), "application/x-subrip"),
                "txt" => TypedResults.Text(text, "text/plain"),
                _ => TypedResults.Ok(new TranscriptView(
                    route.Dialect, chosen.Id, chosen.Settings.ClinicalUse, text, stream.Samples * 1000 / SpeechStream.SampleRate, found, [.. stream.Warnings])),
            };
        }
        catch (AudioRefusedException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 415);
        }
        catch (Exception e) when (e is EngineMissingException or TooManyStreamsException)
        {
            return TypedResults.Problem(e.Message, statusCode: 503);
        }
    }
}
