using Yizhan.AiInfer.Clinical;
using Yizhan.Dicom;

namespace Yizhan.AiInfer.Tests;

/// <summary>What is an image that a model may see, and what is refused with the reason.</summary>
public sealed class SeriesReaderTests
{
    [Fact]
    public void Slices_are_put_in_the_order_of_their_positions_with_their_values()
    {
        var slices = SmallSeries.Create();
        slices.Reverse();
        var series = SeriesReader.Read(slices, 2);
        Assert.Equal([8, 8, 4], series.Image.Size);
        Assert.Equal("PLS", series.Image.AxisCodes);
        Assert.Equal(["1", "2", "3", "4"], series.Slices.Select(s => s.GetString(DicomTags.InstanceNumber)));
        Assert.Equal((-1000, 500), (series.Image[0, 0, 0], series.Image[3, 3, 1]));
        Assert.Equal(0.05, series.Image.VoxelMl, 9);

        // Image Position −10\−20\0 in DICOM's axes is 10, 20, 0 to the right and the front.
        Assert.Equal((10, 20, 0), series.Image.Affine.At(0, 0, 0));
    }

    [Fact]
    public void Equal_input_has_an_equal_digest_and_a_changed_pixel_another()
    {
        var a = SeriesReader.Read(SmallSeries.Create(), 2).Digest;
        Assert.Equal(a, SeriesReader.Read(SmallSeries.Create(), 2).Digest);
        Assert.NotEqual(a, SeriesReader.Read(SmallSeries.Create(block: 501), 2).Digest);
    }

    [Fact]
    [Trait("Clause", "S3")]
    public void What_is_not_one_plain_image_is_refused_with_the_reason()
    {
        Refused("1 slice; this model needs 2", s => s.RemoveRange(1, 3));
        Refused("Between instances 2 and 4 there are 4 mm, elsewhere 2 mm: slices are missing", s => s.RemoveAt(2), slices: 6);
        Refused("are at one position", s => s[1].Set(DicomTags.ImagePositionPatient, -10.0, -20.0, 0.0));
        Refused("sheared by 26.6° (gantry tilt)", s => Each(s, (slice, k) => slice.Set(DicomTags.ImagePositionPatient, -10.0, -20.0 + k, k * 2.0)));
        Refused("slices of different orientation are mixed", s => s[2].Set(DicomTags.ImageOrientationPatient, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0));
        Refused("slices of different pixel spacing are mixed", s => s[2].Set(DicomTags.PixelSpacing, 4.0, 5.0));
        Refused("has frame of reference 1.9", s => s[3].Set(DicomTags.FrameOfReferenceUID, "1.9"));
        Refused("Photometric Interpretation is MONOCHROME1", s => Each(s, (slice, _) => slice.Set(DicomTags.PhotometricInterpretation, "MONOCHROME1")));
        Refused("Photometric Interpretation is RGB", s => Each(s, (slice, _) => slice.Set(DicomTags.PhotometricInterpretation, "RGB").Set(DicomTags.SamplesPerPixel, 3)));
        Refused("no rescale slope", s => s[0].Remove(DicomTags.RescaleSlope));
        Refused("multi-frame", s => s[0].Set(DicomTags.NumberOfFrames, 3));
        Refused("has rows 4", s => s[1].Set(DicomTags.Rows, 4));
        Refused("bytes of pixels", s => s[1].SetBytes(DicomTags.PixelData, new byte[10], DicomVr.OW));
        Refused("has no ImagePositionPatient of 3 numbers", s => s[1].Remove(DicomTags.ImagePositionPatient));
    }

    private static void Each(List<DicomDataset> slices, Action<DicomDataset, int> change)
    {
        for (var k = 0; k < slices.Count; k++)
        {
            change(slices[k], k);
        }
    }

    private static void Refused(string reason, Action<List<DicomDataset>> change, int slices = 4)
    {
        var series = SmallSeries.Create(slices: slices);
        change(series);
        Assert.Contains(reason, Assert.Throws<SeriesRefusedException>(() => SeriesReader.Read(series, 2)).Message, StringComparison.Ordinal);
    }
}
