using System.Runtime.InteropServices;
using Yizhan.OpenInference;

namespace Yizhan.AiInfer.Tests;

/// <summary>Tensors of numbers, for tests.</summary>
internal static class Floats
{
    public static InferenceTensor Tensor(string name, long[] shape, params float[] values) => new(name, TensorDatatype.Fp32, shape, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());

    public static IReadOnlyList<float> Of(InferenceTensor tensor) => MemoryMarshal.Cast<byte, float>(tensor.Data.Span).ToArray();
}
