using System.Buffers;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace Yizhan.OpenInference;

/// <summary>Reads the body of <c>POST v2/models/M/infer</c>: JSON, or JSON and a binary tail (binary tensor data extension).</summary>
public static class InferenceRequestReader
{
    /// <summary>Reads a request. Binary tensors refer to <paramref name="body"/>; nothing of them is copied.</summary>
    /// <param name="body">The whole body.</param>
    /// <param name="jsonLength"><c>Inference-Header-Content-Length</c>; null when the body is JSON alone.</param>
    /// <exception cref="InferenceFormatException">It is not a request.</exception>
    public static InferenceRequest Read(ReadOnlyMemory<byte> body, int? jsonLength)
    {
        if (jsonLength is { } length && (length < 0 || length > body.Length))
        {
            throw new InferenceFormatException($"Inference-Header-Content-Length is {length}; accepted: 0 to {body.Length}, the length of the body.");
        }

        var json = jsonLength is { } header ? body[..header] : body;
        var tail = jsonLength is null ? default : body[json.Length..];
        var reader = new Utf8JsonReader(json.Span, new JsonReaderOptions { MaxDepth = 32 });
        try
        {
            Expect(ref reader, JsonTokenType.StartObject, "the request");
            var request = Request(ref reader, tail);
            return !reader.Read() ? request : throw new InferenceFormatException("Something follows the JSON of the request; accepted: binary data after Inference-Header-Content-Length bytes.");
        }
        catch (JsonException e)
        {
            throw new InferenceFormatException($"The request is not JSON: {e.Message}", e);
        }
        catch (InvalidOperationException e)
        {
            throw new InferenceFormatException($"A value in the request has the wrong type: {e.Message}", e);
        }
    }

    private static InferenceRequest Request(ref Utf8JsonReader reader, ReadOnlyMemory<byte> tail)
    {
        string? id = null;
        var inputs = new List<InferenceTensor>();
        var outputs = new List<RequestedOutput>();
        var binary = false;
        var taken = 0;
        while (Property(ref reader) is { } name)
        {
            switch (name)
            {
                case "id":
                    id = Text(ref reader, "id");
                    break;
                case "parameters":
                    binary = Parameters(ref reader).BinaryOutput ?? false;
                    break;
                case "inputs":
                    Expect(ref reader, JsonTokenType.StartArray, "inputs");
                    while (Next(ref reader, JsonTokenType.EndArray))
                    {
                        Bounded(inputs.Count, "inputs");
                        inputs.Add(Input(ref reader, tail, ref taken));
                    }

                    break;
                case "outputs":
                    Expect(ref reader, JsonTokenType.StartArray, "outputs");
                    while (Next(ref reader, JsonTokenType.EndArray))
                    {
                        Bounded(outputs.Count, "outputs");
                        outputs.Add(Output(ref reader));
                    }

                    break;
                default:
                    reader.Read();
                    reader.Skip();
                    break;
            }
        }

        return inputs.Count == 0 ? throw new InferenceFormatException("The request has no inputs; accepted: an array 'inputs' of at least one tensor.")
            : taken != tail.Length ? throw new InferenceFormatException($"{tail.Length} bytes of binary data follow the JSON; its inputs name {taken} (binary_data_size).")
            : new InferenceRequest(id, inputs, outputs, binary);
    }

    private static InferenceTensor Input(ref Utf8JsonReader reader, ReadOnlyMemory<byte> tail, ref int taken)
    {
        Is(reader, JsonTokenType.StartObject, "an input");
        string? name = null, datatype = null;
        List<long>? shape = null;
        long? binarySize = null;
        Utf8JsonReader data = default;
        var hasData = false;
        while (Property(ref reader) is { } property)
        {
            switch (property)
            {
                case "name":
                    name = Text(ref reader, "name of an input");
                    break;
                case "datatype":
                    datatype = Text(ref reader, "datatype");
                    break;
                case "shape":
                    shape = Shape(ref reader, name);
                    break;
                case "parameters":
                    binarySize = Parameters(ref reader).BinarySize;
                    break;
                case "data":
                    // Datatype and shape may follow the data: remember where it is.
                    reader.Read();
                    data = reader;
                    hasData = true;
                    reader.Skip();
                    break;
                default:
                    reader.Read();
                    reader.Skip();
                    break;
            }
        }

        if (name is null || datatype is null || shape is null)
        {
            throw new InferenceFormatException($"Input '{name}' lacks {(name is null ? "name" : datatype is null ? "datatype" : "shape")}; an input has name, shape, datatype and data.");
        }

        if (hasData == binarySize is not null)
        {
            throw new InferenceFormatException($"Input '{name}' has {(hasData ? "both" : "neither")} data {(hasData ? "and" : "nor")} the parameter binary_data_size; accepted: one of them.");
        }

        if (binarySize is { } size)
        {
            if (size < 0 || size > tail.Length - taken)
            {
                throw new InferenceFormatException($"binary_data_size of input '{name}' is {size}; {tail.Length - taken} bytes of binary data are left.");
            }

            taken += (int)size;
            return new InferenceTensor(name, datatype, shape, tail.Slice(taken - (int)size, (int)size)).Checked();
        }

        return new InferenceTensor(name, datatype, shape, Elements(data, name, datatype, InferenceTensor.CountOf(name, shape))).Checked();
    }

