using System.Buffers.Binary;

namespace Yizhan.Dicom;

/// <summary>The start of a Part 10 file: what it says about the data set that follows (PS3.10 §7.1).</summary>
/// <param name="HasPreamble">True if the 128-byte preamble and "DICM" are there.</param>
/// <param name="Meta">The file meta information; empty if there is none.</param>
/// <param name="TransferSyntax">The transfer syntax of the data set: as declared, or guessed from its first element.</param>
/// <param name="IsTransferSyntaxGuessed">True if the file does not say the transfer syntax.</param>
/// <param name="DatasetOffset">Offset of the data set in the file.</param>
public sealed record DicomFileHeader(
    bool HasPreamble, DicomDataset Meta, DicomTransferSyntax TransferSyntax, bool IsTransferSyntaxGuessed, long DatasetOffset)
{
    /// <summary>Length of the preamble with its "DICM".</summary>
    public const int PreambleLength = 132;

    /// <summary>
    /// Reads the start of a file. Files without preamble, without meta information, without group length or without
    /// transfer syntax are read as well when their first element leaves no doubt.
    /// </summary>
    /// <param name="start">The file, or enough of it: all of the meta information and 8 bytes of the data set.</param>
    /// <exception cref="DicomFormatException">It is not a DICOM file, or is cut inside the meta information.</exception>
    public static DicomFileHeader Read(ReadOnlyMemory<byte> start)
    {
        var bytes = start.Span;
        if (bytes.IsEmpty)
        {
            throw new DicomFormatException("the file is empty", 0);
        }

        var hasPreamble = bytes.Length >= PreambleLength && bytes[128..PreambleLength].SequenceEqual("DICM"u8);
        var metaStart = hasPreamble ? PreambleLength : 0;
        var metaEnd = FindMetaEnd(bytes, metaStart, out var metaSyntax);
        var meta = DicomDataset.Parse(start[metaStart..metaEnd], metaSyntax, DicomLimits.Default, metaStart);
        var declared = meta.GetString(DicomTags.TransferSyntaxUID);
        var syntax = declared is not null
            ? DicomTransferSyntax.Get(declared)
            : GuessSyntax(bytes[metaEnd..])
                ?? throw new DicomFormatException(
                    hasPreamble ? "the meta information has no transfer syntax and the data set's first element does not show it"
                        : "this is not a DICOM file: there is no \"DICM\" at byte 128 and no data element at the start",
                    metaEnd);
        return new DicomFileHeader(hasPreamble, meta, syntax, declared is null, metaEnd);
    }

    // The meta information ends where the group is no longer 0002. Its group length is not trusted: writers forget to
    // update it, and the group numbers cannot lie.
    private static int FindMetaEnd(ReadOnlySpan<byte> bytes, int position, out DicomTransferSyntax syntax)
    {
        syntax = DicomTransferSyntax.ExplicitVrLittleEndian;
        var start = position;
        while (bytes.Length - position >= 8 && BinaryPrimitives.ReadUInt16LittleEndian(bytes[position..]) == 0x0002)
        {
            var vr = (DicomVr)(bytes[position + 4] << 8 | bytes[position + 5]);
            if (position == start && !vr.IsKnown())
            {
                syntax = DicomTransferSyntax.ImplicitVrLittleEndian;
            }

            var isLong = !syntax.IsImplicitVr && vr.HasLongLength();
            if (isLong && bytes.Length - position < 12)
            {
                throw new DicomFormatException("the file ends inside the meta information", position);
            }

            var size = isLong ? 12 : 8;
            long length = isLong ? BinaryPrimitives.ReadUInt32LittleEndian(bytes[(position + 8)..])
                : syntax.IsImplicitVr ? BinaryPrimitives.ReadUInt32LittleEndian(bytes[(position + 4)..])
                : BinaryPrimitives.ReadUInt16LittleEndian(bytes[(position + 6)..]);
            if (length > bytes.Length - position - size)
            {
                var tag = new DicomTag(0x0002, BinaryPrimitives.ReadUInt16LittleEndian(bytes[(position + 2)..]));
                throw new DicomFormatException($"the value declares {length} bytes but {bytes.Length - position - size} remain in the file", position, tag);
            }

            position += size + (int)length;
        }

        return position;
    }

    // Explicit VR shows itself by a VR; the byte order by the group number, which is small in a first element. Implicit
    // VR big endian does not exist. Without a VR the element must be one of the dictionary, else any text would pass.
    private static DicomTransferSyntax? GuessSyntax(ReadOnlySpan<byte> data)
    {
        if (data.Length < 8)
        {
            return null;
        }

        var little = BinaryPrimitives.ReadUInt16LittleEndian(data);
        var big = BinaryPrimitives.ReadUInt16BigEndian(data);
        if (((DicomVr)(data[4] << 8 | data[5])).IsKnown())
        {
            return little <= big ? DicomTransferSyntax.ExplicitVrLittleEndian : DicomTransferSyntax.ExplicitVrBigEndian;
        }

        var tag = new DicomTag(little, BinaryPrimitives.ReadUInt16LittleEndian(data[2..]));
        var isPlausible = little < big && little != 0 && (tag.IsPrivate || tag.IsGroupLength || DicomDictionary.TryGet(tag, out _));
        return isPlausible ? DicomTransferSyntax.ImplicitVrLittleEndian : null;
    }
}

/// <summary>A Part 10 file in memory.</summary>
public sealed partial class DicomFile
{
    /// <summary>A file of a data set and meta information about it.</summary>
    public DicomFile(DicomFileHeader header, DicomDataset dataset)
    {
        Header = header;
        Dataset = dataset;
    }

    /// <summary>Preamble, meta information and transfer syntax.</summary>
    public DicomFileHeader Header { get; }

    /// <summary>The data set.</summary>
    public DicomDataset Dataset { get; }

    /// <summary>The file meta information.</summary>
    public DicomDataset Meta => Header.Meta;

    /// <summary>The transfer syntax of the data set.</summary>
    public DicomTransferSyntax TransferSyntax => Header.TransferSyntax;

    /// <summary>Parses a file; values stay where they are in <paramref name="file"/>.</summary>
    /// <exception cref="DicomFormatException">
    /// The file is not valid; offsets count from the start of the file, for a deflated data set from its inflated start.
    /// </exception>
    public static DicomFile Parse(ReadOnlyMemory<byte> file, DicomLimits? limits = null)
    {
        limits ??= DicomLimits.Default;
        var header = DicomFileHeader.Read(file);
        var data = file[(int)header.DatasetOffset..];
        var dataset = header.TransferSyntax.IsDeflated
            ? DicomDataset.Parse(data, header.TransferSyntax, limits)
            : DicomDataset.Parse(data, header.TransferSyntax, limits, header.DatasetOffset);
        return new DicomFile(header, dataset);
    }
}
