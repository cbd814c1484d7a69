using System.Buffers;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Yizhan.Dicom;

namespace Yizhan.Samples;

/// <summary>Synthetic CT studies as a scanner in a Chinese hospital would send them: GB18030 names, explicit VR little endian.</summary>
public static class CtStudy
{
    /// <summary>Rows and columns of a slice, 16 bits each.</summary>
    public const int Size = 512;

    private static readonly (string Name, string Sex, string Birth)[] Patients =
    [
        ("Wang^XiaoDong=王^小东", "M", "19580317"),
        ("Li^Na=李^娜", "F", "19710902"),
        ("Zhang^Wei=张^伟", "M", "19830126"),
        ("Ouyang^Jing=欧阳^静", "F", "19660711"),
        ("Chen^Guo Qiang=陈^国强", "M", "19491001"),
    ];

    /// <summary>Writes Part 10 files <c>00000.dcm</c>, … into a folder, which appears when all of them are written.</summary>
    /// <param name="folder">The folder; must not exist.</param>
    /// <param name="instances">Slices over all studies.</param>
    /// <param name="studies">How many patients, each with one study of one series.</param>
    /// <param name="seed">Equal seeds write equal files.</param>
    public static void WriteFiles(string folder, int instances, int studies, int seed)
    {
        var unfinished = folder + ".part";
        Directory.CreateDirectory(unfinished);
        Parallel.For(0, instances, () => new short[Size * Size], (i, _, pixels) =>
        {
            var study = i % studies;
            var dataset = Slice(seed, study, i / studies, (instances - study + studies - 1) / studies, pixels);
            File.WriteAllBytes(
                Path.Combine(unfinished, string.Create(CultureInfo.InvariantCulture, $"{i:00000}.dcm")),
                ToFile(dataset));
            return pixels;
        }, _ => { });
        Directory.Move(unfinished, folder);
    }

    /// <summary>One slice of one study.</summary>
    /// <param name="seed">Seed of all studies.</param>
    /// <param name="study">Number of the study, from 0.</param>
    /// <param name="slice">Number of the slice, from 0.</param>
    /// <param name="slices">Slices of the study.</param>
    /// <param name="pixels">A buffer of <see cref="Size"/> squared that is written over.</param>
    public static DicomDataset Slice(int seed, int study, int slice, int slices, short[] pixels)
    {
        var patient = Patients[study % Patients.Length];
        var spacing = 180.0 / Math.Max(1, slices);
        var z = -90 + slice * spacing;
        new Phantom(seed + study).Slice(z, Size, pixels);

        // Stored values are HU + 1024, as scanners write them: unsigned, with a rescale intercept.
        var stored = new ushort[pixels.Length];
        for (var i = 0; i < stored.Length; i++)
        {
            stored[i] = (ushort)Math.Clamp(pixels[i] + 1024, 0, 4095);
        }

        var studyUid = Uid(seed, study);
        return new DicomDataset()
            .Set(DicomTags.SpecificCharacterSet, "GB18030")
            .Set(DicomTags.ImageType, "ORIGINAL", "PRIMARY", "AXIAL")
            .Set(DicomTags.SOPClassUID, CtImageStorage)
            .Set(DicomTags.SOPInstanceUID, Uid(seed, study, 1, slice))
            .Set(DicomTags.StudyDate, "20261122")
            .Set(DicomTags.SeriesDate, "20261122")
            .Set(DicomTags.StudyTime, string.Create(CultureInfo.InvariantCulture, $"{8 + study % 10:00}3000"))
            .Set(DicomTags.AccessionNumber, string.Create(CultureInfo.InvariantCulture, $"A{seed % 10000:0000}{study:000}"))
            .Set(DicomTags.Modality, "CT")
            .Set(DicomTags.Manufacturer, "Yizhan samples")
            .Set(DicomTags.InstitutionName, "示范县人民医院")
            .Set(DicomTags.StudyDescription, "胸部平扫")
            .Set(DicomTags.SeriesDescription, "Thorax 1.5 mm")
            .Set(DicomTags.PatientName, patient.Name)
            .Set(DicomTags.PatientID, string.Create(CultureInfo.InvariantCulture, $"SYN{seed % 10000:0000}{study:000}"))
            .Set(DicomTags.PatientBirthDate, patient.Birth)
            .Set(DicomTags.PatientSex, patient.Sex)
            .Set(DicomTags.BodyPartExamined, "CHEST")
            .Set(DicomTags.SliceThickness, spacing)
            .Set(DicomTags.KVP, 120)
            .Set(DicomTags.StudyInstanceUID, studyUid)
            .Set(DicomTags.SeriesInstanceUID, Uid(seed, study, 1))
            .Set(DicomTags.StudyID, "1")
            .Set(DicomTags.SeriesNumber, 1)
            .Set(DicomTags.InstanceNumber, slice + 1)
            .Set(DicomTags.ImagePositionPatient, -Phantom.FieldOfViewMm / 2, -Phantom.FieldOfViewMm / 2, z)
            .Set(DicomTags.ImageOrientationPatient, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
            .Set(DicomTags.FrameOfReferenceUID, Uid(seed, study, 2))
            .Set(DicomTags.SamplesPerPixel, 1)
            .Set(DicomTags.PhotometricInterpretation, "MONOCHROME2")
            .Set(DicomTags.Rows, Size)
            .Set(DicomTags.Columns, Size)
            .Set(DicomTags.PixelSpacing, Phantom.FieldOfViewMm / Size, Phantom.FieldOfViewMm / Size)
            .Set(DicomTags.BitsAllocated, 16)
            .Set(DicomTags.BitsStored, 12)
            .Set(DicomTags.HighBit, 11)
            .Set(DicomTags.PixelRepresentation, 0L)
            .Set(DicomTags.WindowCenter, -500.0)
            .Set(DicomTags.WindowWidth, 1500.0)
            .Set(DicomTags.RescaleIntercept, -1024.0)
            .Set(DicomTags.RescaleSlope, 1.0)
            .SetBytes(DicomTags.PixelData, MemoryMarshal.AsBytes(stored.AsSpan()).ToArray(), DicomVr.OW);
    }

    /// <summary>A Part 10 file in explicit VR little endian.</summary>
    public static byte[] ToFile(DicomDataset dataset)
    {
        var file = new ArrayBufferWriter<byte>();
        DicomFile.Create(dataset, DicomTransferSyntax.ExplicitVrLittleEndian).Write(file);
        return file.WrittenSpan.ToArray();
    }

    private const string CtImageStorage = "1.2.840.10008.5.1.4.1.1.2";

    /// <summary>A UID under 2.25 (PS3.5 §B.2) from the hash of what it names: equal seeds give equal UIDs.</summary>
    private static string Uid(params ReadOnlySpan<int> path)
    {
        var hash = SHA256.HashData(Encoding.ASCII.GetBytes("yizhan sample " + string.Join('.', path.ToArray())));
        return "2.25." + new System.Numerics.BigInteger(hash.AsSpan(0, 16), isUnsigned: true, isBigEndian: true).ToString(CultureInfo.InvariantCulture);
    }
}
