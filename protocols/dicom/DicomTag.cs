using System.Globalization;

namespace Yizhan.Dicom;

/// <summary>A data element tag (PS3.5 §7.1). Its order is the order of elements in a data set.</summary>
/// <param name="Value">Group in the upper, element in the lower 16 bits.</param>
public readonly record struct DicomTag(uint Value) : IComparable<DicomTag>
{
    /// <summary>A tag from its group and element number.</summary>
    public DicomTag(ushort group, ushort element)
        : this((uint)group << 16 | element)
    {
    }

    /// <summary>The group number.</summary>
    public ushort Group => (ushort)(Value >> 16);

    /// <summary>The element number in the group.</summary>
    public ushort Element => (ushort)Value;

    /// <summary>True for odd groups, whose elements belong to a private creator (PS3.5 §7.8).</summary>
    public bool IsPrivate => (Value & 0x10000) != 0;

    /// <summary>True for (gggg,0010-00FF) in an odd group: the element that reserves a private block.</summary>
    public bool IsPrivateCreator => IsPrivate && Element is >= 0x10 and <= 0xFF;

    /// <summary>True for the retired group length (gggg,0000).</summary>
    public bool IsGroupLength => Element == 0;

    /// <summary>Reads "(gggg,eeee)", "gggg,eeee", "ggggeeee" (hexadecimal) or a PS3.6 keyword such as "PatientID".</summary>
    /// <exception cref="FormatException">The text is none of these.</exception>
    public static DicomTag Parse(string text) => TryParse(text, out var tag)
        ? tag
        : throw new FormatException($"'{text}' is not a tag: expected (gggg,eeee), ggggeeee or a PS3.6 keyword.");

    /// <inheritdoc cref="Parse(string)"/>
    public static bool TryParse(ReadOnlySpan<char> s, out DicomTag result)
    {
        var hex = s is ['(', .., ')'] ? s[1..^1] : s;
        if (hex.Length == 9 && hex[4] == ','
            && TryHex(hex[..4], out var group) && TryHex(hex[5..], out var element))
        {
            result = new DicomTag(group << 16 | element);
            return true;
        }

        if (hex.Length == 8 && TryHex(hex, out var value))
        {
            result = new DicomTag(value);
            return true;
        }

        return DicomDictionary.TryGetTag(s, out result);
    }

    /// <inheritdoc/>
    public int CompareTo(DicomTag other) => Value.CompareTo(other.Value);

    /// <summary>The text "(gggg,eeee)" in upper-case hexadecimal.</summary>
    public override string ToString() => $"({Group:X4},{Element:X4})";

    /// <summary>The text "GGGGEEEE", the attribute name in the DICOM JSON model (PS3.18 §F.2.2).</summary>
    public string ToJsonName() => Value.ToString("X8", CultureInfo.InvariantCulture);

#pragma warning disable CS1591 // Comparison operators need no words.
    public static bool operator <(DicomTag left, DicomTag right) => left.Value < right.Value;

    public static bool operator >(DicomTag left, DicomTag right) => left.Value > right.Value;

    public static bool operator <=(DicomTag left, DicomTag right) => left.Value <= right.Value;

    public static bool operator >=(DicomTag left, DicomTag right) => left.Value >= right.Value;
#pragma warning restore CS1591

    private static bool TryHex(ReadOnlySpan<char> digits, out uint value) =>
        uint.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
}