    private static RequestedOutput Output(ref Utf8JsonReader reader)
    {
        Is(reader, JsonTokenType.StartObject, "an output");
        string? name = null;
        bool? binary = null;
        long? classification = null;
        while (Property(ref reader) is { } property)
        {
            switch (property)
            {
                case "name":
                    name = Text(ref reader, "name of an output");
                    break;
                case "parameters":
                    var parameters = Parameters(ref reader);
                    (binary, classification) = (parameters.Binary, parameters.Classification);
                    break;
                default:
                    reader.Read();
                    reader.Skip();
                    break;
            }
        }

        return new RequestedOutput(name ?? throw new InferenceFormatException("An output has no name."), binary, classification);
    }

    private static (bool? BinaryOutput, bool? Binary, long? BinarySize, long? Classification) Parameters(ref Utf8JsonReader reader)
    {
        Expect(ref reader, JsonTokenType.StartObject, "parameters");
        bool? output = null, binary = null;
        long? size = null, classes = null;
        while (Property(ref reader) is { } name)
        {
            reader.Read();
            switch (name)
            {
                case "binary_data_output":
                    output = reader.GetBoolean();
                    break;
                case "binary_data":
                    binary = reader.GetBoolean();
                    break;
                case "binary_data_size":
                    size = Number(reader, name);
                    break;
                case "classification":
                    classes = Number(reader, name);
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }

        return (output, binary, size, classes);
    }

    private static List<long> Shape(ref Utf8JsonReader reader, string? name)
    {
        Expect(ref reader, JsonTokenType.StartArray, $"the shape of '{name}'");
        var shape = new List<long>();
        while (Next(ref reader, JsonTokenType.EndArray))
        {
            if (shape.Count >= InferenceTensor.MaxRank)
            {
                throw new InferenceFormatException($"Tensor '{name}' has more than {InferenceTensor.MaxRank} dimensions.");
            }

            shape.Add(Number(reader, $"a dimension of '{name}'"));
        }

        return shape;
    }

    /// <summary>The elements, flat or nested in any way; their order is what counts.</summary>
    private static byte[] Elements(Utf8JsonReader reader, string name, string datatype, long count)
    {
        var size = TensorDatatype.SizeOf(datatype);
        if (size < 0)
        {
            throw new InferenceFormatException($"Tensor '{name}' has datatype '{datatype}'; accepted: {TensorDatatype.All}.");
        }

        Is(reader, JsonTokenType.StartArray, $"the data of '{name}'");
        if (size == 0)
        {
            return Texts(reader, name, count);
        }

        // The list grows with what is really there: a shape of a thousand gigabytes over three elements costs nothing.
        var data = new ArrayBufferWriter<byte>((int)Math.Min(count, 16 * 1024) * size + 8);
        var elements = 0L;
        for (var depth = 1; depth > 0;)
        {
            reader.Read();
            if (reader.TokenType is JsonTokenType.StartArray or JsonTokenType.EndArray)
            {
                depth += reader.TokenType == JsonTokenType.StartArray ? 1 : -1;
                continue;
            }

            if (++elements > count || !TryWrite(reader, datatype, data.GetSpan(8)))
            {
                throw elements > count
                    ? new InferenceFormatException($"Tensor '{name}' has more than the {count} elements of its shape.")
                    : new InferenceFormatException($"Element {elements - 1} of tensor '{name}' is {Shown(reader)}, which is no {datatype}.");
            }

            data.Advance(size);
        }

        return elements == count ? data.WrittenMemory.ToArray()
            : throw new InferenceFormatException($"Tensor '{name}' has {elements} elements of data; its shape needs {count}.");
    }

    private static byte[] Texts(Utf8JsonReader reader, string name, long count)
    {
        var texts = new List<ReadOnlyMemory<byte>>();
        for (var depth = 1; depth > 0;)
        {
            reader.Read();
            if (reader.TokenType is JsonTokenType.StartArray or JsonTokenType.EndArray)
            {
                depth += reader.TokenType == JsonTokenType.StartArray ? 1 : -1;
                continue;
            }

            if (reader.TokenType != JsonTokenType.String || texts.Count >= count)
            {
                throw new InferenceFormatException($"Element {texts.Count} of tensor '{name}' is {Shown(reader)}; accepted: {count} strings.");
            }

            texts.Add(System.Text.Encoding.UTF8.GetBytes(reader.GetString()!));
        }

        return texts.Count == count ? InferenceTensor.OfElements(texts)
            : throw new InferenceFormatException($"Tensor '{name}' has {texts.Count} elements of data; its shape needs {count}.");
    }

    private static bool TryWrite(Utf8JsonReader reader, string datatype, Span<byte> to)
    {
        if (reader.TokenType != JsonTokenType.Number)
        {
            if (datatype == TensorDatatype.Bool && reader.TokenType is JsonTokenType.True or JsonTokenType.False)
            {
                to[0] = reader.TokenType == JsonTokenType.True ? (byte)1 : (byte)0;
                return true;
            }

            return false;
        }

        switch (datatype)
        {
            case TensorDatatype.Fp32:
                return reader.TryGetSingle(out var single) && float.IsFinite(single) && Write(to, single);
            case TensorDatatype.Fp64:
                return reader.TryGetDouble(out var real) && double.IsFinite(real) && Write(to, real);
            case TensorDatatype.UInt64:
                return reader.TryGetUInt64(out var large) && Write(to, large);
        }

        if (!reader.TryGetInt64(out var value))
        {
            return false;
        }

        switch (datatype)
        {
            case TensorDatatype.Int64: return Write(to, value);
            case TensorDatatype.Int32: return value is >= int.MinValue and <= int.MaxValue && Write(to, (int)value);
            case TensorDatatype.UInt32: return value is >= 0 and <= uint.MaxValue && Write(to, (uint)value);
            case TensorDatatype.Int16: return value is >= short.MinValue and <= short.MaxValue && Write(to, (short)value);
            case TensorDatatype.UInt16: return value is >= 0 and <= ushort.MaxValue && Write(to, (ushort)value);
            case TensorDatatype.Int8: return value is >= sbyte.MinValue and <= sbyte.MaxValue && Write(to, (sbyte)value);
            case TensorDatatype.UInt8: return value is >= 0 and <= byte.MaxValue && Write(to, (byte)value);
            case TensorDatatype.Bool: return value is 0 or 1 && Write(to, (byte)value);

            // FP16 and BF16 have no JSON form (protocol, Tensor Data Types): binary only.
            default: return false;
        }
    }

    private static bool Write<T>(Span<byte> to, T value) where T : unmanaged
    {
        MemoryMarshal.Write(to, in value);
        if (!BitConverter.IsLittleEndian)
        {
            to[..System.Runtime.CompilerServices.Unsafe.SizeOf<T>()].Reverse();
        }

        return true;
    }

    private static string? Property(ref Utf8JsonReader reader)
    {
        reader.Read();
        return reader.TokenType == JsonTokenType.EndObject ? null : reader.GetString();
    }

    private static bool Next(ref Utf8JsonReader reader, JsonTokenType end)
    {
        reader.Read();
        return reader.TokenType != end;
    }

    private static string Text(ref Utf8JsonReader reader, string what)
    {
        Expect(ref reader, JsonTokenType.String, what);
        return reader.GetString()!;
    }

    private static long Number(in Utf8JsonReader reader, string what) =>
        reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out var number) ? number
        : throw new InferenceFormatException($"{what} is {Shown(reader)}; accepted: a whole number.");

    private static void Expect(ref Utf8JsonReader reader, JsonTokenType type, string what)
    {
        reader.Read();
        Is(reader, type, what);
    }

    private static void Is(in Utf8JsonReader reader, JsonTokenType type, string what)
    {
        if (reader.TokenType != type)
        {
            throw new InferenceFormatException($"{what} is {Shown(reader)}; accepted: {(type == JsonTokenType.StartObject ? "an object" : type == JsonTokenType.StartArray ? "an array" : "a string")}.");
        }
    }

    private static void Bounded(int count, string what)
    {
        if (count >= InferenceRequest.MaxTensors)
        {
            throw new InferenceFormatException($"The request has more than {InferenceRequest.MaxTensors} {what}.");
        }
    }

    private static string Shown(in Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.Number or JsonTokenType.String when reader.ValueSpan.Length <= 40 => $"'{System.Text.Encoding.UTF8.GetString(reader.ValueSpan)}'",
        JsonTokenType.Null => "null",
        _ => $"a {reader.TokenType}",
    };
}
