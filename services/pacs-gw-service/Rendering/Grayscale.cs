using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Yizhan.Dicom;
using Yizhan.PacsGw.Codecs;

namespace Yizhan.PacsGw.Rendering;

/// <summary>
/// Stored values to grey: modality transformation, values of interest, presentation (PS3.4 §N.2). Up to 16 bits go through one
/// table that is made per frame; the rest is computed.
/// </summary>
internal static class Grayscale
{
    private const int MaxTableBits = 16;

    private static readonly DicomTag VOILUTFunction = new(0x0028, 0x1056);
    private static readonly DicomTag ModalityLUTSequence = new(0x0028, 0x3000);
    private static readonly DicomTag VOILUTSequence = new(0x0028, 0x3010);
    private static readonly DicomTag FrameVOILUTSequence = new(0x0028, 0x9132);
    private static readonly DicomTag PixelValueTransformationSequence = new(0x0028, 0x9145);
    private static readonly DicomTag PresentationLUTShape = new(0x2050, 0x0020);

    /// <summary>One byte a pixel.</summary>
    /// <param name="frame">A frame with one sample per pixel.</param>
    /// <param name="isFloat">Samples are floating point (Float Pixel Data).</param>
    /// <param name="dataset">The header.</param>
    /// <param name="number">Number of the frame, from 1: its functional groups may have a window of their own.</param>
    /// <param name="asked">Replaces the header's window.</param>
    /// <param name="buffers">Where the array for the picture is taken from.</param>
    public static byte[] Render(NativeFrame frame, bool isFloat, DicomDataset dataset, int number, Window? asked, FrameBuffers buffers)
    {
        var format = frame.Format;
        var invert = format.Photometric == "MONOCHROME1" != (dataset.GetString(PresentationLUTShape) == "INVERSE");
        if (isFloat || format.BitsAllocated > MaxTableBits)
        {
            return RenderWide(frame, isFloat, Modality(dataset, number), asked ?? WindowOf(dataset, number), invert);
        }

        var mask = (1 << format.BitsStored) - 1;
        var table = Table(frame, dataset, number, asked, invert, mask);
        var shift = format.HighBit + 1 - format.BitsStored;
        var grey = buffers.Rent(format.Rows * format.Columns);
        switch (format.BitsAllocated)
        {
            case 1:
                for (var i = 0; i < grey.Length; i++)
                {
                    grey[i] = table[(frame.Pixels[i / 8] >> (i % 8)) & 1];
                }

                break;
            case 8:
                for (var i = 0; i < grey.Length; i++)
                {
                    grey[i] = table[(frame.Pixels[i] >> shift) & mask];
                }

                break;
            default:
                var words = MemoryMarshal.Cast<byte, ushort>(frame.Pixels.AsSpan());
                for (var i = 0; i < grey.Length; i++)
                {
                    grey[i] = table[(words[i] >> shift) & mask];
                }

                break;
        }

        return grey;
    }

    /// <summary>The frame's own functional group macro, else the shared one, else the data set.</summary>
    private static DicomDataset Group(DicomDataset dataset, int number, DicomTag macro)
    {
        var perFrame = dataset.GetItems(DicomTags.PerFrameFunctionalGroupsSequence);
        return (number <= perFrame.Count ? perFrame[number - 1].GetItems(macro) : []) is [var own, ..] ? own
            : dataset.GetItems(DicomTags.SharedFunctionalGroupsSequence) is [var shared, ..] && shared.GetItems(macro) is [var common, ..] ? common
            : dataset;
    }

    private static byte[] Table(NativeFrame frame, DicomDataset dataset, int number, Window? asked, bool invert, int mask)
    {
        var format = frame.Format;
        var modality = Modality(dataset, number);
        var lut = Lut.Of(dataset.GetItems(ModalityLUTSequence));
        double Value(int stored)
        {
            var value = format.IsSigned && stored > mask >> 1 ? stored - mask - 1 : stored;
            return lut is not null ? lut.At(value) : (value * modality.Slope) + modality.Intercept;
        }

        // Only values that occur get their grey: a CT has 16 bits and uses 12 of them.
        var (least, most) = Range(frame, mask);
        Func<double, double> toGrey;
        if ((asked ?? WindowOf(dataset, number)) is { } window)
        {
            toGrey = window.Apply;
        }
        else if (Lut.Of(dataset.GetItems(VOILUTSequence)) is { } voi)
        {
            toGrey = value => voi.At((int)value) / (double)voi.Most;
        }
        else
        {
            var (black, white) = (Value(least), Value(most));
            if (format.IsSigned && least <= mask >> 1 && most > mask >> 1)
            {
                (black, white) = (Value((mask >> 1) + 1), Value(mask >> 1));
            }

            toGrey = value => white == black ? (black == 0 ? 0 : 1) : (value - black) / (white - black);
        }

        var table = new byte[mask + 1];
        for (var stored = least; stored <= most; stored++)
        {
            var grey = (byte)Math.Round(Math.Clamp(toGrey(Value(stored)), 0, 1) * 255);
            table[stored] = invert ? (byte)(255 - grey) : grey;
        }

        return table;
    }

