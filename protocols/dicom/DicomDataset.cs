using System.Collections;

namespace Yizhan.Dicom;

/// <summary>
/// A data set or an item of a sequence: elements in ascending order of tags. A parsed one refers to the bytes it was
/// parsed from, so its values cost nothing until they are asked for.
/// </summary>
public sealed partial class DicomDataset : IReadOnlyCollection<DicomElement>
{
    private readonly List<DicomElement> _elements;
    private DicomCharacterSet? _characterSet;

    /// <summary>An empty data set.</summary>
    public DicomDataset() => _elements = [];

    internal DicomDataset(int capacity) => _elements = new List<DicomElement>(capacity);

    /// <summary>Number of elements.</summary>
    public int Count => _elements.Count;

    /// <summary>True if this item was read with undefined length.</summary>
    public bool IsUndefinedLength { get; internal set; }

    /// <summary>What was tolerated while this data set was parsed; empty for items and for data sets built in code.</summary>
    public IReadOnlyList<DicomWarning> Warnings { get; internal set; } = [];

    /// <summary>The data set this item belongs to: an item inherits its Specific Character Set (PS3.5 §7.5.3).</summary>
    public DicomDataset? Parent { get; private set; }

    /// <summary>The character set that text here is encoded in: its own, or that of the data set around it.</summary>
    public DicomCharacterSet CharacterSet =>
        _characterSet ??= TryGet(DicomTags.SpecificCharacterSet, out var element)
            ? DicomCharacterSet.FromElement(element)
            : Parent?.CharacterSet ?? DicomCharacterSet.Default;

    /// <summary>Finds an element.</summary>
    public bool TryGet(DicomTag tag, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out DicomElement? element)
    {
        var index = Find(tag);
        element = index >= 0 ? _elements[index] : null;
        return index >= 0;
    }

    /// <summary>True if the element is there, also with an empty value.</summary>
    public bool Contains(DicomTag tag) => Find(tag) >= 0;

    /// <summary>Adds an element or replaces the one with the same tag.</summary>
    /// <remarks>The items of a sequence become items of this data set: they inherit its character set.</remarks>
    public DicomDataset Set(DicomElement element)
    {
        Adopt(element);
        var index = Find(element.Tag);
        if (index >= 0)
        {
            _elements[index] = element;
        }
        else
        {
            _elements.Insert(~index, element);
        }

        return this;
    }

    /// <summary>Removes an element.</summary>
    /// <returns>True if it was there.</returns>
    public bool Remove(DicomTag tag)
    {
        var index = Find(tag);
        if (index < 0)
        {
            return false;
        }

        _elements.RemoveAt(index);
        if (tag == DicomTags.SpecificCharacterSet)
        {
            ForgetCharacterSet();
        }

        return true;
    }

    /// <inheritdoc/>
    public IEnumerator<DicomElement> GetEnumerator() => _elements.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>Adds an element of a parsed data set; the first of two with the same tag stays.</summary>
    internal void Append(DicomElement element)
    {
        if (_elements.Count == 0 || _elements[^1].Tag < element.Tag)
        {
            _elements.Add(element);
        }
        else if (Find(element.Tag) is var index and < 0)
        {
            _elements.Insert(~index, element);
        }
        else
        {
            return;
        }

        Adopt(element);
    }

    private int Find(DicomTag tag)
    {
        var (low, high) = (0, _elements.Count - 1);
        while (low <= high)
        {
            var middle = (low + high) >>> 1;
            var other = _elements[middle].Tag;
            if (other == tag)
            {
                return middle;
            }

            (low, high) = other < tag ? (middle + 1, high) : (low, middle - 1);
        }

        return ~low;
    }

    private void Adopt(DicomElement element)
    {
        foreach (var item in element.Items ?? [])
        {
            item.Parent = this;
            item.ForgetCharacterSet();
        }

        if (element.Tag == DicomTags.SpecificCharacterSet)
        {
            ForgetCharacterSet();
        }
    }

    // The character set is cached in every data set that was asked for text; depth is bounded by the parser.
    private void ForgetCharacterSet()
    {
        _characterSet = null;
        foreach (var item in _elements.SelectMany(element => element.Items ?? []))
        {
            if (item._characterSet is not null && !item.Contains(DicomTags.SpecificCharacterSet))
            {
                item.ForgetCharacterSet();
            }
        }
    }
}
