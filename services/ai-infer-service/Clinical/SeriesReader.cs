using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Yizhan.AiInfer.Clinical.Imaging;
using Yizhan.Dicom;

namespace Yizhan.AiInfer.Clinical;

/// <summary>A series as one image, and what results have to repeat of it.</summary>
/// <param name="Slices">Data sets in order of position.</param>
/// <param name="Image">Modality values (HU for CT). Its axes: rows, columns, slices.</param>
/// <param name="Digest">SHA-256 over the pixels and UIDs of all slices: the identity of the input.</param>
internal sealed record SeriesImage(IReadOnlyList<DicomDataset> Slices, Volume Image, string Digest)
{
    /// <summary>Any one of the slices: what is the same in all of them.</summary>
    public DicomDataset First => Slices[0];

    /// <summary>Study Instance UID.</summary>
    public string StudyUid => First.GetString(DicomTags.StudyInstanceUID)!;

    /// <summary>Series Instance UID.</summary>
    public string SeriesUid => First.GetString(DicomTags.SeriesInstanceUID)!;
}

/// <summary>Puts the instances of a series together, and refuses what is not whole or not plain: nothing is interpolated over a gap.</summary>
internal static class SeriesReader
{
    private const double DirectionTolerance = 1e-3;
    private const double SpacingTolerance = 0.05;

    private static readonly DicomTag TemporalPosition = DicomTag.Parse("00200100");

    /// <summary>Reads a series.</summary>
    /// <exception cref="SeriesRefusedException">It is not one image of parallel, equally spaced, grey slices.</exception>
    public static SeriesImage Read(IReadOnlyList<DicomDataset> instances, int minSlices)
    {
        if (instances.Count < minSlices)
        {
            throw new SeriesRefusedException($"The series has {instances.Count} {(instances.Count == 1 ? "slice" : "slices")}; this model needs {minSlices} or more.");
        }

        var first = instances[0];
        foreach (var slice in instances)
        {
            CheckPixels(slice);
            Same(slice, first, DicomTags.Rows, "rows");
            Same(slice, first, DicomTags.Columns, "columns");
            Same(slice, first, DicomTags.FrameOfReferenceUID, "frame of reference");
            SameNumbers(slice, first, DicomTags.PixelSpacing, 1e-4, "pixel spacing");
            SameNumbers(slice, first, DicomTags.ImageOrientationPatient, DirectionTolerance, "orientation");
            if (slice.Contains(TemporalPosition) && slice.GetString(TemporalPosition) != first.GetString(TemporalPosition))
            {
                throw new SeriesRefusedException("The series has more than one temporal position.");
            }
        }

        var spacing = Numbers(first, DicomTags.PixelSpacing, 2);
        var orientation = Numbers(first, DicomTags.ImageOrientationPatient, 6);
        double[] column = orientation[..3], row = orientation[3..];
        if (Math.Abs(Dot(column, column) - 1) > 0.01 || Math.Abs(Dot(row, row) - 1) > 0.01 || Math.Abs(Dot(row, column)) > 0.01)
        {
            throw new SeriesRefusedException($"Image Orientation (Patient) {string.Join('\\', orientation)} is not two directions at right angles.");
        }

        double[] normal = [column[1] * row[2] - column[2] * row[1], column[2] * row[0] - column[0] * row[2], column[0] * row[1] - column[1] * row[0]];
        var ordered = instances.Select(s => (Slice: s, Position: Numbers(s, DicomTags.ImagePositionPatient, 3))).OrderBy(s => Dot(s.Position, normal)).ToArray();
        var step = Step(ordered, normal);
        var origin = ordered[0].Position;

        // DICOM's axes point left and posterior, MONAI's right and anterior: the first two rows change sign. Array axes: row, column, slice.
        var m = new double[3, 3];
        for (var r = 0; r < 3; r++)
        {
            var sign = r < 2 ? -1 : 1;
            (m[r, 0], m[r, 1], m[r, 2]) = (sign * row[r] * spacing[0], sign * column[r] * spacing[1], sign * normal[r] * step);
        }

        var slices = ordered.Select(s => s.Slice).ToArray();
        var size = new[] { (int)first.GetInt64(DicomTags.Rows)!.Value, (int)first.GetInt64(DicomTags.Columns)!.Value, slices.Length };
        var (voxels, digest) = Voxels(slices, size);
        return new SeriesImage(slices, new Volume(size, new Affine(m, [-origin[0], -origin[1], origin[2]]), voxels), digest);
    }

    private static double Step((DicomDataset Slice, double[] Position)[] ordered, double[] normal)
    {
        if (ordered.Length == 1)
        {
            return ordered[0].Slice.GetDouble(DicomTags.SliceThickness) is { } thickness and > 0 ? thickness : 1;
        }

        var gaps = ordered.Zip(ordered.Skip(1), (a, b) => Dot(b.Position, normal) - Dot(a.Position, normal)).ToArray();
        var middle = gaps.Order().ElementAt(gaps.Length / 2);
        for (var i = 0; i < gaps.Length; i++)
        {
            var (a, b) = (ordered[i], ordered[i + 1]);
            var across = a.Position.Zip(b.Position, (p, q) => q - p).Select((d, axis) => d - gaps[i] * normal[axis]).Sum(d => d * d);
            if (gaps[i] < 1e-3)
            {
                throw new SeriesRefusedException($"Instances {Number(a.Slice)} and {Number(b.Slice)} are at one position: the series holds more than one image, or a slice twice.");
            }

            if (Math.Sqrt(across) > 0.02 * gaps[i] + 1e-3)
            {
                throw new SeriesRefusedException(string.Create(CultureInfo.InvariantCulture, $"The slices are sheared by {Math.Atan2(Math.Sqrt(across), gaps[i]) * 180 / Math.PI:0.0}° (gantry tilt); accepted: slices one behind the other."));
            }

            if (Math.Abs(gaps[i] - middle) > SpacingTolerance * middle)
            {
                throw new SeriesRefusedException(string.Create(CultureInfo.InvariantCulture,
                    $"Between instances {Number(a.Slice)} and {Number(b.Slice)} there are {gaps[i]:0.##} mm, elsewhere {middle:0.##} mm: {(gaps[i] > middle ? "slices are missing" : "the slices are not equally spaced")}."));
            }
        }

        return gaps.Average();
    }

