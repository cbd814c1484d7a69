using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Yizhan.Dicom;

public static partial class DicomJson
{
    // An element, its value array and an item each add a level of JSON to one of the data set.
    private const int JsonLevelsPerSequence = 3;

    /// <summary>Reads one data set.</summary>
    /// <exception cref="DicomFormatException">The text is not JSON, or not in the DICOM JSON model.</exception>
    public static DicomDataset Read(ReadOnlyMemory<byte> utf8Json, DicomJsonOptions? options = null)
    {
        using var document = ParseDocument(utf8Json, options);
        return Read(document.RootElement, options);
    }

    /// <summary>Reads an array of data sets, as DICOMweb sends them.</summary>
    /// <exception cref="DicomFormatException">The text is not JSON, or not in the DICOM JSON model.</exception>
    public static IReadOnlyList<DicomDataset> ReadArray(ReadOnlyMemory<byte> utf8Json, DicomJsonOptions? options = null)
    {
        using var document = ParseDocument(utf8Json, options);
        return document.RootElement.ValueKind == JsonValueKind.Array
            ? [.. document.RootElement.EnumerateArray().Select(element => Read(element, options))]
            : throw Error("an array of data sets is expected", null);
    }

    /// <summary>Reads one data set from its object. Its text is encoded in UTF-8 and labelled so if it is not ASCII.</summary>
    /// <exception cref="DicomFormatException">The object is not in the DICOM JSON model.</exception>
    public static DicomDataset Read(JsonElement json, DicomJsonOptions? options = null)
    {
        DicomDataset dataset;
        bool isAscii;
        try
        {
            dataset = ReadDataset(json, options ?? DicomJsonOptions.Default, 0, out isAscii);
        }
        catch (InvalidOperationException)
        {
            // What JsonElement throws for half a surrogate pair.
            throw Error("a string is not valid Unicode", null);
        }

        if (!isAscii || dataset.Contains(DicomTags.SpecificCharacterSet))
        {
            dataset.Set(Utf8Label());
        }

        return dataset;
    }

    private static JsonDocument ParseDocument(ReadOnlyMemory<byte> utf8Json, DicomJsonOptions? options)
    {
        try
        {
            var depth = (JsonLevelsPerSequence * (options ?? DicomJsonOptions.Default).Limits.MaxDepth) + 4;
            return JsonDocument.Parse(utf8Json, new JsonDocumentOptions { MaxDepth = depth });
        }
        catch (JsonException failure)
        {
            throw new DicomFormatException("the text is not JSON or is nested too deeply", failure.BytePositionInLine ?? 0);
        }
    }

    private static DicomElement Utf8Label() => DicomElement.OfValue(DicomTags.SpecificCharacterSet, DicomVr.CS, "ISO_IR 192"u8.ToArray());

    private static DicomFormatException Error(string message, DicomTag? tag) => new($"JSON: {message}", 0, tag);

    private static DicomDataset ReadDataset(JsonElement json, DicomJsonOptions options, int depth, out bool isAscii)
    {
        if (json.ValueKind != JsonValueKind.Object)
        {
            throw Error("a data set must be an object", null);
        }

        if (depth > options.Limits.MaxDepth)
        {
            throw Error($"sequences are nested deeper than {options.Limits.MaxDepth}", null);
        }

        isAscii = true;
        var dataset = new DicomDataset();
        foreach (var property in json.EnumerateObject())
        {
            if (property.Name.Length != 8 || !DicomTag.TryParse(property.Name, out var tag) || !tag.ToJsonName().Equals(property.Name, StringComparison.OrdinalIgnoreCase))
            {
                throw Error("the name of an attribute must be 8 hexadecimal digits", null);
            }

            if (tag.IsGroupLength)
            {
                continue;
            }

            // All JSON text is UTF-8, whatever the attribute says (PS3.18 §F.2).
            dataset.Set(tag == DicomTags.SpecificCharacterSet ? Utf8Label() : ReadElement(tag, property.Value, options, depth, ref isAscii));
        }

        return dataset;
    }

    private static DicomElement ReadElement(DicomTag tag, JsonElement json, DicomJsonOptions options, int depth, ref bool isAscii)
    {
        if (json.ValueKind != JsonValueKind.Object)
        {
            throw Error("an attribute must be an object", tag);
        }

        var vr = DicomDictionary.GetVr(tag);
        if (json.TryGetProperty("vr"u8, out var name) && (name.ValueKind != JsonValueKind.String || !DicomVrs.TryParse(name.GetString(), out vr)))
        {
            throw Error("vr is not a value representation", tag);
        }

        if (json.TryGetProperty("BulkDataURI"u8, out var uri) && uri.ValueKind == JsonValueKind.String && vr != DicomVr.SQ)
        {
            var bulk = options.ReadBulkData?.Invoke(tag, uri.GetString()!) ?? throw Error("the bytes of its BulkDataURI are not there", tag);
            return DicomElement.OfValue(tag, vr, bulk);
        }

        if (json.TryGetProperty("InlineBinary"u8, out var binary) && vr != DicomVr.SQ)
        {
            return binary.ValueKind == JsonValueKind.String && binary.TryGetBytesFromBase64(out var bytes)
                ? DicomElement.OfValue(tag, vr, bytes)
                : throw Error("InlineBinary is not Base64", tag);
        }

        var values = !json.TryGetProperty("Value"u8, out var value) || value.ValueKind == JsonValueKind.Null ? []
            : value.ValueKind == JsonValueKind.Array ? value.EnumerateArray().ToList()
            : throw Error("Value must be an array", tag);
        try
        {
            return vr == DicomVr.SQ ? ReadItems(tag, values, options, depth, ref isAscii) : ReadValues(tag, vr, values, ref isAscii);
        }
        catch (Exception failure) when (failure is ArgumentException or OverflowException or FormatException and not DicomFormatException)
        {
            throw Error($"a value does not fit {vr.ToText()}", tag);
        }
    }

