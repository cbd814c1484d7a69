using Yizhan.OpenInference;

namespace Yizhan.AiInfer.Engine;

/// <summary>One loaded model, wherever it runs: in this process, in one of its own, or on an NPU.</summary>
internal interface IModelEngine : IAsyncDisposable
{
    /// <summary>Platform name of the protocol's model metadata, such as <c>onnx_onnxv1</c>.</summary>
    string Platform { get; }

    /// <summary>What runs it and why that: a sentence for people.</summary>
    string RunsOn { get; }

    /// <summary>Inputs in the model's order.</summary>
    IReadOnlyList<TensorSpec> Inputs { get; }

    /// <summary>Outputs in the model's order.</summary>
    IReadOnlyList<TensorSpec> Outputs { get; }

    /// <summary>Runs the model once. Safe for concurrent calls.</summary>
    /// <param name="inputs">All inputs, checked against <see cref="Inputs"/>.</param>
    /// <param name="outputs">Names of the outputs that are wanted.</param>
    /// <param name="cancellationToken">Ends the computation between two operators.</param>
    /// <exception cref="ModelFailedException">The model could not answer.</exception>
    Task<IReadOnlyList<InferenceTensor>> RunAsync(IReadOnlyList<InferenceTensor> inputs, IReadOnlyList<string> outputs, CancellationToken cancellationToken);
}

/// <summary>An input or output of a model.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Datatype">One of <see cref="TensorDatatype"/>.</param>
/// <param name="Shape">Dimensions; -1 is any.</param>
internal sealed record TensorSpec(string Name, string Datatype, IReadOnlyList<long> Shape)
{
    /// <summary>Whether the first dimension is a batch of any size.</summary>
    public bool HasBatch => Shape.Count > 0 && Shape[0] == -1;

    /// <summary>Whether a tensor may be given for it.</summary>
    public bool Fits(IReadOnlyList<long> shape) => shape.Count == Shape.Count && shape.Zip(Shape).All(pair => pair.Second == -1 || pair.First == pair.Second);
}

/// <summary>The model could not answer this request: its runtime said why. What was asked may be wrong, or the model is.</summary>
internal sealed class ModelFailedException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Nothing was tried: a queue or the memory is full. Ask again later.</summary>
internal sealed class OverloadedException(string message) : Exception(message);
