using System.Text;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Yizhan.OpenInference;

namespace Yizhan.AiInfer.Engine;

/// <summary>ONNX Runtime in this process. One session for all callers: its Run is made for that, and a second one would double the memory.</summary>
internal sealed class OnnxEngine : IModelEngine
{
    private readonly InferenceSession _session;

    private OnnxEngine(InferenceSession session)
    {
        _session = session;
        Inputs = [.. session.InputNames.Select(name => Spec(name, session.InputMetadata[name]))];
        Outputs = [.. session.OutputNames.Select(name => Spec(name, session.OutputMetadata[name]))];
    }

    /// <inheritdoc/>
    public string Platform => "onnx_onnxv1";

    /// <inheritdoc/>
    public string RunsOn => $"CPU, by ONNX Runtime {OrtEnv.Instance().GetVersionString()}; execution providers here: {string.Join(", ", OrtEnv.Instance().GetAvailableProviders())}";

    /// <inheritdoc/>
    public IReadOnlyList<TensorSpec> Inputs { get; }

    /// <inheritdoc/>
    public IReadOnlyList<TensorSpec> Outputs { get; }

    /// <summary>Loads a model.</summary>
    /// <param name="path">An ONNX file.</param>
    /// <param name="threads">Threads of one computation.</param>
    /// <exception cref="ModelFailedException">ONNX Runtime does not take it: its own words follow (opset, operator, broken file).</exception>
    public static OnnxEngine Load(string path, int threads)
    {
        using var options = new Microsoft.ML.OnnxRuntime.SessionOptions
        {
            IntraOpNumThreads = threads,
            InterOpNumThreads = 1,
            ExecutionMode = ExecutionMode.ORT_SEQUENTIAL,
            GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL,
            LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR,
        };

        // A thread that spins for its next task takes a core from the site's other services.
        options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0");
        try
        {
            return new OnnxEngine(new InferenceSession(path, options));
        }
        catch (OnnxRuntimeException e)
        {
            throw new ModelFailedException($"ONNX Runtime does not load {Path.GetFileName(path)}: {Reason(e, path)}", e);
        }
    }

