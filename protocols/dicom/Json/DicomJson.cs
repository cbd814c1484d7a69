using System.Globalization;
using System.Text.Json;

namespace Yizhan.Dicom;

/// <summary>How data sets become JSON and back.</summary>
public sealed record DicomJsonOptions
{
    /// <summary>The options used when none are given.</summary>
    public static DicomJsonOptions Default { get; } = new();

    /// <summary>
    /// The BulkDataURI of an element that should not be inline, or null to write it inline. Asked for binary elements, UN
    /// and encapsulated pixel data only; the latter cannot be inline and stays without a value when this gives null.
    /// </summary>
    public Func<DicomElement, string?>? BulkDataUri { get; init; }

    /// <summary>The bytes of a BulkDataURI when reading; null if they are not known, which refuses the JSON.</summary>
    public Func<DicomTag, string, ReadOnlyMemory<byte>?>? ReadBulkData { get; init; }

    /// <summary>Bounds when reading.</summary>
    public DicomLimits Limits { get; init; } = DicomLimits.Default;
}

/// <summary>The DICOM JSON model (PS3.18 annex F), always in UTF-8.</summary>
/// <remarks>
/// Written: no group lengths; Specific Character Set, where present, as ISO_IR 192 since that is what the text is in;
/// IS and DS as numbers if they are such, else as strings; 64-bit integers beyond ±2^53 as strings; NaN and infinite
/// numbers as the strings "NaN", "inf" and "-inf"; empty values as null.
/// </remarks>
public static partial class DicomJson
{
    private const long MaxExactInteger = 1L << 53;

    /// <summary>Writes one data set as an object.</summary>
    public static void Write(Utf8JsonWriter writer, DicomDataset dataset, DicomJsonOptions? options = null)
    {
        options ??= DicomJsonOptions.Default;
        writer.WriteStartObject();
        foreach (var element in dataset)
        {
            if (!element.Tag.IsGroupLength)
            {
                writer.WriteStartObject(element.Tag.ToJsonName());
                writer.WriteString("vr"u8, WrittenVr(element).ToText());
                WriteValue(writer, dataset, element, options);
                writer.WriteEndObject();
            }
        }

        writer.WriteEndObject();
    }

    /// <summary>The JSON of one data set.</summary>
    public static byte[] ToUtf8Bytes(DicomDataset dataset, DicomJsonOptions? options = null)
    {
        var output = new System.Buffers.ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(output, new JsonWriterOptions { MaxDepth = 4096 }))
        {
            Write(writer, dataset, options);
        }

