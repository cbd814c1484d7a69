using System.Globalization;
using System.Text;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Rules;

/// <summary>Changes attributes and says in the data set itself what they were (Original Attributes Sequence, PS3.3 §C.12.1.1.9).</summary>
internal static class Coercion
{
    private static readonly DicomTag OriginalAttributesSequence = new(0x0400, 0x0561);
    private static readonly DicomTag ModifiedAttributesSequence = new(0x0400, 0x0550);
    private static readonly DicomTag AttributeModificationDateTime = new(0x0400, 0x0562);
    private static readonly DicomTag ModifyingSystem = new(0x0400, 0x0563);
    private static readonly DicomTag SourceOfPreviousValues = new(0x0400, 0x0564);
    private static readonly DicomTag ReasonForTheAttributeModification = new(0x0400, 0x0565);

    /// <summary>Changes the data set in place. An attribute that has the value already is not touched.</summary>
    /// <param name="dataset">A copy that nobody else sees.</param>
    /// <param name="coercions">What to change.</param>
    /// <param name="system">Who changes it: this node.</param>
    /// <param name="source">Who sent the previous values.</param>
    /// <param name="now">When.</param>
    /// <returns>The attributes that changed.</returns>
    public static IReadOnlyList<DicomTag> Apply(
        DicomDataset dataset, IReadOnlyList<CoercedAttribute> coercions, string system, string source, DateTimeOffset now)
    {
        var previous = new DicomDataset();
        var changed = new List<DicomTag>();
        var charset = dataset.TryGet(DicomTags.SpecificCharacterSet, out var label) ? label : null;
        foreach (var (tag, template) in coercions)
        {
            var value = template is null ? null : Expand(template, dataset);
            var before = dataset.TryGet(tag, out var element) ? string.Join('\\', dataset.GetStrings(tag)) : null;
            if (before == value)
            {
                continue;
            }

            changed.Add(tag);

            // An attribute that was not there is recorded as one without a value.
            previous.Set(element ?? DicomElement.OfValue(tag, DicomDictionary.GetVr(tag), ReadOnlyMemory<byte>.Empty));
            if (value is null)
            {
                dataset.Remove(tag);
            }
            else
            {
                Set(dataset, tag, value);
            }
        }

        if (changed.Count > 0)
        {
            // The old values keep the encoding that they were written in.
            if (charset is not null)
            {
                previous.Set(charset);
            }

            var item = new DicomDataset()
                .Set(ModifiedAttributesSequence, previous)
                .Set(AttributeModificationDateTime, now.ToString("yyyyMMddHHmmss.ffffff'+0000'", CultureInfo.InvariantCulture))
                .Set(ModifyingSystem, system)
                .Set(SourceOfPreviousValues, source)
                .Set(ReasonForTheAttributeModification, "COERCE");
            dataset.Set(OriginalAttributesSequence, [.. dataset.GetItems(OriginalAttributesSequence), item]);
        }

        return changed;
    }

    /// <summary>The value with <c>{Keyword}</c> replaced by that attribute's first value.</summary>
    private static string Expand(string template, DicomDataset dataset)
    {
        var text = new StringBuilder();
        for (var at = 0; at < template.Length;)
        {
            var close = template[at] == '{' ? template.IndexOf('}', at) : -1;
            if (close > at && (DicomTag.TryParse(template.AsSpan(at + 1, close - at - 1), out var tag) || DicomDictionary.TryGetTag(template.AsSpan(at + 1, close - at - 1), out tag)))
            {
                text.Append(dataset.GetString(tag));
                at = close + 1;
            }
            else
            {
                text.Append(template[at++]);
            }
        }

        return text.ToString();
    }

    /// <summary>Sets text; when its character set lacks a character, every text of the data set is written in UTF-8 first.</summary>
    private static void Set(DicomDataset dataset, DicomTag tag, string value)
    {
        try
        {
            dataset.Set(tag, value);
        }
        catch (ArgumentException)
        {
            ToUtf8(dataset);
            dataset.Set(tag, value);
        }
    }

    private static void ToUtf8(DicomDataset dataset)
    {
        var texts = new List<(DicomDataset In, DicomTag Tag, DicomVr Vr, string[] Values)>();
        Collect(dataset, texts);
        dataset.Set(DicomTags.SpecificCharacterSet, "ISO_IR 192");
        foreach (var (owner, tag, vr, values) in texts)
        {
            owner.Set(tag, vr, values);
        }
    }

    private static void Collect(DicomDataset dataset, List<(DicomDataset, DicomTag, DicomVr, string[])> texts)
    {
        foreach (var element in dataset.ToList())
        {
            if (element.Items is null && element.ValueVr.UsesSpecificCharacterSet() && element.Value.Length > 0)
            {
                texts.Add((dataset, element.Tag, element.ValueVr, [.. dataset.GetStrings(element.Tag)]));
            }

            foreach (var item in element.Items ?? [])
            {
                Collect(item, texts);
                item.Remove(DicomTags.SpecificCharacterSet);
            }
        }
    }
}
