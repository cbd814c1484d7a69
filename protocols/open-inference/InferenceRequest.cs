namespace Yizhan.OpenInference;

/// <summary>What a client asks of a model.</summary>
/// <param name="Id">The client's name for it; comes back in the response. Null when it gave none.</param>
/// <param name="Inputs">Tensors.</param>
/// <param name="Outputs">Which outputs it wants and how; empty for all.</param>
/// <param name="BinaryOutput">Outputs that it does not name come as binary (<c>binary_data_output</c>).</param>
public sealed record InferenceRequest(string? Id, IReadOnlyList<InferenceTensor> Inputs, IReadOnlyList<RequestedOutput> Outputs, bool BinaryOutput)
{
    /// <summary>Tensors that a request may have.</summary>
    public const int MaxTensors = 256;

    /// <summary>Whether an output goes as binary.</summary>
    public bool IsBinary(string output) => Outputs.FirstOrDefault(o => o.Name == output)?.Binary ?? BinaryOutput;
}

/// <summary>An output that the client wants.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Binary">As binary (<c>binary_data</c>); null when the request as a whole decides.</param>
/// <param name="Classification">Wants the so many best classes instead (<c>classification</c>); null when not. Not supported.</param>
public sealed record RequestedOutput(string Name, bool? Binary, long? Classification = null);

/// <summary>What a model answers.</summary>
/// <param name="ModelName">Name of the model.</param>
/// <param name="ModelVersion">Version that answered.</param>
/// <param name="Id">The request's.</param>
/// <param name="Outputs">Tensors.</param>
public sealed record InferenceResponse(string ModelName, string ModelVersion, string? Id, IReadOnlyList<InferenceTensor> Outputs);
