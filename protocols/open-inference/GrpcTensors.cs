using System.Runtime.InteropServices;
using Google.Protobuf;
using Yizhan.OpenInference.Grpc;

namespace Yizhan.OpenInference;

/// <summary>Tensors of the gRPC messages: raw contents or typed contents, never both in one request.</summary>
public static class GrpcTensors
{
    /// <summary>The request that a message means.</summary>
    /// <exception cref="InferenceFormatException">It is not one.</exception>
    public static InferenceRequest Read(ModelInferRequest message)
    {
        var raw = message.RawInputContents;
        if (message.Inputs.Count is 0 or > InferenceRequest.MaxTensors)
        {
            throw new InferenceFormatException($"The request has {message.Inputs.Count} inputs; accepted: 1 to {InferenceRequest.MaxTensors}.");
        }

        if (raw.Count > 0 && (raw.Count != message.Inputs.Count || message.Inputs.Any(i => i.Contents is not null)))
        {
            throw new InferenceFormatException(
                $"raw_input_contents has {raw.Count} entries for {message.Inputs.Count} inputs; accepted: one for each, and then no contents in the inputs.");
        }

        var inputs = message.Inputs.Select((input, i) =>
            new InferenceTensor(input.Name, input.Datatype, [.. input.Shape], raw.Count > 0 ? raw[i].Memory : Contents(input)).Checked());
        return new InferenceRequest(
            message.Id.Length == 0 ? null : message.Id,
            [.. inputs],
            [.. message.Outputs.Select(o => new RequestedOutput(o.Name, true, o.Parameters.TryGetValue("classification", out var n) ? n.Int64Param : null))],
            BinaryOutput: true);
    }

    /// <summary>The message of a response; outputs are raw contents.</summary>
    public static ModelInferResponse Write(InferenceResponse response)
    {
        var message = new ModelInferResponse { ModelName = response.ModelName, ModelVersion = response.ModelVersion, Id = response.Id ?? "" };
        foreach (var tensor in response.Outputs)
        {
            message.Outputs.Add(new ModelInferResponse.Types.InferOutputTensor { Name = tensor.Name, Datatype = tensor.Datatype, Shape = { tensor.Shape } });
            message.RawOutputContents.Add(UnsafeByteOperations.UnsafeWrap(tensor.Data));
        }

        return message;
    }

    private static ReadOnlyMemory<byte> Contents(ModelInferRequest.Types.InferInputTensor input)
    {
        var c = input.Contents ?? throw new InferenceFormatException($"Input '{input.Name}' has no data; accepted: contents, or raw_input_contents of the request.");
        return input.Datatype switch
        {
            TensorDatatype.Bool => Array.ConvertAll([.. c.BoolContents], b => b ? (byte)1 : (byte)0),
            TensorDatatype.Int8 => Narrow(c.IntContents, v => v is >= sbyte.MinValue and <= sbyte.MaxValue, v => (sbyte)v, input),
            TensorDatatype.Int16 => Narrow(c.IntContents, v => v is >= short.MinValue and <= short.MaxValue, v => (short)v, input),
            TensorDatatype.Int32 => Bytes<int>([.. c.IntContents]),
            TensorDatatype.Int64 => Bytes<long>([.. c.Int64Contents]),
            TensorDatatype.UInt8 => Narrow(c.UintContents, v => v <= byte.MaxValue, v => (byte)v, input),
            TensorDatatype.UInt16 => Narrow(c.UintContents, v => v <= ushort.MaxValue, v => (ushort)v, input),
            TensorDatatype.UInt32 => Bytes<uint>([.. c.UintContents]),
            TensorDatatype.UInt64 => Bytes<ulong>([.. c.Uint64Contents]),
            TensorDatatype.Fp32 => Bytes<float>([.. c.Fp32Contents]),
            TensorDatatype.Fp64 => Bytes<double>([.. c.Fp64Contents]),
            TensorDatatype.Bytes => InferenceTensor.OfElements(c.BytesContents.Select(b => b.Memory)),
            TensorDatatype.Fp16 or TensorDatatype.Bf16 => throw new InferenceFormatException($"Input '{input.Name}' is {input.Datatype}, which contents cannot carry; accepted: raw_input_contents."),
            _ => throw new InferenceFormatException($"Tensor '{input.Name}' has datatype '{input.Datatype}'; accepted: {TensorDatatype.All}."),
        };
    }

    private static byte[] Narrow<TWide, TNarrow>(
        IEnumerable<TWide> values, Func<TWide, bool> fits, Func<TWide, TNarrow> narrow, ModelInferRequest.Types.InferInputTensor input) where TNarrow : unmanaged =>
        Bytes<TNarrow>([.. values.Select(v => fits(v) ? narrow(v) : throw new InferenceFormatException($"{v} in input '{input.Name}' is no {input.Datatype}."))]);

    private static byte[] Bytes<T>(T[] values) where T : unmanaged => MemoryMarshal.AsBytes(values.AsSpan()).ToArray();
}
