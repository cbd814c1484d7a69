using System.Security.Cryptography;
using System.Text;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Tests;

/// <summary>The files of the corpus beside the checkout, as rows of theories.</summary>
internal static class CorpusFiles
{
    private const string Absent = "(the corpus is not here)";

    /// <summary>Names below the corpus folder; one that says so when it is absent, so that the theory skips and does not fail.</summary>
    public static TheoryData<string> All()
    {
        var folder = Outside.CorpusFolder;
        return Directory.Exists(folder)
            ? [.. Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(folder, f)).Order(StringComparer.Ordinal)]
            : [Absent];
    }

    /// <summary>False for the row that stands for an absent corpus.</summary>
    public static bool IsHere(string name) => name != Absent;

    public static string PathOf(string name)
    {
        Assert.SkipWhen(name == Absent, "The DICOM test files (../shared/corpus/dicom/given) are not here.");
        return Path.Combine(Outside.CorpusFolder, name);
    }

    /// <summary>
    /// The file with a SOP Instance UID of its own, because several of the corpus share one, and with study and series where it has
    /// none; null when it is no DICOM file. Everything else, the encoding too, stays.
    /// </summary>
    public static DicomFile? Unique(string name)
    {
        try
        {
            var file = DicomFile.Parse(File.ReadAllBytes(PathOf(name)));
            var uid = "2.25." + new System.Numerics.BigInteger(SHA256.HashData(Encoding.UTF8.GetBytes(name)).AsSpan(0, 15), isUnsigned: true);
            file.Dataset.Set(DicomTags.SOPInstanceUID, uid);
            foreach (var tag in (DicomTag[])[DicomTags.StudyInstanceUID, DicomTags.SeriesInstanceUID])
            {
                if (file.Dataset.GetString(tag) is null)
                {
                    file.Dataset.Set(tag, uid + (tag == DicomTags.StudyInstanceUID ? ".1" : ".2"));
                }
            }

            if (file.Dataset.GetString(DicomTags.SOPClassUID) is null)
            {
                file.Dataset.Set(DicomTags.SOPClassUID, "1.2.840.10008.5.1.4.1.1.7");
            }

            return file;
        }
        catch (DicomFormatException)
        {
            return null;
        }
    }

    public static byte[] Bytes(DicomFile file)
    {
        var bytes = new System.Buffers.ArrayBufferWriter<byte>();
        DicomFile.Create(file.Dataset, file.TransferSyntax).Write(bytes);
        return bytes.WrittenSpan.ToArray();
    }
}
