using System.Buffers;
using System.Buffers.Binary;
using System.IO.Compression;

namespace Yizhan.Dicom;

/// <summary>How lengths of sequences and items are written.</summary>
public enum DicomSequenceLength
{
    /// <summary>As each was read; defined for those built in code.</summary>
    AsRead,
    /// <summary>All with their length.</summary>
    Defined,
    /// <summary>All with undefined length and delimiters.</summary>
    Undefined,
}

/// <summary>
/// Writes data sets in any transfer syntax. Numbers are swapped where the byte order changes; compressed pixel data is
/// carried over, never decoded.
/// </summary>
/// <remarks>
/// Values of odd length are padded. Group lengths that are there are computed anew. A value that is too long for the
/// 16-bit length of its VR is written as UN (PS3.5 §6.2.2). Items that came in UN of undefined length are written as SQ.
/// </remarks>
public static class DicomWriter
{
    // The tree is written by recursion; parsed ones are bounded by DicomLimits.MaxDepth, this is for those built in code.
    private const int MaxDepth = 512;

    /// <summary>Writes a data set.</summary>
    /// <exception cref="ArgumentException">
    /// Encapsulated pixel data cannot be in the transfer syntax, a sequence is longer than 4 GiB, or nesting is too deep.
    /// </exception>
    public static void Write(
        IBufferWriter<byte> output, DicomDataset dataset, DicomTransferSyntax syntax, DicomSequenceLength lengths = DicomSequenceLength.AsRead)
    {
        if (syntax.IsDeflated)
        {
            WriteDeflated(output, dataset, syntax, lengths);
            return;
        }

        var pass = new Pass(syntax, lengths);
        pass.Measure(dataset, 0);
        pass.Write(output, dataset);
    }

    /// <summary>The bytes of a data set; see <see cref="Write"/>.</summary>
    public static byte[] ToArray(DicomDataset dataset, DicomTransferSyntax syntax, DicomSequenceLength lengths = DicomSequenceLength.AsRead)
    {
        var output = new ArrayBufferWriter<byte>();
        Write(output, dataset, syntax, lengths);
        return output.WrittenSpan.ToArray();
    }

    private static void WriteDeflated(IBufferWriter<byte> output, DicomDataset dataset, DicomTransferSyntax syntax, DicomSequenceLength lengths)
    {
        var plain = ToArray(dataset, syntax with { IsDeflated = false }, lengths);
        using var deflated = new MemoryStream();
        using (var deflate = new DeflateStream(deflated, CompressionLevel.Optimal, leaveOpen: true))
        {
            deflate.Write(plain);
        }

        if (deflated.Length == 0)
        {
            deflated.Write([0x03, 0x00]); // DeflateStream leaves out the last block when nothing was written.
        }

        if (deflated.Length % 2 != 0)
        {
            deflated.WriteByte(0); // PS3.5 §A.5
        }

        output.Write(deflated.GetBuffer().AsSpan(0, (int)deflated.Length));
    }

    /// <summary>Two walks over the tree in the same order: the first collects the lengths that the second writes.</summary>
    private sealed class Pass(DicomTransferSyntax syntax, DicomSequenceLength lengths)
    {
        // One per sequence, item and group length, in the order in which the walk meets them.
        private readonly List<uint> _lengths = [];
        private int _next;

        internal long Measure(DicomDataset dataset, int depth)
        {
            if (depth > MaxDepth)
            {
                throw new ArgumentException($"Sequences are nested deeper than {MaxDepth}.");
            }

            long total = 0;
            var groupSlot = -1;
            long groupStart = 0;
            ushort group = 0;
            foreach (var element in dataset)
            {
                if (groupSlot >= 0 && element.Tag.Group != group)
                {
                    _lengths[groupSlot] = Checked(total - groupStart, element.Tag);
                    groupSlot = -1;
                }

                if (IsGroupLength(element))
                {
                    (groupSlot, group) = (Reserve(), element.Tag.Group);
                    total += 8 + 4; // Written as UL whatever VR it came with.
                    groupStart = total;
                }
                else
                {
                    total += MeasureElement(element, depth);
                }
            }

            if (groupSlot >= 0)
            {
                _lengths[groupSlot] = Checked(total - groupStart, default);
            }

            return total;
        }

