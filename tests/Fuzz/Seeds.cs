using System.Buffers;
using Yizhan.Dicom;
using Yizhan.Samples;

namespace Yizhan.Fuzz;

/// <summary>A well-formed file to start from, with the places of its element headers.</summary>
/// <param name="Bytes">The whole file.</param>
/// <param name="DatasetOffset">Where its data set starts.</param>
/// <param name="Elements">Its elements, items and delimiters in order; none when they cannot be seen (deflated).</param>
internal sealed record Seed(byte[] Bytes, int DatasetOffset, IReadOnlyList<SeedElement> Elements);

/// <summary>An element's place in a seed.</summary>
internal readonly record struct SeedElement(int Header, int Value, int Length, bool IsImplicit, bool IsBigEndian);

/// <summary>Files to mutate: phantoms made here, and small files of the corpus beside the checkout, which are read and never copied.</summary>
internal static class Seeds
{
    private const int MaxBytes = 4096;

    /// <summary>Made here in every encoding that needs no codec; the same in every checkout.</summary>
    public static IReadOnlyList<Seed> Generated { get; } =
    [
        .. new[]
        {
            DicomTransferSyntax.ImplicitVrLittleEndian, DicomTransferSyntax.ExplicitVrLittleEndian,
            DicomTransferSyntax.ExplicitVrBigEndian, DicomTransferSyntax.DeflatedExplicitVrLittleEndian,
        }.SelectMany(syntax => new[] { Of(Phantom(), syntax), Of(Names(), syntax), Of(Nested(), syntax) }),
        Of(Encapsulated(), DicomTransferSyntax.Get("1.2.840.10008.1.2.5")),
    ];

    /// <summary>Small files of the corpus that parse, by name; empty where it is absent.</summary>
    public static IReadOnlyList<Seed> Corpus(string folder) => !Directory.Exists(folder) ? [] :
    [
        .. Directory.GetFiles(folder, "*", SearchOption.AllDirectories)
            .Order(StringComparer.Ordinal)
            .Where(file => new FileInfo(file).Length is > 0 and <= MaxBytes)
            .Select(file => TryOf(File.ReadAllBytes(file)))
            .OfType<Seed>(),
    ];

    private static Seed Of(DicomDataset dataset, DicomTransferSyntax syntax)
    {
        var output = new ArrayBufferWriter<byte>();
        DicomFile.Create(dataset, syntax).Write(output);
        return TryOf(output.WrittenSpan.ToArray())!;
    }

    private static Seed? TryOf(byte[] bytes)
    {
        try
        {
            var header = DicomFileHeader.Read(bytes);
            var elements = new List<SeedElement>();
            if (!header.TransferSyntax.IsDeflated)
            {
                ReadOnlySpan<byte> input = bytes.AsSpan((int)header.DatasetOffset);
                var tokenizer = new DicomTokenizer(header.TransferSyntax, length: input.Length, origin: header.DatasetOffset);
                while (tokenizer.Read(ref input))
                {
                    var length = tokenizer.Kind is DicomTokenKind.Element or DicomTokenKind.Fragment ? (int)tokenizer.Length : 0;
                    elements.Add(new SeedElement(
                        (int)tokenizer.HeaderOffset, (int)tokenizer.ValueOffset, length, tokenizer.IsImplicitVr, tokenizer.IsBigEndian));
                }
            }

            return new Seed(bytes, (int)header.DatasetOffset, elements);
        }
        catch (DicomFormatException)
        {
            // Malformed on purpose: it is read by the parser's tests, and is no start for mutations that keep some structure.
            return null;
        }
    }

    private static DicomDataset Phantom()
    {
        var slice = CtStudy.Slice(1, 1, 1, 2, new short[CtStudy.Size * CtStudy.Size]);
        return slice.Set(DicomTags.Rows, 8).Set(DicomTags.Columns, 8).SetBytes(DicomTags.PixelData, new byte[128], DicomVr.OW);
    }

    private static DicomDataset Names() => Identified()
        .Set(DicomTags.SpecificCharacterSet, "", "ISO 2022 IR 87", "ISO 2022 IR 58")
        .Set(DicomTags.PatientName, "Wang^XiaoDong=王^小东=")
        .Set(DicomTags.WindowCenter, 1.5, -40)
        .Set(DicomTags.ImageType, "ORIGINAL", "PRIMARY", "AXIAL")
        .Set(DicomTags.StudyDate, "20260102")
        .Set(DicomTags.PixelSpacing, 0.7, 0.7);

    private static DicomDataset Nested()
    {
        var inner = new DicomDataset().Set(DicomTags.ReferencedSOPInstanceUID, "1.2.3").Set(DicomTags.Rows, 2);
        for (var depth = 0; depth < 5; depth++)
        {
            inner = new DicomDataset().Set(DicomElement.OfItems(DicomTags.ContentSequence, [inner, new DicomDataset()], depth % 2 == 0));
        }

        return Identified().Set(DicomTags.ReferencedStudySequence, inner)
            .SetBytes(DicomTag.Parse("00091010"), new byte[] { 1, 2, 3, 4 }, DicomVr.UN)
            .SetBytes(DicomTag.Parse("00090010"), "YIZHAN TEST "u8.ToArray(), DicomVr.LO);
    }

    private static DicomDataset Encapsulated() => Identified()
        .Set(DicomTags.Rows, 2).Set(DicomTags.Columns, 2).Set(DicomTags.BitsAllocated, 8)
        .Set(DicomElement.OfFragments(DicomTags.PixelData, [Edits.UInt32(0, false), new byte[70], new byte[12]]));

    private static DicomDataset Identified() => new DicomDataset()
        .Set(DicomTags.SOPClassUID, DicomUids.CtImageStorage)
        .Set(DicomTags.SOPInstanceUID, "2.25.1")
        .Set(DicomTags.StudyInstanceUID, "2.25.2")
        .Set(DicomTags.SeriesInstanceUID, "2.25.3");
}