    private static DicomElement ReadItems(DicomTag tag, List<JsonElement> values, DicomJsonOptions options, int depth, ref bool isAscii)
    {
        var items = new List<DicomDataset>(values.Count);
        foreach (var value in values)
        {
            if (value.ValueKind == JsonValueKind.Null)
            {
                items.Add(new DicomDataset());
                continue;
            }

            items.Add(ReadDataset(value, options, depth + 1, out var itemIsAscii));
            isAscii &= itemIsAscii;
        }

        return DicomElement.OfItems(tag, items);
    }

    private static DicomElement ReadValues(DicomTag tag, DicomVr vr, List<JsonElement> values, ref bool isAscii)
    {
        switch (vr)
        {
            case DicomVr.FL or DicomVr.FD:
                return DicomElement.OfValue(tag, vr, DicomValues.EncodeFloats(tag, vr, [.. values.Select(value => Float(value, tag))]));
            case DicomVr.SS or DicomVr.US or DicomVr.SL or DicomVr.UL or DicomVr.SV or DicomVr.UV:
                return DicomElement.OfValue(tag, vr, DicomValues.EncodeIntegers(tag, vr, [.. values.Select(value => Integer(value, vr, tag))]));
            case DicomVr.OB or DicomVr.OD or DicomVr.OF or DicomVr.OL or DicomVr.OV or DicomVr.OW or DicomVr.UN:
                return values.Count == 0 ? DicomElement.OfValue(tag, vr, default) : throw Error($"{vr.ToText()} has InlineBinary, not Value", tag);
            default:
                string[] texts = [.. values.Select(value => Text(value, vr, tag))];
                if (!texts.All(text => Ascii.IsValid(text)))
                {
                    isAscii = false;
                    if (!vr.UsesSpecificCharacterSet())
                    {
                        // What devices write outside the standard passes through here unchanged.
                        var bytes = Encoding.UTF8.GetBytes(string.Join('\\', texts));
                        return DicomElement.OfValue(tag, vr, DicomValues.Pad(bytes, (byte)' '));
                    }
                }

                return DicomElement.OfValue(tag, vr, DicomValues.EncodeStrings(tag, vr, texts, DicomCharacterSet.Utf8));
        }
    }

    private static string Text(JsonElement value, DicomVr vr, DicomTag tag) => value.ValueKind switch
    {
        JsonValueKind.Null => "",
        JsonValueKind.String => value.GetString()!,
        JsonValueKind.Number when vr is DicomVr.IS or DicomVr.DS => value.GetRawText(),
        JsonValueKind.Object when vr == DicomVr.PN => PersonName(value, tag),
        _ => throw Error($"a value of {vr.ToText()} cannot be a {value.ValueKind}", tag),
    };

    private static string PersonName(JsonElement value, DicomTag tag)
    {
        return new DicomPersonName(Group("Alphabetic"), Group("Ideographic"), Group("Phonetic")).ToString();

        string Group(string name) => !value.TryGetProperty(name, out var group) || group.ValueKind == JsonValueKind.Null ? ""
            : group.ValueKind == JsonValueKind.String ? group.GetString()!
            : throw Error("a component group of a person name must be a string", tag);
    }

    private static double Float(JsonElement value, DicomTag tag) => value.ValueKind switch
    {
        JsonValueKind.Number => value.GetDouble(),
        JsonValueKind.String when value.ValueEquals("inf"u8) => double.PositiveInfinity,
        JsonValueKind.String when value.ValueEquals("-inf"u8) => double.NegativeInfinity,
        JsonValueKind.String => double.Parse(value.GetString()!, NumberStyles.Float, CultureInfo.InvariantCulture),
        _ => throw Error($"a number cannot be a {value.ValueKind}", tag),
    };

    private static long Integer(JsonElement value, DicomVr vr, DicomTag tag)
    {
        var text = value.ValueKind switch
        {
            JsonValueKind.Number => value.GetRawText(),
            JsonValueKind.String => value.GetString()!,
            _ => throw Error($"a number cannot be a {value.ValueKind}", tag),
        };
        return vr == DicomVr.UV ? (long)ulong.Parse(text, CultureInfo.InvariantCulture) : long.Parse(text, CultureInfo.InvariantCulture);
    }
}
