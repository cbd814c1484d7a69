using Google.Protobuf;
using Yizhan.OpenInference;
using Yizhan.OpenInference.Grpc;
using Yizhan.Platform;

namespace Yizhan.AiInfer.Engine;

/// <summary>
/// The other side of <see cref="WorkerEngine"/>: one model in a process of its own. Length-delimited messages of the gRPC protocol come on standard input
/// and go to standard output; the first one out describes the model.
/// </summary>
public static class ModelWorker
{
    /// <summary>What a program is called with to be one.</summary>
    public const string Verb = "model-worker";

    /// <summary>Parameter of a response that holds the reason why there is no answer.</summary>
    internal const string ErrorParameter = "error";

    /// <summary>Serves until standard input ends. Arguments: the ONNX file and the threads of a computation.</summary>
    /// <returns>0; 65 (EX_DATAERR) when the model does not load, with the reason on standard error.</returns>
    public static async Task<int> RunAsync(string[] args)
    {
        ChildProgram.Confine();
        if (args is not [var path, var threads] || !int.TryParse(threads, out var count))
        {
            await Console.Error.WriteLineAsync($"Usage: {Verb} MODEL.onnx THREADS (started by the service itself).");
            return 64;
        }

        var (input, output) = (Console.OpenStandardInput(), Console.OpenStandardOutput());
        try
        {
            await using var engine = OnnxEngine.Load(path, count);
            Metadata(engine).WriteDelimitedTo(output);
            await output.FlushAsync();
            while (true)
            {
                ModelInferRequest request;
                try
                {
                    request = ModelInferRequest.Parser.ParseDelimitedFrom(input);
                }
                catch (InvalidProtocolBufferException)
                {
                    return 0;
                }

                (await AnswerAsync(engine, request)).WriteDelimitedTo(output);
                await output.FlushAsync();
            }
        }
        catch (ModelFailedException e)
        {
            await Console.Error.WriteLineAsync(e.Message);
            return 65;
        }
    }

    private static async Task<ModelInferResponse> AnswerAsync(OnnxEngine engine, ModelInferRequest request)
    {
        try
        {
            var read = GrpcTensors.Read(request);
            var outputs = await engine.RunAsync(read.Inputs, [.. read.Outputs.Select(o => o.Name)], CancellationToken.None);
            return GrpcTensors.Write(new InferenceResponse("", "", null, outputs));
        }
        catch (Exception e) when (e is ModelFailedException or InferenceFormatException)
        {
            return new ModelInferResponse { Parameters = { [ErrorParameter] = new InferParameter { StringParam = e.Message } } };
        }
    }

    private static ModelMetadataResponse Metadata(OnnxEngine engine)
    {
        var metadata = new ModelMetadataResponse { Platform = engine.Platform };
        metadata.Inputs.Add(engine.Inputs.Select(Spec));
        metadata.Outputs.Add(engine.Outputs.Select(Spec));
        return metadata;
    }

    private static ModelMetadataResponse.Types.TensorMetadata Spec(TensorSpec spec) => new() { Name = spec.Name, Datatype = spec.Datatype, Shape = { spec.Shape } };
}
