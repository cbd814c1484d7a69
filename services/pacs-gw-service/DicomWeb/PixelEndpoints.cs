using System.Globalization;
using Microsoft.Extensions.Options;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Codecs;
using Yizhan.Storage;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>WADO-RS of frames and bulk data (PS3.18 §10.4.1.1.5 and .6).</summary>
internal static class PixelEndpoints
{
    private const string OctetStream = FrameChoice.OctetStream;

    /// <summary>Some frames, by number from 1, each a part; a single one also without multipart.</summary>
    public static async Task<IResult> FramesAsync(
        HttpContext context, string frames, StoredInstances stored, IBlobStore blobs, CodecGate codecs, ReadAudit audit, IOptions<PacsGwOptions> options,
        TimeProvider clock, CancellationToken cancellationToken)
    {
        var place = Place.Of(context);
        if (stored.After(0, place.Study, place.Series, place.Instance) is not [var instance, ..])
        {
            return WadoEndpoints.NotFound();
        }

        await using var blob = await WadoEndpoints.OpenAsync(blobs, instance, cancellationToken);
        FrameReader reader;
        List<int> wanted;
        try
        {
            reader = await FrameReader.OpenAsync(blob, instance.TransferSyntaxUid, options.Value.MaxHeaderBytes, cancellationToken);
            wanted = Numbers(frames, reader.FrameCount);
            await reader.LocateAsync(wanted, cancellationToken);
        }
        catch (FrameException e)
        {
            return TypedResults.Problem(e.Message, statusCode: e.StatusCode);
        }
        catch (DicomFormatException e)
        {
            return TypedResults.Problem($"The header of this instance cannot be decoded: {e.Message}.", statusCode: 404);
        }

        var storedUid = reader.TransferSyntaxUid;
        if (FrameChoice.Of(AcceptedMedia.Of(context.Request), storedUid, wanted.Count) is not { } choice)
        {
            return TypedResults.Problem(
                $"Available is {FrameChoice.MediaTypeOf(storedUid)} as stored, transfer-syntax {storedUid} or *, in multipart/related"
                + (Transcoder.Can(storedUid, DicomTransferSyntax.ExplicitVrLittleEndian.Uid) ? $", or {OctetStream} in explicit VR little endian." : "."),
                statusCode: 406);
        }

        byte[]? first = null;
        if (choice.TransferSyntaxUid != storedUid)
        {
            try
            {
                first = await TranscodeAsync(reader, codecs, wanted[0], choice.TransferSyntaxUid, cancellationToken);
            }
            catch (CodecException e)
            {
                return TypedResults.Problem($"{e.Message} Ask for transfer-syntax=* to get the frame as it is stored.", statusCode: 406);
            }
        }

        await audit.RecordAsync(ReadAudit.InstancesAccessed, Reader.Of(context), $"study/{place.Study}", null, cancellationToken);
        var partType = $"{choice.MediaType}; transfer-syntax={choice.TransferSyntaxUid}";
        var parts = choice.Multipart ? new MultipartResponse(context.Response, choice.MediaType, $"{Guid.CreateVersion7(clock.GetUtcNow()):N}") : null;
        if (parts is null)
        {
            context.Response.ContentType = partType;
        }

        foreach (var frame in wanted)
        {
            parts?.BeginPart(partType, $"{DicomWebEndpoints.Root(context.Request)}/{instance.Path}/frames/{frame}");
            if (choice.TransferSyntaxUid == storedUid)
            {
                await reader.CopyAsync(frame, context.Response.BodyWriter, cancellationToken);
                continue;
            }

            await context.Response.BodyWriter.WriteAsync(
                first ?? await TranscodeAsync(reader, codecs, frame, choice.TransferSyntaxUid, cancellationToken), cancellationToken);
            first = null;
        }

        if (parts is not null)
        {
            await parts.EndAsync(cancellationToken);
        }

        return Results.Empty;
    }

    private static async ValueTask<byte[]> TranscodeAsync(FrameReader reader, CodecGate codecs, int frame, string uid, CancellationToken cancellationToken)
    {
        try
        {
            var stored = await reader.ReadAsync(frame, cancellationToken);
            return await codecs.RunAsync(
                () =>
                {
                    var native = PixelCodec.Decode(stored, reader.TransferSyntaxUid, PixelFormat.Of(reader.Dataset));
                    return PixelCodec.IsNative(uid) ? native.Pixels : PixelCodec.Encode(native, uid);
                },
                cancellationToken);
        }
        catch (FrameException e)
        {
            throw new CodecException(e.Message);
        }
    }

