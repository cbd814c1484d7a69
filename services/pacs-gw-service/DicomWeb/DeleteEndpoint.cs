using System.Globalization;
using Yizhan.Contracts;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Retention;
using Yizhan.Storage;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>
/// DELETE of a study, a series or an instance from this node's archive. PS3.18 has no such transaction; the form is what other archives have:
/// 204 when it is gone, 404 when nothing is there, 409 with the reason when it has to stay. <c>?force=true&amp;reason=…</c> deletes all the same.
/// </summary>
internal static class DeleteEndpoint
{
    /// <summary>DICOM Study Deleted (PS3.15 §A.5.3.8).</summary>
    private const string StudyDeleted = "110105";

    private const int MinReason = 3;
    private const int MaxReason = 200;

    public static async Task<IResult> DeleteAsync(
        HttpContext context, ArchiveDatabase archive, ArchiveProgress progress, StoredInstances stored, KeepReasons reasons, IEventLog log,
        TimeProvider clock, CancellationToken cancellationToken)
    {
        string? force = context.Request.Query["force"];
        var reason = ((string?)context.Request.Query["reason"])?.Trim();
        if (force is not (null or "true" or "false"))
        {
            return TypedResults.Problem($"force is '{force}'; accepted are true and false.", statusCode: 400);
        }

        var forced = force == "true";
        if (forced && (reason is not { Length: >= MinReason and <= MaxReason } || reason.Any(char.IsControl)))
        {
            return TypedResults.Problem($"force=true needs a reason of {MinReason} to {MaxReason} characters (reason=…): it goes into the audit log.", statusCode: 400);
        }

        var place = Place.Of(context);
        await progress.ReachedNowAsync(cancellationToken);
        List<Kept> instances;
        using (var db = archive.OpenReader())
        {
            instances = Kept.At(db, place.Study, place.Series, place.Instance);
        }

        if (instances.Count == 0)
        {
            return WadoEndpoints.NotFound();
        }

        if (!forced && (await reasons.NowAsync(cancellationToken))(instances) is { } why)
        {
            return TypedResults.Problem(
                $"It stays: {why}. To delete it all the same, give force=true and reason=…, which the audit log will keep.", statusCode: 409);
        }

        await AppendAsync(Reader.Of(context), place, instances.Count, forced ? reason : null, stored, log, clock, cancellationToken);
        await progress.ReachedNowAsync(cancellationToken);
        return stored.Contains(place.Study, place.Series, place.Instance)
            ? TypedResults.StatusCode(StatusCodes.Status202Accepted)
            : TypedResults.NoContent();
    }

    /// <summary>Deletion and audit record are durable together; the index follows the log, also after a crash.</summary>
    private static async Task AppendAsync(
        Reader who, Place place, int instances, string? forcedFor, StoredInstances stored, IEventLog log, TimeProvider clock, CancellationToken cancellationToken)
    {
        var now = clock.GetUtcNow();
        var what = place.Instance is { } instance ? $"instance {instance}" : place.Series is { } series ? $"series {series}" : "study";
        var count = instances.ToString(CultureInfo.InvariantCulture);
        var record = new AuditRecord(
            place.Series is null ? StudyDeleted : ReadAudit.InstancesAccessed, "D", 0, who.Agent, who.Address, $"pacs-gw@{log.Site}", $"study/{place.Study}",
            $"{what} deleted, {count} instances{(forcedFor is null ? "" : $"; forced: {forcedFor}")}", now.ToUnixTimeMilliseconds(),
            Entries.AuditedPatient(stored.PatientOf(place.Study)));
        var id = $"{log.Site}/{Guid.CreateVersion7(now):N}";
        await log.AppendAsync(
        [
            Entries.Of(new InstancesDeleted(place.Study, place.Series, place.Instance), $"deleted/{id}", now.ToUnixTimeMilliseconds()),
            Entries.Of(record, $"audit/{id}"),
        ], cancellationToken);
    }
}
