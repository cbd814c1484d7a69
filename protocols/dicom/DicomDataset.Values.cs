using System.Buffers.Binary;
using System.Globalization;

namespace Yizhan.Dicom;

/// <content>Typed access to values. Nothing here throws for what a peer sent: what cannot be read is null or left out.</content>
public sealed partial class DicomDataset
{
    /// <summary>The first value as text without padding, or null if the element is absent or empty.</summary>
    /// <remarks>Numbers are given in their invariant text form; LT, ST, UT and UR are one value also with backslashes.</remarks>
    public string? GetString(DicomTag tag)
    {
        var values = GetStrings(tag);
        return values.Count > 0 && values[0].Length > 0 ? values[0] : null;
    }

    /// <summary>All values as text without padding; none if the element is absent, empty, or not a value.</summary>
    public IReadOnlyList<string> GetStrings(DicomTag tag) =>
        TryGet(tag, out var element) ? DicomValues.Strings(element, CharacterSet) : [];

    /// <summary>The first value of a binary or decimal/integer string element as an integer, or null.</summary>
    public long? GetInt64(DicomTag tag) => GetInt64s(tag) is [var first, ..] ? first : null;

    /// <summary>As <see cref="GetInt64"/>, null also if it does not fit 32 bits.</summary>
    public int? GetInt32(DicomTag tag) => GetInt64(tag) is { } value and >= int.MinValue and <= int.MaxValue ? (int)value : null;

    /// <summary>The values as integers; none if one of them is not an integer.</summary>
    public IReadOnlyList<long> GetInt64s(DicomTag tag)
    {
        if (!TryGet(tag, out var element))
        {
            return [];
        }

        if (element.ValueVr.IsText())
        {
            var texts = GetStrings(tag);
            var numbers = new long[texts.Count];
            for (var i = 0; i < numbers.Length; i++)
            {
                if (!long.TryParse(texts[i], NumberStyles.Integer, CultureInfo.InvariantCulture, out numbers[i]))
                {
                    return [];
                }
            }

            return numbers;
        }

        return DicomValues.Integers(element);
    }

    /// <summary>The first value of a numeric or decimal string element, or null.</summary>
    public double? GetDouble(DicomTag tag) => GetDoubles(tag) is [var first, ..] ? first : null;

    /// <summary>The values as numbers; none if one of them is not a number.</summary>
    public IReadOnlyList<double> GetDoubles(DicomTag tag)
    {
        if (!TryGet(tag, out var element))
        {
            return [];
        }

        if (element.ValueVr is DicomVr.FL or DicomVr.FD or DicomVr.OF or DicomVr.OD)
        {
            return DicomValues.Floats(element);
        }

        if (!element.ValueVr.IsText())
        {
            return [.. DicomValues.Integers(element).Select(value => (double)value)];
        }

        var texts = GetStrings(tag);
        var numbers = new double[texts.Count];
        for (var i = 0; i < numbers.Length; i++)
        {
            if (!double.TryParse(texts[i], NumberStyles.Float, CultureInfo.InvariantCulture, out numbers[i]))
            {
                return [];
            }
        }

        return numbers;
    }

    /// <summary>The tags of an AT element.</summary>
    public IReadOnlyList<DicomTag> GetTags(DicomTag tag) => TryGet(tag, out var element) ? DicomValues.Tags(element) : [];

    /// <summary>The first person name, or null if absent or empty.</summary>
    public DicomPersonName? GetPersonName(DicomTag tag) => GetString(tag) is { } text ? DicomPersonName.Parse(text) : null;

    /// <summary>The items of a sequence; none if the element is absent, empty or not a sequence.</summary>
    public IReadOnlyList<DicomDataset> GetItems(DicomTag tag) =>
        TryGet(tag, out var element) && element.Items is { } items ? items : [];

    /// <summary>The encoded value; empty if the element is absent or not a value.</summary>
    public ReadOnlyMemory<byte> GetBytes(DicomTag tag) => TryGet(tag, out var element) ? element.Value : default;