    /// <inheritdoc/>
    public Task<IReadOnlyList<InferenceTensor>> RunAsync(IReadOnlyList<InferenceTensor> inputs, IReadOnlyList<string> outputs, CancellationToken cancellationToken)
    {
        using var run = new RunOptions();
        using var cancel = cancellationToken.Register(static r => ((RunOptions)r!).Terminate = true, run);
        using var values = new Values(inputs);
        try
        {
            using var results = _session.Run(run, [.. inputs.Select(i => i.Name)], values.Inputs, outputs);
            return Task.FromResult<IReadOnlyList<InferenceTensor>>([.. results.Select((value, i) => Read(outputs[i], value))]);
        }
        catch (OnnxRuntimeException) when (cancellationToken.IsCancellationRequested)
        {
            return Task.FromCanceled<IReadOnlyList<InferenceTensor>>(cancellationToken);
        }
        catch (OnnxRuntimeException e)
        {
            return Task.FromException<IReadOnlyList<InferenceTensor>>(new ModelFailedException($"The model could not compute: {e.Message}", e));
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _session.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <summary>What the runtime says, without its error code, the file's path, and the place and function in its own source: those are for its authors.</summary>
    private static string Reason(OnnxRuntimeException e, string path)
    {
        var text = e.Message.Replace($"Load model from {path} failed:", "", StringComparison.Ordinal);
        text = text[(text.StartsWith('[') ? text.IndexOf(']', StringComparison.Ordinal) + 1 : 0)..].TrimStart();
        if (text.IndexOf("/onnxruntime_src/", StringComparison.Ordinal) is >= 0 and var place && text.IndexOf('(', place) is >= 0 and var end)
        {
            for (var depth = 0; end < text.Length; end++)
            {
                depth += text[end] switch { '(' => 1, ')' => -1, _ => 0 };
                if (depth == 0)
                {
                    return text[..place] + text[(end + 1)..].TrimStart();
                }
            }
        }

        return text;
    }

    private static TensorSpec Spec(string name, NodeMetadata metadata) =>
        metadata.IsTensor || metadata.IsString
            ? new TensorSpec(name, DatatypeOf(metadata.ElementDataType, name), [.. metadata.Dimensions.Select(d => d <= 0 ? -1L : d)])
            : throw new ModelFailedException($"'{name}' of the model is a {metadata.OnnxValueType}; accepted: tensors.");

    private static InferenceTensor Read(string name, OrtValue value)
    {
        if (!value.IsTensor)
        {
            throw new ModelFailedException($"Output '{name}' is no tensor.");
        }

        var info = value.GetTensorTypeAndShape();
        var datatype = DatatypeOf(info.ElementDataType, name);
        if (datatype == TensorDatatype.Bytes)
        {
            return new InferenceTensor(name, datatype, info.Shape, InferenceTensor.OfStrings(value.GetStringTensorAsArray()));
        }

        return new InferenceTensor(name, datatype, info.Shape, value.GetTensorMutableRawData().ToArray());
    }

    private static string DatatypeOf(TensorElementType type, string name) => type switch
    {
        TensorElementType.Bool => TensorDatatype.Bool,
        TensorElementType.UInt8 => TensorDatatype.UInt8,
        TensorElementType.UInt16 => TensorDatatype.UInt16,
        TensorElementType.UInt32 => TensorDatatype.UInt32,
        TensorElementType.UInt64 => TensorDatatype.UInt64,
        TensorElementType.Int8 => TensorDatatype.Int8,
        TensorElementType.Int16 => TensorDatatype.Int16,
        TensorElementType.Int32 => TensorDatatype.Int32,
        TensorElementType.Int64 => TensorDatatype.Int64,
        TensorElementType.Float16 => TensorDatatype.Fp16,
        TensorElementType.BFloat16 => TensorDatatype.Bf16,
        TensorElementType.Float => TensorDatatype.Fp32,
        TensorElementType.Double => TensorDatatype.Fp64,
        TensorElementType.String => TensorDatatype.Bytes,
        _ => throw new ModelFailedException($"'{name}' of the model is of {type}, which the protocol has no datatype for."),
    };

    private static TensorElementType TypeOf(string datatype) => datatype switch
    {
        TensorDatatype.Bool => TensorElementType.Bool,
        TensorDatatype.UInt8 => TensorElementType.UInt8,
        TensorDatatype.UInt16 => TensorElementType.UInt16,
        TensorDatatype.UInt32 => TensorElementType.UInt32,
        TensorDatatype.UInt64 => TensorElementType.UInt64,
        TensorDatatype.Int8 => TensorElementType.Int8,
        TensorDatatype.Int16 => TensorElementType.Int16,
        TensorDatatype.Int32 => TensorElementType.Int32,
        TensorDatatype.Int64 => TensorElementType.Int64,
        TensorDatatype.Fp16 => TensorElementType.Float16,
        TensorDatatype.Bf16 => TensorElementType.BFloat16,
        TensorDatatype.Fp32 => TensorElementType.Float,
        TensorDatatype.Fp64 => TensorElementType.Double,
        _ => throw new ModelFailedException($"'{datatype}' is no datatype of numbers."),
    };

    /// <summary>Inputs as the runtime sees them: the request's own bytes, pinned for the time of the run.</summary>
    private sealed class Values : IDisposable
    {
        private readonly List<System.Buffers.MemoryHandle> _pins = [];

        public Values(IReadOnlyList<InferenceTensor> inputs)
        {
            Inputs = new List<OrtValue>(inputs.Count);
            foreach (var input in inputs)
            {
                Inputs.Add(input.Datatype == TensorDatatype.Bytes ? Strings(input) : Pinned(input));
            }
        }

        public List<OrtValue> Inputs { get; }

        public void Dispose()
        {
            Inputs.ForEach(value => value.Dispose());
            _pins.ForEach(pin => pin.Dispose());
        }

        private unsafe OrtValue Pinned(InferenceTensor input)
        {
            var pin = input.Data.Pin();
            _pins.Add(pin);
            return OrtValue.CreateTensorValueWithData(
                OrtMemoryInfo.DefaultInstance, TypeOf(input.Datatype), [.. input.Shape], (nint)pin.Pointer, input.Data.Length);
        }

        private static OrtValue Strings(InferenceTensor input)
        {
            var value = OrtValue.CreateTensorWithEmptyStrings(OrtAllocator.DefaultInstance, [.. input.Shape]);
            var elements = input.Elements();
            for (var i = 0; i < elements.Count; i++)
            {
                value.StringTensorSetElementAt(Encoding.UTF8.GetString(elements[i].Span).AsSpan(), i);
            }

            return value;
        }
    }
}