        internal void Write(IBufferWriter<byte> output, DicomDataset dataset)
        {
            foreach (var element in dataset)
            {
                if (IsGroupLength(element))
                {
                    WriteHeader(output, element.Tag, DicomVr.UL, 4);
                    WriteUInt32(output.GetSpan(4), _lengths[_next++]);
                    output.Advance(4);
                }
                else if (element.Items is { } items)
                {
                    WriteSequence(output, element, items);
                }
                else if (element.Fragments is { } fragments)
                {
                    WriteHeader(output, element.Tag, element.Vr, DicomTokenizer.UndefinedLength);
                    foreach (var fragment in fragments)
                    {
                        WriteItemTag(output, DicomTags.Item, Even(fragment.Length));
                        WriteBytes(output, fragment.Span, 0);
                    }

                    WriteItemTag(output, DicomTags.SequenceDelimitationItem, 0);
                }
                else
                {
                    WriteValue(output, element);
                }
            }
        }

        private static bool IsGroupLength(DicomElement element) =>
            element.Tag.IsGroupLength && element.Items is null && element.Fragments is null;

        private static uint Even(long length) => (uint)(length + (length & 1));

        private static uint Checked(long length, DicomTag tag) => length < DicomTokenizer.UndefinedLength
            ? (uint)length
            : throw new ArgumentException($"{tag}: the length is 4 GiB or more; write with undefined lengths.");

        private static void WriteBytes(IBufferWriter<byte> output, ReadOnlySpan<byte> value, byte padding)
        {
            output.Write(value);
            if (value.Length % 2 != 0)
            {
                output.GetSpan(1)[0] = padding;
                output.Advance(1);
            }
        }

        private int Reserve()
        {
            _lengths.Add(0);
            return _lengths.Count - 1;
        }

        private long MeasureElement(DicomElement element, int depth)
        {
            if (element.Fragments is { } fragments)
            {
                return syntax.IsEncapsulated
                    ? HeaderSize(element) + 8 + fragments.Sum(fragment => 8L + Even(fragment.Length))
                    : throw new ArgumentException($"{element.Tag} is encapsulated, which {syntax.Name} does not allow.");
            }

            if (element.Items is not { } items)
            {
                return HeaderSize(element) + Even(element.Value.Length);
            }

            var slot = Reserve();
            long length = 0;
            foreach (var item in items)
            {
                var itemSlot = Reserve();
                var itemLength = Measure(item, depth + 1);
                _lengths[itemSlot] = IsUndefined(item.IsUndefinedLength) ? DicomTokenizer.UndefinedLength : Checked(itemLength, element.Tag);
                length += 8 + itemLength + (IsUndefined(item.IsUndefinedLength) ? 8 : 0);
            }

            // In implicit VR only the undefined length shows that an element is a sequence if the dictionary does not.
            var isUndefined = IsUndefined(element.IsUndefinedLength)
                || (syntax.IsImplicitVr && DicomDictionary.GetVr(element.Tag) != DicomVr.SQ);
            _lengths[slot] = isUndefined ? DicomTokenizer.UndefinedLength : Checked(length, element.Tag);
            return HeaderSize(element) + length + (isUndefined ? 8 : 0);
        }

        private bool IsUndefined(bool asRead) =>
            lengths == DicomSequenceLength.Undefined || (lengths == DicomSequenceLength.AsRead && asRead);

        private int HeaderSize(DicomElement element) =>
            syntax.IsImplicitVr || WrittenVr(element).HasShortLength() ? 8 : 12;

        private DicomVr WrittenVr(DicomElement element) =>
            !syntax.IsImplicitVr && element.Vr.HasShortLength() && element.Value.Length > 0xFFFE ? DicomVr.UN : element.Vr;