    /// <summary>Sets text values in the VR of the dictionary, encoded in <see cref="CharacterSet"/>.</summary>
    /// <exception cref="ArgumentException">The element's VR is not text, a value holds a backslash, or the character set lacks a character.</exception>
    public DicomDataset Set(DicomTag tag, params ReadOnlySpan<string> values) => Set(tag, DicomDictionary.GetVr(tag), values);

    /// <summary>As <see cref="Set(DicomTag, ReadOnlySpan{string})"/> with a VR, for private elements.</summary>
    public DicomDataset Set(DicomTag tag, DicomVr vr, params ReadOnlySpan<string> values) =>
        Set(DicomElement.OfValue(tag, vr, DicomValues.EncodeStrings(tag, vr, values, CharacterSet)));

    /// <summary>Sets integers in the VR of the dictionary: binary, or IS and DS as text.</summary>
    /// <exception cref="ArgumentException">The VR holds no integers.</exception>
    /// <exception cref="OverflowException">A value does not fit.</exception>
    public DicomDataset Set(DicomTag tag, params ReadOnlySpan<long> values) => Set(tag, DicomDictionary.GetVr(tag), values);

    /// <inheritdoc cref="Set(DicomTag, ReadOnlySpan{long})"/>
    public DicomDataset Set(DicomTag tag, DicomVr vr, params ReadOnlySpan<long> values)
    {
        if (vr is not (DicomVr.IS or DicomVr.DS))
        {
            return Set(DicomElement.OfValue(tag, vr, DicomValues.EncodeIntegers(tag, vr, values)));
        }

        var texts = new string[values.Length];
        for (var i = 0; i < texts.Length; i++)
        {
            texts[i] = values[i].ToString(CultureInfo.InvariantCulture);
        }

        return Set(tag, vr, texts);
    }

    /// <summary>Sets numbers in the VR of the dictionary: FL, FD, OF, OD, or DS as text of at most 16 characters.</summary>
    /// <exception cref="ArgumentException">The VR holds no such numbers.</exception>
    public DicomDataset Set(DicomTag tag, params ReadOnlySpan<double> values)
    {
        var vr = DicomDictionary.GetVr(tag);
        if (vr != DicomVr.DS)
        {
            return Set(DicomElement.OfValue(tag, vr, DicomValues.EncodeFloats(tag, vr, values)));
        }

        var texts = new string[values.Length];
        for (var i = 0; i < texts.Length; i++)
        {
            texts[i] = DicomValues.DecimalString(values[i]);
        }

        return Set(tag, vr, texts);
    }

    /// <summary>Sets a sequence.</summary>
    public DicomDataset Set(DicomTag tag, params IReadOnlyList<DicomDataset> items) => Set(DicomElement.OfItems(tag, items));

    /// <summary>Sets an encoded (little endian) value in the VR of the dictionary, or another one.</summary>
    public DicomDataset SetBytes(DicomTag tag, ReadOnlyMemory<byte> value, DicomVr? vr = null) =>
        Set(DicomElement.OfValue(tag, vr ?? DicomDictionary.GetVr(tag), value));
}

/// <summary>Decoding and encoding of values (PS3.5 §6.2, §6.4).</summary>
internal static class DicomValues
{
    internal static IReadOnlyList<string> Strings(DicomElement element, DicomCharacterSet characterSet)
    {
        var vr = element.ValueVr;
        var value = element.Value.Span;
        if (value.IsEmpty)
        {
            return [];
        }

        if (!vr.IsText())
        {
            return vr switch
            {
                DicomVr.FL or DicomVr.FD => [.. Floats(element).Select(v => v.ToString("R", CultureInfo.InvariantCulture))],
                DicomVr.AT => [.. Tags(element).Select(v => v.ToString())],
                DicomVr.SS or DicomVr.US or DicomVr.SL or DicomVr.UL or DicomVr.SV or DicomVr.UV =>
                    [.. Integers(element).Select(v => vr == DicomVr.UV ? ((ulong)v).ToString(CultureInfo.InvariantCulture) : v.ToString(CultureInfo.InvariantCulture))],
                _ => [],
            };
        }

        if (vr.IsSingleText())
        {
            return [characterSet.Decode(value, vr).TrimEnd(' ', '\0')];
        }

        // VRs that should be ASCII are decoded as well: devices put Chinese into Patient's Sex and Body Part Examined.
        var texts = characterSet.DecodeValues(value, vr);
        for (var i = 0; i < texts.Length; i++)
        {
            // Leading spaces of UC count (PS3.5 §6.2); those of PN belong to the name's first component and are noise.
            texts[i] = vr == DicomVr.UC ? texts[i].TrimEnd(' ', '\0') : texts[i].Trim(' ', '\0');
        }

        return texts;
    }

