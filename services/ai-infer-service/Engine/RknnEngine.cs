using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Yizhan.OpenInference;

namespace Yizhan.AiInfer.Engine;

/// <summary>
/// A model on the NPU of an RK3588, by <c>librknnrt</c>, which belongs to the device and is not shipped. Tensors are FP32 in the order of the ONNX model
/// (N, C, H, W); the runtime converts and quantises.
/// </summary>
internal sealed class RknnEngine : IModelEngine
{
    /// <summary>Why an RKNN model does not run here.</summary>
    public const string Missing = "librknnrt.so is not on this node, so only the CPU is left, and the bundle has no models/model.onnx for it.";

    private const int AllCores = 0xffff;

    private readonly Lock _turn = new();
    private readonly RknnApi _api;
    private readonly ulong _context;

    private RknnEngine(RknnApi api, ulong context)
    {
        (_api, _context) = (api, context);
        var (inputs, outputs) = api.Count(context);
        Inputs = [.. Enumerable.Range(0, inputs).Select(i => api.Attribute(context, RknnApi.QueryInput, i))];
        Outputs = [.. Enumerable.Range(0, outputs).Select(i => api.Attribute(context, RknnApi.QueryOutput, i))];
    }

    /// <inheritdoc/>
    public string Platform => "rknn";

    /// <inheritdoc/>
    public string RunsOn => "NPU, by librknnrt on all cores";

    /// <inheritdoc/>
    public IReadOnlyList<TensorSpec> Inputs { get; }

    /// <inheritdoc/>
    public IReadOnlyList<TensorSpec> Outputs { get; }

    /// <summary>Loads a model where there is an NPU; otherwise the CPU is used, and <paramref name="why"/> says why.</summary>
    public static bool TryLoad(string path, [NotNullWhen(true)] out IModelEngine? engine, out string why)
    {
        engine = null;
        if (RknnApi.TryOpen() is not { } api)
        {
            why = "librknnrt.so is not on this node.";
            return false;
        }

        try
        {
            engine = new RknnEngine(api, api.Init(File.ReadAllBytes(path), AllCores));
            why = "";
            return true;
        }
        catch (ModelFailedException e)
        {
            why = e.Message;
            return false;
        }
    }

    /// <inheritdoc/>
    public Task<IReadOnlyList<InferenceTensor>> RunAsync(IReadOnlyList<InferenceTensor> inputs, IReadOnlyList<string> outputs, CancellationToken cancellationToken)
    {
        // One context computes one request at a time; it cannot be stopped half way.
        lock (_turn)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var results = _api.Run(_context, [.. inputs.Select(ToChannelsLast)], Outputs);
            return Task.FromResult<IReadOnlyList<InferenceTensor>>([.. outputs.Select(name => results.First(r => r.Name == name))]);
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        lock (_turn)
        {
            _api.Destroy(_context);
        }

        return ValueTask.CompletedTask;
    }

    /// <summary>The NPU takes N, H, W, C.</summary>
    internal static InferenceTensor ToChannelsLast(InferenceTensor tensor)
    {
        if (tensor.Shape is not [var n, var c, var h, var w] || c == 1)
        {
            return tensor;
        }

        var from = MemoryMarshal.Cast<byte, float>(tensor.Data.Span);
        var to = new float[from.Length];
        var plane = (int)(h * w);
        for (var i = 0; i < (int)n; i++)
        {
            for (var channel = 0; channel < (int)c; channel++)
            {
                for (var p = 0; p < plane; p++)
                {
                    to[(i * plane + p) * (int)c + channel] = from[(i * (int)c + channel) * plane + p];
                }
            }
        }

        return tensor with { Shape = [n, h, w, c], Data = MemoryMarshal.AsBytes(to.AsSpan()).ToArray() };
    }
}
