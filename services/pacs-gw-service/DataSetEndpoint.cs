using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.DicomWeb;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.PacsGw;

/// <summary>
/// A data set by its content, exactly the bytes that were received: what a drill or an auditor hashes again. Also the one way to
/// an instance whose SOP Instance UID another content had taken before.
/// </summary>
internal static class DataSetEndpoint
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/data-sets/{sha256}", GetAsync).WithSummary("The bytes of one data set, by SHA-256").Needs(Permission.ReadStudies);

    private static async Task<Results<EmptyHttpResult, ProblemHttpResult>> GetAsync(
        string sha256, HttpContext context, StoredInstances stored, IBlobStore blobs, ReadAudit audit, CancellationToken cancellationToken)
    {
        if (!ContentHash.TryParse(sha256, out var hash))
        {
            return TypedResults.Problem($"'{sha256}' is not a SHA-256; accepted are 64 hex digits.", statusCode: 400);
        }

        if (stored.OfHash(hash) is not { } instance)
        {
            return TypedResults.Problem("No data set with this hash is stored here.", statusCode: 404);
        }

        await audit.RecordAsync(
            ReadAudit.InstancesAccessed, Reader.Of(context), $"study/{instance.StudyInstanceUid}", null, cancellationToken);
        await using var blob = await WadoEndpoints.OpenAsync(blobs, instance, cancellationToken);
        context.Response.ContentType = "application/octet-stream";
        context.Response.ContentLength = instance.Length;
        await MultipartResponse.CopyAsync(blob, 0, instance.Length, context.Response.BodyWriter, cancellationToken);
        return TypedResults.Empty;
    }
}
