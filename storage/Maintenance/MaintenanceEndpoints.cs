using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Storage;

/// <summary>What an operator asks of the log of a running node: <c>yizhan backup</c>, <c>yizhan spool verify</c>, <c>yizhan spool new-epoch</c>, <c>yizhan spool shred</c>, and <c>yizhan drill</c> to record its report.</summary>
public static class MaintenanceEndpoints
{
    // DICOM PS3.16 CID 400: Application Activity.
    private const string ApplicationActivity = "110100";

    /// <summary>Maps <c>/log/backup</c>, <c>/log/verify</c>, <c>/log/new-epoch</c>, <c>/log/days</c> and <c>/log/drills</c> below a module's routes.</summary>
    public static void MapLogMaintenance(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/log/backup", LastBackup).Needs(Permission.MaintainLog);
        routes.MapPost("/log/backup", BackupAsync).Needs(Permission.MaintainLog);
        routes.MapGet("/log/damage", (Scrub scrub) => TypedResults.Json(scrub.Last, MaintenanceJson.Default.VerifyReport)).Needs(Permission.MaintainLog);
        routes.MapPost("/log/verify", VerifyAsync).Needs(Permission.MaintainLog);
        routes.MapPost("/log/new-epoch", NewEpoch).Needs(Permission.MaintainLog);
        routes.MapGet("/log/days", (LogMaintenance log) => TypedResults.Json(log.Days, MaintenanceJson.Default.IReadOnlyListSealedDay)).Needs(Permission.MaintainLog);
        routes.MapGet("/log/days/{day}", LookAtDay).Needs(Permission.MaintainLog);
        routes.MapPost("/log/days/{day}/shred", ShredAsync).Needs(Permission.MaintainLog);
        routes.MapPost("/log/drills", DrillRecords.RecordAsync).Needs(Permission.MaintainLog);
    }

    private static Results<JsonHttpResult<BackupPoint>, NotFound> LastBackup(LogMaintenance log) =>
        log.LastBackup is { } point ? TypedResults.Json(point, MaintenanceJson.Default.BackupPoint) : TypedResults.NotFound();

    /// <summary>Answers once the backup is whole and durable.</summary>
    private static async Task<Results<JsonHttpResult<BackupReport>, ProblemHttpResult>> BackupAsync(
        HttpRequest request, LogMaintenance log, IEventLog events, TimeProvider clock, CancellationToken cancellationToken)
    {
        try
        {
            var to = request.Query["to"] is [{ Length: > 0 } folder] ? folder : null;
            var report = await log.BackupAsync(to, cancellationToken);

            // The digest names every file with its hash. In the audit log it is beyond the reach of whoever can write to the backups.
            var (name, now) = (Path.GetFileName(report.Folder), clock.GetUtcNow().ToUnixTimeMilliseconds());
            var record = new AuditRecord(
                ApplicationActivity, "C", 0, Caller.AgentOf(request.HttpContext), null, $"storage@{events.Site}", $"backup/{events.Site}/{name}",
                $"{report.Files} files, manifest sha256 {report.ManifestSha256}", now);
            await events.AppendAsync(
                [new Entry(Lane.Normal, AuditRecord.EventType, $"audit/backup/{events.Epoch:N}/{name}/{report.ManifestSha256[..12]}", record.Entity, now,
                    JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord))], cancellationToken);
            return TypedResults.Json(report, MaintenanceJson.Default.BackupReport);
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException)
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
                await WriteAsync(context, new VerifyLine(report.Entries, report.Blobs, report.Bytes, report.Damaged, report.Shredded, Done: false));
            }
        }

        var last = await verifying;
        await WriteAsync(context, new VerifyLine(last.Entries, last.Blobs, last.Bytes, last.Damaged, last.Shredded, Done: true));
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

    private static Results<JsonHttpResult<ShredReport>, ProblemHttpResult> LookAtDay(string day, LogMaintenance log)
    {
        try
        {
            return TypedResults.Json(log.LookAtDay(day), MaintenanceJson.Default.ShredReport);
        }
        catch (ArgumentException e)
        {
            return TypedResults.Problem(e.Message, statusCode: StatusCodes.Status400BadRequest);
        }
    }

    /// <summary>Answers once the keys are destroyed, durably. 409: the centre does not have everything.</summary>
    private static async Task<Results<JsonHttpResult<ShredReport>, ProblemHttpResult>> ShredAsync(
        string day, ShredDecision decision, LogMaintenance log, CancellationToken cancellationToken)
    {
        if (decision.By is not { Length: > 0 and <= 200 } || decision.Reason is not { Length: > 0 and <= 1000 })
        {
            return TypedResults.Problem("A decision names who made it (by, 1 to 200 characters) and why (reason, 1 to 1000).", statusCode: StatusCodes.Status400BadRequest);
        }

        try
        {
            return TypedResults.Json(
                await log.ShredAsync(day, decision.UndeliveredToo, decision.By, decision.Reason, cancellationToken), MaintenanceJson.Default.ShredReport);
        }
        catch (ArgumentException e)
        {
            return TypedResults.Problem(e.Message, statusCode: StatusCodes.Status400BadRequest);
        }
        catch (InvalidOperationException e)
        {
            return TypedResults.Problem(e.Message, statusCode: StatusCodes.Status409Conflict);
        }
    }

    private sealed class Latest : IProgress<VerifyReport>
    {
        public volatile VerifyReport? Report;

        void IProgress<VerifyReport>.Report(VerifyReport value) => Report = value;
    }
}

/// <summary>A line of the answer of a verification.</summary>
internal sealed record VerifyLine(long Entries, long Blobs, long Bytes, IReadOnlyList<Damage> Damaged, long Shredded, bool Done);

/// <summary>The body of a shredding.</summary>
/// <param name="By">Who decided.</param>
/// <param name="Reason">Why; never patient data.</param>
/// <param name="UndeliveredToo">Also what the centre does not have.</param>
internal sealed record ShredDecision(string By, string Reason, bool UndeliveredToo = false);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(BackupReport))]
[JsonSerializable(typeof(BackupPoint))]
[JsonSerializable(typeof(VerifyReport))]
[JsonSerializable(typeof(VerifyLine))]
[JsonSerializable(typeof(ShredReport))]
[JsonSerializable(typeof(ShredDecision))]
[JsonSerializable(typeof(IReadOnlyList<SealedDay>))]
internal sealed partial class MaintenanceJson : JsonSerializerContext;