    private static byte[] RenderWide(NativeFrame frame, bool isFloat, (double Slope, double Intercept) modality, Window? window, bool invert)
    {
        var format = frame.Format;
        var values = new double[format.Rows * format.Columns];
        var (least, most) = (double.MaxValue, double.MinValue);
        for (var i = 0; i < values.Length; i++)
        {
            var bytes = frame.Pixels.AsSpan(i * format.BytesPerSample);
            var stored = (format.BytesPerSample, isFloat, format.IsSigned) switch
            {
                (4, true, _) => BinaryPrimitives.ReadSingleLittleEndian(bytes),
                (8, true, _) => BinaryPrimitives.ReadDoubleLittleEndian(bytes),
                (4, false, true) => BinaryPrimitives.ReadInt32LittleEndian(bytes),
                (4, false, false) => BinaryPrimitives.ReadUInt32LittleEndian(bytes),
                _ => throw new CodecException($"Pixels of {format.BitsAllocated} allocated bits are not rendered."),
            };
            values[i] = double.IsFinite(stored) ? (stored * modality.Slope) + modality.Intercept : 0;
            (least, most) = (Math.Min(least, values[i]), Math.Max(most, values[i]));
        }

        var grey = new byte[values.Length];
        for (var i = 0; i < values.Length; i++)
        {
            var white = window?.Apply(values[i]) ?? (most > least ? (values[i] - least) / (most - least) : 0);
            grey[i] = (byte)Math.Round((invert ? 1 - white : white) * 255);
        }

        return grey;
    }

    private static (double Slope, double Intercept) Modality(DicomDataset dataset, int number)
    {
        var group = Group(dataset, number, PixelValueTransformationSequence);
        var slope = group.GetDouble(DicomTags.RescaleSlope) ?? 1;
        return (slope == 0 ? 1 : slope, group.GetDouble(DicomTags.RescaleIntercept) ?? 0);
    }

    private static Window? WindowOf(DicomDataset dataset, int number)
    {
        var group = Group(dataset, number, FrameVOILUTSequence);
        if (group.GetDouble(DicomTags.WindowCenter) is not { } center || group.GetDouble(DicomTags.WindowWidth) is not { } width)
        {
            return null;
        }

        var window = new Window(center, width, group.GetString(VOILUTFunction) switch
        {
            "SIGMOID" => WindowFunction.Sigmoid,
            "LINEAR_EXACT" => WindowFunction.LinearExact,
            _ => WindowFunction.Linear,
        });
        return window.IsPossible ? window : null;
    }

    private static (int Least, int Most) Range(NativeFrame frame, int mask)
    {
        var format = frame.Format;
        if (format.BitsAllocated == 1)
        {
            return (0, 1);
        }

        var shift = format.HighBit + 1 - format.BitsStored;
        var (least, most) = (int.MaxValue, int.MinValue);
        if (format.BytesPerSample == 1)
        {
            foreach (var value in frame.Pixels.AsSpan(0, format.Rows * format.Columns))
            {
                var stored = (value >> shift) & mask;
                (least, most) = (Math.Min(least, stored), Math.Max(most, stored));
            }
        }
        else
        {
            foreach (var value in MemoryMarshal.Cast<byte, ushort>(frame.Pixels.AsSpan()))
            {
                var stored = (value >> shift) & mask;
                (least, most) = (Math.Min(least, stored), Math.Max(most, stored));
            }
        }

        return (least, most);
    }
}

/// <summary>A lookup table of PS3.3 §C.11.1.1: descriptor and data.</summary>
internal sealed class Lut
{
    private readonly int _first;
    private readonly ushort[] _entries;

    private Lut(int first, ushort[] entries, int bits) => (_first, _entries, Most) = (first, entries, (1 << bits) - 1);

    /// <summary>The largest output.</summary>
    public int Most { get; }

    /// <summary>The table of a LUT sequence's first item; null when there is none.</summary>
    public static Lut? Of(IReadOnlyList<DicomDataset> items) =>
        items is [var item, ..] ? Of(item, DicomTags.LUTDescriptor, DicomTags.LUTData) : null;

    /// <summary>A table from its two attributes; null when one is missing.</summary>
    /// <exception cref="CodecException">They do not fit each other.</exception>
    public static Lut? Of(DicomDataset dataset, DicomTag descriptorTag, DicomTag dataTag)
    {
        if (dataset.GetInt64s(descriptorTag) is not [var count, var first, var bits] || !dataset.TryGet(dataTag, out var data))
        {
            return null;
        }

        count = count == 0 ? 65536 : count & 0xFFFF;
        var bytes = data.Value.Span;
        var isWide = bytes.Length >= count * 2;
        if (bits is < 8 or > 16 || bytes.Length < count || count == 0)
        {
            throw new CodecException($"The lookup table {descriptorTag} announces {count} entries of {bits} bits; its data has {bytes.Length} bytes.");
        }

        var entries = new ushort[count];
        for (var i = 0; i < entries.Length; i++)
        {
            entries[i] = !isWide ? bytes[i]
                : data.IsBigEndian ? BinaryPrimitives.ReadUInt16BigEndian(bytes[(i * 2)..])
                : BinaryPrimitives.ReadUInt16LittleEndian(bytes[(i * 2)..]);
        }

        // US or SS is not told apart by everybody; a first value beyond the middle stands for a negative one only if it is SS.
        return new Lut((int)first, entries, (int)bits);
    }

    public int At(int value) => _entries[Math.Clamp(value - _first, 0, _entries.Length - 1)];
}