        return output.WrittenSpan.ToArray();
    }

    // A standard element that came as UN is written in its own VR: the reader cannot know the character set of UN bytes.
    private static DicomVr WrittenVr(DicomElement element) =>
        element.Tag == DicomTags.SpecificCharacterSet ? DicomVr.CS : element.ValueVr;

    private static void WriteValue(Utf8JsonWriter writer, DicomDataset dataset, DicomElement element, DicomJsonOptions options)
    {
        if (element.Items is { } items)
        {
            if (items.Count > 0)
            {
                writer.WriteStartArray("Value"u8);
                foreach (var item in items)
                {
                    Write(writer, item, options);
                }

                writer.WriteEndArray();
            }

            return;
        }

        if (element.Fragments is not null || (element.Value.Length > 0 && IsBinary(element.ValueVr)))
        {
            if (options.BulkDataUri?.Invoke(element) is { } uri)
            {
                writer.WriteString("BulkDataURI"u8, uri);
            }
            else if (element.Fragments is null)
            {
                writer.WriteBase64String("InlineBinary"u8, LittleEndian(element));
            }

            return;
        }

        if (element.Tag == DicomTags.SpecificCharacterSet)
        {
            writer.WriteStartArray("Value"u8);
            writer.WriteStringValue("ISO_IR 192"u8);
            writer.WriteEndArray();
            return;
        }

        WriteValues(writer, dataset, element);
    }

    private static void WriteValues(Utf8JsonWriter writer, DicomDataset dataset, DicomElement element)
    {
        switch (element.ValueVr)
        {
            case DicomVr.FL or DicomVr.FD:
                WriteArray(writer, DicomValues.Floats(element), (w, value) => WriteFloat(w, value, element.ValueVr));
                break;
            case DicomVr.AT:
                WriteArray(writer, DicomValues.Tags(element), (w, value) => w.WriteStringValue(value.ToJsonName()));
                break;
            case DicomVr.SS or DicomVr.US or DicomVr.SL or DicomVr.UL or DicomVr.SV or DicomVr.UV:
                WriteArray(writer, DicomValues.Integers(element), (w, value) => WriteInteger(w, value, element.ValueVr));
                break;
            default:
                var texts = DicomValues.Strings(element, dataset.CharacterSet);
                if (element.ValueVr == DicomVr.PN)
                {
                    texts = [.. texts.Select(text => DicomPersonName.Parse(text).ToString())];
                }

                WriteArray(writer, texts is [""] ? [] : texts, (w, value) => WriteText(w, value, element.ValueVr));
                break;
        }
    }

    private static void WriteArray<T>(Utf8JsonWriter writer, IReadOnlyList<T> values, Action<Utf8JsonWriter, T> write)
    {
        if (values.Count == 0)
        {
            return;
        }

        writer.WriteStartArray("Value"u8);
        foreach (var value in values)
        {
            write(writer, value);
        }

        writer.WriteEndArray();
    }

    private static void WriteText(Utf8JsonWriter writer, string text, DicomVr vr)
    {
        if (text.Length == 0)
        {
            writer.WriteNullValue();
        }
        else if (vr == DicomVr.PN)
        {
            WritePersonName(writer, DicomPersonName.Parse(text));
        }
        else if (vr is DicomVr.IS or DicomVr.DS && TryGetNumber(text, out var number))
        {
            writer.WriteRawValue(number);
        }
        else
        {
            writer.WriteStringValue(text);
        }
    }

    private static void WritePersonName(Utf8JsonWriter writer, DicomPersonName name)
    {
        writer.WriteStartObject();
        WriteGroup("Alphabetic", name.Alphabetic);
        WriteGroup("Ideographic", name.Ideographic);
        WriteGroup("Phonetic", name.Phonetic);
        writer.WriteEndObject();

        void WriteGroup(string key, string value)
        {
            if (value.Length > 0)
            {
                writer.WriteString(key, value);
            }
        }
    }

    // The digits are kept as they are, so that no decimal is changed by binary rounding; only what JSON forbids (a plus
    // sign, zeros in front, a bare point) is put right.
    private static bool TryGetNumber(string text, out string number)
    {
        number = text;
        const NumberStyles style = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        if (!double.TryParse(text, style, CultureInfo.InvariantCulture, out var value) || !double.IsFinite(value) || !text.Any(char.IsAsciiDigit))
        {
            return false;
        }

        var sign = text[0] == '-' ? "-" : "";
        var exponentAt = text.IndexOfAny(['e', 'E']);
        var exponent = exponentAt < 0 ? "" : text[exponentAt..];
        var mantissa = (exponentAt < 0 ? text : text[..exponentAt]).TrimStart('+', '-');
        var pointAt = mantissa.IndexOf('.', StringComparison.Ordinal);
        var whole = (pointAt < 0 ? mantissa : mantissa[..pointAt]).TrimStart('0');
        var fraction = pointAt < 0 ? "" : mantissa[(pointAt + 1)..];
        number = $"{sign}{(whole.Length == 0 ? "0" : whole)}{(fraction.Length == 0 ? "" : "." + fraction)}{exponent}";
        return true;
    }

    private static void WriteInteger(Utf8JsonWriter writer, long value, DicomVr vr)
    {
        if (vr == DicomVr.UV && (ulong)value > MaxExactInteger)
        {
            writer.WriteStringValue(((ulong)value).ToString(CultureInfo.InvariantCulture));
        }
        else if (value is > MaxExactInteger or < -MaxExactInteger)
        {
            writer.WriteStringValue(value.ToString(CultureInfo.InvariantCulture));
        }
        else
        {
            writer.WriteNumberValue(value);
        }
    }

    private static void WriteFloat(Utf8JsonWriter writer, double value, DicomVr vr)
    {
        if (!double.IsFinite(value))
        {
            writer.WriteStringValue(double.IsNaN(value) ? "NaN" : value > 0 ? "inf" : "-inf");
        }
        else if (vr == DicomVr.FL)
        {
            writer.WriteNumberValue((float)value);
        }
        else
        {
            writer.WriteNumberValue(value);
        }
    }

    private static bool IsBinary(DicomVr vr) => vr is
        DicomVr.OB or DicomVr.OD or DicomVr.OF or DicomVr.OL or DicomVr.OV or DicomVr.OW or DicomVr.UN;

    private static ReadOnlySpan<byte> LittleEndian(DicomElement element)
    {
        if (!element.IsBigEndian)
        {
            return element.Value.Span;
        }

        var bytes = element.Value.ToArray();
        var size = element.ValueVr.WordSize();
        for (var i = 0; i + size <= bytes.Length; i += size)
        {
            bytes.AsSpan(i, size).Reverse();
        }

        return bytes;
    }
}