    private static void CheckPixels(DicomDataset slice)
    {
        var photometric = slice.GetString(DicomTags.PhotometricInterpretation);
        if (photometric != "MONOCHROME2" || slice.GetInt64(DicomTags.SamplesPerPixel) is not (null or 1))
        {
            throw new SeriesRefusedException($"Photometric Interpretation is {photometric ?? "absent"}; accepted: MONOCHROME2.");
        }

        if (slice.GetInt64(DicomTags.NumberOfFrames) is > 1)
        {
            throw new SeriesRefusedException("The series has multi-frame instances; accepted: one slice in each instance.");
        }

        if (slice.GetInt64(DicomTags.BitsAllocated) is not (8 or 16))
        {
            throw new SeriesRefusedException($"Bits Allocated is {slice.GetInt64(DicomTags.BitsAllocated)}; accepted: 8, 16.");
        }

        if (slice.GetString(DicomTags.Modality) == "CT" && (slice.GetDouble(DicomTags.RescaleSlope) is null || slice.GetDouble(DicomTags.RescaleIntercept) is null))
        {
            throw new SeriesRefusedException("A CT slice has no rescale slope and intercept, so its Hounsfield units are not known.");
        }

        var (rows, columns, bits) = (slice.GetInt64(DicomTags.Rows) ?? 0, slice.GetInt64(DicomTags.Columns) ?? 0, slice.GetInt64(DicomTags.BitsAllocated)!.Value);
        if (rows * columns == 0 || slice.GetBytes(DicomTags.PixelData).Length < rows * columns * bits / 8)
        {
            throw new SeriesRefusedException($"Instance {Number(slice)} has {slice.GetBytes(DicomTags.PixelData).Length} bytes of pixels for {rows} × {columns} of {bits} bits.");
        }
    }

    private static (float[] Voxels, string Digest) Voxels(DicomDataset[] slices, int[] size)
    {
        var voxels = new float[(long)size[0] * size[1] * size[2]];
        using var digest = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (var k = 0; k < slices.Length; k++)
        {
            var slice = slices[k];
            var bytes = slice.GetBytes(DicomTags.PixelData).Span;
            digest.AppendData(System.Text.Encoding.ASCII.GetBytes(slice.GetString(DicomTags.SOPInstanceUID) + "\n"));
            digest.AppendData(bytes);
            var slope = slice.GetDouble(DicomTags.RescaleSlope) ?? 1;
            var intercept = slice.GetDouble(DicomTags.RescaleIntercept) ?? 0;
            var signed = slice.GetInt64(DicomTags.PixelRepresentation) == 1;
            var stored = (int)(slice.GetInt64(DicomTags.BitsStored) ?? 16);
            var words = slice.GetInt64(DicomTags.BitsAllocated) == 16;
            var unused = 32 - stored;
            for (var n = 0; n < size[0] * size[1]; n++)
            {
                int raw = words ? MemoryMarshal.Read<ushort>(bytes[(2 * n)..]) : bytes[n];

                // Bits above those stored may hold an overlay: they are cut off, and the sign comes from the highest stored one.
                raw = signed ? raw << unused >> unused : raw & (int)(uint.MaxValue >> unused);
                voxels[(long)n * size[2] + k] = (float)(raw * slope + intercept);
            }
        }

        return (voxels, Convert.ToHexStringLower(digest.GetHashAndReset()));
    }

    private static void Same(DicomDataset slice, DicomDataset first, DicomTag tag, string what)
    {
        if (slice.GetString(tag) != first.GetString(tag))
        {
            throw new SeriesRefusedException($"Instance {Number(slice)} has {what} {slice.GetString(tag) ?? "(none)"}, instance {Number(first)} {first.GetString(tag) ?? "(none)"}: they are not one image.");
        }
    }

    private static void SameNumbers(DicomDataset slice, DicomDataset first, DicomTag tag, double tolerance, string what)
    {
        var (a, b) = (slice.GetDoubles(tag), first.GetDoubles(tag));
        if (a.Count != b.Count || a.Zip(b).Any(p => Math.Abs(p.First - p.Second) > tolerance))
        {
            throw new SeriesRefusedException($"Instance {Number(slice)} has {what} {string.Join('\\', a)}, instance {Number(first)} {string.Join('\\', b)}: slices of different {what} are mixed.");
        }
    }

    private static double[] Numbers(DicomDataset slice, DicomTag tag, int count) => slice.GetDoubles(tag) is { } values && values.Count == count && values.All(double.IsFinite) ? [.. values]
        : throw new SeriesRefusedException($"Instance {Number(slice)} has no {(DicomDictionary.TryGet(tag, out var entry) ? entry.Keyword : tag.ToString())} of {count} numbers.");

    private static string Number(DicomDataset slice) => slice.GetString(DicomTags.InstanceNumber) ?? slice.GetString(DicomTags.SOPInstanceUID) ?? "?";

    private static double Dot(double[] a, double[] b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}
