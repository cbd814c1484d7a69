using System.Buffers;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.Options;
using Yizhan.Dicom;
using Yizhan.PacsGw.Receive;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>
/// STOW-RS (PS3.18 §10.5): each part streams into the same intake as a C-STORE. The next part is read while the last ones are
/// committed; the answer leaves when all are.
/// </summary>
internal static class StowEndpoint
{
    /// <summary>Commits that may be under way while further parts are read.</summary>
    private const int MaxPending = 16;

    /// <summary>Preamble and file meta information must end within this.</summary>
    private const int MaxMetaBytes = 64 * 1024;

    private const int PieceBytes = 128 * 1024;

    /// <summary>RFC 2046 allows 70 characters; Orthanc sends 73.</summary>
    private const int MaxBoundary = 200;

    /// <summary>Failures of parts that have no readable SOP Instance UID (PS3.18 §10.5.3.2).</summary>
    private static readonly DicomTag OtherFailuresSequence = new(0x0008, 0x119A);

    public static async Task<IResult> StoreAsync(
        HttpContext context, InstanceIntake intake, StowMetadata metadata, OpenUploads uploads, IOptions<PacsGwOptions> options, TimeProvider clock,
        CancellationToken cancellationToken)
    {
        if (FormOf(context.Request.ContentType) is not var (boundary, isMetadata))
        {
            return TypedResults.Problem(
                "Accepted is multipart/related with a boundary and type=\"application/dicom\" (files) or type=\"application/dicom+json\" (metadata and bulk data).",
                statusCode: 415);
        }

        if (!AcceptedMedia.TakesJson(AcceptedMedia.Of(context.Request)))
        {
            return TypedResults.Problem($"The answer is {DicomWebEndpoints.Json}; the request accepts something else.", statusCode: 406);
        }

        using var upload = uploads.Begin();

        // A study has no largest size; what limits it is the spool, which refuses part by part.
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit)
        {
            limit.MaxRequestBodySize = null;
        }

        var source = new IntakeSource(
            "STOW-RS", options.Value.AeTitle, Reader.Of(context).Address, Guid.CreateVersion7(clock.GetUtcNow()).ToString("N"), Caller.AgentOf(context));
        var study = context.Request.RouteValues["study"] as string;
        var results = new List<IntakeResult>();
        try
        {
            var parts = new MultipartReader(boundary, context.Request.Body);
            await (isMetadata
                ? metadata.ReceiveAsync(parts, new Uri(DicomWebEndpoints.Root(context.Request) + "/"), source, study, results, cancellationToken)
                : ReceiveAsync(parts, results, intake, source, study, options.Value, cancellationToken));
        }
        catch (SpoolFullException e)
        {
            results.Add(new IntakeResult(IntakeOutcome.OutOfResources, "", "", Reason: e.Message));
        }
        catch (InvalidDataException e)
        {
            results.Add(new IntakeResult(IntakeOutcome.CannotUnderstand, "", "", Reason: $"The multipart body is broken: {e.Message}"));
        }

