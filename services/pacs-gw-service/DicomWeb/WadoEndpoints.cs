using System.Buffers;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.Storage;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>WADO-RS of instances and metadata (PS3.18 §10.4). Instances go out in the encoding that they came in.</summary>
internal static class WadoEndpoints
{
    private const string Dicom = "application/dicom";

    /// <summary>A study, series or instance, as <c>multipart/related</c>; one instance also as <c>application/dicom</c>.</summary>
    public static async Task<IResult> RetrieveAsync(
        HttpContext context, StoredInstances stored, IBlobStore blobs, ReadAudit audit, TimeProvider clock, CancellationToken cancellationToken)
    {
        var place = Place.Of(context);
        var syntaxes = stored.TransferSyntaxes(place.Study, place.Series, place.Instance);
        if (syntaxes.Count == 0)
        {
            return NotFound();
        }

        var accepted = AcceptedMedia.Of(context.Request);
        var single = false;
        if (accepted.Count > 0)
        {
            var usable = accepted.FirstOrDefault(a =>
                a.Takes(Dicom) && (a.Multipart || a.Type == "*/*" || place.Instance is not null) && syntaxes.All(a.TakesTransferSyntax));
            if (usable is null)
            {
                return TypedResults.Problem(
                    $"Available is multipart/related; type=\"{Dicom}\"{(place.Instance is null ? "" : " or " + Dicom)} as stored, "
                    + $"transfer-syntax {string.Join(", ", syntaxes)} or *.",
                    statusCode: 406);
            }

            single = !usable.Multipart && usable.Type != "*/*";
        }

        await audit.RecordAsync(ReadAudit.InstancesAccessed, DicomWebEndpoints.Agent(context), $"study/{place.Study}", null, cancellationToken);
        if (single)
        {
            await SendOneAsync(context.Response, stored.After(0, place.Study, place.Series, place.Instance)[0], blobs, cancellationToken);
        }
        else
        {
            await SendAllAsync(context, place, stored, blobs, clock, cancellationToken);
        }

        return Results.Empty;
    }

    /// <summary>The metadata of a study, series or instance, from the index.</summary>
    public static async Task<IResult> MetadataAsync(
        HttpContext context, StoredInstances stored, ReadAudit audit, CancellationToken cancellationToken)
    {
        var place = Place.Of(context);
        var accepted = AcceptedMedia.Of(context.Request);
        if (accepted.Count > 0 && !accepted.Any(a => a.Takes(DicomWebEndpoints.Json) || a.Takes("application/json")))
        {
            return TypedResults.Problem($"Metadata is {DicomWebEndpoints.Json}; the request accepts something else.", statusCode: 406);
        }

        if (stored.After(0, place.Study, place.Series, place.Instance).Count == 0)
        {
            return NotFound();
        }

        await audit.RecordAsync(ReadAudit.InstancesAccessed, DicomWebEndpoints.Agent(context), $"study/{place.Study}", null, cancellationToken);
        await JsonAnswer.SendAsync(
            context.Response, stored.Metadata(place.Study, place.Series, place.Instance), DicomWebEndpoints.Root(context.Request), cancellationToken);
        return Results.Empty;
    }

    /// <summary>Nothing is known under these UIDs.</summary>
    public static IResult NotFound() => TypedResults.Problem("Nothing is stored here under these UIDs.", statusCode: 404);

    /// <summary>
    /// The header of a Part 10 file around a stored data set (PS3.10 §7.1). It depends on nothing but the stored event, so the
    /// same instance is the same file each time.
    /// </summary>
    public static ReadOnlyMemory<byte> FileHeader(StoredInstance instance)
    {
        var header = new ArrayBufferWriter<byte>(512);
        DicomFile.WriteHeader(header, DicomFile.CreateHeader(
            instance.SopClassUid, instance.SopInstanceUid, DicomTransferSyntax.Get(instance.TransferSyntaxUid), instance.CallingAeTitle));
        return header.WrittenMemory;
    }

    private static async Task SendOneAsync(HttpResponse response, StoredInstance instance, IBlobStore blobs, CancellationToken cancellationToken)
    {
        await using var blob = await OpenAsync(blobs, instance, cancellationToken);
        var header = FileHeader(instance);
        response.ContentType = $"{Dicom}; transfer-syntax={instance.TransferSyntaxUid}";
        response.ContentLength = header.Length + instance.Length;
        await response.BodyWriter.WriteAsync(header, cancellationToken);
        await MultipartResponse.CopyAsync(blob, 0, instance.Length, response.BodyWriter, cancellationToken);
    }

    private static async Task SendAllAsync(
        HttpContext context, Place place, StoredInstances stored, IBlobStore blobs, TimeProvider clock, CancellationToken cancellationToken)
    {
        var parts = new MultipartResponse(context.Response, Dicom, $"{Guid.CreateVersion7(clock.GetUtcNow()):N}");
        var root = DicomWebEndpoints.Root(context.Request);
        var last = 0L;
        while (stored.After(last, place.Study, place.Series, place.Instance) is { Count: > 0 } step)
        {
            foreach (var instance in step)
            {
                await using var blob = await OpenAsync(blobs, instance, cancellationToken);
                parts.BeginPart($"{Dicom}; transfer-syntax={instance.TransferSyntaxUid}", $"{root}/{instance.Path}");
                await parts.WriteAsync(FileHeader(instance), cancellationToken);
                await MultipartResponse.CopyAsync(blob, 0, instance.Length, context.Response.BodyWriter, cancellationToken);
            }

            last = step[^1].Pk;
        }

        await parts.EndAsync(cancellationToken);
    }

    /// <summary>Opens the data set of an instance.</summary>
    /// <exception cref="FileNotFoundException">The index knows it and the blob store does not.</exception>
    public static async ValueTask<BlobReader> OpenAsync(IBlobStore blobs, StoredInstance instance, CancellationToken cancellationToken) =>
        await blobs.OpenAsync(instance.Hash, cancellationToken)
        ?? throw new FileNotFoundException($"Blob {instance.Hash} of instance {instance.SopInstanceUid} is not in the blob store.");
}

/// <summary>What a URL names.</summary>
/// <param name="Study">Study Instance UID.</param>
/// <param name="Series">Series Instance UID, or null for the whole study.</param>
/// <param name="Instance">SOP Instance UID, or null for all.</param>
internal sealed record Place(string Study, string? Series, string? Instance)
{
    public static Place Of(HttpContext context)
    {
        var route = context.Request.RouteValues;
        return new Place((string)route["study"]!, route["series"] as string, route["instance"] as string);
    }
}
