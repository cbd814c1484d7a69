namespace Yizhan.Dicom;

/// <summary>
/// One element of a data set: a value, the items of a sequence, or the fragments of encapsulated pixel data. Immutable;
/// a parsed element refers to the bytes it was parsed from.
/// </summary>
public sealed class DicomElement
{
    private DicomElement(DicomTag tag, DicomVr vr)
    {
        Tag = tag;
        Vr = vr;
    }

    /// <summary>The tag.</summary>
    public DicomTag Tag { get; }

    /// <summary>The VR it was encoded with, or that the dictionary gives it in implicit VR.</summary>
    public DicomVr Vr { get; }

    /// <summary>
    /// The VR to read the value with. It differs from <see cref="Vr"/> for a standard element encoded as UN, whose
    /// value is in implicit VR little endian (PS3.5 §6.2.2).
    /// </summary>
    public DicomVr ValueVr
    {
        get
        {
            var known = Vr == DicomVr.UN && Items is null ? DicomDictionary.GetVr(Tag) : Vr;
            return known == DicomVr.SQ && Items is null ? DicomVr.UN : known;
        }
    }

    /// <summary>The encoded value without padding removed; empty for sequences and fragments.</summary>
    public ReadOnlyMemory<byte> Value { get; private init; }

    /// <summary>True if numbers in <see cref="Value"/> are big endian.</summary>
    public bool IsBigEndian { get; private init; }

    /// <summary>The items of a sequence; null if this is not a sequence.</summary>
    public IReadOnlyList<DicomDataset>? Items { get; private init; }

    /// <summary>The fragments of encapsulated pixel data, the first is the basic offset table; null otherwise.</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>>? Fragments { get; private init; }

    /// <summary>True if a sequence was read with undefined length.</summary>
    public bool IsUndefinedLength { get; private init; }

    /// <summary>An element with an encoded value.</summary>
    /// <param name="tag">The tag.</param>
    /// <param name="vr">The VR; not SQ.</param>
    /// <param name="value">The value as encoded in little endian, or in big endian if <paramref name="isBigEndian"/>.</param>
    /// <param name="isBigEndian">The byte order of numbers.</param>
    public static DicomElement OfValue(DicomTag tag, DicomVr vr, ReadOnlyMemory<byte> value, bool isBigEndian = false) =>
        vr != DicomVr.SQ
            ? new(tag, vr) { Value = value, IsBigEndian = isBigEndian && vr.WordSize() > 1 }
            : throw new ArgumentException($"{tag}: a sequence has items, not a value.", nameof(vr));

    /// <summary>A sequence.</summary>
    public static DicomElement OfItems(DicomTag tag, IReadOnlyList<DicomDataset> items, bool isUndefinedLength = false) =>
        new(tag, DicomVr.SQ) { Items = items, IsUndefinedLength = isUndefinedLength };

    /// <summary>Encapsulated pixel data; the first fragment is the basic offset table, which may be empty.</summary>
    public static DicomElement OfFragments(DicomTag tag, IReadOnlyList<ReadOnlyMemory<byte>> fragments, DicomVr vr = DicomVr.OB) =>
        new(tag, vr) { Fragments = fragments, IsUndefinedLength = true };

    /// <summary>The tag, VR and size, never the value.</summary>
    public override string ToString() => Items is { } items
        ? $"{Tag} {Vr.ToText()} {items.Count} items"
        : Fragments is { } fragments ? $"{Tag} {Vr.ToText()} {fragments.Count} fragments" : $"{Tag} {Vr.ToText()} {Value.Length} bytes";
}