    /// <summary>Integers of a binary element; unsigned 64-bit values keep their bits. A cut last value is left out.</summary>
    internal static long[] Integers(DicomElement element)
    {
        var vr = element.ValueVr;
        var value = element.Value.Span;
        var big = element.IsBigEndian;
        var size = vr switch { DicomVr.OB or DicomVr.UN => 1, DicomVr.FL or DicomVr.FD or DicomVr.OF or DicomVr.OD or DicomVr.AT => 0, _ => vr.WordSize() };
        if (size == 0 || vr.IsText() || vr == DicomVr.SQ)
        {
            return [];
        }

        var numbers = new long[value.Length / size];
        for (var i = 0; i < numbers.Length; i++)
        {
            var bytes = value.Slice(i * size, size);
            numbers[i] = vr switch
            {
                DicomVr.SS => big ? BinaryPrimitives.ReadInt16BigEndian(bytes) : BinaryPrimitives.ReadInt16LittleEndian(bytes),
                DicomVr.SL => big ? BinaryPrimitives.ReadInt32BigEndian(bytes) : BinaryPrimitives.ReadInt32LittleEndian(bytes),
                _ when size == 1 => bytes[0],
                _ when size == 2 => big ? BinaryPrimitives.ReadUInt16BigEndian(bytes) : BinaryPrimitives.ReadUInt16LittleEndian(bytes),
                _ when size == 4 => big ? BinaryPrimitives.ReadUInt32BigEndian(bytes) : BinaryPrimitives.ReadUInt32LittleEndian(bytes),
                _ => big ? BinaryPrimitives.ReadInt64BigEndian(bytes) : BinaryPrimitives.ReadInt64LittleEndian(bytes),
            };
        }

        return numbers;
    }

    internal static double[] Floats(DicomElement element)
    {
        var value = element.Value.Span;
        var size = element.ValueVr.WordSize();
        var numbers = new double[value.Length / size];
        for (var i = 0; i < numbers.Length; i++)
        {
            var bytes = value.Slice(i * size, size);
            numbers[i] = (size, element.IsBigEndian) switch
            {
                (4, false) => BinaryPrimitives.ReadSingleLittleEndian(bytes),
                (4, true) => BinaryPrimitives.ReadSingleBigEndian(bytes),
                (_, false) => BinaryPrimitives.ReadDoubleLittleEndian(bytes),
                (_, true) => BinaryPrimitives.ReadDoubleBigEndian(bytes),
            };
        }

        return numbers;
    }

