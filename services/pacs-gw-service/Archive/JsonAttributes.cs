using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Yizhan.PacsGw.Archive;

/// <summary>
/// The top level of a DICOM JSON object (PS3.18 F.2) without building a tree: each attribute's JSON stays a range of the bytes
/// that it came in.
/// </summary>
internal sealed class JsonAttributes
{
    /// <summary>Four JSON levels for each of the 64 sequences that the parser allows, with room.</summary>
    public const int MaxDepth = 512;

    private readonly Dictionary<uint, ReadOnlyMemory<byte>> _values = [];

    /// <summary>Reads one object.</summary>
    /// <exception cref="JsonException">The bytes are not one DICOM JSON object.</exception>
    public JsonAttributes(ReadOnlyMemory<byte> json)
    {
        var reader = new Utf8JsonReader(json.Span, new JsonReaderOptions { MaxDepth = MaxDepth });
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (!uint.TryParse(reader.GetString(), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var tag))
            {
                throw new JsonException($"A key at byte {reader.TokenStartIndex} is not a tag of 8 hex digits.");
            }

            reader.Read();
            var start = (int)reader.TokenStartIndex;
            reader.Skip();
            _values[tag] = json[start..(int)reader.BytesConsumed];
        }
    }

    /// <summary>The attributes that are here.</summary>
    public IEnumerable<uint> Tags => _values.Keys;

    /// <summary>The JSON of one attribute (<c>{"vr":…}</c>); empty when it is not here.</summary>
    public ReadOnlyMemory<byte> this[uint tag] => _values.GetValueOrDefault(tag);

    /// <summary>First value as text, without outer spaces; empty when there is none. A person name has its groups joined by <c>=</c>.</summary>
    public string Text(uint tag)
    {
        if (!_values.TryGetValue(tag, out var json))
        {
            return "";
        }

        var reader = new Utf8JsonReader(json.Span, new JsonReaderOptions { MaxDepth = MaxDepth });
        return FindFirstValue(ref reader) ? Read(ref reader).Trim() : "";
    }

    /// <summary>First value as a number; null when there is none.</summary>
    public long? Number(uint tag) =>
        decimal.TryParse(Text(tag), NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
            && number is >= long.MinValue and <= long.MaxValue
            ? (long)number
            : null;

    /// <summary>Writes the attributes that are wanted as one object, in ascending order.</summary>
    public byte[] Select(Func<uint, bool> wanted)
    {
        var json = new ArrayBufferWriter<byte>();
        Write(json, _values.Where(v => wanted(v.Key)).Select(v => (v.Key, v.Value)));
        return json.WrittenSpan.ToArray();
    }

    /// <summary>Writes attributes as one object. Ascending order is the standard's (PS3.18 F.2.2).</summary>
    public static void Write(IBufferWriter<byte> json, IEnumerable<(uint Tag, ReadOnlyMemory<byte> Json)> attributes)
    {
        json.Write("{"u8);
        var first = true;
        foreach (var (tag, value) in attributes.OrderBy(a => a.Tag))
        {
            if (!first)
            {
                json.Write(","u8);
            }

            first = false;
            var key = json.GetSpan(11);
            key[0] = (byte)'"';
            tag.TryFormat(key[1..], out _, "X8", CultureInfo.InvariantCulture);
            key[9] = (byte)'"';
            key[10] = (byte)':';
            json.Advance(11);
            json.Write(value.Span);
        }

        json.Write("}"u8);
    }

    /// <summary>Moves to the first element of <c>Value</c>.</summary>
    private static bool FindFirstValue(ref Utf8JsonReader reader)
    {
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isValue = reader.ValueTextEquals("Value"u8);
            reader.Read();
            if (isValue)
            {
                return reader.TokenType == JsonTokenType.StartArray && reader.Read() && reader.TokenType != JsonTokenType.EndArray;
            }

            reader.Skip();
        }

        return false;
    }

    private static string Read(ref Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.String => reader.GetString()!,
        JsonTokenType.Number => Encoding.UTF8.GetString(reader.ValueSpan),
        JsonTokenType.StartObject => ReadName(ref reader),
        _ => "",
    };

    private static string ReadName(ref Utf8JsonReader reader)
    {
        var groups = new string[3] { "", "", "" };
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var group = reader.ValueTextEquals("Alphabetic"u8) ? 0
                : reader.ValueTextEquals("Ideographic"u8) ? 1
                : reader.ValueTextEquals("Phonetic"u8) ? 2
                : -1;
            reader.Read();
            if (group >= 0 && reader.TokenType == JsonTokenType.String)
            {
                groups[group] = reader.GetString()!;
            }

            reader.Skip();
        }

        return string.Join('=', groups).TrimEnd('=');
    }
}
