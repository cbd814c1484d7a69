using Yizhan.Dicom;

namespace Yizhan.PacsGw.Codecs;

/// <summary>What the Image Pixel module says of a frame (PS3.3 §C.7.6.3).</summary>
/// <param name="Rows">Height in pixels.</param>
/// <param name="Columns">Width in pixels.</param>
/// <param name="Samples">Samples per pixel: 1 or 3.</param>
/// <param name="BitsAllocated">Bits of a sample in native form: 1, 8, 16, 32 or 64.</param>
/// <param name="BitsStored">Bits of it that count.</param>
/// <param name="HighBit">The highest of them.</param>
/// <param name="IsSigned">Samples are two's complement.</param>
/// <param name="Photometric">Photometric Interpretation.</param>
/// <param name="IsPlanar">All samples of one kind come together (Planar Configuration 1).</param>
internal sealed record PixelFormat(
    int Rows, int Columns, int Samples, int BitsAllocated, int BitsStored, int HighBit, bool IsSigned, string Photometric, bool IsPlanar)
{
    /// <summary>Largest native frame that is decoded, in bytes: what one request may allocate for pixels.</summary>
    public const int MaxFrameBytes = 256 * 1024 * 1024;

    /// <summary>Two chroma samples for two pixels: a third of the samples is left out (PS3.3 §C.7.6.3.1.2).</summary>
    public bool IsSubsampled => Photometric is "YBR_FULL_422" or "YBR_PARTIAL_422";

    /// <summary>Bits of one frame in native form with all samples, not padded.</summary>
    public long FrameBits => (long)Rows * Columns * Samples * BitsAllocated;

    /// <summary>Bytes of one frame in native form.</summary>
    public int FrameBytes => checked((int)((FrameBits + 7) / 8));

    public int BytesPerSample => BitsAllocated / 8;

    /// <summary>Reads the module. Nothing was allocated for pixels when this throws.</summary>
    /// <exception cref="CodecException">A value is missing or impossible, or a frame is larger than <see cref="MaxFrameBytes"/>.</exception>
    public static PixelFormat Of(DicomDataset dataset)
    {
        var format = new PixelFormat(
            Required(dataset, DicomTags.Rows, 1, 65535),
            Required(dataset, DicomTags.Columns, 1, 65535),
            Optional(dataset, DicomTags.SamplesPerPixel) ?? 1,
            Required(dataset, DicomTags.BitsAllocated, 1, 64),
            Optional(dataset, DicomTags.BitsStored) ?? Optional(dataset, DicomTags.BitsAllocated)!.Value,
            Optional(dataset, DicomTags.HighBit) ?? (Optional(dataset, DicomTags.BitsStored) ?? Optional(dataset, DicomTags.BitsAllocated)!.Value) - 1,
            dataset.GetInt32(DicomTags.PixelRepresentation) == 1,
            dataset.GetString(DicomTags.PhotometricInterpretation) ?? "",
            dataset.GetInt32(DicomTags.PlanarConfiguration) == 1);
        if (format.Samples is not (1 or 3))
        {
            throw new CodecException($"Samples per Pixel is {format.Samples}; decoded are 1 and 3.");
        }

        if (format.BitsAllocated is not (1 or 8 or 16 or 32 or 64) || format.BitsStored < 1 || format.BitsStored > format.BitsAllocated
            || format.HighBit < format.BitsStored - 1 || format.HighBit >= format.BitsAllocated)
        {
            throw new CodecException(
                $"Bits Allocated {format.BitsAllocated}, Bits Stored {format.BitsStored} and High Bit {format.HighBit} do not fit each other; "
                + "decoded are 1, 8, 16, 32 and 64 allocated bits.");
        }

        return format.FrameBits / 8 <= MaxFrameBytes
            ? format
            : throw new CodecException($"A frame of {format.Columns}x{format.Rows} pixels has {format.FrameBits / 8} bytes; decoded are up to {MaxFrameBytes}.");
    }

    private static int Required(DicomDataset dataset, DicomTag tag, int least, int most) =>
        Optional(dataset, tag) is { } value && value >= least && value <= most
            ? value
            : throw new CodecException($"{tag} is {(dataset.GetInt64(tag) is { } found ? found : "missing")}; needed is {least} to {most}.");

    private static int? Optional(DicomDataset dataset, DicomTag tag) => dataset.GetInt32(tag);
}

/// <summary>A frame in native form: little endian, samples of a pixel side by side.</summary>
/// <param name="Pixels">Exactly <see cref="PixelFormat.FrameBytes"/> bytes.</param>
/// <param name="Format">What they are.</param>
internal sealed record NativeFrame(byte[] Pixels, PixelFormat Format);
