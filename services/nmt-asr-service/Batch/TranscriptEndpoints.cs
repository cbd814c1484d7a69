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
internal sealed record TranscriptView(
    string Dialect, string Pack, bool ClinicalUse, string Text, long DurationMs, IReadOnlyList<SpeechResult> Utterances, IReadOnlyList<string> Warnings, IReadOnlyDictionary<string, int>? Redacted = null)
{
    /// <summary>Why a format is none; null when it is one.</summary>
    public static string? Unknown(string? format) => format is null or "json" or "vtt" or "srt" or "txt" ? null : $"format is '{format}'; accepted: json, vtt, srt, txt.";

    /// <summary>Makes one; with <paramref name="redact"/> without what names a person. Then single words are left out: what is cut from the text would be in them.</summary>
    public static TranscriptView Of(
        string dialect, string pack, bool clinicalUse, long durationMs, IReadOnlyList<SpeechResult> utterances, IReadOnlyList<string> warnings, bool redact)
    {
        // Those who speak at a time are heard apart; a reader wants them in the order in which they began.
        if (utterances.Any(u => u.Speaker is not null))
        {
            utterances = [.. utterances.OrderBy(u => u.StartMs).Select((u, i) => u with { Segment = i })];
        }

        Dictionary<string, int>? cut = null;
        if (redact)
        {
            cut = new(StringComparer.Ordinal);
            utterances = [.. utterances.Select(u =>
            {
                var redacted = Redaction.Of(u.Text);
                foreach (var (kind, count) in redacted.Counts)
                {
                    cut[kind] = cut.GetValueOrDefault(kind) + count;
                }

                return u with { Text = redacted.Text, Words = [] };
            })];
        }

        return new TranscriptView(dialect, pack, clinicalUse, string.Join('\n', utterances.Select(u => u.Speaker is null ? u.Text : $"{u.Speaker}: {u.Text}")), durationMs, utterances, warnings, cut);
    }

    /// <summary>As subtitles or plain text; null for JSON.</summary>
    public ContentHttpResult? As(string? format)
    {
        var cues = Utterances.Select(f => new Cue(f.StartMs, f.EndMs, f.Text, f.Speaker));
        return format switch
        {
            "vtt" => TypedResults.Text(Cue.ToWebVtt(cues), "text/vtt"),
            "srt" => TypedResults.Text(Cue.ToSubRip(cues), "application/x-subrip"),
            "txt" => TypedResults.Text(Text, "text/plain"),
            _ => null,
        };
    }
}

/// <summary>Recordings to text while they are uploaded: memory does not grow with their length, but for the text.</summary>
internal static class TranscriptEndpoints
{
    public static void Map(IEndpointRouteBuilder routes) => routes.MapPost("/transcripts", TranscribeAsync).Needs(Permission.WriteRecords);

    private static async Task<Results<Ok<TranscriptView>, ContentHttpResult, ProblemHttpResult>> TranscribeAsync(
        HttpContext context, string? dialect, string? pack, string? format, string? speakers, bool? redact, SpeechRouter router, PackStore packs, TranscriptJobs jobs, IOptions<NmtAsrOptions> options, CancellationToken cancellationToken)
    {
        if ((TranscriptView.Unknown(format) ?? RecordingStreams.Unknown(speakers)) is { } unknown)
        {
            return TypedResults.Problem(unknown, statusCode: 400);
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
            using var recording = await Recordings.OpenAsync(context.Request.Body, jobs.Folder, cancellationToken);
            using var streams = RecordingStreams.Open(packs, chosen, options.Value, recording, speakers);
            var found = new List<SpeechResult>();
            await streams.HearAsync(recording, found.AddRange, cancellationToken);
            var view = TranscriptView.Of(
                route.Dialect, chosen.Id, chosen.Settings.ClinicalUse, streams.Samples * 1000 / SpeechStream.SampleRate, found, streams.Warnings, redact == true);
            return view.As(format) is { } text ? text : TypedResults.Ok(view);
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
