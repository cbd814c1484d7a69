using System.Numerics;
using System.Runtime.InteropServices;
using Yizhan.OpenInference;

namespace Yizhan.AiInfer.Engine;

/// <summary>What of a request can be seen to be wrong before anything is computed.</summary>
internal static class InputChecks
{
    /// <summary>The inputs in the model's order.</summary>
    /// <exception cref="InferenceFormatException">One is missing, unknown, twice there, of a wrong datatype or shape, or not finite.</exception>
    public static IReadOnlyList<InferenceTensor> Ordered(IModelEngine engine, InferenceRequest request, bool refuseNotFinite)
    {
        foreach (var input in request.Inputs)
        {
            if (engine.Inputs.FirstOrDefault(spec => spec.Name == input.Name) is not { } spec)
            {
                throw new InferenceFormatException($"The model has no input '{input.Name}'; accepted: {Accepted(engine)}.");
            }

            if (input.Datatype != spec.Datatype || !spec.Fits(input.Shape))
            {
                throw new InferenceFormatException($"Input '{input.Name}' is {input.Datatype}[{string.Join(",", input.Shape)}]; accepted: {Shown(spec)}, where -1 is any.");
            }

            if (refuseNotFinite && FirstNotFinite(input) is { } at)
            {
                throw new InferenceFormatException($"Element {at} of input '{input.Name}' is not a finite number; accepted: finite ones.");
            }
        }

        return request.Inputs.Count != request.Inputs.Select(i => i.Name).Distinct(StringComparer.Ordinal).Count()
            ? throw new InferenceFormatException("An input is there twice.")
            : [.. engine.Inputs.Select(spec => request.Inputs.FirstOrDefault(i => i.Name == spec.Name)
                ?? throw new InferenceFormatException($"Input '{spec.Name}' is missing; accepted: {Accepted(engine)}."))];
    }

    /// <summary>Index of the first NaN or infinity; null when there is none.</summary>
    public static long? FirstNotFinite(InferenceTensor tensor) => tensor.Datatype switch
    {
        TensorDatatype.Fp32 => First(MemoryMarshal.Cast<byte, float>(tensor.Data.Span)),
        TensorDatatype.Fp64 => First(MemoryMarshal.Cast<byte, double>(tensor.Data.Span)),
        TensorDatatype.Fp16 => First(MemoryMarshal.Cast<byte, Half>(tensor.Data.Span)),
        _ => null,
    };

    private static long? First<T>(ReadOnlySpan<T> values) where T : unmanaged, IFloatingPointIeee754<T>
    {
        var from = 0;
        if (Vector<T>.IsSupported && Vector.IsHardwareAccelerated)
        {
            // x·0 is 0 for finite x and NaN for everything else, so one sum says whether a closer look is needed.
            var sum = Vector<T>.Zero;
            for (; from <= values.Length - Vector<T>.Count; from += Vector<T>.Count)
            {
                sum += new Vector<T>(values[from..]) * Vector<T>.Zero;
            }

            from = T.IsFinite(Vector.Sum(sum)) ? from : 0;
        }

        for (; from < values.Length; from++)
        {
            if (!T.IsFinite(values[from]))
            {
                return from;
            }
        }

        return null;
    }

    private static string Accepted(IModelEngine engine) => string.Join(", ", engine.Inputs.Select(spec => $"'{spec.Name}' {Shown(spec)}"));

    private static string Shown(TensorSpec spec) => $"{spec.Datatype}[{string.Join(",", spec.Shape)}]";
}
