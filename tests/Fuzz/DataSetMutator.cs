using System.Text;
using Yizhan.Dicom;

namespace Yizhan.Fuzz;

/// <summary>Changes data sets where it hurts: tags, VRs, lengths, nesting, delimiters, text.</summary>
internal sealed class DataSetMutator(IReadOnlyList<Seed> generated, IReadOnlyList<Seed> corpus)
{
    private static readonly byte[][] Texts =
    [
        [0x1B, 0x24, 0x42, 0x3B, 0x33], [0x1B, 0x24, 0x29, 0x41, 0xD0, 0xA1], [0x1B], [0x1B, 0x28], "\\\\\\\\"u8.ToArray(), "^^^===="u8.ToArray(), "1e999"u8.ToArray(),
        "-"u8.ToArray(), "NaN"u8.ToArray(), [0x81, 0x30, 0x81], [0xFF, 0xFE], [0xED, 0xA0, 0x80], "ISO_IR 192"u8.ToArray(), "GB18030"u8.ToArray(), "ISO 2022 IR 149"u8.ToArray(),
        "\\ISO 2022 IR 87\\ISO 2022 IR 159"u8.ToArray(), "99999999999999999999"u8.ToArray(), [0, 0, 0, 0, 0, 0],
    ];

    private static readonly DicomTag[] Tags =
    [
        DicomTags.Item, DicomTags.ItemDelimitationItem, DicomTags.SequenceDelimitationItem, DicomTags.PixelData, DicomTags.SpecificCharacterSet,
        DicomTags.ReferencedStudySequence, DicomTags.PixelRepresentation, DicomTags.ExtendedOffsetTable, new(0x0009, 0x0000), new(0x0009, 0x1010), new(0, 0),
        new(0x0002, 0x0010), new(0xFFFF, 0xFFFF), DicomTags.StudyInstanceUID, DicomTags.SOPInstanceUID,
    ];

    private static readonly string[] Vrs = ["SQ", "UN", "OB", "OW", "UT", "UC", "UV", "PN", "DS", "AT", "FD", "SS", "UI", "ZZ", "\0\0", "  "];

    private readonly Edits _edits = new();

    /// <summary>A file, mostly still one.</summary>
    public byte[] Make(Chance chance)
    {
        var seed = corpus.Count > 0 && chance.OneIn(2) ? corpus[chance.Below(corpus.Count)] : generated[chance.Below(generated.Count)];
        for (var n = 1 + chance.Below(4); n > 0; n--)
        {
            if (seed.Elements.Count > 0 && !chance.OneIn(3))
            {
                AddToElement(seed, seed.Elements[chance.Below(seed.Elements.Count)], chance);
            }
            else
            {
                // The preamble says nothing; the meta information is worth a part of the tries.
                _edits.AddBlind(seed.Bytes, chance.OneIn(4) ? Math.Min(132, seed.DatasetOffset) : seed.DatasetOffset, chance);
            }
        }

        return _edits.Apply(seed.Bytes);
    }

    private void AddToElement(Seed seed, SeedElement element, Chance chance)
    {
        var isShort = !element.IsImplicit && element.Value - element.Header == 8;
        switch (chance.Below(11))
        {
            case 0:
                _edits.Replace(element.Value - (isShort ? 2 : 4), isShort ? 2 : 4, isShort
                    ? Edits.UInt16((ushort)chance.Length(), element.IsBigEndian)
                    : Edits.UInt32(chance.Length(), element.IsBigEndian));
                break;
            case 1:
                _edits.Replace(element.Header + 4, 2, Encoding.ASCII.GetBytes(chance.Of<string>(Vrs)));
                break;
            case 2:
                _edits.Replace(element.Header, 4, TagBytes(chance.Of<DicomTag>(Tags), element.IsBigEndian));
                break;
            case 3:
                _edits.Replace(element.Header, element.Value + element.Length - element.Header);
                break;
            case 4:
                var other = seed.Elements[chance.Below(seed.Elements.Count)];
                _edits.Replace(element.Header, 0, seed.Bytes[other.Header..(other.Value + other.Length)]);
                break;
            case 5:
                _edits.Replace(element.Header, 0, Nest(element, chance));
                break;
            case 6:
                _edits.Replace(element.Header, 0, [
                    .. TagBytes(chance.Of<DicomTag>(Tags.AsSpan(0, 3)), element.IsBigEndian), .. Edits.UInt32(chance.OneIn(2) ? 0 : chance.Length(), element.IsBigEndian)]);
                break;
            case 7:
                var text = chance.Of<byte[]>(Texts);
                _edits.Replace(element.Value, Math.Min(text.Length, element.Length), text.AsSpan(0, Math.Min(text.Length, element.Length)).ToArray());
                break;
            case 8:
                _edits.Replace(element.Value + chance.Below(element.Length + 1), seed.Bytes.Length);
                break;
            case 9:
                // Another value whose length is right, so that what reads values is reached.
                var value = new byte[chance.Below(40) & ~1];
                for (var i = 0; i < value.Length; i++)
                {
                    value[i] = chance.OneIn(2) ? (byte)chance.Below(256) : (byte)(0x20 + chance.Below(0x5F));
                }

                _edits.Replace(element.Value - (isShort ? 2 : 4), (isShort ? 2 : 4) + element.Length, [
                    .. isShort ? Edits.UInt16((ushort)value.Length, element.IsBigEndian) : Edits.UInt32((uint)value.Length, element.IsBigEndian), .. value]);
                break;
            default:
                _edits.Replace(element.Header, 0, new byte[chance.Below(20)]);
                break;
        }
    }

    /// <summary>Sequences in each other, around nothing, up to beyond the bound on depth.</summary>
    private static byte[] Nest(SeedElement element, Chance chance)
    {
        var bytes = new List<byte>();
        for (var depth = 1 + chance.Below(chance.OneIn(4) ? 100 : 8); depth > 0; depth--)
        {
            bytes.AddRange(TagBytes(DicomTags.ContentSequence, element.IsBigEndian));
            bytes.AddRange(element.IsImplicit ? [] : "SQ\0\0"u8.ToArray());
            bytes.AddRange(Edits.UInt32(chance.OneIn(8) ? chance.Length() : DicomTokenizer.UndefinedLength, element.IsBigEndian));
            bytes.AddRange(TagBytes(DicomTags.Item, element.IsBigEndian));
            bytes.AddRange(Edits.UInt32(chance.OneIn(8) ? chance.Length() : DicomTokenizer.UndefinedLength, element.IsBigEndian));
        }

        return [.. bytes];
    }

    private static byte[] TagBytes(DicomTag tag, bool isBigEndian) =>
        [.. Edits.UInt16(tag.Group, isBigEndian), .. Edits.UInt16(tag.Element, isBigEndian)];
}
