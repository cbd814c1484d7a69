using System.Globalization;
using Yizhan.Dicom;
using static Yizhan.AiInfer.Clinical.Dicom.Producer;

namespace Yizhan.AiInfer.Clinical.Dicom;

/// <summary>
/// Secondary captures (PS3.3 A.8.1) for viewers that show no segmentations: the slice on which a finding is largest, its outline drawn, and above and below the picture what
/// it is and that it is not for clinical use. Nothing is written over the picture, and nobody's name.
/// </summary>
internal static class CaptureWriter
{
    /// <summary>Secondary Capture Image Storage.</summary>
    public const string SopClassUid = "1.2.840.10008.5.1.4.1.1.7";

    /// <summary>Pictures of one series; smaller findings are in the segmentation only.</summary>
    public const int MaxCaptures = 8;

    // Letters have to be readable: smaller pictures are enlarged by a whole number.
    private const int LeastWidth = 256;

    private static readonly byte[] Outline = [255, 221, 0], Words = [255, 255, 255], Alarm = [255, 96, 96];

    /// <summary>Writes a picture of each slice that a finding is largest on, the largest finding first; none when nothing was found.</summary>
    public static IReadOnlyList<DicomDataset> Write(Producer producer, Analysis analysis)
    {
        var slices = LargestSlices(analysis, producer.Series.Image.Size);
        return [.. slices.Distinct().Take(MaxCaptures).Select((slice, i) => Capture(
            producer, analysis, slice, [.. analysis.Findings.Where(f => slices[f.Number - 1] == slice)], i + 1))];
    }

    /// <summary>For each finding the slice on which it has most pixels.</summary>
    private static int[] LargestSlices(Analysis analysis, int[] size)
    {
        var areas = new int[analysis.Findings.Count + 1, size[2]];
        for (var n = 0; n < analysis.Map.Length; n++)
        {
            areas[analysis.Map[n], n % size[2]]++;
        }

        return [.. analysis.Findings.Select(f => Enumerable.Range(0, size[2]).MaxBy(k => areas[f.Number, k]))];
    }

    private static DicomDataset Capture(Producer producer, Analysis analysis, int k, Finding[] findings, int number)
    {
        var picture = Draw(producer, analysis, k, findings);
        var source = producer.Series.Slices[k];
        var (date, time) = (producer.At.ToString("yyyyMMdd", CultureInfo.InvariantCulture), producer.At.ToString("HHmmss", CultureInfo.InvariantCulture));
        return producer.Begin(SopClassUid, "OT", "captures")
            .Set(DicomTags.SOPInstanceUID, producer.Uid($"capture {number}"))
            .Set(DicomTags.InstanceNumber, (long)number)
            .Set(Tag("ConversionType"), "WSD")
            .Set(Tag("DateOfSecondaryCapture"), date).Set(Tag("TimeOfSecondaryCapture"), time)
            .Set(Tag("ImageType"), "DERIVED", "SECONDARY")
            .SetBytes(Tag("PatientOrientation"), default)

            // Empty says that it is not known (type 2C, PS3.3 C.7.3.1): whether the part has two sides is not for us to decide.
            .Set(source.TryGet(Tag("Laterality"), out var side) ? side : DicomElement.OfValue(Tag("Laterality"), DicomVr.CS, default))

            // It asks whether patient and date are in the picture (PS3.3 C.7.6.1.1): they are not.
            .Set(Tag("BurnedInAnnotation"), "NO")
            .Set(Tag("LossyImageCompression"), "00")
            .Set(Tag("DerivationDescription"), $"Outlines of what a model found; {producer.Warning ?? "nobody has looked at it yet"}")
            .Set(Tag("ImageComments"), producer.Warning ?? "Findings of a model")
            .Set(Tag("SourceImageSequence"), [Reference(source)
                .Set(Tag("SpatialLocationsPreserved"), "NO")
                .Set(Tag("PurposeOfReferenceCodeSequence"), [Coded(new("121322", "DCM", "Source image for image processing operation"))])])
            .Set(Tag("SamplesPerPixel"), 3L)
            .Set(Tag("PhotometricInterpretation"), "RGB")
            .Set(Tag("PlanarConfiguration"), 0L)
            .Set(Tag("Rows"), (long)picture.Height)
            .Set(Tag("Columns"), (long)picture.Width)
            .Set(Tag("BitsAllocated"), 8L).Set(Tag("BitsStored"), 8L).Set(Tag("HighBit"), 7L).Set(Tag("PixelRepresentation"), 0L)
            .SetBytes(Tag("PixelData"), picture.Pixels(), DicomVr.OB);
    }