        private void WriteSequence(IBufferWriter<byte> output, DicomElement element, IReadOnlyList<DicomDataset> items)
        {
            var length = _lengths[_next++];
            WriteHeader(output, element.Tag, DicomVr.SQ, length);
            foreach (var item in items)
            {
                var itemLength = _lengths[_next++];
                WriteItemTag(output, DicomTags.Item, itemLength);
                Write(output, item);
                if (itemLength == DicomTokenizer.UndefinedLength)
                {
                    WriteItemTag(output, DicomTags.ItemDelimitationItem, 0);
                }
            }

            if (length == DicomTokenizer.UndefinedLength)
            {
                WriteItemTag(output, DicomTags.SequenceDelimitationItem, 0);
            }
        }

        private void WriteValue(IBufferWriter<byte> output, DicomElement element)
        {
            var vr = WrittenVr(element);
            var value = element.Value.Span;
            WriteHeader(output, element.Tag, vr, Even(value.Length));

            // The value of UN is always little endian, so a numeric one that became UN counts as such.
            var isBigEndian = syntax.IsBigEndian && vr != DicomVr.UN;
            if (element.Vr.WordSize() > 1 && element.IsBigEndian != isBigEndian)
            {
                WriteSwapped(output, value, element.Vr.WordSize());
            }
            else
            {
                WriteBytes(output, value, element.Vr.IsText() && element.Vr != DicomVr.UI ? (byte)' ' : (byte)0);
            }
        }

        private static void WriteSwapped(IBufferWriter<byte> output, ReadOnlySpan<byte> value, int wordSize)
        {
            const int chunkSize = 4096;
            while (value.Length >= wordSize)
            {
                var count = Math.Min(chunkSize, value.Length - (value.Length % wordSize));
                var target = output.GetSpan(count)[..count];
                for (var i = 0; i < count; i += wordSize)
                {
                    for (var j = 0; j < wordSize; j++)
                    {
                        target[i + j] = value[i + wordSize - 1 - j];
                    }
                }

                output.Advance(count);
                value = value[count..];
            }

            WriteBytes(output, value, 0); // A cut last word has no byte order.
        }

        private void WriteHeader(IBufferWriter<byte> output, DicomTag tag, DicomVr vr, uint length)
        {
            var header = output.GetSpan(12);
            WriteTag(header, tag);
            if (syntax.IsImplicitVr)
            {
                WriteUInt32(header[4..], length);
                output.Advance(8);
                return;
            }

            header[4] = (byte)((int)vr >> 8);
            header[5] = (byte)vr;
            if (vr.HasShortLength())
            {
                WriteUInt16(header[6..], (ushort)length);
                output.Advance(8);
                return;
            }

            header[6] = header[7] = 0;
            WriteUInt32(header[8..], length);
            output.Advance(12);
        }

        private void WriteItemTag(IBufferWriter<byte> output, DicomTag tag, uint length)
        {
            var header = output.GetSpan(8);
            WriteTag(header, tag);
            WriteUInt32(header[4..], length);
            output.Advance(8);
        }

        private void WriteTag(Span<byte> target, DicomTag tag)
        {
            WriteUInt16(target, tag.Group);
            WriteUInt16(target[2..], tag.Element);
        }

        private void WriteUInt16(Span<byte> target, ushort value)
        {
            if (syntax.IsBigEndian)
            {
                BinaryPrimitives.WriteUInt16BigEndian(target, value);
            }
            else
            {
                BinaryPrimitives.WriteUInt16LittleEndian(target, value);
            }
        }

        private void WriteUInt32(Span<byte> target, uint value)
        {
            if (syntax.IsBigEndian)
            {
                BinaryPrimitives.WriteUInt32BigEndian(target, value);
            }
            else
            {
                BinaryPrimitives.WriteUInt32LittleEndian(target, value);
            }
        }
    }
}
