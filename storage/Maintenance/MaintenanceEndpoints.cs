using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Yizhan.Platform.Identity;

namespace Yizhan.Storage;

/// <summary>What an operator asks of the log of a running node: <c>yizhan backup</c>, <c>yizhan spool verify</c>, <c>yizhan spool new-epoch</c>.</summary>
public static class MaintenanceEndpoints
{
    /// <summary>Maps <c>/log/backup</c>, <c>/log/verify</c> and <c>/log/new-epoch</c> below a module's routes.</summary>
    public static void MapLogMaintenance(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/log/backup", LastBackup).Needs(Permission.MaintainLog);
        routes.MapPost("/log/backup", BackupAsync).Needs(Permission.MaintainLog);
        routes.MapGet("/log/damage", (Scrub scrub) => TypedResults.Json(scrub.Last, MaintenanceJson.Default.VerifyReport)).Needs(Permission.MaintainLog);
        routes.MapPost("/log/verify", VerifyAsync).Needs(Permission.MaintainLog);
        routes.MapPost("/log/new-epoch", NewEpoch).Needs(Permission.MaintainLog);
    }

    private static Results<JsonHttpResult<BackupPoint>, NotFound> LastBackup(LogMaintenance log) =>
        log.LastBackup is { } point ? TypedResults.Json(point, MaintenanceJson.Default.BackupPoint) : TypedResults.NotFound();

    /// <summary>Answers once the backup is whole and durable.</summary>
    private static async Task<Results<JsonHttpResult<BackupReport>, ProblemHttpResult>> BackupAsync(
        HttpRequest request, LogMaintenance log, CancellationToken cancellationToken)
    {
        try
        {
            var to = request.Query["to"] is [{ Length: > 0 } folder] ? folder : null;
            return TypedResults.Json(await log.BackupAsync(to, cancellationToken), MaintenanceJson.Default.BackupReport);
        }
        catch (ArgumentException e)
        {
            return TypedResults.Problem(e.Message, statusCode: StatusCodes.Status409Conflict);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return TypedResults.Problem(e.Message, statusCode: StatusCodes.Status507InsufficientStorage);
        }
    }

    /// <summary>Lines of JSON while it reads; the last one has <c>done</c>.</summary>
    private static async Task VerifyAsync(HttpContext context, LogMaintenance log)
    {
        context.Response.ContentType = "application/x-ndjson";
        var latest = new Latest();
        var verifying = Task.Run(() => log.VerifyAsync(pace: null, latest, context.RequestAborted), context.RequestAborted);
        while (!verifying.IsCompleted)
        {
            await Task.WhenAny(verifying, Task.Delay(TimeSpan.FromSeconds(1), TimeProvider.System, context.RequestAborted));
            if (!verifying.IsCompleted && latest.Report is { } report)
            {
                await WriteAsync(context, new VerifyLine(report.Entries, report.Blobs, report.Bytes, report.Damaged, Done: false));
            }
        }

        var last = await verifying;
        await WriteAsync(context, new VerifyLine(last.Entries, last.Blobs, last.Bytes, last.Damaged, Done: true));
    }

    private static async Task WriteAsync(HttpContext context, VerifyLine line)
    {
        await context.Response.Body.WriteAsync(
            (byte[])[.. JsonSerializer.SerializeToUtf8Bytes(line, MaintenanceJson.Default.VerifyLine), (byte)'\n'], context.RequestAborted);
        await context.Response.Body.FlushAsync(context.RequestAborted);
    }

    private static Accepted NewEpoch(LogMaintenance log)
    {
        log.BeginNewEpochAtNextStart();
        return TypedResults.Accepted((string?)null);
    }

    private sealed class Latest : IProgress<VerifyReport>
    {
        public volatile VerifyReport? Report;

        void IProgress<VerifyReport>.Report(VerifyReport value) => Report = value;
    }
}

/// <summary>A line of the answer of a verification.</summary>
internal sealed record VerifyLine(long Entries, long Blobs, long Bytes, IReadOnlyList<Damage> Damaged, bool Done);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(BackupReport))]
[JsonSerializable(typeof(BackupPoint))]
[JsonSerializable(typeof(VerifyReport))]
[JsonSerializable(typeof(VerifyLine))]
internal sealed partial class MaintenanceJson : JsonSerializerContext;
