using System.Buffers;
using Microsoft.Net.Http.Headers;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Codecs;
using Yizhan.Storage;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>WADO-RS of instances and metadata (PS3.18 §10.4).</summary>
internal static class WadoEndpoints
{
    private const string Dicom = "application/dicom";

    /// <summary>A study, series or instance, as <c>multipart/related</c>; one instance also as <c>application/dicom</c>.</summary>
    public static async Task<IResult> RetrieveAsync(
        HttpContext context, StoredInstances stored, Transcoder transcoder, ReadAudit audit, TimeProvider clock, CancellationToken cancellationToken)
    {
        var place = Place.Of(context);
        var one = place.Instance is not null && stored.After(0, place.Study, place.Series, place.Instance) is [var only, ..] ? only : null;
        IReadOnlyList<string> syntaxes = place.Instance is null ? stored.TransferSyntaxes(place.Study, place.Series, null)
            : one is null ? [] : [one.TransferSyntaxUid];
        if (syntaxes.Count == 0)
        {
            return NotFound();
        }

        var usable = AcceptedMedia.Of(context.Request)
            .Where(a => a.Takes(Dicom) && (a.Multipart || a.IsAnything || place.Instance is not null)).ToList();
        var single = usable is [{ Multipart: false, IsAnything: false }, ..];
        usable.RemoveAll(a => single != a is { Multipart: false, IsAnything: false });
        var targets = syntaxes.ToDictionary(uid => uid, uid => AcceptedMedia.TransferSyntaxOf(usable, uid));
        if (targets.FirstOrDefault(t => t.Value is null) is { Key: { } impossible })
        {
            return TypedResults.Problem(
                $"Available is multipart/related; type=\"{Dicom}\"{(place.Instance is null ? "" : " or " + Dicom)} with transfer-syntax {impossible} as "
                + $"stored, *, {string.Join(", ", Produced(impossible))}.",
                statusCode: 406);
        }

        await audit.RecordAsync(ReadAudit.InstancesAccessed, Reader.Of(context), $"study/{place.Study}", null, cancellationToken);
        if (single)
        {
            return await SendOneAsync(context.Response, one!, targets.Values.Single()!, transcoder, cancellationToken);
        }

        await SendAllAsync(context, one is null ? Instances(stored, place) : [one], targets!, transcoder, clock, cancellationToken);
        return Results.Empty;
    }

