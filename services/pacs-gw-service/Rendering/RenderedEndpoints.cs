using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Codecs;
using Yizhan.PacsGw.DicomWeb;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Rendering;

/// <summary>Rendered resources and thumbnails (PS3.18 §10.4.1.1.3 and .7): PNG or JPEG.</summary>
internal static class RenderedEndpoints
{
    /// <summary>A thumbnail without a viewport fits into this.</summary>
    private const int ThumbnailSide = 128;

    /// <summary>Instances that are tried for a thumbnail before it is said that there is none.</summary>
    private const int MaxThumbnailTries = 8;

    /// <summary>An instance's first frame.</summary>
    public static Task<IResult> InstanceAsync(HttpContext context, RenderSource source, CancellationToken cancellationToken) =>
        FramesAsync(context, "1", source, cancellationToken);

    /// <summary>Frames by number; several are parts.</summary>
    public static async Task<IResult> FramesAsync(HttpContext context, string frames, RenderSource source, CancellationToken cancellationToken)
    {
        if (Ask(context, out var query, out var type) is { } refusal)
        {
            return refusal;
        }

        var place = Place.Of(context);
        if (source.Stored.After(0, place.Study, place.Series, place.Instance) is not [var instance, ..])
        {
            return WadoEndpoints.NotFound();
        }

        await source.Audit.RecordAsync(ReadAudit.InstancesAccessed, Reader.Of(context), $"study/{place.Study}", null, cancellationToken);
        try
        {
            await using var images = await source.OpenAsync(instance, cancellationToken);
            var wanted = PixelEndpoints.Numbers(frames, images.FrameCount);
            if (wanted.Count == 1)
            {
                return TypedResults.Bytes(await images.RenderAsync(wanted[0], query, type, cancellationToken), type);
            }

            var parts = source.Parts(context.Response, type);
            foreach (var frame in wanted)
            {
                var picture = await images.RenderAsync(frame, query, type, cancellationToken);
                parts.BeginPart(type, $"{DicomWebEndpoints.Root(context.Request)}/{instance.Path}/frames/{frame}/rendered");
                await parts.WriteAsync(picture, cancellationToken);
            }

            await parts.EndAsync(cancellationToken);
            return Results.Empty;
        }
        catch (FrameException e)
        {
            return TypedResults.Problem(e.Message, statusCode: e.StatusCode);
        }
        catch (CodecException e) when (!context.Response.HasStarted)
        {
            return TypedResults.Problem(e.Message, statusCode: 406);
        }
    }

    /// <summary>The first frame of each instance of a study or series that has an image, each a part.</summary>
    public static async Task<IResult> AllAsync(HttpContext context, RenderSource source, CancellationToken cancellationToken)
    {
        if (Ask(context, out var query, out var type) is { } refusal)
        {
            return refusal;
        }

        var place = Place.Of(context);
        if (!source.Stored.Contains(place.Study, place.Series, null))
        {
            return WadoEndpoints.NotFound();
        }

        await source.Audit.RecordAsync(ReadAudit.InstancesAccessed, Reader.Of(context), $"study/{place.Study}", null, cancellationToken);
        MultipartResponse? parts = null;
        var last = 0L;
        while (source.Stored.After(last, place.Study, place.Series, null) is { Count: > 0 } step)
        {
            foreach (var instance in step)
            {
                if (await source.TryRenderAsync(instance, query, type, cancellationToken) is { } picture)
                {
                    parts ??= source.Parts(context.Response, type);
                    parts.BeginPart(type, $"{DicomWebEndpoints.Root(context.Request)}/{instance.Path}/rendered");
                    await parts.WriteAsync(picture, cancellationToken);
                }
            }

            last = step[^1].Pk;
        }

        if (parts is null)
        {
            return TypedResults.Problem("Nothing here can be rendered.", statusCode: 406);
        }

        await parts.EndAsync(cancellationToken);
        return Results.Empty;
    }

