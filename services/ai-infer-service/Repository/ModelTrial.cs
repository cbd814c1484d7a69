using Yizhan.AiInfer.Engine;
using Yizhan.OpenInference;
using Yizhan.Platform.Bundles;

namespace Yizhan.AiInfer.Repository;

/// <summary>What a new bundle has to pass: it loads and computes once, on zeros, in a process of its own within its memory and time.</summary>
internal static class ModelTrial
{
    private const int FreeDimension = 64;

    /// <summary>Tries a bundle.</summary>
    /// <exception cref="BundleRefusedException">It does not load, crashes, needs too much, answers NaN, or is not what its metadata says.</exception>
    public static async Task RunAsync(ModelBundle bundle, WorkerLimits limits, CancellationToken cancellationToken)
    {
        if (bundle.ModelPath != "models/model.onnx")
        {
            return;
        }

        try
        {
            await using var engine = await WorkerEngine.StartAsync(bundle.ModelFile, limits, cancellationToken);
            bundle.CheckAgainst(engine);
            await AnswerAsync(bundle, engine, cancellationToken);
        }
        catch (ModelFailedException e)
        {
            throw new BundleRefusedException($"{bundle.Manifest.Name} {bundle.Manifest.Version} did not pass its trial: {e.Message}", e);
        }
    }

    /// <summary>Computes once, on zeros.</summary>
    /// <exception cref="ModelFailedException">The model could not answer.</exception>
    public static Task AnswerAsync(ModelBundle bundle, IModelEngine engine, CancellationToken cancellationToken) =>
        engine.RunAsync([.. engine.Inputs.Select(spec => Zeros(spec, bundle))], [.. engine.Outputs.Select(o => o.Name)], cancellationToken);

    /// <summary>Zeros of the least shape that the metadata allows: numbers of <c>spatial_shape</c> where there are, else 64.</summary>
    private static InferenceTensor Zeros(TensorSpec spec, ModelBundle bundle)
    {
        var described = bundle.Metadata["network_data_format"]!["inputs"]!.AsObject();
        var spatial = described.Select(d => d.Value?["spatial_shape"]?.AsArray()).FirstOrDefault(s => s is not null && s.Count == spec.Shape.Count - 2);
        var shape = spec.Shape.Select((dimension, i) => dimension != -1 ? dimension
            : i < 2 ? 1
            : spatial?[i - 2] is { } node && long.TryParse(node.ToString(), out var fixedSize) && fixedSize is > 0 and <= 512 ? fixedSize
            : FreeDimension).ToArray();
        var count = InferenceTensor.CountOf(spec.Name, shape);
        var size = TensorDatatype.SizeOf(spec.Datatype);
        return new InferenceTensor(
            spec.Name, spec.Datatype, shape, size > 0 ? new byte[count * size] : InferenceTensor.OfStrings(Enumerable.Repeat("0", (int)Math.Min(count, 4096))));
    }
}
