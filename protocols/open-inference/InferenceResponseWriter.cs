using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using System.Text.Json;

namespace Yizhan.OpenInference;

/// <summary>Writes the body of an inference response: JSON, behind which the binary tensors follow as they are.</summary>
public static class InferenceResponseWriter
{
    /// <summary>Writes the JSON of a response.</summary>
    /// <returns>What follows it, uncopied: the data of each tensor that was asked for in binary, in their order. With none, there is no <c>Inference-Header-Content-Length</c> either.</returns>
    /// <exception cref="InferenceFormatException">An output that should be JSON cannot be: FP16, BF16, or a number that is not finite.</exception>
    public static IReadOnlyList<ReadOnlyMemory<byte>> Write(IBufferWriter<byte> output, InferenceResponse response, InferenceRequest request)
    {
        using (var json = new Utf8JsonWriter(output))
        {
            json.WriteStartObject();
            json.WriteString("model_name", response.ModelName);
            json.WriteString("model_version", response.ModelVersion);
            if (response.Id is { } id)
            {
                json.WriteString("id", id);
            }

            json.WriteStartArray("outputs");
            foreach (var tensor in response.Outputs)
            {
                json.WriteStartObject();
                json.WriteString("name", tensor.Name);
                json.WriteString("datatype", tensor.Datatype);
                json.WriteStartArray("shape");
                foreach (var dimension in tensor.Shape)
                {
                    json.WriteNumberValue(dimension);
                }

                json.WriteEndArray();
                if (request.IsBinary(tensor.Name))
                {
                    json.WriteStartObject("parameters");
                    json.WriteNumber("binary_data_size", tensor.Data.Length);
                    json.WriteEndObject();
                }
                else
                {
                    json.WriteStartArray("data");
                    WriteElements(json, tensor);
                    json.WriteEndArray();
                }

                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        return [.. response.Outputs.Where(t => request.IsBinary(t.Name)).Select(t => t.Data)];
    }

    private static void WriteElements(Utf8JsonWriter json, InferenceTensor tensor)
    {
        if (tensor.Datatype == TensorDatatype.Bytes)
        {
            foreach (var element in tensor.Elements())
            {
                json.WriteStringValue(Encoding.UTF8.GetString(element.Span));
            }

            return;
        }

        var size = TensorDatatype.SizeOf(tensor.Datatype);
        for (var data = tensor.Data.Span; data.Length >= size; data = data[size..])
        {
            switch (tensor.Datatype)
            {
                case TensorDatatype.Bool: json.WriteBooleanValue(data[0] != 0); break;
                case TensorDatatype.UInt8: json.WriteNumberValue(data[0]); break;
                case TensorDatatype.Int8: json.WriteNumberValue((sbyte)data[0]); break;
                case TensorDatatype.UInt16: json.WriteNumberValue(BinaryPrimitives.ReadUInt16LittleEndian(data)); break;
                case TensorDatatype.Int16: json.WriteNumberValue(BinaryPrimitives.ReadInt16LittleEndian(data)); break;
                case TensorDatatype.UInt32: json.WriteNumberValue(BinaryPrimitives.ReadUInt32LittleEndian(data)); break;
                case TensorDatatype.Int32: json.WriteNumberValue(BinaryPrimitives.ReadInt32LittleEndian(data)); break;
                case TensorDatatype.UInt64: json.WriteNumberValue(BinaryPrimitives.ReadUInt64LittleEndian(data)); break;
                case TensorDatatype.Int64: json.WriteNumberValue(BinaryPrimitives.ReadInt64LittleEndian(data)); break;
                case TensorDatatype.Fp32 when BinaryPrimitives.ReadSingleLittleEndian(data) is var single && float.IsFinite(single): json.WriteNumberValue(single); break;
                case TensorDatatype.Fp64 when BinaryPrimitives.ReadDoubleLittleEndian(data) is var real && double.IsFinite(real): json.WriteNumberValue(real); break;
                default:
                    throw new InferenceFormatException(
                        $"Output '{tensor.Name}' of {tensor.Datatype} holds what JSON cannot carry; ask for it as binary (parameter binary_data) or by gRPC.");
            }
        }
    }
}
