using System.IO.Compression;
using System.Runtime.InteropServices;
using Yizhan.AiInfer.Clinical.Imaging;
using Yizhan.Dicom;

namespace Yizhan.AiInfer.Tests;

/// <summary>A T1-weighted MR of a head as a scanner would send it, made from a real volume that is kept beside the tree (NIfTI-1, 8 bits).</summary>
internal static class BrainSeries
{
    /// <summary>Reads the volume; its axes as stored, the first runs slowest.</summary>
    public static Volume Read(string path)
    {
        using var packed = new GZipStream(File.OpenRead(path), CompressionMode.Decompress);
        var bytes = new MemoryStream();
        packed.CopyTo(bytes);
        var file = bytes.GetBuffer().AsSpan(0, (int)bytes.Length);
        int[] size = [.. Enumerable.Range(0, 3).Select(a => (int)BitConverter.ToInt16(bytes.GetBuffer(), 42 + 2 * a))];
        Assert.Equal(2, BitConverter.ToInt16(file[70..]));
        var rows = MemoryMarshal.Cast<byte, float>(file.Slice(280, 48)).ToArray();
        var m = new double[3, 3];
        for (var n = 0; n < 9; n++)
        {
            m[n / 3, n % 3] = rows[n / 3 * 4 + n % 3];
        }

        // In the file the first index runs fastest.
        var offset = (int)BitConverter.ToSingle(file[108..]);
        var voxels = new float[size[0] * size[1] * size[2]];
        for (int k = 0, n = offset; k < size[2]; k++)
        {
            for (var j = 0; j < size[1]; j++)
            {
                for (var i = 0; i < size[0]; i++, n++)
                {
                    voxels[(i * size[1] + j) * size[2] + k] = file[n];
                }
            }
        }

        return new Volume(size, new Affine(m, [rows[3], rows[7], rows[11]]), voxels);
    }

    /// <summary>A sagittal series: columns to the back, rows down, slices to the left.</summary>
    /// <param name="head">The volume.</param>
    /// <param name="slices">How many.</param>
    /// <param name="spacingMm">Their distance.</param>
    /// <param name="tiltDegrees">How far the patient's nod turns the planes about the left-right axis, and half as far about the vertical one.</param>
    /// <param name="gain">Stored value of one grey level.</param>
    public static List<DicomDataset> Sagittal(Volume head, int slices, double spacingMm, double tiltDegrees, double gain)
    {
        const int Size = 256;
        var (nod, turn) = (tiltDegrees * Math.PI / 180, tiltDegrees * Math.PI / 360);

        // Directions in DICOM's axes (left, posterior, superior); unturned: columns (0,1,0), rows (0,0,−1), normal (−1,0,0) so that slices go to the right.
        double[] Turned(double x, double y, double z)
        {
            (y, z) = (y * Math.Cos(nod) - z * Math.Sin(nod), y * Math.Sin(nod) + z * Math.Cos(nod));
            return [x * Math.Cos(turn) - y * Math.Sin(turn), x * Math.Sin(turn) + y * Math.Cos(turn), z];
        }

        double[] column = Turned(0, 1, 0), row = Turned(0, 0, -1), normal = Turned(-1, 0, 0);
        var (cx, cy, cz) = head.Affine.At(head.Size[0] / 2, head.Size[1] / 2, head.Size[2] / 2);
        double[] centre = [-cx, -cy, cz];
        double Origin(int axis, int k) => centre[axis] - Size / 2 * (column[axis] + row[axis]) + (k - slices / 2) * spacingMm * normal[axis];

        // One image of the whole series on the grid of its slices, by the same sampling that a reader of it would undo.
        var m = new double[3, 3];
        for (var r = 0; r < 3; r++)
        {
            var sign = r < 2 ? -1 : 1;
            (m[r, 0], m[r, 1], m[r, 2]) = (sign * row[r], sign * column[r], sign * normal[r] * spacingMm);
        }

        var sampled = SpatialTransforms.Resample(head, [Size, Size, slices], new Affine(m, [-Origin(0, 0), -Origin(1, 0), Origin(2, 0)]), nearest: false, outside: 0);
        return [.. Enumerable.Range(0, slices).Select(k =>
        {
            var pixels = new ushort[Size * Size];
            for (var n = 0; n < pixels.Length; n++)
            {
                pixels[n] = (ushort)Math.Round(sampled.Voxels[n * slices + k] * gain);
            }

            return new DicomDataset()
                .Set(DicomTags.SOPClassUID, "1.2.840.10008.5.1.4.1.1.4")
                .Set(DicomTags.SOPInstanceUID, $"1.2.40.{slices}.1.{k + 1}")
                .Set(DicomTags.StudyDate, "20261122")
                .Set(DicomTags.StudyTime, "120000")
                .Set(DicomTags.Modality, "MR")
                .Set(DicomTags.Manufacturer, "Test")
                .Set(DicomTags.PatientName, "Test^Head")
                .Set(DicomTags.PatientID, "H1")
                .Set(DicomTags.BodyPartExamined, "BRAIN")
                .Set(DicomTags.SliceThickness, spacingMm)
                .Set(DicomTags.StudyInstanceUID, $"1.2.40.{slices}")
                .Set(DicomTags.SeriesInstanceUID, $"1.2.40.{slices}.1")
                .Set(DicomTags.InstanceNumber, k + 1)
                .Set(DicomTags.ImagePositionPatient, Math.Round(Origin(0, k), 6), Math.Round(Origin(1, k), 6), Math.Round(Origin(2, k), 6))
                .Set(DicomTags.ImageOrientationPatient, [.. column.Concat(row).Select(d => Math.Round(d, 9))])
                .Set(DicomTags.FrameOfReferenceUID, $"1.2.40.{slices}.2")
                .Set(DicomTags.SamplesPerPixel, 1)
                .Set(DicomTags.PhotometricInterpretation, "MONOCHROME2")
                .Set(DicomTags.Rows, Size)
                .Set(DicomTags.Columns, Size)
                .Set(DicomTags.PixelSpacing, 1.0, 1.0)
                .Set(DicomTags.BitsAllocated, 16)
                .Set(DicomTags.BitsStored, 12)
                .Set(DicomTags.HighBit, 11)
                .Set(DicomTags.PixelRepresentation, 0L)
                .SetBytes(DicomTags.PixelData, MemoryMarshal.AsBytes(pixels.AsSpan()).ToArray(), DicomVr.OW);
        })];
    }
}
