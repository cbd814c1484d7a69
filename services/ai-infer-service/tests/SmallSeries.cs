using System.Runtime.InteropServices;
using Yizhan.Dicom;

namespace Yizhan.AiInfer.Tests;

/// <summary>A CT of a few small slices, with a bright block in the middle.</summary>
internal static class SmallSeries
{
    public const int Size = 8;

    /// <summary>A series.</summary>
    /// <param name="study">Number of the study: its UIDs.</param>
    /// <param name="slices">How many.</param>
    /// <param name="block">Hounsfield units of the block of 4×4 in each slice.</param>
    public static List<DicomDataset> Create(int study = 1, int slices = 4, int block = 500) => [.. Enumerable.Range(0, slices).Select(k =>
    {
        var pixels = new short[Size * Size];
        for (var n = 0; n < pixels.Length; n++)
        {
            pixels[n] = (short)(n / Size is >= 2 and < 6 && n % Size is >= 2 and < 6 ? block : -1000);
        }

        return new DicomDataset()
            .Set(DicomTags.SOPClassUID, DicomUids.CtImageStorage)
            .Set(DicomTags.SOPInstanceUID, $"1.2.{study}.1.{k + 1}")
            .Set(DicomTags.StudyDate, "20261122")
            .Set(DicomTags.StudyTime, "120000")
            .Set(DicomTags.Modality, "CT")
            .Set(DicomTags.Manufacturer, "Test")
            .Set(DicomTags.PatientName, "Test^Patient")
            .Set(DicomTags.PatientID, $"P{study}")
            .Set(DicomTags.PatientBirthDate, "19700101")
            .Set(DicomTags.PatientSex, "O")
            .Set(DicomTags.BodyPartExamined, "CHEST")
            .Set(DicomTags.SliceThickness, 2.0)
            .Set(DicomTags.StudyInstanceUID, $"1.2.{study}")
            .Set(DicomTags.SeriesInstanceUID, $"1.2.{study}.1")
            .Set(DicomTags.InstanceNumber, k + 1)
            .Set(DicomTags.ImagePositionPatient, -10.0, -20.0, k * 2.0)
            .Set(DicomTags.ImageOrientationPatient, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
            .Set(DicomTags.FrameOfReferenceUID, $"1.2.{study}.2")
            .Set(DicomTags.SamplesPerPixel, 1)
            .Set(DicomTags.PhotometricInterpretation, "MONOCHROME2")
            .Set(DicomTags.Rows, Size)
            .Set(DicomTags.Columns, Size)
            .Set(DicomTags.PixelSpacing, 5.0, 5.0)
            .Set(DicomTags.BitsAllocated, 16)
            .Set(DicomTags.BitsStored, 16)
            .Set(DicomTags.HighBit, 15)
            .Set(DicomTags.PixelRepresentation, 1L)
            .Set(DicomTags.RescaleIntercept, 0.0)
            .Set(DicomTags.RescaleSlope, 1.0)
            .SetBytes(DicomTags.PixelData, MemoryMarshal.AsBytes(pixels.AsSpan()).ToArray(), DicomVr.OW);
    })];

    /// <summary>The recipe of a bundle for it: everything of at least 0 HU is found.</summary>
    public const string Inference = """
        {"preprocessing":{"_target_":"Compose","transforms":[{"_target_":"Orientationd","axcodes":"PLS"},{"_target_":"ScaleIntensityRanged","a_min":-1000,"a_max":1000,"b_min":0,"b_max":1,"clip":true}]},
         "inferer":{"_target_":"SliceInferer","roi_size":[8,8],"spatial_dim":2},
         "postprocessing":{"_target_":"Compose","transforms":[{"_target_":"AsDiscreted","threshold":0.5}]}}
        """;

    /// <summary>Its settings: urgent above one millilitre; the block of four slices has 16·4·0.05 = 3.2 ml.</summary>
    public const string Settings = """
        {"clinical":{"task":"segmentation","modality":"CT","bodyParts":["CHEST"],"minSlices":2,"urgentAboveMl":1,"segments":[{"value":1,"label":"Block","components":true,
        "category":{"value":"49755003","scheme":"SCT","meaning":"Morphologically Abnormal Structure"},"type":{"value":"27925004","scheme":"SCT","meaning":"Nodule"}}]}}
        """;
}
