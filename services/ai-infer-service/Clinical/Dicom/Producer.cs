using System.Globalization;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using Yizhan.AiInfer.Repository;
using Yizhan.Dicom;

namespace Yizhan.AiInfer.Clinical.Dicom;

/// <summary>What results say about where they come from, and their UIDs: equal model, settings and input give equal UIDs, so that a repeated analysis is no second result.</summary>
/// <param name="Bundle">The model.</param>
/// <param name="Series">What was analysed.</param>
/// <param name="Site">Site of this node.</param>
/// <param name="At">When.</param>
internal sealed record Producer(ModelBundle Bundle, SeriesImage Series, string Site, DateTimeOffset At)
{
    /// <summary>What every result of a model says that is not made for clinical decisions.</summary>
    public const string Disclaimer = "NOT FOR CLINICAL USE";

    /// <summary>Tags by keyword.</summary>
    public static DicomTag Tag(string keyword) => DicomDictionary.TryGetTag(keyword, out var tag) ? tag : throw new ArgumentException($"'{keyword}' is no keyword of PS3.6.", nameof(keyword));

    /// <summary>A UID for a part of the result.</summary>
    public string Uid(string part)
    {
        var hash = SHA256.HashData(Encoding.UTF8.GetBytes($"{Bundle.Digest}\n{Series.StudyUid}\n{Series.SeriesUid}\n{Series.Digest}\n{part}"));
        return "2.25." + new BigInteger(hash.AsSpan(0, 16), isUnsigned: true, isBigEndian: true).ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>The disclaimer, where there is one.</summary>
    public string? Warning => Bundle.Settings.ClinicalUse ? null : Disclaimer;

    /// <summary>Patient, study, equipment and identity of a derived object.</summary>
    /// <param name="sopClassUid">Its class.</param>
    /// <param name="modality">SEG, SR or OT.</param>
    /// <param name="what">Part for the UIDs and words for the description.</param>
    public DicomDataset Begin(string sopClassUid, string modality, string what)
    {
        var source = Series.First;
        var result = new DicomDataset();
        foreach (var keyword in (string[])["SpecificCharacterSet", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "PatientName", "PatientID",
            "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyInstanceUID", "StudyID"])
        {
            if (source.TryGet(Tag(keyword), out var element))
            {
                result.Set(element);
            }
        }

        // Type 2: they are there, also empty (PS3.3 C.7.1.1, C.7.2.1).
        foreach (var keyword in (string[])["StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID"])
        {
            if (!result.Contains(Tag(keyword)))
            {
                result.SetBytes(Tag(keyword), default);
            }
        }

        var (date, time) = (At.ToString("yyyyMMdd", CultureInfo.InvariantCulture), At.ToString("HHmmss", CultureInfo.InvariantCulture));
        return result
            .Set(DicomTags.SOPClassUID, sopClassUid)
            .Set(DicomTags.SOPInstanceUID, Uid(what))
            .Set(Tag("SeriesInstanceUID"), Uid("series " + what))
            .Set(Tag("SeriesNumber"), modality == "SEG" ? 9001L : modality == "SR" ? 9002L : 9003L)
            .Set(DicomTags.InstanceNumber, 1L)
            .Set(DicomTags.Modality, modality)
            .Set(Tag("SeriesDescription"), Cut($"{Bundle.Manifest.Name} {Bundle.Manifest.Version} {what}{(Warning is null ? "" : " - " + Warning)}", 64))
            .Set(Tag("SeriesDate"), date).Set(Tag("SeriesTime"), time)
            .Set(Tag("ContentDate"), date).Set(Tag("ContentTime"), time)
            .Set(Tag("InstanceCreationDate"), date).Set(Tag("InstanceCreationTime"), time)
            .Set(Tag("TimezoneOffsetFromUTC"), "+0000")
            .Set(Tag("Manufacturer"), "Yizhan")
            .Set(Tag("ManufacturerModelName"), Cut(Bundle.Manifest.Name, 64))
            .Set(Tag("DeviceSerialNumber"), Cut(Site, 64))
            .Set(Tag("SoftwareVersions"), Cut(Bundle.Manifest.Version, 64), Bundle.Digest[..16]);
    }

    /// <summary>A reference to an instance.</summary>
    public static DicomDataset Reference(string sopClassUid, string sopInstanceUid) =>
        new DicomDataset().Set(Tag("ReferencedSOPClassUID"), sopClassUid).Set(Tag("ReferencedSOPInstanceUID"), sopInstanceUid);

    /// <summary>A reference to a slice of the source.</summary>
    public static DicomDataset Reference(DicomDataset slice) => Reference(slice.GetString(DicomTags.SOPClassUID)!, slice.GetString(DicomTags.SOPInstanceUID)!);

    /// <summary>A coded concept.</summary>
    public static DicomDataset Coded(Code code) => new DicomDataset()
        .Set(Tag("CodeValue"), code.Value).Set(Tag("CodingSchemeDesignator"), code.Scheme).Set(Tag("CodeMeaning"), Cut(code.Meaning, 64));

    /// <summary>Text of at most so many characters.</summary>
    public static string Cut(string text, int length) => text.Length > length ? text[..length] : text;
}
