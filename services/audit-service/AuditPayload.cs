using System.Buffers;
using System.Text.Json;
using Yizhan.Contracts;

namespace Yizhan.Audit;

/// <summary>What is sealed: the event that was recorded, as its bytes were.</summary>
/// <param name="Type">CloudEvents type of the event.</param>
/// <param name="Id">Id of the entry of the event log.</param>
/// <param name="Association">Of a transfer: the association of its instances. Null else.</param>
/// <param name="Data">JSON of the event.</param>
internal sealed record AuditPayload(string Type, string Id, string? Association, ReadOnlyMemory<byte> Data)
{
    /// <summary>One JSON object; <see cref="Data"/> is in it byte for byte.</summary>
    public byte[] ToBytes()
    {
        var buffer = new ArrayBufferWriter<byte>(Data.Length + 256);
        using var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { SkipValidation = true });
        json.WriteStartObject();
        if (Association is not null)
        {
            json.WriteString("association"u8, Association);
        }

        json.WritePropertyName("data"u8);
        json.WriteRawValue(Data.Span, skipInputValidation: true);
        json.WriteString("id"u8, Id);
        json.WriteString("type"u8, Type);
        json.WriteEndObject();
        json.Flush();
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Reads what <see cref="ToBytes"/> wrote.</summary>
    /// <exception cref="JsonException">The bytes are something else.</exception>
    public static AuditPayload Parse(ReadOnlyMemory<byte> bytes)
    {
        var reader = new Utf8JsonReader(bytes.Span);
        var (type, id, association, data) = ("", "", default(string), ReadOnlyMemory<byte>.Empty);
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = reader.GetString();
            reader.Read();
            var start = (int)reader.TokenStartIndex;
            switch (name)
            {
                case "data":
                    reader.Skip();
                    data = bytes[start..(int)reader.BytesConsumed];
                    break;
                case "id":
                    id = reader.GetString()!;
                    break;
                case "type":
                    type = reader.GetString()!;
                    break;
                case "association":
                    association = reader.GetString();
                    break;
                default:
                    throw new JsonException($"An audit payload has no '{name}'.");
            }
        }

        return new AuditPayload(type, id, association, data);
    }

    /// <summary>What a search finds it by.</summary>
    public AuditFacts ToFacts(string site) => Type switch
    {
        AuditMessage.EventType => ToMessage()!.Facts,
        ErasureOrder.EventType => AuditFacts.Of(JsonSerializer.Deserialize(Data.Span, AuditJson.Default.ErasureOrder)!.ToRecord(site)),
        _ => AuditFacts.Of(JsonSerializer.Deserialize(Data.Span, ContractsJson.Default.AuditRecord)!),
    };

    /// <summary>The message of another system; null when it is a record of ours.</summary>
    public AuditMessage? ToMessage() => Type == AuditMessage.EventType ? JsonSerializer.Deserialize(Data.Span, AuditJson.Default.AuditMessage) : null;
}
