using Yizhan.Dicom;

namespace Yizhan.PacsGw.Deidentify;

/// <summary>Makes parts of every frame black, in pixel data that is not compressed.</summary>
internal static class PixelBlanking
{
    /// <summary>Blanks the regions; parts outside the image are ignored.</summary>
    /// <exception cref="NotDeidentifiableException">The pixel data is compressed or is not what its attributes say.</exception>
    public static void Apply(DicomDataset dataset, DicomTransferSyntax syntax, IReadOnlyList<BlankedRegion> regions)
    {
        if (regions.Count == 0 || !dataset.TryGet(DicomTags.PixelData, out var pixelData))
        {
            return;
        }

        if (pixelData.Fragments is not null)
        {
            throw new NotDeidentifiableException($"its pixel data is compressed ({syntax.Name}) and parts of it are to be blanked");
        }

        var rows = dataset.GetInt32(DicomTags.Rows) ?? 0;
        var columns = dataset.GetInt32(DicomTags.Columns) ?? 0;
        var samples = dataset.GetInt32(DicomTags.SamplesPerPixel) ?? 1;
        var bits = dataset.GetInt32(DicomTags.BitsAllocated) ?? 0;
        var frames = (int?)dataset.GetInt64(DicomTags.NumberOfFrames) ?? 1;
        var photometric = dataset.GetString(DicomTags.PhotometricInterpretation) ?? "";
        var frameBytes = (long)rows * columns * samples * bits / 8;
        if (bits is not (8 or 16 or 32) || rows <= 0 || columns <= 0 || samples is not (1 or 3) || frames < 1
            || frameBytes * frames > pixelData.Value.Length || photometric.EndsWith("_422", StringComparison.Ordinal))
        {
            throw new NotDeidentifiableException(
                $"its pixels cannot be blanked: {columns} x {rows}, {samples} samples of {bits} bits, {frames} frames, {photometric}, {pixelData.Value.Length} bytes");
        }

        var planar = samples == 3 && dataset.GetInt32(DicomTags.PlanarConfiguration) == 1;
        var pixels = pixelData.Value.ToArray();
        var (planes, pixelBytes) = planar ? (3, bits / 8) : (1, samples * bits / 8);
        var black = Black(dataset, photometric, samples, bits, pixelData.IsBigEndian);
        for (var frame = 0; frame < frames; frame++)
        {
            for (var plane = 0; plane < planes; plane++)
            {
                var start = (frame * frameBytes) + (plane * (long)rows * columns * pixelBytes);
                var value = planar ? black.AsSpan(plane * pixelBytes, pixelBytes) : black;
                foreach (var region in regions)
                {
                    Blank(pixels.AsSpan((int)start, rows * columns * pixelBytes), region, rows, columns, value);
                }
            }
        }

        dataset.Set(DicomElement.OfValue(DicomTags.PixelData, pixelData.Vr, pixels, pixelData.IsBigEndian));
    }

    private static void Blank(Span<byte> plane, BlankedRegion region, int rows, int columns, ReadOnlySpan<byte> black)
    {
        var (left, right) = (Math.Clamp(region.X, 0, columns), (int)Math.Clamp((long)region.X + region.Width, 0, columns));
        var (top, bottom) = (Math.Clamp(region.Y, 0, rows), (int)Math.Clamp((long)region.Y + region.Height, 0, rows));
        for (var y = top; y < bottom; y++)
        {
            for (var x = left; x < right; x++)
            {
                black.CopyTo(plane[(((y * columns) + x) * black.Length)..]);
            }
        }
    }

    /// <summary>One pixel that is black: the lowest value, the highest where low is white, no colour in YBR.</summary>
    private static byte[] Black(DicomDataset dataset, string photometric, int samples, int bits, bool isBigEndian)
    {
        var sample = new byte[bits / 8];
        var isSigned = dataset.GetInt32(DicomTags.PixelRepresentation) == 1;
        var stored = Math.Min(dataset.GetInt32(DicomTags.BitsStored) ?? bits, bits);
        var value = photometric == "MONOCHROME1" ? (1L << (isSigned ? stored - 1 : stored)) - 1 : isSigned && photometric == "MONOCHROME2" ? -(1L << (stored - 1)) : 0;
        Write(sample, value, isBigEndian);
        if (samples == 1)
        {
            return sample;
        }

        var chroma = new byte[bits / 8];
        Write(chroma, photometric.StartsWith("YBR", StringComparison.Ordinal) ? 1L << (bits - 1) : 0, isBigEndian);
        return [.. sample, .. chroma, .. chroma];
    }

    private static void Write(Span<byte> target, long value, bool isBigEndian)
    {
        for (var i = 0; i < target.Length; i++)
        {
            target[isBigEndian ? target.Length - 1 - i : i] = (byte)(value >> (8 * i));
        }
    }
}
