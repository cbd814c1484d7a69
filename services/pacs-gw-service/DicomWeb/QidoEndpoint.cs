using System.Buffers;
using Microsoft.Extensions.Options;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Query;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>QIDO-RS (PS3.18 §10.6): answers from the index alone.</summary>
internal static class QidoEndpoint
{
    /// <summary>What one answer may hold in memory, in bytes; it is complete before it is sent, because warnings go first.</summary>
    private const int MaxAnswerBytes = 32 * 1024 * 1024;

    /// <summary>A handler that searches at one level.</summary>
    public static Delegate Search(ArchiveLevel level) => (
        HttpContext context,
        ArchiveDatabase database,
        ReadAudit audit,
        IOptions<PacsGwOptions> options,
        CancellationToken cancellationToken) => SearchAsync(level, context, database, audit, options.Value, cancellationToken);

    private static async Task<IResult> SearchAsync(
        ArchiveLevel level, HttpContext context, ArchiveDatabase database, ReadAudit audit, PacsGwOptions options,
        CancellationToken cancellationToken)
    {
        if (!AcceptedMedia.TakesJson(AcceptedMedia.Of(context.Request)))
        {
            return TypedResults.Problem($"Search results are {DicomWebEndpoints.Json}; the request accepts something else.", statusCode: 406);
        }

        var study = context.Request.RouteValues["study"] as string;
        var series = context.Request.RouteValues["series"] as string;
        var query = QidoQuery.Parse(level, context.Request.Query, study, series, options.MaxResults, out var problem);
        if (problem is not null)
        {
            return TypedResults.Problem(problem, statusCode: 400);
        }

        // Keywords only: what somebody searched for is patient data.
        var keys = string.Join(' ', query.Matches.Select(m => m.Key.Keyword).Order(StringComparer.Ordinal));
        await audit.RecordAsync(
            ReadAudit.Query, Reader.Of(context), study is null ? $"query/{level}".ToLowerInvariant() : $"study/{study}",
            keys.Length == 0 ? "all" : $"by {keys}", cancellationToken);
        try
        {
            return await AnswerAsync(context, database, query, options, cancellationToken);
        }
        catch (QueryException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 400);
        }
    }

    private static async Task<IResult> AnswerAsync(
        HttpContext context, ArchiveDatabase database, QidoQuery query, PacsGwOptions options, CancellationToken cancellationToken)
    {
        using var search = new ArchiveSearch(database, TimeSpan.FromSeconds(options.MaxSearchSeconds), cancellationToken);
        using var row = search.Open(query);
        var result = new QidoResult(query, query.Study is not null, query.Series is not null, DicomWebEndpoints.Root(context.Request));
        var answer = new ArrayBufferWriter<byte>(64 * 1024);
        answer.Write("["u8);
        var rows = 0;
        while (rows < query.Limit && search.Read(row))
        {
            answer.Write(rows++ == 0 ? ""u8 : ","u8);
            result.Write(answer, row);
            if (answer.WrittenCount > MaxAnswerBytes)
            {
                return TypedResults.Problem(
                    $"The results are more than {MaxAnswerBytes} bytes: narrow the search, or ask for fewer with limit and offset.", statusCode: 413);
            }
        }

        AddWarnings(context, query, more: rows == query.Limit && search.Read(row));
        answer.Write("]"u8);

        // No match is a success with an empty list: CP-2473 took 204 out of the standard again.
        context.Response.ContentType = DicomWebEndpoints.Json;
        context.Response.ContentLength = answer.WrittenCount;
        await context.Response.Body.WriteAsync(answer.WrittenMemory, cancellationToken);
        return Results.Empty;
    }

    private static void AddWarnings(HttpContext context, QidoQuery query, bool more)
    {
        // PS3.18 §8.3.4.4: the warn-agent is the service itself.
        var agent = DicomWebEndpoints.Root(context.Request);
        if (more)
        {
            context.Response.Headers.Append("Warning", $"299 {agent} \"There are additional results that can be requested\"");
        }
    }
}