    /// <summary>One small picture that stands for a study, series or instance: of the instance in the middle, or the next that has one.</summary>
    public static async Task<IResult> ThumbnailAsync(HttpContext context, RenderSource source, CancellationToken cancellationToken)
    {
        if (Ask(context, out var query, out var type) is { } refusal)
        {
            return refusal;
        }

        var place = Place.Of(context);
        if (source.Stored.After(0, place.Study, place.Series, place.Instance) is not { Count: > 0 } instances)
        {
            return WadoEndpoints.NotFound();
        }

        query = query with { Viewport = query.Viewport ?? new Viewport(ThumbnailSide, ThumbnailSide) };
        await source.Audit.RecordAsync(ReadAudit.InstancesAccessed, Reader.Of(context), $"study/{place.Study}", null, cancellationToken);
        for (var i = 0; i < Math.Min(MaxThumbnailTries, instances.Count); i++)
        {
            if (await source.TryRenderAsync(instances[((instances.Count / 2) + i) % instances.Count], query, type, cancellationToken) is { } picture)
            {
                return TypedResults.Bytes(picture, type);
            }
        }

        return TypedResults.Problem("Nothing here can be rendered.", statusCode: 406);
    }

    /// <summary>What was asked for; a refusal when that is not possible.</summary>
    private static ProblemHttpResult? Ask(HttpContext context, out RenderQuery query, out string type)
    {
        query = RenderQuery.Read(context.Request.Query, out var error)!;
        var accepted = AcceptedMedia.Of(context.Request).Select(a => a.Takes(ImageRenderer.Jpeg) ? ImageRenderer.Jpeg : a.Takes(ImageRenderer.Png) ? ImageRenderer.Png : null);
        type = accepted.FirstOrDefault(t => t is not null) ?? "";
        return error is not null ? TypedResults.Problem(error, statusCode: 400)
            : type.Length == 0 ? TypedResults.Problem($"Available are {ImageRenderer.Jpeg} and {ImageRenderer.Png}.", statusCode: 406)
            : null;
    }
}

/// <summary>What rendering needs, for endpoints.</summary>
internal sealed class RenderSource(
    StoredInstances stored, IBlobStore blobs, CodecGate codecs, ReadAudit audit, TimeProvider clock, IOptions<PacsGwOptions> options)
{
    public StoredInstances Stored => stored;

    public ReadAudit Audit => audit;

    public MultipartResponse Parts(HttpResponse response, string type) => new(response, type, $"{Guid.CreateVersion7(clock.GetUtcNow()):N}");

    /// <summary>Opens an instance's frames.</summary>
    /// <exception cref="CodecException">It has none, or its header cannot be decoded.</exception>
    public async ValueTask<InstanceImages> OpenAsync(StoredInstance instance, CancellationToken cancellationToken)
    {
        var blob = await WadoEndpoints.OpenAsync(blobs, instance, cancellationToken);
        try
        {
            return new InstanceImages(
                blob, codecs, await FrameReader.OpenAsync(blob, instance.TransferSyntaxUid, options.Value.MaxHeaderBytes, cancellationToken));
        }
        catch (Exception e) when (e is DicomFormatException or FrameException or InvalidDataException)
        {
            await blob.DisposeAsync();
            throw new CodecException(e.Message);
        }
    }

    /// <summary>An instance's first frame; null when it has no image or one that cannot be rendered.</summary>
    public async ValueTask<byte[]?> TryRenderAsync(StoredInstance instance, RenderQuery query, string type, CancellationToken cancellationToken)
    {
        try
        {
            await using var images = await OpenAsync(instance, cancellationToken);
            return await images.RenderAsync(1, query, type, cancellationToken);
        }
        catch (Exception e) when (e is CodecException or FrameException)
        {
            return null;
        }
    }
}

/// <summary>The frames of one stored instance as pictures.</summary>
internal sealed class InstanceImages(BlobReader blob, CodecGate codecs, FrameReader frames) : IAsyncDisposable
{
    public int FrameCount => frames.FrameCount;

    /// <summary>Decodes and renders one frame.</summary>
    /// <exception cref="CodecException">It cannot be decoded or rendered.</exception>
    /// <exception cref="FrameException">It cannot be found.</exception>
    public async ValueTask<byte[]> RenderAsync(int frame, RenderQuery query, string type, CancellationToken cancellationToken)
    {
        var format = PixelFormat.Of(frames.Dataset);
        var isFloat = frames.PixelData.Tag != DicomTags.PixelData;
        var stored = await frames.ReadAsync(frame, cancellationToken, codecs.Buffers);
        try
        {
            return await codecs.RunAsync(
                () => ImageRenderer.Render(
                    PixelCodec.Decode(stored, frames.TransferSyntaxUid, format), isFloat, frames.Dataset, frame, query, type, codecs.Buffers),
                cancellationToken);
        }
        finally
        {
            // A native frame was decoded by taking the array as it is; the picture has no part in it.
            codecs.Buffers.Return(stored);
        }
    }

    public ValueTask DisposeAsync() => blob.DisposeAsync();
}
