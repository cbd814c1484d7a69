using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Packs;
using Yizhan.Platform.Identity;

namespace Yizhan.NmtAsr.Batch;

/// <summary>A job as its owner sees it.</summary>
/// <param name="Id">Its identity.</param>
/// <param name="State"><c>queued</c>, <c>running</c>, <c>done</c> or <c>failed</c>.</param>
/// <param name="Dialect">What is spoken.</param>
/// <param name="Pack">What hears it.</param>
/// <param name="HeardMs">How much was heard.</param>
/// <param name="DurationMs">How long the recording says that it is; null when it does not say.</param>
/// <param name="Utterances">Utterances that were found so far.</param>
/// <param name="Warnings">What the microphone should be looked at for, and <c>truncated</c>.</param>
/// <param name="Problem">Why it failed.</param>
/// <param name="Speakers"><c>channels</c>: each channel is a speaker; null: nobody is told apart.</param>
internal sealed record JobView(
    string Id, string State, string Dialect, string Pack, long HeardMs, long? DurationMs, int Utterances, IReadOnlyList<string> Warnings, string? Problem, string? Speakers = null)
{
    /// <summary>0 to 1; null when the recording does not say how long it is.</summary>
    public double? Progress => State == "done" ? 1 : DurationMs is > 0 and var whole ? Math.Round(Math.Min(1.0, (double)HeardMs / whole), 3) : null;
}

/// <summary>Long recordings: given once, heard in the background, in an order, across restarts.</summary>
internal static class JobEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/jobs", AddAsync).Needs(Permission.WriteRecords);
        routes.MapGet("/jobs", (HttpContext context, TranscriptJobs jobs) => TypedResults.Ok(jobs.Of(Caller.Of(context)!.Subject))).Needs(Permission.WriteRecords);
        routes.MapGet("/jobs/{id}", Find).Needs(Permission.WriteRecords);
        routes.MapGet("/jobs/{id}/transcript", Transcript).Needs(Permission.WriteRecords);
        routes.MapDelete("/jobs/{id}", RemoveAsync).Needs(Permission.WriteRecords);
    }

    /// <summary>The recording and the job are on disk when this answers 202.</summary>
    private static async Task<Results<Accepted<JobView>, ProblemHttpResult>> AddAsync(
        HttpContext context, string? dialect, string? pack, string? speakers, SpeechRouter router, TranscriptJobs jobs, IOptions<NmtAsrOptions> options, CancellationToken cancellationToken)
    {
        if (RecordingStreams.Unknown(speakers) is { } unknown)
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
            return await jobs.AddAsync(Caller.Of(context)!.Subject, route.Dialect, chosen, speakers, context.Request.Body, cancellationToken) is { } job
                ? TypedResults.Accepted($"/nmt-asr/jobs/{job.Id}", job)
                : TypedResults.Problem($"{options.Value.MaxJobs} jobs are waiting (nmt-asr:maxJobs); try again when one is done, or remove one.", statusCode: 503);
        }
        catch (AudioRefusedException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 415);
        }
    }

    private static Results<Ok<JobView>, NotFound> Find(string id, HttpContext context, TranscriptJobs jobs) =>
        jobs.Find(id, Caller.Of(context)!.Subject) is { } job ? TypedResults.Ok(job) : TypedResults.NotFound();

    private static Results<Ok<TranscriptView>, ContentHttpResult, NotFound, ProblemHttpResult> Transcript(
        string id, string? format, bool? redact, HttpContext context, TranscriptJobs jobs, PackStore packs)
    {
        if (TranscriptView.Unknown(format) is { } unknown)
        {
            return TypedResults.Problem(unknown, statusCode: 400);
        }

        if (jobs.Find(id, Caller.Of(context)!.Subject) is not { } job)
        {
            return TypedResults.NotFound();
        }

        if (job.State != "done")
        {
            return TypedResults.Problem(job.Problem ?? $"The job is {job.State}.", statusCode: 409);
        }

        var view = TranscriptView.Of(job.Dialect, job.Pack, packs.All.FirstOrDefault(p => p.Id == job.Pack)?.Settings.ClinicalUse ?? false, job.HeardMs, jobs.Results(id), job.Warnings, redact == true);
        return view.As(format) is { } text ? text : TypedResults.Ok(view);
    }

    private static async Task<Results<NoContent, NotFound>> RemoveAsync(string id, HttpContext context, TranscriptJobs jobs) =>
        await jobs.RemoveAsync(id, Caller.Of(context)!.Subject) ? TypedResults.NoContent() : TypedResults.NotFound();
}