    internal static DicomTag[] Tags(DicomElement element)
    {
        if (element.ValueVr != DicomVr.AT)
        {
            return [];
        }

        var value = element.Value.Span;
        var tags = new DicomTag[value.Length / 4];
        for (var i = 0; i < tags.Length; i++)
        {
            var bytes = value.Slice(i * 4, 4);
            tags[i] = element.IsBigEndian
                ? new DicomTag(BinaryPrimitives.ReadUInt16BigEndian(bytes), BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]))
                : new DicomTag(BinaryPrimitives.ReadUInt16LittleEndian(bytes), BinaryPrimitives.ReadUInt16LittleEndian(bytes[2..]));
        }

        return tags;
    }

    internal static byte[] EncodeStrings(DicomTag tag, DicomVr vr, ReadOnlySpan<string> values, DicomCharacterSet characterSet)
    {
        if (vr == DicomVr.AT)
        {
            return EncodeTags(values);
        }

        if (!vr.IsText())
        {
            throw new ArgumentException($"{tag} has VR {vr.ToText()}, which is not text.");
        }

        if (vr.IsSingleText() ? values.Length > 1 : values.ToArray().Any(v => v.Contains('\\', StringComparison.Ordinal)))
        {
            throw new ArgumentException($"{tag} ({vr.ToText()}): {(vr.IsSingleText() ? "only one value is allowed" : "a value cannot contain a backslash")}.");
        }

        var bytes = characterSet.Encode(tag, vr, values);
        return Pad(bytes, vr == DicomVr.UI ? (byte)0 : (byte)' ');
    }

    internal static byte[] EncodeIntegers(DicomTag tag, DicomVr vr, ReadOnlySpan<long> values)
    {
        var size = vr switch
        {
            DicomVr.SS or DicomVr.US or DicomVr.SL or DicomVr.UL or DicomVr.SV or DicomVr.UV or DicomVr.OW or DicomVr.OL or DicomVr.OV => vr.WordSize(),
            DicomVr.OB => 1,
            _ => throw new ArgumentException($"{tag} has VR {vr.ToText()}, which holds no integers."),
        };
        var bytes = new byte[values.Length * size];
        for (var i = 0; i < values.Length; i++)
        {
            var target = bytes.AsSpan(i * size);
            switch (vr)
            {
                case DicomVr.SS:
                    BinaryPrimitives.WriteInt16LittleEndian(target, checked((short)values[i]));
                    break;
                case DicomVr.SL:
                    BinaryPrimitives.WriteInt32LittleEndian(target, checked((int)values[i]));
                    break;
                case DicomVr.OB:
                    target[0] = checked((byte)values[i]);
                    break;
                case DicomVr.US or DicomVr.OW:
                    BinaryPrimitives.WriteUInt16LittleEndian(target, checked((ushort)values[i]));
                    break;
                case DicomVr.UL or DicomVr.OL:
                    BinaryPrimitives.WriteUInt32LittleEndian(target, checked((uint)values[i]));
                    break;
                default:
                    BinaryPrimitives.WriteInt64LittleEndian(target, values[i]);
                    break;
            }
        }

        return vr == DicomVr.OB ? Pad(bytes, 0) : bytes;
    }

    internal static byte[] EncodeFloats(DicomTag tag, DicomVr vr, ReadOnlySpan<double> values)
    {
        var size = vr is DicomVr.FL or DicomVr.FD or DicomVr.OF or DicomVr.OD
            ? vr.WordSize()
            : throw new ArgumentException($"{tag} has VR {vr.ToText()}, which holds no floating-point numbers.");
        var bytes = new byte[values.Length * size];
        for (var i = 0; i < values.Length; i++)
        {
            var target = bytes.AsSpan(i * size);
            if (size == 4)
            {
                BinaryPrimitives.WriteSingleLittleEndian(target, (float)values[i]);
            }
            else
            {
                BinaryPrimitives.WriteDoubleLittleEndian(target, values[i]);
            }
        }

        return bytes;
    }

    /// <summary>The most exact text of a number in the 16 characters that DS allows.</summary>
    internal static string DecimalString(double value)
    {
        if (!double.IsFinite(value))
        {
            throw new ArgumentException("DS holds finite numbers only.", nameof(value));
        }

        for (var digits = 17; ; digits--)
        {
            var text = value.ToString($"G{digits}", CultureInfo.InvariantCulture);
            if (text.Length <= 16)
            {
                return text;
            }
        }
    }

    internal static byte[] Pad(byte[] bytes, byte padding)
    {
        if (bytes.Length % 2 != 0)
        {
            Array.Resize(ref bytes, bytes.Length + 1);
            bytes[^1] = padding;
        }

        return bytes;
    }

    private static byte[] EncodeTags(ReadOnlySpan<string> values)
    {
        var bytes = new byte[values.Length * 4];
        for (var i = 0; i < values.Length; i++)
        {
            var tag = DicomTag.Parse(values[i]);
            BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(i * 4), tag.Group);
            BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan((i * 4) + 2), tag.Element);
        }

        return bytes;
    }
}