    private static Picture Draw(Producer producer, Analysis analysis, int k, Finding[] findings)
    {
        var image = producer.Series.Image;
        var (rows, columns) = (image.Size[0], image.Size[1]);
        var factor = Math.Max(1, (LeastWidth + columns - 1) / columns);
        var letters = Math.Max(1, columns * factor / 512);
        var line = (Letters.Height + 3) * letters;
        string[] above = producer.Warning is { } warning ? [warning] : [];
        string[] below = [$"{producer.Bundle.Manifest.Name} {producer.Bundle.Manifest.Version}", .. findings.Select(f => string.Create(CultureInfo.InvariantCulture, $"{f.Segment.Label} {f.Number}: {f.VolumeMl:0.00} ml"))];
        var top = above.Length * line;
        var picture = new Picture(columns * factor, rows * factor + (above.Length + below.Length) * line);
        var (least, width) = Window(producer.Series.Slices[k], image, k);
        for (var y = 0; y < rows * factor; y++)
        {
            for (var x = 0; x < columns * factor; x++)
            {
                var at = Number(x, y);
                var edge = at != 0 && (Number(x - 1, y) != at || Number(x + 1, y) != at || Number(x, y - 1) != at || Number(x, y + 1) != at);
                var grey = (byte)Math.Clamp((image[y / factor, x / factor, k] - least) / width * 255, 0, 255);
                picture.Set(x, y + top, edge ? Outline : [grey, grey, grey]);
            }
        }

        for (var i = 0; i < above.Length; i++)
        {
            picture.Write(above[i], 2 * letters, i * line + letters, letters, Alarm);
        }

        for (var i = 0; i < below.Length; i++)
        {
            picture.Write(below[i], 2 * letters, top + rows * factor + i * line + letters, letters, Words);
        }

        return picture;

        // Number of the finding at a pixel of the enlarged picture; 0 outside.
        byte Number(int x, int y) => x < 0 || y < 0 || x >= columns * factor || y >= rows * factor ? (byte)0 : analysis.Map[(y / factor * columns + x / factor) * image.Size[2] + k];
    }

    /// <summary>The slice's own window (PS3.3 C.11.2); without one, all its values but a hundredth at each end.</summary>
    private static (double Least, double Width) Window(DicomDataset slice, Imaging.Volume image, int k)
    {
        if (slice.GetDouble(Tag("WindowCenter")) is { } centre && slice.GetDouble(Tag("WindowWidth")) is { } width and > 1)
        {
            return (centre - width / 2, width);
        }

        var values = Enumerable.Range(0, image.Size[0] * image.Size[1]).Select(n => image.Voxels[n * image.Size[2] + k]).Order().ToArray();
        var least = Imaging.IntensityTransforms.Percentile(values, 1);
        return (least, Math.Max(1e-6, Imaging.IntensityTransforms.Percentile(values, 99) - least));
    }

    /// <summary>Colour pixels that can be written on.</summary>
    private sealed class Picture(int width, int height)
    {
        private readonly byte[] _pixels = new byte[width * height * 3];

        public int Width => width;

        public int Height => height;

        public void Set(int x, int y, ReadOnlySpan<byte> colour) => colour.CopyTo(_pixels.AsSpan((y * width + x) * 3));

        /// <summary>Writes a line; what does not fit ends with the picture.</summary>
        public void Write(string text, int left, int top, int scale, byte[] colour)
        {
            foreach (var (x, y) in Letters.Dots(text))
            {
                for (var n = 0; n < scale * scale; n++)
                {
                    var (px, py) = (left + x * scale + n % scale, top + y * scale + n / scale);
                    if (px < width && py < height)
                    {
                        Set(px, py, colour);
                    }
                }
            }
        }

        /// <summary>All pixels, padded to an even number of bytes (PS3.5 §8.1.1).</summary>
        public byte[] Pixels() => _pixels.Length % 2 == 0 ? _pixels : [.. _pixels, 0];
    }
}