    /// <summary>A value that metadata gave as a BulkDataURI.</summary>
    public static async Task<IResult> BulkDataAsync(
        HttpContext context, string path, StoredInstances stored, IBlobStore blobs, ReadAudit audit, IOptions<PacsGwOptions> options,
        TimeProvider clock, CancellationToken cancellationToken)
    {
        var place = Place.Of(context);
        if (stored.After(0, place.Study, place.Series, place.Instance) is not [var instance, ..])
        {
            return WadoEndpoints.NotFound();
        }

        var accepted = AcceptedMedia.Of(context.Request);
        if (!accepted.Any(a => a.Takes(OctetStream)))
        {
            return TypedResults.Problem($"Bulk data is {OctetStream}; the request accepts something else.", statusCode: 406);
        }

        await using var blob = await WadoEndpoints.OpenAsync(blobs, instance, cancellationToken);
        var syntax = DicomTransferSyntax.Get(instance.TransferSyntaxUid);
        InstanceHeader header;
        try
        {
            header = await InstanceHeader.ReadAsync(blob, syntax, options.Value.MaxHeaderBytes, cancellationToken);
        }
        catch (DicomFormatException e)
        {
            return TypedResults.Problem($"The header of this instance cannot be decoded: {e.Message}.", statusCode: 404);
        }

        var large = header.LargeValues.FirstOrDefault(v => v.Tag.ToJsonName() == path);
        var value = large is null ? Metadata.Find(header.Dataset, path) : null;
        if (large is null && value is null or { Items: not null })
        {
            return TypedResults.Problem("This instance has no bulk data at this path.", statusCode: 404);
        }

        if (large is { IsEncapsulated: true })
        {
            return TypedResults.Problem("Compressed pixel data is retrieved by frames: …/frames/1.", statusCode: 406);
        }

        await audit.RecordAsync(ReadAudit.InstancesAccessed, Reader.Of(context), $"study/{place.Study}", null, cancellationToken);
        var single = accepted.Any(a => a is { Multipart: false, IsAnything: false });
        var parts = single ? null : new MultipartResponse(context.Response, OctetStream, $"{Guid.CreateVersion7(clock.GetUtcNow()):N}");
        parts?.BeginPart(OctetStream, $"{DicomWebEndpoints.Root(context.Request)}/{instance.Path}/bulkdata/{path}");
        context.Response.ContentType ??= OctetStream;
        if (large is not null)
        {
            await FrameReader.CopyRangeAsync(blob, syntax, large.Offset, large.Length, WordBytes(large.Vr, syntax), context.Response.BodyWriter, cancellationToken);
        }
        else
        {
            var bytes = value!.Value.ToArray();
            FrameReader.Swap(bytes, value.IsBigEndian ? WordBytes(value.Vr, DicomTransferSyntax.ExplicitVrBigEndian) : 1);
            await context.Response.BodyWriter.WriteAsync(bytes, cancellationToken);
        }

        if (parts is not null)
        {
            await parts.EndAsync(cancellationToken);
        }

        return Results.Empty;
    }

    /// <summary>Bytes of a word whose order has to be turned for little endian bulk data; 1 when nothing has.</summary>
    internal static int WordBytes(DicomVr vr, DicomTransferSyntax syntax) => !syntax.IsBigEndian ? 1 : vr switch
    {
        DicomVr.OW => 2,
        DicomVr.OL or DicomVr.OF => 4,
        DicomVr.OV or DicomVr.OD => 8,
        _ => 1,
    };

    /// <summary>Frame numbers of a URL.</summary>
    /// <exception cref="FrameException">One is no number, or beyond the last frame.</exception>
    internal static List<int> Numbers(string frames, int count)
    {
        var numbers = new List<int>();
        foreach (var part in frames.Split(','))
        {
            if (!int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var number) || number == 0)
            {
                throw new FrameException(400, "Frames are numbers from 1, separated by commas.");
            }

            if (number > count)
            {
                throw new FrameException(404, $"This instance has {count} frames.");
            }

            numbers.Add(number);
        }

        return numbers;
    }
}