    /// <summary>The metadata of a study, series or instance, from the index. Its ETag changes with the study.</summary>
    public static async Task<IResult> MetadataAsync(
        HttpContext context, StoredInstances stored, ReadAudit audit, CancellationToken cancellationToken)
    {
        var place = Place.Of(context);
        if (!AcceptedMedia.TakesJson(AcceptedMedia.Of(context.Request)))
        {
            return TypedResults.Problem($"Metadata is {DicomWebEndpoints.Json}; the request accepts something else.", statusCode: 406);
        }

        // Read before the metadata: if the study grows between the two, the tag is older than what it is sent with and fits nothing later.
        if (stored.Version(place.Study) is not { } version || !stored.Contains(place.Study, place.Series, place.Instance))
        {
            return NotFound();
        }

        await audit.RecordAsync(ReadAudit.InstancesAccessed, Reader.Of(context), $"study/{place.Study}", null, cancellationToken);
        var tag = new EntityTagHeaderValue($"\"{version}\"", isWeak: true);
        context.Response.GetTypedHeaders().ETag = tag;
        if (context.Request.GetTypedHeaders().IfNoneMatch.Any(known => known.Tag == "*" || known.Compare(tag, useStrongComparison: false)))
        {
            return TypedResults.StatusCode(StatusCodes.Status304NotModified);
        }

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
    public static ReadOnlyMemory<byte> FileHeader(StoredInstance instance, string transferSyntaxUid)
    {
        var header = new ArrayBufferWriter<byte>(512);
        DicomFile.WriteHeader(header, DicomFile.CreateHeader(
            instance.SopClassUid, instance.SopInstanceUid, DicomTransferSyntax.Get(transferSyntaxUid), instance.CallingAeTitle));
        return header.WrittenMemory;
    }

    private static async Task<IResult> SendOneAsync(
        HttpResponse response, StoredInstance instance, string target, Transcoder transcoder, CancellationToken cancellationToken)
    {
        TranscodedInstance data;
        try
        {
            data = await transcoder.OpenAsync(instance, target, cancellationToken);
        }
        catch (CodecException e)
        {
            return TypedResults.Problem($"{e.Message} Ask for transfer-syntax=* to get the instance as it is stored.", statusCode: 406);
        }

        await using (data)
        {
            var header = FileHeader(instance, data.TransferSyntaxUid);
            response.ContentType = $"{Dicom}; transfer-syntax={data.TransferSyntaxUid}";
            response.ContentLength = data.Length + header.Length;
            response.BodyWriter.Write(header.Span);
            await WriteAsync(response.HttpContext, data, instance, transcoder, cancellationToken);
            return Results.Empty;
        }
    }

    /// <summary>All instances of a place, looked up in steps: a study of any size.</summary>
    private static IEnumerable<StoredInstance> Instances(StoredInstances stored, Place place)
    {
        var last = 0L;
        while (stored.After(last, place.Study, place.Series, place.Instance) is { Count: > 0 } step)
        {
            foreach (var instance in step)
            {
                yield return instance;
            }

            last = step[^1].Pk;
        }
    }

    private static async Task SendAllAsync(
        HttpContext context, IEnumerable<StoredInstance> instances, Dictionary<string, string> targets, Transcoder transcoder, TimeProvider clock,
        CancellationToken cancellationToken)
    {
        var parts = new MultipartResponse(context.Response, Dicom, $"{Guid.CreateVersion7(clock.GetUtcNow()):N}");
        var root = DicomWebEndpoints.Root(context.Request);
        foreach (var instance in instances)
        {
            // An instance that came after the syntaxes were looked at goes as stored.
            await using var data = await OpenAsync(
                transcoder, instance, targets.GetValueOrDefault(instance.TransferSyntaxUid, instance.TransferSyntaxUid), cancellationToken);
            parts.BeginPart($"{Dicom}; transfer-syntax={data.TransferSyntaxUid}", $"{root}/{instance.Path}");
            context.Response.BodyWriter.Write(FileHeader(instance, data.TransferSyntaxUid).Span);
            await WriteAsync(context, data, instance, transcoder, cancellationToken);
        }

        await parts.EndAsync(cancellationToken);
    }

    /// <summary>A frame that turns out damaged when others were sent ends the response as broken: HTTP has no other word for it.</summary>
    private static async ValueTask WriteAsync(
        HttpContext context, TranscodedInstance data, StoredInstance instance, Transcoder transcoder, CancellationToken cancellationToken)
    {
        try
        {
            await data.WriteAsync(context.Response.BodyWriter, cancellationToken);
        }
        catch (CodecException e)
        {
            transcoder.BrokeOff(instance, e);
            context.Abort();
            throw new OperationCanceledException(e.Message);
        }
    }

    /// <summary>One damaged image does not take its study with it: it goes as stored, and its part says so.</summary>
    private static async ValueTask<TranscodedInstance> OpenAsync(
        Transcoder transcoder, StoredInstance instance, string target, CancellationToken cancellationToken)
    {
        try
        {
            return await transcoder.OpenAsync(instance, target, cancellationToken);
        }
        catch (CodecException)
        {
            return await transcoder.OpenAsync(instance, instance.TransferSyntaxUid, cancellationToken);
        }
    }

    private static IEnumerable<string> Produced(string stored) =>
        DicomTransferSyntax.All.Select(s => s.Uid).Where(uid => uid != stored && Transcoder.Can(stored, uid)).Order(StringComparer.Ordinal);

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
