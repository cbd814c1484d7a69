using System.Runtime.InteropServices;
using SkiaSharp;
using Yizhan.Dicom;
using Yizhan.PacsGw.Codecs;

namespace Yizhan.PacsGw.Rendering;

/// <summary>A native frame becomes a PNG or JPEG as its data set says it should look. CPU-bound, without state.</summary>
internal static class ImageRenderer
{
    public const string Jpeg = "image/jpeg";
    public const string Png = "image/png";

    /// <summary>Renders one frame.</summary>
    /// <param name="frame">Decoded.</param>
    /// <param name="isFloat">From Float or Double Float Pixel Data.</param>
    /// <param name="dataset">The header.</param>
    /// <param name="number">Number of the frame, from 1.</param>
    /// <param name="query">What was asked for.</param>
    /// <param name="mediaType"><see cref="Jpeg"/> or <see cref="Png"/>.</param>
    /// <param name="buffers">For what is needed in between.</param>
    /// <exception cref="CodecException">The photometric interpretation or a table cannot be rendered.</exception>
    public static byte[] Render(NativeFrame frame, bool isFloat, DicomDataset dataset, int number, RenderQuery query, string mediaType, FrameBuffers buffers)
    {
        var format = frame.Format;
        var isGrey = format.Photometric is "MONOCHROME1" or "MONOCHROME2" or "" && format.Samples == 1;
        var pixels = isGrey ? Grayscale.Render(frame, isFloat, dataset, number, query.Window, buffers) : Colours(frame, dataset);
        var info = new SKImageInfo(format.Columns, format.Rows, isGrey ? SKColorType.Gray8 : SKColorType.Rgba8888, SKAlphaType.Opaque);
        var handle = GCHandle.Alloc(pixels, GCHandleType.Pinned);
        try
        {
            using var pixmap = new SKPixmap(info, handle.AddrOfPinnedObject());
            if (query.Viewport is not { } viewport)
            {
                return Encode(pixmap, query, mediaType);
            }

            using var source = SKImage.FromPixels(pixmap);
            using var scaled = Scale(source, viewport);
            using var view = scaled.PeekPixels();
            return Encode(view, query, mediaType);
        }
        finally
        {
            handle.Free();
            buffers.Return(pixels);
        }
    }

    private static byte[] Encode(SKPixmap pixmap, RenderQuery query, string mediaType)
    {
        using var data = mediaType == Png
            ? pixmap.Encode(new SKPngEncoderOptions(SKPngEncoderFilterFlags.Sub, 6))
            : pixmap.Encode(new SKJpegEncoderOptions(query.Quality, SKJpegEncoderDownsample.Downsample444, SKJpegEncoderAlphaOption.Ignore));
        return data?.ToArray() ?? throw new CodecException($"The picture of {pixmap.Width}x{pixmap.Height} pixels cannot be encoded as {mediaType}.");
    }

    /// <summary>The region, as large as fits the viewport without changing its shape (PS3.18 §8.3.5.1.3).</summary>
    private static SKBitmap Scale(SKImage source, Viewport viewport)
    {
        var region = viewport.RegionWidth == 0
            ? SKRectI.Create(source.Width, source.Height)
            : SKRectI.Intersect(SKRectI.Create(source.Width, source.Height), SKRectI.Create(viewport.X, viewport.Y, viewport.RegionWidth, viewport.RegionHeight));
        if (region.IsEmpty)
        {
            throw new CodecException($"The viewport's region lies outside of the image of {source.Width}x{source.Height} pixels.");
        }

        var factor = Math.Min(viewport.Width / (double)region.Width, viewport.Height / (double)region.Height);
        var target = new SKBitmap(new SKImageInfo(
            Math.Max(1, (int)Math.Round(region.Width * factor)), Math.Max(1, (int)Math.Round(region.Height * factor)), source.ColorType, SKAlphaType.Opaque));
        using var canvas = new SKCanvas(target);
        var sampling = factor < 1 ? new SKSamplingOptions(SKFilterMode.Linear, SKMipmapMode.Linear) : new SKSamplingOptions(SKFilterMode.Linear);

        // A subset of its own: pixels beside the region do not shine into its edge.
        using var part = source.Subset(region);
        canvas.DrawImage(part, SKRect.Create(part.Width, part.Height), SKRect.Create(target.Width, target.Height), sampling, null);
        return target;
    }

    /// <summary>Four bytes a pixel.</summary>
    private static byte[] Colours(NativeFrame frame, DicomDataset dataset)
    {
        var format = frame.Format;
        var rgba = new byte[checked(format.Rows * format.Columns * 4)];
        rgba.AsSpan().Fill(0xFF);
        switch (format.Photometric)
        {
            case "PALETTE COLOR" when format.Samples == 1 && format.BitsAllocated is 8 or 16:
                Palette(frame, dataset, rgba);
                return rgba;
            case "RGB" or "YBR_FULL" when format.Samples == 3 && format.BitsAllocated is 8 or 16:
                break;
            default:
                throw new CodecException(
                    $"Photometric interpretation {format.Photometric} with {format.Samples} samples of {format.BitsAllocated} bits is not rendered.");
        }

        var (size, shift) = (format.BytesPerSample, format.BitsStored - 8);
        for (int from = 0, to = 0; to < rgba.Length; from += 3 * size, to += 4)
        {
            for (var sample = 0; sample < 3; sample++)
            {
                rgba[to + sample] = size == 1 ? frame.Pixels[from + sample]
                    : (byte)(shift >= 0 ? BitConverter.ToUInt16(frame.Pixels, from + (sample * 2)) >> shift : BitConverter.ToUInt16(frame.Pixels, from + (sample * 2)) << -shift);
            }

            if (format.Photometric == "YBR_FULL")
            {
                ToRgb(rgba.AsSpan(to, 3));
            }
        }

        return rgba;
    }

    /// <summary>PS3.3 §C.7.6.3.1.2.</summary>
    private static void ToRgb(Span<byte> pixel)
    {
        var (y, cb, cr) = (pixel[0], pixel[1] - 128, pixel[2] - 128);
        pixel[0] = (byte)Math.Clamp(y + (1.402 * cr) + 0.5, 0, 255);
        pixel[1] = (byte)Math.Clamp(y - (0.344136 * cb) - (0.714136 * cr) + 0.5, 0, 255);
        pixel[2] = (byte)Math.Clamp(y + (1.772 * cb) + 0.5, 0, 255);
    }

    private static void Palette(NativeFrame frame, DicomDataset dataset, byte[] rgba)
    {
        DicomTag[] descriptors = [new(0x0028, 0x1101), new(0x0028, 0x1102), new(0x0028, 0x1103)];
        DicomTag[] values = [new(0x0028, 0x1201), new(0x0028, 0x1202), new(0x0028, 0x1203)];
        for (var colour = 0; colour < 3; colour++)
        {
            var lut = Lut.Of(dataset, descriptors[colour], values[colour])
                ?? throw new CodecException("The colour palette is missing or segmented, which is not rendered.");
            var shift = lut.Most > 255 ? 8 : 0;
            for (var i = 0; i < rgba.Length / 4; i++)
            {
                var index = frame.Format.BytesPerSample == 1 ? frame.Pixels[i] : BitConverter.ToUInt16(frame.Pixels, i * 2);
                rgba[(i * 4) + colour] = (byte)(lut.At(index) >> shift);
            }
        }
    }
}
