using System.Buffers;
using System.Buffers.Binary;
using CsCheck;

namespace Yizhan.Dicom.Tests;

internal static class TestData
{
    internal static readonly DicomTransferSyntax[] Uncompressed =
    [
        DicomTransferSyntax.ImplicitVrLittleEndian, DicomTransferSyntax.ExplicitVrLittleEndian,
        DicomTransferSyntax.ExplicitVrBigEndian, DicomTransferSyntax.DeflatedExplicitVrLittleEndian,
    ];

    // Public elements whose VR follows from the tag, so that implicit VR gives the same data set.
    private static readonly DicomTag[] Tags =
        [.. "00080016 00080060 00080090 00100010 00100020 00100030 00101010 00101030 00102154 00102180 00104000 00180050 0020000D 00200013 00209057 00280010 00280009 00281050 00409225 00720074 00720082 00720083 0040A124 00081190 00080120 00720026 00189087 00720065 00020102 7FE00010 7FE00008 00091010 00290010 60003000"
            .Split(' ').Select(DicomTag.Parse)];

    private static readonly DicomTag[] Sequences = [DicomTags.ReferencedStudySequence, DicomTags.ContentSequence, DicomTags.RequestAttributesSequence];

    /// <summary>Random data sets with up to three levels of sequences.</summary>
    internal static Gen<DicomDataset> Datasets { get; } = DatasetsOf(3);

    internal static byte[] Bytes(DicomFile file)
    {
        var output = new ArrayBufferWriter<byte>();
        file.Write(output);
        return output.WrittenSpan.ToArray();
    }

    /// <summary>A header in explicit VR little endian.</summary>
    internal static byte[] Explicit(DicomTag tag, string vr, uint length, params ReadOnlySpan<byte> value)
    {
        var isLong = !((DicomVr)(vr[0] << 8 | vr[1])).HasShortLength();
        var bytes = new byte[(isLong ? 12 : 8) + value.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, tag.Group);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(2), tag.Element);
        (bytes[4], bytes[5]) = ((byte)vr[0], (byte)vr[1]);
        if (isLong)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), length);
        }
        else
        {
            BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(6), (ushort)length);
        }

        value.CopyTo(bytes.AsSpan(isLong ? 12 : 8));
        return bytes;
    }

    /// <summary>An item or delimiter, or an element in implicit VR little endian.</summary>
    internal static byte[] Implicit(DicomTag tag, uint length, params ReadOnlySpan<byte> value)
    {
        var bytes = new byte[8 + value.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, tag.Group);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(2), tag.Element);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), length);
        value.CopyTo(bytes.AsSpan(8));
        return bytes;
    }

    internal static void AssertSame(DicomDataset expected, DicomDataset actual)
    {
        Assert.Equal(expected.Select(e => (e.Tag, e.Vr)), actual.Select(e => (e.Tag, e.Vr)));
        foreach (var (left, right) in expected.Zip(actual))
        {
            if (left.Items is { } items)
            {
                Assert.NotNull(right.Items);
                Assert.Equal(items.Count, right.Items.Count);
                foreach (var (leftItem, rightItem) in items.Zip(right.Items))
                {
                    AssertSame(leftItem, rightItem);
                }
            }
            else if (left.Fragments is { } fragments)
            {
                Assert.Equal(fragments.Select(f => Convert.ToHexString(f.Span)), right.Fragments?.Select(f => Convert.ToHexString(f.Span)) ?? []);
            }
            else
            {
                Assert.Equal(LittleEndian(left), LittleEndian(right));
            }
        }
    }

    private static string LittleEndian(DicomElement element)
    {
        var bytes = element.Value.ToArray();
        var size = element.Vr.WordSize();
        for (var i = 0; element.IsBigEndian && i + size <= bytes.Length; i += size)
        {
            bytes.AsSpan(i, size).Reverse();
        }

        return Convert.ToHexString(bytes);
    }

    private static Gen<DicomDataset> DatasetsOf(int depth) =>
        Gen.Select(
            Gen.Int[0, Tags.Length - 1].Select(i => Tags[i]).SelectMany(tag => Values(tag).Select(value => (tag, value))).List[0, 8],
            depth == 0 ? Gen.Const(new List<(DicomTag, DicomDataset[], bool)>()) : SequencesOf(depth).List[0, 2],
            Gen.Bool,
            (values, sequences, isUndefined) =>
            {
                var dataset = new DicomDataset { IsUndefinedLength = isUndefined };
                foreach (var (tag, value) in values)
                {
                    dataset.Set(DicomElement.OfValue(tag, DicomDictionary.GetVr(tag), value));
                }

                foreach (var (tag, items, isUndefinedSequence) in sequences)
                {
                    dataset.Set(DicomElement.OfItems(tag, items, isUndefinedSequence));
                }

                return dataset;
            });

    private static Gen<(DicomTag Tag, DicomDataset[] Items, bool IsUndefined)> SequencesOf(int depth) =>
        Gen.Select(Gen.Int[0, Sequences.Length - 1].Select(i => Sequences[i]), DatasetsOf(depth - 1).Array[0, 3], Gen.Bool);

    private static Gen<byte[]> Values(DicomTag tag)
    {
        var vr = DicomDictionary.GetVr(tag);
        var size = Math.Max(2, vr == DicomVr.AT ? 4 : vr.WordSize());
        return vr.IsText()
            ? Gen.Char['0', '9'].Array[0, 20].Select(chars => DicomValues.Pad(System.Text.Encoding.ASCII.GetBytes(chars), vr == DicomVr.UI ? (byte)0 : (byte)' '))
            : Gen.Int[0, 6].SelectMany(count => Gen.Byte.Array[count * size]);
    }
}
