using System.Collections.Frozen;
using System.Globalization;
using System.Text;

namespace Yizhan.Dicom;

/// <summary>What PS3.6 says about an element.</summary>
/// <param name="Tag">The tag; for repeating groups the one asked for.</param>
/// <param name="Vr">The VR; US where it is US or SS, OW where it is OB or OW.</param>
/// <param name="Vm">The value multiplicity, such as "1", "1-n" or "2-2n".</param>
/// <param name="Keyword">The keyword, such as "PatientName".</param>
public readonly record struct DicomDictionaryEntry(DicomTag Tag, DicomVr Vr, string Vm, string Keyword);

/// <summary>
/// The data dictionary of PS3.6 and PS3.7: public elements only. A private element has a known meaning only together
/// with its private creator, so its VR is LO (creator), UL (group length) or UN.
/// </summary>
public static partial class DicomDictionary
{
    private static readonly Index Entries = Index.Build();

    /// <summary>The VR of an element in implicit VR encodings. UN when it is not in the dictionary.</summary>
    public static DicomVr GetVr(DicomTag tag)
    {
        if (tag.IsGroupLength)
        {
            return DicomVr.UL;
        }

        if (tag.IsPrivate)
        {
            return tag.IsPrivateCreator ? DicomVr.LO : DicomVr.UN;
        }

        var row = Entries.Find(tag);
        return row < 0 ? DicomVr.UN : Entries.Vrs[row];
    }

    /// <summary>Finds a public element.</summary>
    public static bool TryGet(DicomTag tag, out DicomDictionaryEntry entry)
    {
        var row = tag.IsPrivate ? -1 : Entries.Find(tag);
        if (row < 0)
        {
            entry = default;
            return false;
        }

        var (vm, keyword) = Entries.Text(row);
        entry = new DicomDictionaryEntry(tag, Entries.Vrs[row], vm, keyword);
        return true;
    }

    /// <summary>Finds a tag by its keyword (exact case).</summary>
    public static bool TryGetTag(ReadOnlySpan<char> keyword, out DicomTag tag) =>
        Keywords.Lookup.TryGetValue(keyword, out tag);

    /// <summary>Every keyword, such as <c>PatientName</c>; no order.</summary>
    public static IReadOnlyCollection<string> AllKeywords => Keywords.Lookup.Dictionary.Keys;

    /// <summary>True if the VR in the standard is "US or SS", decided by Pixel Representation (PS3.5 §A.1).</summary>
    internal static bool IsUnsignedOrSigned(DicomTag tag)
    {
        var row = Entries.Find(tag);
        return row >= 0 && Entries.Signed[row];
    }

    private static class Keywords
    {
        internal static readonly FrozenDictionary<string, DicomTag>.AlternateLookup<ReadOnlySpan<char>> Lookup =
            Enumerable.Range(0, Entries.Tags.Length)
                .DistinctBy(row => Entries.Text(row).Keyword)
                .ToFrozenDictionary(row => Entries.Text(row).Keyword, row => new DicomTag(Entries.Tags[row]))
                .GetAlternateLookup<ReadOnlySpan<char>>();
    }

    private sealed record Index(uint[] Tags, DicomVr[] Vrs, bool[] Signed, int[] Lines)
    {
        internal static Index Build()
        {
            var count = Table.Count((byte)'\n');
            var index = new Index(new uint[count], new DicomVr[count], new bool[count], new int[count + 1]);
            var offset = 0;
            for (var row = 0; row < count; row++)
            {
                var line = Table[offset..];
                index.Lines[row] = offset;
                index.Tags[row] = uint.Parse(line[..8], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
                var vr = (DicomVr)(line[9] << 8 | line[10]);
                index.Signed[row] = vr == (DicomVr)('x' << 8 | 's');
                index.Vrs[row] = (line[9], line[10]) switch
                {
                    ((byte)'x', _) => DicomVr.US,
                    ((byte)'o' or (byte)'p' or (byte)'l', _) => DicomVr.OW,
                    ((byte)'u', _) => DicomVr.UL,
                    ((byte)'n', _) => DicomVr.None,
                    _ => vr,
                };
                offset += line.IndexOf((byte)'\n') + 1;
            }

            index.Lines[count] = offset;
            return index;
        }

        internal int Find(DicomTag tag)
        {
            var row = Array.BinarySearch(Tags, tag.Value);
            return row >= 0 ? row : FindRepeating(tag);
        }

        internal (string Vm, string Keyword) Text(int row)
        {
            // The table is a verbatim string: with its line ends, each line is "TTTTTTTT VR VM Keyword\n".
            var line = Encoding.ASCII.GetString(Table[(Lines[row] + 12)..(Lines[row + 1] - 1)]);
            var space = line.IndexOf(' ', StringComparison.Ordinal);
            return (line[..space], line[(space + 1)..]);
        }

        // Curves 50xx, overlays 60xx and variable pixel data 7Fxx repeat in even groups (PS3.5 §7.6); (0020,31xx) too.
        private int FindRepeating(DicomTag tag) => (tag.Group >> 8) switch
        {
            0x50 => Array.BinarySearch(Tags, 0x50000000u | tag.Element),
            0x60 => Array.BinarySearch(Tags, 0x60000000u | tag.Element),
            0x7F when tag.Group != 0x7FE0 => Array.BinarySearch(Tags, 0x7F000000u | tag.Element),
            0x00 when tag.Value >> 8 == 0x002031 => Array.BinarySearch(Tags, 0x00203100u),
            _ => -1,
        };
    }
}