        return results.Count == 0
            ? TypedResults.Problem("The request has no parts.", statusCode: 400)
            : Answer(results, study, DicomWebEndpoints.Root(context.Request));
    }

    /// <summary>The boundary, and whether the parts are metadata with bulk data; null when it is neither form.</summary>
    private static (string Boundary, bool IsMetadata)? FormOf(string? contentType) =>
        MediaType.Parse(contentType) is { Type: "multipart/related" } type && type["boundary"] is { Length: > 0 and <= MaxBoundary } boundary
            ? type["type"]?.ToLowerInvariant() switch
            {
                null or "application/dicom" => (boundary, false),
                DicomWebEndpoints.Json => (boundary, true),
                _ => null,
            }
            : null;

    private static async Task ReceiveAsync(
        MultipartReader parts, List<IntakeResult> results, InstanceIntake intake, IntakeSource source, string? study,
        PacsGwOptions options, CancellationToken cancellationToken)
    {
        var pending = new Queue<Task<IntakeResult>>();
        var buffer = ArrayPool<byte>.Shared.Rent(PieceBytes);
        try
        {
            var count = 0;
            while (await parts.ReadNextSectionAsync(cancellationToken) is { } part)
            {
                if (++count > options.MaxStowParts)
                {
                    throw new InvalidDataException($"it has more than {options.MaxStowParts} parts");
                }

                pending.Enqueue(await ReceivePartAsync(part, buffer, intake, source, study, cancellationToken));
                if (pending.Count == MaxPending)
                {
                    results.Add(await pending.Dequeue());
                }
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
            while (pending.TryDequeue(out var result))
            {
                results.Add(await result);
            }
        }
    }

    /// <summary>Reads one part to its end. The task that comes back is its commit.</summary>
    private static async Task<Task<IntakeResult>> ReceivePartAsync(
        MultipartSection part, byte[] buffer, InstanceIntake intake, IntakeSource source, string? study, CancellationToken cancellationToken)
    {
        var start = await part.Body.ReadAtLeastAsync(buffer.AsMemory(0, MaxMetaBytes), MaxMetaBytes, throwOnEndOfStream: false, cancellationToken);
        DicomFileHeader header;
        try
        {
            header = DicomFileHeader.Read(buffer.AsMemory(0, start).ToArray());
        }
        catch (DicomFormatException e)
        {
            await using var refused = intake.Begin(source, DicomTransferSyntax.ExplicitVrLittleEndian.Uid);
            return Task.FromResult(refused.Refuse(IntakeOutcome.CannotUnderstand, e.Message));
        }

        if (!header.TransferSyntax.IsKnown)
        {
            await using var refused = intake.Begin(source, DicomTransferSyntax.ExplicitVrLittleEndian.Uid);
            return Task.FromResult(refused.Refuse(IntakeOutcome.CannotUnderstand, "Its transfer syntax is not one of PS3.6."));
        }

        var reception = intake.Begin(source, header.TransferSyntax.Uid);
        var complete = false;
        try
        {
            await reception.WriteAsync(buffer.AsMemory((int)header.DatasetOffset, start - (int)header.DatasetOffset), cancellationToken);
            while (await part.Body.ReadAsync(buffer.AsMemory(0, PieceBytes), cancellationToken) is > 0 and var read)
            {
                await reception.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
            }

            complete = true;
            return CommitAsync(reception, new Expectation(StudyInstanceUid: study), cancellationToken);
        }
        finally
        {
            if (!complete)
            {
                await reception.DisposeAsync();
            }
        }
    }

    private static async Task<IntakeResult> CommitAsync(InstanceReception reception, Expectation expectation, CancellationToken cancellationToken)
    {
        await using (reception)
        {
            return await reception.CompleteAsync(expectation, cancellationToken);
        }
    }

    /// <summary>The Store Instances Response module, PS3.18 §10.5.3.2 and Table I.2.1-1.</summary>
    private static Utf8ContentHttpResult Answer(List<IntakeResult> results, string? study, string root)
    {
        var stored = results.Where(r => r.IsDurable).ToList();
        var named = results.Where(r => !r.IsDurable && Uid.IsValid(r.SopInstanceUid)).ToList();
        var unnamed = results.Where(r => !r.IsDurable && !Uid.IsValid(r.SopInstanceUid)).ToList();
        var answer = new DicomDataset();
        var studies = stored.Select(r => r.StudyInstanceUid).Distinct().ToList();
        if ((study ?? (studies.Count == 1 ? studies[0] : null)) is { } only)
        {
            answer.Set(DicomTags.RetrieveURL, $"{root}/studies/{only}");
        }

        if (named.Count > 0)
        {
            answer.Set(DicomTags.FailedSOPSequence, [.. named.Select(r => Reference(r).Set(DicomTags.FailureReason, r.Status))]);
        }

        if (stored.Count > 0)
        {
            answer.Set(DicomTags.ReferencedSOPSequence, [.. stored.Select(r => Reference(r).Set(
                DicomTags.RetrieveURL,
                $"{root}/studies/{r.StudyInstanceUid}/series/{r.SeriesInstanceUid}/instances/{r.SopInstanceUid}"))]);
        }

        if (unnamed.Count > 0)
        {
            answer.Set(OtherFailuresSequence, [.. unnamed.Select(r => new DicomDataset().Set(DicomTags.FailureReason, r.Status))]);
        }

        var status = stored.Count == results.Count ? StatusCodes.Status200OK
            : stored.Count > 0 ? StatusCodes.Status202Accepted
            : results.TrueForAll(r => r.Outcome == IntakeOutcome.OutOfResources) ? StatusCodes.Status507InsufficientStorage
            : StatusCodes.Status409Conflict;
        return TypedResults.Text(DicomJson.ToUtf8Bytes(answer), DicomWebEndpoints.Json, status);
    }

    private static DicomDataset Reference(IntakeResult result)
    {
        var reference = new DicomDataset().Set(DicomTags.ReferencedSOPInstanceUID, result.SopInstanceUid);
        return result.SopClassUid.Length == 0 ? reference : reference.Set(DicomTags.ReferencedSOPClassUID, result.SopClassUid);
    }
}
